"""What is no file: pipes, devices, folders, links to nothing; every reader says so at once."""

import os
from pathlib import Path

import pytest
from fairseq import checkpoint_utils
from fairseq.data import Dictionary, data_utils
from genft_process import genft
from refusals import assert_refused
from trust.damage import assert_read_or_refused, refusal
from trust.test_text_readers import READERS, _compare

from genft_fairseq.data.fid_json import read_examples
from genft_fairseq.errors import require_regular
from genft_fairseq.experiments.save_folders import read_baseline
from genft_fairseq.files import require_writable, write_atomic
from genft_fairseq.retrieval.encoding import text_subwords


def _data(path: Path) -> object:
    return data_utils.load_indexed_dataset(str(path.with_suffix("")), None)


OTHERS = {
    "dictionary": ("dict.txt", lambda path: Dictionary.load(str(path))),
    "index of data": ("train.idx", _data),
    "data": ("train.bin", _data),
    "checkpoint": ("c.pt", lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path))),
    "baseline": ("c.pt", read_baseline),
    "codes": ("bpe.codes", lambda path: text_subwords(path.parent, Dictionary())),
}
CASES = {
    **{name: (reader.name, reader.read) for name, reader in READERS.items()},
    **OTHERS,
}
# What another file is read with.
BESIDE = {
    **{"index of data": ["train.bin"], "data": ["train.idx"]},
    "record of a comparison": ["baseline.pt"],
}
# Whether they are there is a question of its own.
MAY_BE_MISSING = {
    *("record of fine-tuning", "record of a comparison", "training log"),
    *("index of data", "codes"),
}
KINDS = ["pipe", "device", "socket", "folder", "link to nothing", "link to itself"]


def make(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)  # in the current folder: a socket's name must be short
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "link to itself" else "nowhere")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_no_file(name, kind, folder):
    """Nobody waits for the other end of a pipe, or reads a device that never ends."""
    file, read = CASES[name]
    path = folder / file
    if read is _compare:  # makes what a good file needs
        path.write_text("")
        assert refusal(lambda: _compare(path))
        path.unlink()
    for other in BESIDE.get(name, ()):
        (folder / other).touch()
    make(kind, path)
    line = assert_read_or_refused(lambda: read(path), path, folder, folder=folder)
    is_missing = kind.startswith("link") and name in MAY_BE_MISSING
    assert line is not None or is_missing


def test_a_pipe_that_the_shell_has_opened_is_read(folder):
    """``genft ... <(zcat file)``, and what is piped in."""
    require_regular("/dev/stdin")
    read_end, write_end = os.pipe()
    os.write(write_end, b'{"question": "?", "answers": ["a"], "ctxs": [{"text": "a"}]}')
    os.close(write_end)
    (example,) = read_examples(f"/dev/fd/{read_end}")
    os.close(read_end)
    assert example.question == "?"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_file_takes_the_place_of_a_device(kind, folder):
    """``--output /dev/null``, by root, would replace what all programs of the machine write to."""
    path = folder / "output"
    make(kind, path)
    line = assert_read_or_refused(
        lambda: require_writable("--output", path), "--output", folder=folder
    )
    assert line is not None and str(path) in line


@pytest.mark.parametrize("command", ["evaluate-qa", "preprocess"])
def test_commands_refuse_a_device_to_write_to(command, folder):
    """A pipe stands for it here: should this ever fail as root, nobody loses /dev/null."""
    (folder / "d.jsonl").write_text('{"text": "some words"}\n')
    (folder / "q.json").write_text('[{"question": "?", "answers": ["a"], "ctxs": [{"text": "a"}]}]')
    (folder / "a.txt").write_text("a\n")
    os.mkfifo(folder / "output")
    words = {
        "preprocess": ["d.jsonl"],
        "evaluate-qa": ["--predictions-from", "a.txt", "--references", "q.json"],
    }[command]
    assert_refused(genft(command, *words, "--output", "output"), "--output", "output")
    assert (folder / "output").is_fifo()


def test_a_folder_that_became_a_file(folder):
    (folder / "out").touch()
    line = refusal(lambda: write_atomic(folder / "out" / "figures.json", "{}"))
    assert line is not None and f"{folder}/out/figures.json" in line

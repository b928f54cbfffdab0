"""What is written: whole or not at all, on a full disk, in a read-only folder, or interrupted."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import fairseq_cli.train  # noqa: F401 (before the fork, so that it is imported once)
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_commands import TINY_TRANSLATION, USER_DIR, Done
from forked_genft import (
    count_moments,
    ended_at,
    full_disk,
    killed_in_a_write,
    run_genft,
)
from forked_runs import ForkedRun
from refusals import assert_refused, refuses
from tiny_gpt2 import call, hugging_face_folder
from trust.damage import listing
from trust.test_text_readers import LOG

from genft_fairseq.experiments.table import write_curves


@dataclass
class World:
    """A folder of inputs, and one for what is written, which is the current one."""

    inputs: Path
    out: Path

    def words(self, name: str) -> list[str]:
        """The command line of a command; it writes into the current folder alone."""
        return [
            word.replace("IN/", f"{self.inputs}/").replace("OUT/", f"{self.out}/")
            for word in COMMANDS[name].split()
        ]


COMMANDS = {
    "preprocess": "preprocess IN/documents.jsonl --output OUT/passages.tsv --window 3 --stride 2 "
    "--questions IN/questions.jsonl --matched OUT/matched.jsonl",
    "retrieve": "retrieve IN/table.tsv --questions IN/questions.jsonl --output OUT/found.jsonl "
    "--index OUT/index --top-k 3",
    "evaluate-qa": "evaluate-qa --predictions-from IN/answers.txt --references IN/examples.jsonl "
    "--output OUT/figures.json --predictions OUT/scored.jsonl",
    "evaluate-summaries": "evaluate-summaries --predictions-from IN/answers.txt --references "
    "IN/answers.txt --output OUT/figures.json --side-by-side OUT/texts.txt",
    "evaluate-lm": "evaluate-lm IN/lm --path IN/lm.pt --cpu --prefix-length 4 --length 4 "
    "--limit 3 --output OUT/figures.json --completions OUT/texts.txt",
    "average-checkpoints": "average-checkpoints IN/lm.pt IN/lm2.pt --output OUT/mean.pt",
    "import-hf": "import-hf IN/hf OUT/fairseq",
    "export-hf": "export-hf IN/fairseq/model.pt OUT/hf",
    "report": "report IN/run --output OUT/report.html",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, language_model_data, language_model_baseline):
    folder = tmp_path_factory.mktemp("inputs")
    texts = [f"word{n} is here and so are the others of text {n}" for n in range(12)]
    questions = [{"question": f"where is word{n}?", "answer": [f"word{n}"]} for n in range(12)]
    examples = [
        {"question": "?", "answers": [text], "ctxs": [{"title": "t", "text": text}]}
        for text in texts
    ]
    for name, values in (
        ("documents.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)]),
        *(("questions.jsonl", questions), ("examples.jsonl", examples)),
    ):
        (folder / name).write_text("".join(json.dumps(value) + "\n" for value in values))
    rows = "".join(f"{n}\t{text}\tTitle\n" for n, text in enumerate(texts))
    (folder / "table.tsv").write_text("id\ttext\ttitle\n" + rows)
    (folder / "answers.txt").write_text("".join(f"{text}\n" for text in texts))
    shutil.copytree(language_model_data, folder / "lm")
    for name in ("lm.pt", "lm2.pt"):
        shutil.copy(language_model_baseline / "checkpoint_last.pt", folder / name)
    (folder / "run").mkdir()
    (folder / "run" / "train.log").write_text(LOG)
    hugging_face_folder(folder / "hf", n_layer=1)
    call("import-hf", folder / "hf", folder / "fairseq")
    return folder


@pytest.fixture
def world(inputs, folder) -> World:
    (folder / "out").mkdir()
    return World(inputs, folder / "out")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- a full disk ----------------------------------------------------------------------------------

# Some bytes fit, the whole does not; tokenisers are larger than the other outputs.
ROOM = {"import-hf": 20_000, "export-hf": 20_000, "average-checkpoints": 4000, "retrieve": 250}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_said_in_one_line(name, world):
    """And leaves nothing of its own, where nothing has been finished."""
    done = run_genft(*world.words(name), prepare=full_disk(ROOM.get(name, 500)))
    assert_refused(done, world.out, unwritten=world.out)
    with_room = run_genft(*world.words(name))
    assert with_room.returncode == 0, with_room.output
    assert names(world.out) != []


OLD = {
    "preprocess": "passages.tsv",
    "evaluate-qa": "figures.json",
    "average-checkpoints": "mean.pt",
}


@pytest.mark.parametrize("name", OLD)
def test_a_full_disk_leaves_the_old_file(name, world):
    (world.out / OLD[name]).write_text("finished work")
    done = run_genft(*world.words(name), prepare=full_disk(ROOM.get(name, 500)))
    assert_refused(done, world.out)
    assert (world.out / OLD[name]).read_text() == "finished work"
    assert names(world.out) == [OLD[name]]


def train_words(data: Path, save: Path, *flags: object) -> list[object]:
    return [
        *(data, "--user-dir", USER_DIR, *TINY_TRANSLATION, "--optimizer", "adam", "--lr", "1e-2"),
        *("--max-tokens", 500, "--cpu", "--save-interval-updates", 2, "--log-format", "simple"),
        *("--save-dir", save, *flags),
    ]


def train_on_a_full_disk(words: list[object], size: int) -> Done:
    def prepare(_: int) -> None:
        checkpoint_utils.time = SimpleNamespace(sleep=lambda _: None)  # between its attempts
        full_disk(size)()

    (done,) = ForkedRun([words], prepare).wait()
    return done


def test_training_on_a_full_disk_keeps_its_checkpoints(translation_data, folder):
    """The last whole checkpoint stays, half a one does not; with room, the run goes on."""
    save = folder / "save"
    ForkedRun([train_words(translation_data, save, "--max-update", 2)]).checked()
    last = save / "checkpoint_last.pt"
    before = last.read_bytes()
    kept = names(save)
    words = train_words(translation_data, save, "--max-update", 4)
    done = train_on_a_full_disk(words, len(before) // 2)
    assert_refused(done, save, "File too large")  # the system's words
    assert last.read_bytes() == before and names(save) == kept
    ForkedRun([words]).checked()
    state = torch.load(last, weights_only=False)
    assert state["optimizer_history"][-1]["num_updates"] == 4


def test_curves_on_a_full_disk(folder, monkeypatch):
    (folder / "curves.svg").write_text("finished work")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with refuses("curves.svg", error=ValueError):
        write_curves({}, folder / "curves.svg")
    assert names(folder) == ["curves.svg"]
    assert (folder / "curves.svg").read_text() == "finished work"


# --- a folder that must not be written ------------------------------------------------------------


@pytest.fixture
def read_only(folder) -> Iterator[Path]:
    """A folder that nobody may write to, not even the superuser."""
    locked = folder / "locked"
    locked.mkdir()
    if os.geteuid() != 0:
        locked.chmod(0o555)
        yield locked
        locked.chmod(0o755)
        return
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+i", locked], capture_output=True).returncode:
        pytest.skip("the superuser may write anywhere, and this file system has no chattr +i")
    yield locked
    subprocess.run([chattr, "-i", locked], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_folder_is_refused_before_the_work(name, world, read_only, tmp_path_factory):
    """Before what is read is even looked at: it is damaged here, and not a word is said of it."""
    broken = tmp_path_factory.mktemp("broken")
    for path in world.inputs.iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(b"\xff\x00 damaged")
    shutil.copytree(world.inputs / "lm", broken / "lm")
    for model in ("hf", "fairseq", "run"):
        shutil.copytree(world.inputs / model, broken / model)
    done = run_genft(*World(broken, read_only).words(name))
    assert_refused(done, read_only, unwritten=read_only)
    assert str(broken) not in done.error


@pytest.mark.parametrize("command", ["fairseq-train", "genft train"])
def test_training_refuses_a_read_only_folder_before_it_trains(command, translation_data, read_only):
    save = read_only / "save"
    if command == "fairseq-train":
        (done,) = ForkedRun([train_words(translation_data, save)]).wait()
    else:
        done = run_genft(
            "train", translation_data, "--save-dir", save, "--", "--arch", "transformer"
        )
    assert_refused(done, save)
    assert "train_inner" not in done.output


# --- interruptions --------------------------------------------------------------------------------

# How many moments are tried of commands that take a while; of others, all.
SLOW = {
    **{"evaluate-lm": 2, "import-hf": 2, "export-hf": 2, "retrieve": 4, "preprocess": 6},
    **{"evaluate-summaries": 2, "evaluate-qa": 3, "average-checkpoints": 4, "report": 2},
}
POLITE = [signal.SIGINT, signal.SIGTERM]


def chosen(moments: int, name: str) -> list[int]:
    most = SLOW.get(name, moments)
    return sorted({moments - (moments - 1) * n // most for n in range(most)})


def contents(folder: Path) -> dict[str, bytes]:
    return {n: (folder / n).read_bytes() for n in names(folder) if (folder / n).is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_ended_at_any_moment(name, world):
    """By SIGKILL, SIGINT or SIGTERM: what has its name is whole, and the command can run again."""
    done, moments = count_moments(world.out, *world.words(name))
    assert done.returncode == 0 and moments >= 2, done.output
    whole = {path: len(content) for path, content in contents(world.out).items()}
    for number in (signal.SIGKILL, *POLITE):
        for moment in chosen(moments, name):
            shutil.rmtree(world.out)
            world.out.mkdir()
            ended = run_genft(*world.words(name), prepare=ended_at(moment, number, world.out))
            found = {path: len(content) for path, content in contents(world.out).items()}
            finished = {path: size for path, size in found.items() if path in whole}
            for path, size in finished.items():  # but for seconds, which are figures of a run
                assert abs(size - whole[path]) <= 20, f"{path} is cut at moment {moment}"
            if number == signal.SIGKILL:
                assert ended.returncode == -signal.SIGKILL
                left = found.keys() - whole.keys()
                assert all(".tmp" in path or ".partial/" in path for path in left), left
            else:
                assert ended.returncode == 128 + number, ended.output
                assert "Traceback" not in ended.stderr, ended.stderr
                assert found.keys() <= whole.keys(), "something of it lies about"
    again = run_genft(*world.words(name)) if not list(world.out.iterdir()) else None
    assert again is None or again.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_the_middle_of_a_file(name, world):
    """Half a file never has the name of the whole one, and is in nobody's way."""
    before = listing(world.inputs)
    done = run_genft(*world.words(name), prepare=killed_in_a_write(ROOM.get(name, 500)))
    assert done.returncode == -signal.SIGXFSZ, done.output
    left = contents(world.out)
    assert left and all(".tmp" in path or ".partial/" in path for path in left), left.keys()
    again = run_genft(*world.words(name))
    assert again.returncode == 0, again.output
    assert listing(world.inputs) == before

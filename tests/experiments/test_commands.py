"""The command lines of the four modes, word by word, and what a data folder tells."""

from pathlib import Path

import pytest
from refusals import refuses

from genft_fairseq.experiments import commands
from genft_fairseq.experiments.data_folders import (
    DataFolder,
    flag_values,
    has_flag,
    open_data,
    text_flags,
)
from genft_fairseq.experiments.strategies import STRATEGIES, USER_DIR

TRANSLATION = DataFolder("data", "translation", ("en", "de"))
LANGUAGE_MODELING = DataFolder("data", "language_modeling")


def folder(path: Path, *names: str) -> str:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).touch()
    return str(path)


def test_training():
    assert commands.train_command(TRANSLATION, "scalegrad", Path("runs/a"), ["--lr", "1"]) == [
        *("fairseq-train", "data", "--user-dir", USER_DIR, "--task", "translation"),
        *("--criterion", "scalegrad", "-s", "en", "-t", "de", "--save-dir", "runs/a", "--lr", "1"),
    ]


def test_fine_tuning():
    arguments = (LANGUAGE_MODELING, "recurrent", Path("base.pt"), ["--arch", "x"], Path("a"))
    assert commands.finetune_command(*arguments, ["--cpu"], cpu=True) == [
        *("fairseq-train", "data", "--user-dir", USER_DIR),
        *("--task", "scheduled_sampling_language_modeling"),
        *STRATEGIES["recurrent"].task_flags,
        *("--criterion", "label_smoothed_cross_entropy"),
        *("--arch", "x", "--finetune-from-model", "base.pt", "--save-dir", "a", "--cpu"),
    ]
    for own in (["--arch", "y"], ["--arch=y"], ["-a", "y"]):
        assert commands.has_architecture(own)
    assert not commands.has_architecture(["--lr", "1", "y"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_has_its_criterion_and_the_users_flags_last(strategy):
    words = commands.train_command(TRANSLATION, strategy, Path("a"), ["--lr", "2"], cpu=True)
    assert words[-3:] == ["--cpu", "--lr", "2"]
    assert words[words.index("--criterion") + 1] == STRATEGIES[strategy].criterion[0]


def test_testing():
    shared = ["data", "--user-dir", USER_DIR, "--task", "translation", "-s", "en", "-t", "de"]
    test = commands.evaluation_command
    assert test(TRANSLATION, "c.pt", "valid", beam=3, results=Path("r"), extra=["--quiet"]) == [
        *("fairseq-generate", *shared, "--path", "c.pt", "--gen-subset", "valid", "--beam", "3"),
        *("--results-path", "r", "--quiet"),
    ]
    # A language model is measured by our own command.
    assert test(LANGUAGE_MODELING, "c.pt", "test", "greedy", 1, Path("r"), ["--limit", "5"]) == [
        *("genft", "evaluate-lm", "data", "--path", "c.pt", "--split", "test"),
        *("--output", "r/evaluation-test.json", "--limit", "5"),
    ]
    for search, beam in (("beam", None), (None, 5)):
        words = test(LANGUAGE_MODELING, "c.pt", "test", search, beam)
        assert words[-4:] == ["--search", "beam", "--beam", "5"]
    with refuses("--beam 5"):
        test(LANGUAGE_MODELING, "c.pt", "test", "greedy", 5)


def test_inference():
    words = commands.inference_command(LANGUAGE_MODELING, "c.pt", source="in put.txt", cpu=True)
    assert words == [
        *("fairseq-interactive", "data", "--user-dir", USER_DIR, "--task", "language_modeling"),
        *("--path", "c.pt", "--beam", "5", "--input", "in put.txt", "--cpu"),
    ]


MOSES = '{"recipe": {"command": "x"}, "commands": ["moses_tokenise.py (sacremoses)"]}'
PLAIN = '{"recipe": {"command": "x"}, "commands": ["subword-nmt"]}'
BPE = ["--bpe", "subword_nmt", "--bpe-codes", "{data}/bpe.codes"]
PREPARED = ["--tokenizer", "prepared", "--prepared-data", "{data}"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"bpe.codes": "", "MANIFEST.json": MOSES}, [*BPE, *PREPARED]),
        ({"MANIFEST.json": MOSES}, PREPARED),
        ({"bpe.codes": "", "MANIFEST.json": PLAIN}, BPE),
        ({"bpe.codes": ""}, [*BPE, "--tokenizer", "moses"]),
        ({"dict.de.txt": "Hun@@ 2\nde 1\n"}, ["--remove-bpe", "subword_nmt"]),
        ({"dict.de.txt": "▁Hun 2\nde 1\n"}, ["--remove-bpe", "sentencepiece"]),
        ({"dict.de.txt": "Hunde 2\n"}, []),
    ],
)
def test_text_is_read_and_written_in_the_form_of_the_data(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    data = DataFolder(str(tmp_path), "translation", ("en", "de"))
    expected = [word.format(data=tmp_path) for word in expected]
    test, inference = commands.evaluation_command, commands.inference_command
    for words in (test(data, "c.pt", "test"), inference(data, "c.pt")):
        assert words[words.index("--beam") + 2 :] == expected
    for own in (["--bpe", "gpt2"], ["--tokenizer=space"]):
        words = test(data, "c.pt", "test", extra=own)
        assert words[words.index("--beam") + 2 :] == own
    words = inference(data, "c.pt", extra=["--remove-bpe"])
    assert words.count("--remove-bpe") == 1


def test_the_tokenisers_of_imported_models(tmp_path):
    (tmp_path / "hugging_face.json").write_text("{}")
    with refuses(tmp_path):  # before anything is run
        text_flags(tmp_path, [])
    (tmp_path / "hugging_face.json").unlink()
    (tmp_path / "encoder.json").write_text('{"a": 0, "b": 1, "Ġ": 2}')
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n")
    assert text_flags(tmp_path, []) == [
        *("--bpe", "gpt2", "--gpt2-encoder-json", f"{tmp_path}/encoder.json"),
        *("--gpt2-vocab-bpe", f"{tmp_path}/vocab.bpe"),
    ]


def test_the_beam_of_a_search():
    sizes = [("beam", None, 5), (None, None, 5), ("beam", 2, 2), ("greedy", None, 1)]
    for search, beam, size in [*sizes, ("greedy", 1, 1)]:
        assert commands.beam_size(search, beam) == size
    with refuses("--search greedy", "--beam 2"):
        commands.beam_size("greedy", 2)


@pytest.mark.parametrize(
    "flag",
    [["--save-dir", "b"], ["--finetune-from-model=b"], ["--criterion", "b"], ["--task=b"]],
)
def test_what_genft_looks_after_is_not_for_fairseq(flag):
    with refuses(flag[0].partition("=")[0]):
        commands.train_command(TRANSLATION, "standard", Path("a"), flag)


def test_a_strategy_for_other_tasks():
    with refuses("minimum-risk", "translation", "language_modeling"):
        commands.train_command(LANGUAGE_MODELING, "minimum-risk", Path("a"))


def test_flags_are_recognised_whole():
    words = ["--arch", "x", "--lr=1e-3", "--adam-betas", "(0.9, 0.98)"]
    assert has_flag(words, "--arch") and has_flag(words, "-l", "--lr")
    assert flag_values([*words, "--lr", "2", "--lr"], "--lr") == ["1e-3", "2", ""]
    assert flag_values([], "--lr") == flag_values(words, "--l") == []
    assert not has_flag(words, "--ar") and not has_flag(words, "--adam") and not has_flag([], "-s")


def test_the_task_is_what_the_data_looks_like(tmp_path):
    pair = ("dict.en.txt", "dict.de.txt", "train.de-en.de.idx", "train.de-en.en.idx")
    path = folder(tmp_path / "a", *pair)
    assert open_data(path) == DataFolder(path, "translation", ("de", "en"))
    assert open_data(path).language_flags == ["-s", "de", "-t", "en"]
    assert open_data(path, extra=["--source-lang=en"]).language_flags == []
    assert open_data(path, "language_modeling").task == "language_modeling"
    path = folder(tmp_path / "b", "dict.txt", "train.idx", "train.bin")
    assert open_data(path) == DataFolder(path, "language_modeling")
    # fairseq itself does not infer a language with a hyphen.
    path = folder(tmp_path / "c", "dict.en.txt", "dict.zh-CN.txt", "valid.en-zh-CN.en.idx")
    assert open_data(path).languages == ("en", "zh-CN")
    # For inference the dictionaries are enough; fairseq says what it misses.
    path = folder(tmp_path / "d", "dict.en.txt", "dict.de.txt")
    assert open_data(path) == DataFolder(path, "translation")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "dict.txt"),
        (["dict.en.txt"], "dict.en.txt"),
        (["dict.txt", "dict.en.txt"], "dict.en.txt, dict.txt"),
        (["dict.a.txt", "dict.b.txt", "dict.c.txt"], "dict.a.txt, dict.b.txt, dict.c.txt"),
    ],
)
def test_a_folder_that_does_not_tell_its_task(names, found, tmp_path):
    path = folder(tmp_path / "data", *names)
    with refuses(path, found, "--task"):
        open_data(path)


def test_data_that_cannot_be_meant(tmp_path):
    with refuses(tmp_path / "nowhere"):
        open_data(str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with refuses(tmp_path / "file"):
        open_data(str(tmp_path / "file"))
    both = ("train.en-de.en.idx", "test.de-en.en.idx")
    path = folder(tmp_path / "both", "dict.en.txt", "dict.de.txt", *both)
    with refuses("de-en", "en-de", "-s", "-t"):
        open_data(path)
    assert open_data(path, extra=["-s", "en", "-t", "de"]).language_flags == []

"""prepare-fid.sh --model: what it refuses, and what it says of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import assert_names
from tiny_t5_pieces import write_t5_pieces
from tiny_tokeniser import write_model

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import fid_model
from one_line_errors import PrepareError

EXAMPLE = {"question": "wer schrieb ?", "answers": ["Jörg"], "ctxs": [{"title": "", "text": "책"}]}


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-fid.sh")


@pytest.fixture
def files(tmp_path: Path) -> tuple[object, ...]:
    path = tmp_path / "examples.json"
    path.write_text(json.dumps([EXAMPLE]))
    return ("--train", path, "--valid", path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_t5_pieces(tmp_path / "t5")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--model", "/nowhere"], ("--model", "/nowhere")),
        (["--model", "DIR", "--bpe-operations", "9"], ("--bpe-operations", "--model", "DIR")),
        (["--model", "DIR", "--dict-from", "/some"], ("--dict-from", "/some", "--model", "DIR")),
        (["--model", "DIR", "--tokenise", "none"], ("--tokenise", "none", "--model")),
        (["--model", "DIR", "--max-passages", "4"], ("--max-passages 4", "DIR", " 3")),
        (["--dict-from", "DIR"], ("--dict-from", "DIR", "--model")),
    ],
)
def test_options_that_do_not_go_together(prepare, out, files, model, given, named):
    given = [argument.replace("DIR", str(model)) for argument in given]
    named = [str(name).replace("DIR", str(model)) for name in named]
    assert_names(prepare.complain(*files, "--out", out, *given), *named)


def test_natural_questions_have_the_option_too(script, out, model, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text(json.dumps([EXAMPLE]))
    given = ("--from", tmp_path, "--unpinned", "--out", out, "--model", model)
    message = script("prepare-nq-fid.sh").complain(*given, "--max-passages", 4)
    assert_names(message, "--max-passages", 4, model, 3)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return edit


def refusal(folder: Path) -> str:
    """Return the one line that is said of a folder."""
    with pytest.raises(PrepareError) as raised:
        fid_model.describe(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without("hugging_face.json"), ("hugging_face.json",)),
        (without("dict.txt"), ("dict.txt",)),
        (without("tokenizer.json"), ("tokenizer.source.json",)),
        (edited("tokenizer.json", '"Unigram"', '"Bigram"'), ("tokenizer.json",)),
        (edited("hugging_face.json", "{", "["), ("hugging_face.json",)),
        (edited("dict.txt", "<question> 1\n", ""), ("--model", "dict.txt", "<question>")),
        (edited("dict.txt", "<passage:1> 1\n", ""), ("--model", "dict.txt", "<passage:1>")),
        (edited("dict.txt", "\n9 1\n", "\n"), ("--model", "dict.txt", 9, "tokenizer.json")),
        (edited("dict.txt", "9 1\n", "9\n"), ("dict.txt", 7)),
        (lambda folder: (folder / "dict.txt").write_bytes(b"\xff 1\n"), ("dict.txt",)),
    ],
)
def test_folders_that_are_not_whole(model, change, named):
    change(model)
    assert_names(refusal(model), model, *named)


def test_a_model_without_the_symbols(prepare, out, files, tmp_path):
    """This one by the script: a refusal of the Python is one line of it."""
    plain = write_t5_pieces(tmp_path / "plain", passages=0)
    assert_names(
        prepare.complain(*files, "--out", out, "--model", plain),
        "--model",
        f"{plain}/dict.txt",
        "<question>",
    )


def test_a_tokeniser_that_frames_texts(tmp_path):
    bart = write_model(tmp_path / "bart")
    assert_names(refusal(bart), "--model", bart, "<s>")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_frame_of_one_side(model, side):
    description = json.loads((model / "hugging_face.json").read_text("utf-8"))
    description[side]["prefix"] = ["7", "<s>"]
    (model / "hugging_face.json").write_text(json.dumps(description))
    assert_names(refusal(model), model, 7, "<s>")


def test_a_model_with_two_dictionaries(tmp_path):
    two = write_model(tmp_path / "two", joined=False)
    edited("hugging_face.json", '"prefix": ["<s>"]', '"prefix": []')(two)
    assert_names(refusal(two), "--model", two, "dict.txt")


def test_a_question_with_too_many_pieces(prepare, files, model, tmp_path):
    """The number is that of the model's pieces; what was done so far stays for the next run."""
    given = ("--out", tmp_path / "kept", "--model", model)
    message = prepare.complain(*files, *given, "--max-question", 3)
    assert_names(
        message, f"{tmp_path}/examples.json", 0, 4, "--max-question", 3, "--truncate-questions"
    )

"""Texts by a model, whose symbols another model may have, too."""

import pytest

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.predictions import read_predictions


def texts(path, text):
    return [given["prediction"] for given in read_predictions(path, text)]


@pytest.fixture
def generated(tmp_path):
    def write(*lines: str):
        path = tmp_path / "generate-test.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def shout(symbols):
    return " ".join(symbols).upper()


def test_symbols_become_text_as_the_data_folder_says(generated):
    path = generated("H-0\t-0.1\tthe c@@ at", "D-0\t-0.1\tthe cat")
    assert texts(path, shout) == ["THE C@@ AT"]
    assert texts(path, None) == ["the cat"]


def test_ids_are_those_of_whoever_wrote_them(generated):
    """Another model's are other words: the text beside them is taken."""
    path = generated(
        "H-0\t-0.1\t464 3797", "D-0\t-0.1\tthe cat", "H-1\t-0.1\t<s> 7", "D-1\t-0.1\ta"
    )
    assert texts(path, shout) == ["the cat", "a"]
    bare = generated("H-0\t-0.1\t464 3797", "D-0\t-0.1\t464 3797")
    assert texts(bare, lambda symbols: "-".join(symbols)) == ["464-3797"]


def test_what_cannot_be_read_is_said(generated):
    def refuse(symbols):
        raise UserError("another model wrote it")

    path = generated("H-0\t-0.1\tthe c@@ at")
    with pytest.raises(UserError):
        texts(path, refuse)

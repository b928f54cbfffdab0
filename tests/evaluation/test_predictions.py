"""Reading the output of fairseq-generate, and texts whose symbols another model may have, too."""

import pytest
from refusals import refuses

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.predictions import read_generated, read_predictions

GENERATED = """\
S-1\tb
T-1\tB
H-1\t-0.1\tzwei Wör@@ ter
D-1\t-0.1\tzwei Wörter
P-1\t-0.1
S-0\ta
H-0\t-0.2\tD-1\tsteht im Text
D-0\t-0.2\tD-1\tsteht im Text
Generate test with beam=5: BLEU4 = 1.0
"""


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


def test_reads_in_the_order_of_the_test_set(tmp_path):
    path = tmp_path / "generate-test.txt"
    path.write_text(GENERATED, encoding="utf-8")
    assert read_generated(path).detokenised == ["D-1\tsteht im Text", "zwei Wörter"]


def test_a_missing_sentence_is_not_passed_over(tmp_path):
    path = tmp_path / "generate-test.txt"
    path.write_text("D-0\t-1\ta\nD-2\t-1\tc\n")
    with refuses(path):
        read_generated(path)


def test_of_several_hypotheses_the_first_is_read(tmp_path):
    path = tmp_path / "generate-test.txt"
    path.write_text("H-0\t-1\ta@@ b\nD-0\t-1\tab\nH-0\t-2\tc\nD-0\t-2\tc\n")
    found = read_generated(path)
    assert (found.hypotheses, found.detokenised, found.targets) == (["a@@ b"], ["ab"], [""])

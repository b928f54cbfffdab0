"""Token ids as text, words, and text with marks."""

import json
import re
from pathlib import Path

import pytest
from fairseq.data import Dictionary
from refusals import refuses
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from genft_fairseq.cli.measuring import bpe_option
from genft_fairseq.data.subwords import KINDS, Subwords
from genft_fairseq.metrics.words import mark_spans, words

# GPT-2's alphabet of bytes is printable ASCII as itself, and Ġ for a space.
ENCODER = {"a": 0, "b": 1, "Ġ": 2, "Ġa": 3, "ab": 4, "Ã": 5, "¼": 6, "<|endoftext|>": 7}


def dictionary_of(symbols):
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    return dictionary


def ids(dictionary, symbols):
    return [dictionary.index(symbol) for symbol in symbols.split()]


@pytest.fixture
def gpt2(tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps(ENCODER))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nĠ a\na b\n")
    return tmp_path


def test_words():
    assert words("It's 3.5, née\nÜbung¶ ⟦a⟧") == [
        *("It", "'", "s", "3", ".", "5", ",", "née", "\n", "Übung", "¶", "⟦", "a", "⟧")
    ]
    assert words("") == words("  ") == []


def test_none_and_subword_nmt(tmp_path):
    dictionary = dictionary_of(["he@@", "llo", "th@@", "ere"])
    tokens = ids(dictionary, "he@@ llo th@@ ere </s> he@@")
    assert Subwords(dictionary, "auto", [tmp_path]).text(tokens) == "he@@ llo th@@ ere ¶ he@@"
    (tmp_path / "bpe.codes").touch()
    subwords = Subwords(dictionary, "auto", [tmp_path / "other", tmp_path])
    assert subwords.kind == "subword_nmt"
    assert subwords.text(tokens) == "hello there ¶ he@@"[:-2]
    assert subwords.text([]) == ""


def test_sentencepiece(tmp_path):
    """By the symbols of the dictionary, of which some begin words, and not only an odd one."""
    dictionary = dictionary_of(["▁he", "llo", "▁", "th"])
    tokens = ids(dictionary, "▁he llo ▁ th </s> ▁he")
    (tmp_path / "dict.de.txt").write_text("▁he 9\nllo 8\n▁ 7\nth 6\n")
    subwords = Subwords(dictionary, "auto", [tmp_path])
    assert (subwords.kind, subwords.text(tokens)) == ("sentencepiece", "hello th¶ he")
    for bits in range(2 ** len(tokens)):
        flags = [bool(bits >> place & 1) for place in range(len(tokens))]
        assert re.sub("[⟦⟧]", "", subwords.marked(tokens, flags)) == subwords.text(tokens)
    assert subwords.marked(tokens, [0, 1, 1, 0, 0, 1]) == "he⟦llo ⟧th¶ ⟦he⟧"
    words = "".join(f"w{number} 1\n" for number in range(200))
    (tmp_path / "dict.de.txt").write_text(f"{words}▁ 1\n@@ 1\n")
    assert Subwords(dictionary, "auto", [tmp_path]).kind == "none"


@pytest.mark.parametrize("kind", ["none", "subword_nmt"])
def test_marks_leave_the_text_as_it_is(kind):
    dictionary = dictionary_of(["he@@", "llo", "th@@", "ere"])
    tokens = ids(dictionary, "he@@ llo th@@ ere </s> he@@ llo")
    subwords = Subwords(dictionary, kind, [])
    for bits in range(2 ** len(tokens)):
        flags = [bool(bits >> place & 1) for place in range(len(tokens))]
        marked = subwords.marked(tokens, flags)
        assert re.sub("[⟦⟧]", "", marked) == subwords.text(tokens)
        assert marked.count("⟦") == marked.count("⟧") == f"0{bits:07b}".count("01")
    if kind == "subword_nmt":
        assert subwords.marked(tokens, [0, 1, 1, 0, 0, 1, 1]) == "he⟦llo th⟧ere ¶ ⟦hello⟧"


def test_gpt2(gpt2):
    dictionary = dictionary_of([str(number) for number in range(8)])
    subwords = Subwords(dictionary, "auto", [gpt2])
    assert subwords.kind == "gpt2"
    tokens = ids(dictionary, "4 3 2 1 </s> 5 6 7 <unk>")
    assert subwords.text(tokens) == "ab a b¶ü<|endoftext|><unk>"
    assert subwords.marked(tokens, [0, 1, 1, 0, 0, 0, 0, 0, 0]) == "ab⟦ a ⟧b¶ü<|endoftext|><unk>"
    # Half a letter is shown as such, and nothing fails.
    assert subwords.text(ids(dictionary, "0 5")) == "a�"


def test_gpt2_without_its_files(gpt2, tmp_path):
    (gpt2 / "vocab.bpe").unlink()
    with refuses("--bpe", "gpt2", tmp_path, "x", "vocab.bpe"):
        Subwords(dictionary_of(["0"]), "gpt2", [tmp_path, Path("x")])
    assert Subwords(dictionary_of(["0"]), "auto", [tmp_path]).kind == "none"


def test_marks_of_gpt2_keep_letters_whole(gpt2):
    """The two bytes of ü are pieces of their own: a mark between them moves behind the letter."""
    dictionary = dictionary_of([str(number) for number in range(8)])
    subwords = Subwords(dictionary, "gpt2", [gpt2])
    tokens = ids(dictionary, "0 5 6 5 6 1")
    for bits in range(2 ** len(tokens)):
        flags = [bool(bits >> place & 1) for place in range(len(tokens))]
        marked = subwords.marked(tokens, flags)
        assert re.sub("[⟦⟧]", "", marked) == subwords.text(tokens) == "aüüb"
        assert marked.count("⟦") == marked.count("⟧")
    assert subwords.marked(tokens, [0, 0, 1, 1, 0, 0]) == "aü⟦ü⟧b"


def test_marks_of_the_text_itself():
    dictionary = dictionary_of(["⟦a", "b⟧"])
    tokens = ids(dictionary, "⟦a b⟧")
    subwords = Subwords(dictionary, "none", [])
    assert subwords.text(tokens) == "⟦a b⟧"
    assert subwords.marked(tokens, [0, 1]) == "[a ⟦b]⟧"


def test_kinds_are_those_that_can_be_asked_for():
    options = bpe_option(lambda: None).__click_params__
    assert tuple(options[0].type.choices) == KINDS


# --- the tokeniser of an imported model ----------------------------------------------------------


@pytest.fixture
def model_folder(tmp_path):
    """Pieces of words, numbered as transformers does; fairseq's own symbols are not text."""
    subwords = ["<pad>", "</s>", "<unk>", "▁he", "llo", "▁th", "ere", "⟦"]
    numbered = {subword: number for number, subword in enumerate(subwords)}
    tokenizer = Tokenizer(models.WordLevel(numbered, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    side = {"size": 8, "bos": None, "pad": 0, "eos": 1, "unk": 2, "prefix": []}
    (tmp_path / "hugging_face.json").write_text(json.dumps({"source": side, "target": side}))
    return tmp_path


def test_an_imported_models_tokeniser(model_folder, gpt2):
    dictionary = dictionary_of([str(number) for number in range(3, 8)])
    subwords = Subwords(dictionary, "auto", [Path("x"), model_folder])
    assert subwords.kind == "hugging_face"  # whatever else is there
    tokens = ids(dictionary, "3 4 5 6 </s> 3 4")
    assert subwords.text(tokens) == "hello there hello"
    assert subwords.join(["<s>", "5", "6"]) == "there"
    # Marks stand around whole words.
    assert subwords.marked(tokens, [0, 1, 0, 0, 0, 0, 0]) == "⟦hello⟧ there hello"
    assert subwords.marked(tokens, [0, 1, 1, 0, 0, 0, 1]) == "⟦hello there hello⟧"
    assert subwords.marked(tokens, [0] * 7) == subwords.text(tokens)
    assert subwords.marked([], []) == ""
    assert subwords.marked(ids(dictionary, "7 3"), [0, 1]) == "[ ⟦he⟧"


def test_an_imported_models_tokeniser_is_not_there(tmp_path):
    with refuses("--bpe", "hugging_face", tmp_path, "x"):
        Subwords(None, "hugging_face", [tmp_path, Path("x")])


def test_marked_spans():
    assert mark_spans("abc def", [(0, 2), (4, 7)]) == "⟦ab⟧c ⟦def⟧"
    assert mark_spans("", []) == ""

"""The form of a data folder's text, from the files that preparation leaves there."""

import json

import pytest
from sacremoses import MosesTokenizer

from genft_fairseq.data.subwords import text_form

MOSES = "moses_tokenise.py --languages en de (sacremoses)"


def prepared(folder, *, recipe="x --truecase off", commands=(MOSES,), codes=True):
    folder.mkdir()
    if codes:
        (folder / "bpe.codes").write_text("#version: 0.2\na b\n")
    if commands is not None:
        manifest = {"recipe": {"command": recipe}, "commands": list(commands)}
        (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    return folder


def text(folder, line, language="de"):
    return text_form([folder]).text(language)(line.split())


def test_moses_tokens_in_subwords(tmp_path):
    data = prepared(tmp_path / "data")
    raw = 'Ein rot-grüner Ball, "neu" & rund.'
    tokens = MosesTokenizer("de").tokenize(raw, aggressive_dash_splits=True, return_str=True)
    assert text(data, tokens) == raw
    assert text(data, tokens.replace("grüner", "grü@@ n@@ er")) == raw
    assert text_form([data]).is_prepared and text_form([data]).is_known


def test_words_that_nobody_split_stay_as_they_are(tmp_path):
    for name, more in {
        "toy": {"commands": ["subword-nmt"]},
        "none": {"commands": ["x"], "recipe": "y --tokenise none", "codes": False},
    }.items():
        assert text(prepared(tmp_path / name, **more), "ein@@ s , &apos;") == (
            "eins , &apos;" if name == "toy" else "ein@@ s , &apos;"
        )


def test_without_a_manifest_subwords_are_those_of_moses_tokens(tmp_path):
    data = prepared(tmp_path / "data", commands=None)
    assert text(data, "ein@@ s , zwei") == "eins, zwei"
    form = text_form([data])
    assert not form.is_prepared and form.is_known
    empty = text_form([tmp_path])
    assert not empty.is_known and empty.text("de")(["eins", ","]) == "eins ,"


@pytest.mark.parametrize(
    ("symbols", "line", "expected"),
    [
        (["Hun@@", "de", "a"], "Hun@@ de", "Hunde"),
        (["▁Hun", "de", "▁"], "▁Hun de ▁ a", "Hunde a"),
        (["▁Hun", "de", "▁"], "Hunde a", "Hunde a"),
        (["Hun@@", "de", "a"], "Hunde a", "Hunde a"),
        (["a", "b", "@@"], "a b @@", "a b @@"),
        ([*(f"w{i}" for i in range(200)), "▁x"], "a ▁x b", "a ▁x b"),
    ],
)
def test_the_marks_of_a_dictionary_tell_where_no_file_does(tmp_path, symbols, line, expected):
    (tmp_path / "dict.de.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols))
    assert text(tmp_path, line) == expected


def test_case(tmp_path):
    cased = prepared(tmp_path / "truecased", recipe="x --truecase on")
    assert text(cased, '" ein Mann . das ist es .') == '"Ein Mann. Das ist es.'
    assert text(cased, "") == ""
    lower = prepared(tmp_path / "lower", commands=["moses_tokenise.py --lowercase (x)"])
    assert text_form([lower]).words.is_lowercased and text(lower, "ein Mann .") == "ein Mann."

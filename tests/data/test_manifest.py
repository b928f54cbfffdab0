"""What a manifest says about words."""

import json

import pytest

from genft_fairseq.data.prepared_tokeniser import NAME, Preparation, read_preparation

MOSES = "moses_tokenise.py --languages de en (sacremoses: punctuation normalised)"


@pytest.mark.parametrize(
    ("recipe", "commands", "expected"),
    [
        ("prepare-multi30k.sh --truecase off", [MOSES, "subword-nmt"], Preparation(True, True)),
        ("x --truecase on", [MOSES], Preparation(True, True, is_truecased=True)),
        ("x", ["moses_tokenise.py --lowercase (x)"], Preparation(True, is_lowercased=True)),
        ("prepare-fid.sh", ["fid_words.py (sacremoses)", "subword-nmt"], Preparation(True)),
        ("prepare-toy.sh --only translation", ["subword-nmt"], Preparation(False)),
        ("prepare-fid.sh --tokenise none", None, Preparation(False)),
        ("prepare-a-toy.sh", None, None),
    ],
)
def test_how_text_became_words(tmp_path, recipe, commands, expected):
    manifest = {"recipe": {"command": recipe}, "commands": commands}
    (tmp_path / NAME).write_text(json.dumps(manifest))
    assert read_preparation(tmp_path) == expected


@pytest.mark.parametrize("text", ["", "nothing", "[]", '{"recipe": 1}', "[" * 100_000, "\x00"])
def test_a_manifest_of_another_make_says_nothing(tmp_path, text):
    assert read_preparation(tmp_path) is None
    (tmp_path / NAME).write_text(text)
    assert read_preparation(tmp_path) is None

"""``--tokenizer prepared`` against what data-prep made of the same text."""

import json
import subprocess
import sys

import pytest
from fairseq_commands import REPOSITORY
from refusals import refuses

from genft_fairseq.data.encoders import PreparedTokenizer, PreparedTokenizerConfig

TEXT = [
    "Ein Mann mit „rot-grünem“ Hut – und Schal.",
    "Der Mann, der Hut & das Haus … sind <groß>!",
    "Das ist's; sagt er: „Ja.“ Ein Haus",
    "Wo ist der Mann? Der Hut?",
]
SCRIPT = REPOSITORY / "data-prep" / "moses_tokenise.py"


def prepared(folder, *options, recipe="prepare-x.sh --truecase off"):
    """A data folder's manifest and models, and the words that data-prep makes of the text."""
    for name in ("raw", "words", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "raw" / "train.de").write_text("".join(f"{line}\n" for line in TEXT))
    words = [SCRIPT, folder / "raw", folder / "words", "--splits", "train", *options]
    words += ["--suffixes", "de", "--languages", "de"]
    subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
    command = f"moses_tokenise.py --languages de {' '.join(options)} (punctuation normalised)"
    manifest = {"recipe": {"command": recipe}, "commands": [command]}
    (folder / "data" / "MANIFEST.json").write_text(json.dumps(manifest))
    return folder / "data", (folder / "words" / "train.de").read_text().splitlines()


def tokeniser(data):
    return PreparedTokenizer(
        PreparedTokenizerConfig(source_lang="de", target_lang="de", prepared_data=str(data))
    )


@pytest.mark.parametrize("options", [(), ("--lowercase",)])
def test_text_is_split_as_data_prep_did(tmp_path, options):
    data, words = prepared(tmp_path, *options)
    own = tokeniser(data)
    assert [own.encode(line) for line in TEXT] == words
    assert own.encode("") == own.decode("") == ""
    expected = "ein Mann, der „Hut“." if not options else "ein mann, der „hut“."
    assert own.decode("ein Mann , der „ Hut “ .".lower() if options else own.encode(expected))


def test_truecased_text(tmp_path):
    models = tmp_path / "x" / "data"
    data, words = prepared(
        tmp_path / "x", "--truecase-models", str(models), recipe="x --truecase on"
    )
    own = tokeniser(data)
    assert [own.encode(line) for line in TEXT] == words
    assert own.encode("Der Hut.").startswith("der ")
    assert own.decode("der Hut . ein Mann") == "Der Hut. Ein Mann"
    (data / "truecase-model.de").write_text("odd")
    with refuses("truecase-model.de"):
        tokeniser(data)
    (data / "truecase-model.de").unlink()
    with refuses("truecase-model.de"):
        tokeniser(data)


@pytest.mark.parametrize("given", ["", "nowhere"])
def test_a_folder_without_a_manifest(given):
    with refuses("--prepared-data", repr(given)):
        tokeniser(given)


def test_words_that_nobody_split(tmp_path):
    manifest = {"recipe": {"command": "prepare-toy.sh"}, "commands": ["subword-nmt"]}
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    own = tokeniser(tmp_path)
    assert own.encode(" Ein  Mann, ja. ") == own.decode("Ein Mann, ja.") == "Ein Mann, ja."

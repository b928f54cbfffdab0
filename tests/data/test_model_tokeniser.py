"""The tokeniser of an imported model: ids as symbols, framed and cut as the model was trained."""

import json
import os
import shutil
import sys

import pytest
from encoder_decoder_folder import import_model
from hypothesis import given
from hypothesis import strategies as st
from models.tiny_hugging_face import TEXT
from refusals import refuses
from tokenizers import Tokenizer

from genft_fairseq.data.encoders import HuggingFaceBPE, HuggingFaceBPEConfig
from genft_fairseq.data.huggingface_tokeniser import (
    ModelTokeniser,
)

# What frames a text, as transformers' ids: those that fairseq writes as symbols of its own.
SPECIAL = {
    "t5": {0: "<pad>", 1: "</s>", 2: "<unk>"},
    "bart": {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>"},
    "bert2bert": {0: "<pad>", 1: "<unk>", 2: "<s>", 3: "</s>"},
}
KINDS = (*SPECIAL, "bert2gpt2")
ODD = [
    *TEXT,
    "",
    " ",
    "</s>",
    "the [CLS] cat [SEP]",
    "<extra_id_0> <s> <pad> <unk>",
    "ü\u2014 日本",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in found.items():
        import_model(folder, kind)
    return {kind: folder / "fairseq" for kind, folder in found.items()}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def tokeniser(kind, folders):
    return ModelTokeniser.read(folders[kind])


@pytest.fixture
def folder(folders, tmp_path):
    """A copy to break."""
    return shutil.copytree(folders["bert2gpt2"], tmp_path / "model")


def theirs(folder, side):
    """The library's own tokeniser of a side."""
    file = folder / "tokenizer.json"
    return Tokenizer.from_file(str(file if file.exists() else folder / f"tokenizer.{side}.json"))


def special(kind, side):
    """The symbols of a side: GPT-2 has one token, the last of them, that no text has."""
    if kind == "bert2gpt2":
        return SPECIAL["bert2bert"] if side == "source" else {290: "</s>"}
    return SPECIAL[kind]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_text_is_framed_as_the_model_knows_it(side, kind, folders, tokeniser):
    """By the frame that the library itself adds; GPT-2's adds none, and fairseq ends texts."""
    own = special(kind, side)
    for text in TEXT:
        ids = theirs(folders[kind], side).encode(text).ids
        symbols = [own.get(number, str(number)) for number in ids]
        framed = [*symbols[:-1], "</s>"] if symbols[-1] == "</s>" else [*symbols, "</s>"]
        assert [*getattr(tokeniser, f"encode_{side}")(text), "</s>"] == framed


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("most", [3, 4, 9, 1000])
def test_a_text_is_cut_as_the_library_cuts_it(most, side, kind, folders, tokeniser):
    library = theirs(folders[kind], side)
    framed = "</s>" in [special(kind, side).get(n) for n in library.encode("").ids]
    library.enable_truncation(most if framed else most - 1)
    for text in TEXT:
        want = library.encode(text).ids[: -1 if framed else None]
        got = getattr(tokeniser, f"encode_{side}")(text, most)
        assert got == [special(kind, side).get(number, str(number)) for number in want]
        assert len(got) == min(most - 1, len(getattr(tokeniser, f"encode_{side}")(text)))


def test_no_room_for_a_text(kind, tokeniser):
    prefix = kind != "t5"  # <s> is there as well
    with refuses(2 + prefix, 1):
        tokeniser.encode_source("the cat", 1)
    assert len(tokeniser.encode_source("the cat", 2 + prefix)) == 1 + prefix


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("most", [None, 6])
def test_a_batch_is_its_texts_one_by_one(most, side, tokeniser):
    several = getattr(tokeniser, f"encode_{side}s")(ODD, most)
    assert several == [getattr(tokeniser, f"encode_{side}")(text, most) for text in ODD]
    assert getattr(tokeniser, f"encode_{side}s")([], most) == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_text_that_spells_a_symbol_is_text(side, kind, tokeniser):
    """None of the symbols that frame texts stands within one, and every symbol is a word of ids."""
    encode = getattr(tokeniser, f"encode_{side}")
    prefix = encode("")
    for text in ODD:
        subwords = encode(text)[len(prefix) :]
        assert not {"<s>", "<pad>", "</s>"} & set(subwords)
        own = special(kind, side).values()
        assert all(subword.isdigit() or subword == "<unk>" for subword in subwords)
        assert "<unk>" not in subwords or "<unk>" in own
        assert not {str(number) for number in special(kind, side)} & set(subwords)


@pytest.mark.parametrize("kind", ["bart", "bert2gpt2"])
@given(text=st.text())
def test_bytes_survive(text, kind, folders):
    tokeniser = ModelTokeniser.read(folders[kind])
    assert tokeniser.decode([*tokeniser.encode_target(text), "</s>"]) == text


@pytest.mark.parametrize("kind", ["bart", "bert2gpt2"])
@pytest.mark.parametrize("text", ODD)
def test_odd_texts_survive(text, kind, folders):
    tokeniser = ModelTokeniser.read(folders[kind])
    assert tokeniser.decode(tokeniser.encode_target(text)) == text


def test_its_own_text_survives(folders):
    """Unigram keeps the text; WordPiece knows no spaces, and decodes them before words alone."""
    for text in TEXT:
        unigram = ModelTokeniser.read(folders["t5"])
        assert unigram.decode(unigram.encode_target(text)) == text
        subwords = ModelTokeniser.read(folders["bert2bert"])
        decoded = subwords.decode(["<s>", *subwords.encode_target(text), "</s>", "<pad>"])
        assert decoded.replace(" ", "") == text.replace(" ", "")
        assert decoded.split()[0] == text.split()[0]


def test_what_frames_a_text_is_left_out(kind, tokeniser):
    text = TEXT[0]
    symbols = tokeniser.encode_target(text)
    plain = tokeniser.decode(symbols)
    added = ["<question>", "<passage:2>"]  # of Fusion-in-Decoder
    assert tokeniser.decode(["<s>", *added, *symbols, "</s>", "<pad>", "<pad>"]) == plain
    assert tokeniser.decode([]) == ""
    if kind == "t5":
        assert "<unk>" in tokeniser.decode(tokeniser.encode_target("a \u6226 cat"))
    if kind == "bert2bert":
        assert "[UNK]" in tokeniser.decode(tokeniser.encode_target("a \u6226 cat"))


def test_the_dictionaries(kind, folders, tokeniser):
    """Every symbol of a text is in them."""
    sides = {"source": tokeniser.source_dictionary, "target": tokeniser.target_dictionary}
    names = ["dict.txt"] if kind != "bert2gpt2" else ["dict.source.txt", "dict.target.txt"]
    assert [path.name for path in dict.fromkeys(sides.values())] == names
    for side, path in sides.items():
        known = {line.split()[0] for line in path.read_text().splitlines()}
        for symbols in getattr(tokeniser, f"encode_{side}s")(TEXT):
            assert set(symbols) <= known | {"<s>", "<unk>"}


def test_a_copy_of_the_files_is_enough(folders, tmp_path):
    """As in a data folder, which has no checkpoint."""
    for file in folders["bart"].iterdir():
        if file.name != "model.pt":
            shutil.copy(file, tmp_path)
    copied, own = (ModelTokeniser.read(place) for place in (tmp_path, folders["bart"]))
    assert copied.encode_sources(ODD) == own.encode_sources(ODD)


# --- what is missing or broken -------------------------------------------------------------------


def rewritten(**changes):
    """Change what the source side says in hugging_face.json; of None, leave the side out."""

    def change(folder):
        path = folder / "hugging_face.json"
        content = json.loads(path.read_text())
        content["source"] = {**content["source"], **changes} if changes else None
        path.write_text(json.dumps(content))

    return change


BROKEN = {
    "gone": (
        shutil.rmtree,
        "hugging_face.json",
    ),
    "no description": (
        lambda folder: (folder / "hugging_face.json").unlink(),
        "hugging_face.json",
    ),
    "no JSON": (
        lambda folder: os.truncate(folder / "hugging_face.json", 30),
        "hugging_face.json",
    ),
    "no text": (
        lambda folder: (folder / "hugging_face.json").write_bytes(b"\xff"),
        "hugging_face.json",
    ),
    "no dictionary": (
        lambda folder: (folder / "hugging_face.json").write_text("[]"),
        "hugging_face.json",
    ),
    "no side": (rewritten(), "hugging_face.json"),
    "id": (
        rewritten(pad="0"),
        "hugging_face.json",
    ),
    "prefix": (rewritten(prefix=[2]), "hugging_face.json"),
    "no prefix": (rewritten(prefix="<s>"), "hugging_face.json"),
    "no tokeniser": (
        lambda folder: (folder / "tokenizer.target.json").unlink(),
        "tokenizer.target.json",
    ),
    "broken tokeniser": (
        lambda folder: os.truncate(folder / "tokenizer.source.json", 200),
        "tokenizer.source.json",
    ),
}


@pytest.mark.parametrize(("change", "file"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_refused_in_one_line(change, file, folder):
    change(folder)
    with refuses(folder, file):
        ModelTokeniser.read(folder)


def test_without_the_library(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with refuses("genft_fairseq[hf]"):
        ModelTokeniser.read(folder)


def test_fairseqs_own_interface(folders):
    """``--bpe hugging_face`` encodes what is read, and decodes what is written."""
    folder = folders["bert2gpt2"]
    bpe = HuggingFaceBPE(HuggingFaceBPEConfig(hugging_face_tokeniser=str(folder)))
    tokeniser = ModelTokeniser.read(folder)
    assert bpe.encode(TEXT[0]).split() == tokeniser.encode_source(TEXT[0])
    assert bpe.decode(" ".join(tokeniser.encode_target(TEXT[1]))) == TEXT[1]
    with refuses("--bpe hugging_face", "--hugging-face-tokeniser"):
        HuggingFaceBPE(HuggingFaceBPEConfig())

"""Folders of binarized data of which a file is damaged, missing, or another folder's."""

import shutil
import struct

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.data.indexed_dataset import (
    IndexedDatasetBuilder,
    MMapIndexedDatasetBuilder,
    best_fitting_int_dtype,
)
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, train
from fid_folder import TINY_FID, keys_and_values, write_fid_folder
from hypothesis import given
from hypothesis import strategies as st
from refusals import assert_refused
from tiny_gpt2 import write_tokeniser
from trust.damage import assert_read_or_refused, damaged, fuzz, refusal

from genft_fairseq.data.fid_lines import require_pairs
from genft_fairseq.data.subwords import Subwords
from genft_fairseq.retrieval.encoding import text_subwords

WORDS = [f"w{i}" for i in range(20)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A dictionary and six sentences, as fairseq-preprocess writes them."""
    folder = tmp_path_factory.mktemp("small")
    dictionary = Dictionary()
    for word in WORDS:
        dictionary.add_symbol(word)
    dictionary.save(str(folder / "dict.txt"))
    kind = best_fitting_int_dtype(len(dictionary))
    builder = MMapIndexedDatasetBuilder(str(folder / "train.bin"), dtype=kind)
    for size in (3, 5, 1, 4, 2, 7):
        builder.add_item(torch.arange(4, 4 + size))
    builder.finalize(str(folder / "train.idx"))
    return folder


def read(folder):
    """All that a command reads of it."""
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    data = data_utils.load_indexed_dataset(str(folder / "train"), dictionary, combine=True)
    assert data is not None
    for sentence in data:
        assert all(0 <= token < len(dictionary) for token in sentence.tolist())


FILES = ["dict.txt", "train.idx", "train.bin"]


@pytest.mark.parametrize("name", FILES)
@fuzz
@given(data=st.data())
def test_damaged_data(name, small, folder, data):
    """Whatever passes can be read to its end, and holds symbols of the dictionary alone."""
    for file in FILES:
        shutil.copy(small / file, folder)
    content = data.draw(damaged((small / name).read_bytes()))
    (folder / name).write_bytes(content)
    # A damaged dictionary may have too few symbols for the data beside it.
    named = [folder / file for file in ((name, "train.bin") if name == "dict.txt" else (name,))]
    named += [folder / "train.bin", folder / "train.idx"] if name != "dict.txt" else []
    assert_read_or_refused(lambda: read(folder), *named, folder=folder)


HEADER = struct.Struct("<9sQBQ")


def header(number=6, magic=b"MMIDIDX\0\0", version=1, code=8):
    return HEADER.pack(magic, version, code, number)


BROKEN = {
    "another file": ("idx", lambda _: b"<html>404</html>" * 10, []),
    "version": ("idx", lambda b: header(version=2) + b[26:], []),
    "kind": ("idx", lambda b: header(code=99) + b[26:], []),
    "sentences": ("idx", lambda b: header(number=1 << 60) + b[26:], []),
    "size": ("idx", lambda b: b[:26] + b"\xff\xff\xff\xff" + b[30:], []),
    "place": ("idx", lambda b: b[:-8] + bytes(8), []),
    "cut": ("bin", lambda b: b[:-1], [43, 44]),
    "token": ("bin", lambda b: b[:-2] + b"\x18\0", [24]),
}


@pytest.mark.parametrize(("ending", "change", "named"), BROKEN.values(), ids=BROKEN)
def test_what_is_said_of_an_index(ending, change, named, small, folder):
    shutil.copytree(small, folder, dirs_exist_ok=True)
    path = folder / f"train.{ending}"
    path.write_bytes(change(path.read_bytes()))
    line = assert_read_or_refused(lambda: read(folder), folder / "train", folder=folder)
    assert line is not None and all(str(number) in line for number in named)


DICTIONARIES = {
    "no count": (b"a 1\nb\n", "line 2"),
    "another count": (b"a 1.5\n", "line 1"),
    "twice": (b"a 1\nb 1\na 1\n", "line 3"),
    "fairseq's own": (b"<pad> 1\n", "line 1"),
    "no UTF-8": (b"\xff 1\n", "UTF-8"),
    "a page": (b"<html>404</html>\n", "line 1"),
    "a huge count": (b"a " + b"9" * 5000 + b"\n", "line 1"),
}


@pytest.mark.parametrize(("content", "named"), DICTIONARIES.values(), ids=DICTIONARIES)
def test_what_is_said_of_a_dictionary(content, named, folder):
    path = folder / "dict.txt"
    path.write_bytes(content)
    line = assert_read_or_refused(lambda: Dictionary.load(str(path)), path, folder=folder)
    assert line is not None and named in line


def test_dictionaries_and_data_of_other_makes_are_read(folder):
    """A symbol that replaces one, a space as a symbol; and fairseq's older format of data."""
    (folder / "dict.txt").write_text("<unk> 5 #fairseq:overwrite\n\u3000 3\na b 2\n")
    assert Dictionary.load(str(folder / "dict.txt")).index("a b") == 6
    builder = IndexedDatasetBuilder(str(folder / "train.bin"))
    builder.add_item(torch.IntTensor([5, 6]))
    builder.finalize(str(folder / "train.idx"))
    data = data_utils.load_indexed_dataset(str(folder / "train"), None)
    assert len(data) == 1


def test_the_second_part_of_data_is_looked_at_too(small, folder):
    shutil.copytree(small, folder, dirs_exist_ok=True)
    for ending in ("idx", "bin"):
        shutil.copy(small / f"train.{ending}", folder / f"train1.{ending}")
    (folder / "train1.bin").write_bytes(b"")
    assert "train1.bin" in str(refusal(lambda: read(folder)))


def test_alignments_that_are_no_pairs():
    require_pairs([torch.ones(2), torch.ones(0)], "here")
    line = refusal(lambda: require_pairs([torch.ones(2), torch.ones(3)], "here"))
    assert line is not None and all(named in line for named in ("here", "example 1", "3"))


# --- what else lies in a folder -------------------------------------------------------------------

CODES = b"#version: 0.2\nt h\nth e</w>\ni n\n"


@fuzz
@given(content=damaged(CODES))
def test_damaged_bpe_codes(content, folder):
    (folder / "bpe.codes").write_bytes(content)
    dictionary = Dictionary()
    assert_read_or_refused(
        lambda: text_subwords(folder, dictionary)("the thin man"),
        folder / "bpe.codes",
        folder=folder,
    )


@pytest.mark.parametrize("name", ["encoder.json", "vocab.bpe"])
@fuzz
@given(data=st.data())
def test_damaged_pieces_of_gpt2(name, folder, data):
    write_tokeniser(folder, ("encoder.json", "vocab.bpe"))
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))

    def spell():
        subwords = Subwords(None, "gpt2", [folder])
        return [subwords.join([str(number)]) for number in range(40)]

    assert_read_or_refused(spell, folder, folder=folder)


def test_codes_without_a_merge(folder):
    (folder / "bpe.codes").write_bytes(b"#version: 0.2\n")
    line = refusal(lambda: text_subwords(folder, Dictionary()))
    assert line is not None and f"{folder}/bpe.codes" in line


# --- by the commands ------------------------------------------------------------------------------


def test_a_token_beyond_the_dictionary_is_no_error_of_the_model(language_model_data, folder):
    """Said before training begins, not by the embedding in the middle of an epoch."""
    data = shutil.copytree(language_model_data, folder / "data")
    content = np.fromfile(data / "train.bin", np.uint16)
    content[len(content) // 2] = 60_000
    content.tofile(data / "train.bin")
    save = folder / "save"
    done = train(data, save, TINY_LANGUAGE_MODEL, "--max-update", 2, check=False)
    assert_refused(done, data / "train.bin", 60000)
    assert not list(save.glob("*.pt"))


def test_a_damaged_dictionary_is_named(translation_data, folder):
    data = shutil.copytree(translation_data, folder / "data")
    with (data / "dict.de.txt").open("a") as stream:
        stream.write("half a li")
    done = train(data, folder / "save", TINY_TRANSLATION, "--max-update", 2, check=False)
    assert_refused(done, data / "dict.de.txt", "line ")


def test_damaged_alignments_of_passages(folder):
    data = write_fid_folder(folder / "data", {s: keys_and_values(6) for s in ("train", "valid")})
    builder = MMapIndexedDatasetBuilder(str(data / "train.align.question-answer.bin"))
    for _ in range(6):
        builder.add_item(torch.IntTensor([0, 1, 0]))
    builder.finalize(str(data / "train.align.question-answer.idx"))
    done = train(data, folder / "save", TINY_FID, "--source-pointing", check=False)
    assert_refused(done, "train", "example 0", 3)

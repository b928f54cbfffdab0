"""Index folders of ``genft retrieve`` of which a file is damaged: refused, or searched."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trust.damage import assert_read_or_refused, damaged, fuzz

from genft_fairseq.data.passages import PassageTable
from genft_fairseq.retrieval import dense
from genft_fairseq.retrieval.bm25 import BM25Index
from genft_fairseq.retrieval.index_folder import IndexRecord

ROWS = "".join(f"{n}\tsome words of the passage {n} and word{n}\tTitle\n" for n in range(9))
FILES = [
    *("data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"),
    *("params.index.json", "vocab.index.json", "index.json"),
]
few = settings(fuzz, max_examples=max(12, fuzz.max_examples // 2))


@pytest.fixture
def table(folder):
    path = folder / "table.tsv"
    path.write_text("id\ttext\ttitle\n" + ROWS)
    return PassageTable(path)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    (folder / "table.tsv").write_text("id\ttext\ttitle\n" + ROWS)
    (folder / "index").mkdir()
    BM25Index.build(PassageTable(folder / "table.tsv")).save(folder / "index")
    assert sorted(path.name for path in (folder / "index").iterdir()) == sorted(FILES)
    return folder / "index"


@pytest.mark.parametrize("name", FILES)
@few
@given(data=st.data())
def test_damaged_indexes_by_words(name, table, index, folder, data):
    place = shutil.copytree(index, folder / "index", dirs_exist_ok=True)
    (place / name).write_bytes(data.draw(damaged((index / name).read_bytes())))

    def search():
        found = BM25Index.load(place, table).search(["word3 passage", "nothing"], 3)
        assert found.numbers.shape == (2, 3) and found.numbers.max() < 9

    assert_read_or_refused(search, place, folder=folder)


@few
@given(data=st.data())
def test_damaged_vectors(table, folder, data):
    place = folder / "index"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    record = IndexRecord("dense", "table.tsv", table.fingerprint(), {"checkpoint": "abc"})
    dense.write_embeddings(place, record, [torch.arange(36.0).view(9, 4)], 4)
    path = place / dense.EMBEDDINGS
    path.write_bytes(data.draw(damaged(path.read_bytes())))

    def search():
        vectors = dense.load_embeddings(place, record, table)
        dense.search(vectors, torch.ones(2, 4), 3)

    assert_read_or_refused(search, place, folder=folder)

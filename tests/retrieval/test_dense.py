"""Exact search: a full product and a stable sort, whatever the blocks; embeddings are kept."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.data.passages import Fingerprint, PassageTable
from genft_fairseq.retrieval import dense
from genft_fairseq.retrieval.index_folder import IndexRecord


def by_full_product(passages, questions, k):
    scores = (questions.double() @ passages.double().T).float()
    values, numbers = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], numbers[:, :k]


SIZES = st.integers(1, 40)


@settings(deadline=None)
@given(SIZES, SIZES, st.integers(1, 5), st.integers(1, 50), SIZES, SIZES, st.integers(0, 2**31))
def test_equals_a_full_product(P, Q, D, k, passage_block, question_block, seed):
    """Vectors of few whole numbers: many scores are equal, and all are exact."""
    generator = torch.Generator().manual_seed(seed)
    passages = torch.randint(-1, 2, (P, D), generator=generator).float()
    questions = torch.randint(-1, 2, (Q, D), generator=generator).float()
    values, numbers = by_full_product(passages, questions, k)
    found = dense.search(passages.numpy(), questions, k, passage_block, question_block)
    assert torch.equal(found.numbers, numbers) and torch.equal(found.scores, values)


@pytest.mark.parametrize("block", [1, 2, 7, 64, 999])
def test_scores_do_not_depend_on_the_blocks(block):
    """Nor does the order of equal passages, however their product is summed."""
    generator = torch.Generator().manual_seed(1)
    passages = torch.randn(50, 96, generator=generator).repeat(4, 1)  # each four times
    questions = 5 * torch.randn(30, 96, generator=generator)
    values, numbers = by_full_product(passages, questions, 9)
    found = dense.search(passages.numpy(), questions, 9, block, 1 + block // 2)
    assert torch.equal(found.scores, values) and torch.equal(found.numbers, numbers)
    assert found.numbers[0, :4].diff().tolist() == [50] * 3


def test_no_more_than_a_block_of_scores_is_held(monkeypatch):
    seen = []
    counted = dense.top_k

    def watched(scores, k):
        seen.append(tuple(scores.shape))
        return counted(scores, k)

    monkeypatch.setattr(dense, "top_k", watched)
    dense.search(np.ones((10, 2), dtype=np.float32), torch.ones(5, 2), 3, 4, 2)
    assert sorted(set(seen)) == [(1, 2), (1, 4), (2, 2), (2, 4)]
    assert sum(a * b for a, b in seen) == 50


def test_fewer_passages_than_asked_for():
    found = dense.search(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [-1.0]]), 5)
    assert found.numbers.tolist() == [[1, 0], [0, 1]]
    assert found.scores.tolist() == [[2, 1], [-1, -2]]


@pytest.mark.parametrize("what", ["passages", "questions"])
def test_a_broken_vector_is_named(what):
    given = {"passages": torch.ones(7, 2), "questions": torch.ones(7, 2)}
    given[what][5, 1] = float("nan")
    with refuses(what, 5):
        dense.search(**given, k=2, passage_block=3)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("id\ttext\ttitle\n" + "".join(f"{n}\ttext {n}\t\n" for n in range(5)))
    return PassageTable(path)


@pytest.fixture
def record(table):
    return IndexRecord("dense", "table.tsv", table.fingerprint(), {"checkpoint": "abc"})


VECTORS = torch.arange(10.0).view(5, 2)


def test_embeddings_are_mapped_as_they_were_written(table, record, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    dense.write_embeddings(folder, record, VECTORS.half().split(2), 2)
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "passages.npy"]
    loaded = dense.load_embeddings(folder, record, table)
    assert isinstance(loaded, np.memmap) and loaded.dtype == np.float32
    assert torch.equal(torch.tensor(np.array(loaded)), VECTORS)


def test_nothing_is_left_of_embeddings_that_failed(record, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()

    def blocks():
        yield VECTORS[:2]
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        dense.write_embeddings(folder, record, blocks(), 2)
    assert list(folder.iterdir()) == []


def test_embeddings_of_something_else_are_refused(table, record, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    dense.write_embeddings(folder, record, [VECTORS], 2)
    other = dataclasses.replace(record, fingerprint=Fingerprint("f" * 64, 5))
    with refuses(folder, "table.tsv", 5):
        dense.load_embeddings(folder, other, table)
    retrained = dataclasses.replace(record, options={"checkpoint": "def"})
    with refuses(folder, "checkpoint", "abc", "def"):
        dense.load_embeddings(folder, retrained, table)
    by_words = dataclasses.replace(record, method="bm25")
    with refuses(folder, "dense", "bm25"):
        dense.load_embeddings(folder, by_words, table)


def test_damaged_embeddings_are_refused(table, record, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    dense.write_embeddings(folder, record, [VECTORS], 2)
    file = folder / dense.EMBEDDINGS
    file.write_bytes(file.read_bytes()[:-8])
    with refuses(file):
        dense.load_embeddings(folder, record, table)
    np.save(file, np.ones((4, 2), dtype=np.float32))
    with refuses(file, (4, 2), 5):
        dense.load_embeddings(folder, record, table)
    (folder / "index.json").write_text("{}")
    with refuses(folder / "index.json"):
        dense.load_embeddings(folder, record, table)
    (folder / "index.json").unlink()
    with refuses(folder, "index.json"):
        dense.load_embeddings(folder, record, table)

"""BM25 by hand, kept in a folder, and refused for another table."""

import builtins
import math

import numpy as np
import pytest
from refusals import refuses

from genft_fairseq.data.passages import PassageTable
from genft_fairseq.retrieval.bm25 import BM25Index, BM25Options

HEADER = "id\ttext\ttitle\n"
# In words: dog cat cat | dog bird | fish fish fish fish (9 words, 3 on average).
ROWS = "1\tcat cat\tDog\n2\tbird\tDog\n3\tfish fish\tFish fish\n"


def table_of(folder, rows=ROWS, name="table.tsv"):
    path = folder / name
    path.write_text(HEADER + rows, encoding="utf-8")
    return PassageTable(path)


def weight(holding, occurrences, length, k1=1.5, b=0.75, passages=3, mean=3.0):
    idf = math.log(1 + (passages - holding + 0.5) / (holding + 0.5))
    return idf * occurrences / (occurrences + k1 * (1 - b + b * length / mean))


def test_by_hand(tmp_path):
    """``dog`` is in two of three passages, ``cat`` twice in one of average length.

    ln(1 + 1.5 / 2.5) = 0.4700 * 1 / (1 + 1.5) = 0.1880, and
    ln(1 + 2.5 / 1.5) = 0.9808 * 2 / (2 + 1.5) = 0.5605: 0.7485 for the first passage; the second is
    shorter: 0.4700 / (1 + 1.5 * (0.25 + 0.75 * 2 / 3)) = 0.2212.
    """
    found = BM25Index.build(table_of(tmp_path)).search(["the dog, the CAT", "dog dog", "fish"], 3)
    want = [
        [weight(2, 1, 3) + weight(1, 2, 3), weight(2, 1, 2), 0],
        [2 * weight(2, 1, 2), 2 * weight(2, 1, 3), 0],
        [weight(1, 4, 4), 0, 0],
    ]
    np.testing.assert_allclose(found.scores, want, rtol=1e-6)
    np.testing.assert_allclose(found.scores[0], [0.7485, 0.2212, 0], atol=5e-5)
    # Equal scores in the order of the table.
    assert found.numbers.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]


def test_k1_and_b_by_hand(tmp_path):
    options = BM25Options(k1=0.9, b=0.4)
    found = BM25Index.build(table_of(tmp_path), options).search(["bird"], 1)
    np.testing.assert_allclose(found.scores, [[weight(1, 1, 2, 0.9, 0.4)]], rtol=1e-6)


def test_questions_that_no_passage_knows(tmp_path):
    found = BM25Index.build(table_of(tmp_path)).search(["zebra", "", "the"], 2)
    assert found.numbers.tolist() == [[0, 1]] * 3 and found.scores.tolist() == [[0, 0]] * 3
    assert BM25Index.build(table_of(tmp_path)).search([], 2).numbers.shape == (0, 2)


def test_more_is_asked_for_than_there_is(tmp_path):
    assert BM25Index.build(table_of(tmp_path)).search(["bird"], 9).numbers.tolist() == [[1, 0, 2]]


def test_korean_is_found_with_its_endings(tmp_path):
    table = table_of(tmp_path, "1\t부산은 항구이다\t\n2\t서울은 수도이다\t\n")
    found = BM25Index.build(table).search(["서울의 인구"], 2)
    assert found.numbers[0, 0] == 1 and found.scores[0, 1] == 0


def saved(index, folder):
    folder.mkdir()
    index.save(folder)
    return folder


def test_a_kept_index_answers_the_same(tmp_path):
    table, options = table_of(tmp_path), BM25Options(k1=1.2, stemming=True)
    index = BM25Index.build(table, options)
    loaded = BM25Index.load(saved(index, tmp_path / "index"), table, options)
    assert isinstance(loaded._index.scores["data"], np.memmap)
    questions = ["dogs and a bird", "cat", ""]
    want, got = index.search(questions, 3), loaded.search(questions, 3)
    assert got.numbers.equal(want.numbers) and got.scores.equal(want.scores)
    assert loaded.record == index.record


def test_an_index_is_the_same_whenever_it_is_built(tmp_path):
    """Its words are numbered by the table, not by a hash."""
    first, second = (
        saved(BM25Index.build(table_of(tmp_path)), tmp_path / name) for name in ("a", "b")
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert (first / "vocab.index.json").read_text().index("dog") < 5


def test_an_index_of_another_table_is_refused(tmp_path):
    folder = saved(BM25Index.build(table_of(tmp_path)), tmp_path / "index")
    other = table_of(tmp_path, ROWS.replace("bird", "birds"), "other.tsv")
    first, second = table_of(tmp_path).fingerprint().sha256, other.fingerprint().sha256
    with refuses(folder, "table.tsv", first[:16], other.path, second[:16]):
        BM25Index.load(folder, other)


def test_the_same_table_under_another_name_is_the_same(tmp_path):
    folder = saved(BM25Index.build(table_of(tmp_path)), tmp_path / "index")
    copy = table_of(tmp_path, ROWS.replace("bird", '"bird"'), "copy.tsv")
    assert BM25Index.load(folder, copy).search(["bird"], 1).numbers.tolist() == [[1]]


def test_an_index_of_other_options_is_refused(tmp_path):
    table = table_of(tmp_path)
    folder = saved(BM25Index.build(table), tmp_path / "index")
    with refuses(folder, "k1", 1.5, 0.9):
        BM25Index.load(folder, table, BM25Options(k1=0.9))
    with refuses(folder, "stemming", False, True):
        BM25Index.load(folder, table, BM25Options(stemming=True))


def test_a_damaged_index_is_refused(tmp_path):
    table = table_of(tmp_path)
    folder = saved(BM25Index.build(table), tmp_path / "index")
    (folder / "data.csc.index.npy").write_bytes(b"")
    with refuses(folder):
        BM25Index.load(folder, table)


def test_a_folder_that_is_no_index(tmp_path):
    with refuses(tmp_path, "index.json"):
        BM25Index.load(tmp_path, table_of(tmp_path))


def test_a_table_without_a_word(tmp_path):
    with refuses("table.tsv"):
        BM25Index.build(table_of(tmp_path, "1\t...\t!\n2\tthe\t\n"))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"k1": -1}, ("--k1", -1)),
        ({"k1": float("nan")}, ("--k1", "nan")),
        ({"b": 1.5}, ("--b", 1.5)),
    ],
)
def test_options_out_of_range(given, named):
    with refuses(*named):
        BM25Options(**given)


def test_without_the_library(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "bm25s":
            raise ModuleNotFoundError("No module named 'bm25s'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with refuses("genft_fairseq[qa]"):
        BM25Index.build(table_of(tmp_path))

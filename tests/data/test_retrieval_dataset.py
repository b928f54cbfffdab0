"""Which passages a question is shown with, and which of a batch count as wrong."""

import logging

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from refusals import assert_names, refuses

from genft_fairseq.data.fid_lines import Markers
from genft_fairseq.data.retrieval_dataset import RetrievalDataset

DICTIONARY = Dictionary()
for _symbol in ["<question>", "<title>", "<context>", *"abcdefghij"]:
    DICTIONARY.add_symbol(_symbol)
MARKERS = Markers.of(DICTIONARY, "dict.txt")


def ids(text):
    return DICTIONARY.encode_line(text, add_if_not_exist=False, append_eos=False).long()


def line(question, *passages):
    """``passages`` are one-letter texts."""
    parts = "".join(f" <title> {p[0]} <context> {p}" for p in passages)
    return DICTIONARY.encode_line(f"<question> {question}{parts}", add_if_not_exist=False).long()


def dataset(lines, evidence, **flags):
    pairs = [torch.tensor([[0, n] for n in row]).int().flatten() for row in evidence]
    limits = {"max_question_positions": 10, "max_passage_positions": 10}
    return RetrievalDataset(lines, pairs, MARKERS, DICTIONARY, **{**limits, **flags})


def text(tokens):
    return DICTIONARY.string(tokens).replace("<title> ", "").replace(" <context> ", ":")


def shown(example):
    return [text(passage) for passage in example["passages"]]


LINES = [line("a", "b", "c", "d", "e"), line("f", "g", "b")]


def test_the_best_with_the_answer_and_the_best_without():
    data = dataset(LINES, [[3, 1], [0]])
    assert shown(data[0]) == ["c:c", "b:b"]
    assert shown(data[1]) == ["g:g", "b:b"]
    assert text(data[0]["question"]) == "<question> a"
    assert data[0]["question"][-1] == DICTIONARY.eos() == data[0]["passages"][0][-1]
    assert [text(p) for p in data[0]["evidence"]] == ["c:c", "e:e"]


@pytest.mark.parametrize(
    ("number", "want"), [(0, []), (1, ["b"]), (2, ["b", "d"]), (9, ["b", "d"])]
)
def test_how_many_hard_negatives(number, want):
    data = dataset(LINES, [[1, 3], [0]], hard_negatives=number)
    assert shown(data[0])[1:] == [f"{p}:{p}" for p in want]


def test_a_random_positive_is_drawn_anew_in_each_epoch():
    data = dataset(LINES, [[1, 3], [0]], random_positive=True)
    drawn = []
    for epoch in range(1, 21):
        data.set_epoch(epoch)
        drawn.append(shown(data[0])[0])
        assert shown(data[0])[0] == drawn[-1] and shown(data[0])[1:] == ["b:b"]
    assert {"c:c", "e:e"} == set(drawn)
    other = dataset(LINES, [[1, 3], [0]], random_positive=True, seed=2)
    again = []
    for epoch in range(1, 21):
        other.set_epoch(epoch)
        again.append(shown(other[0])[0])
    assert again != drawn


def test_examples_without_an_answer_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.INFO):
        data = dataset([*LINES, LINES[0]], [[1], [], [0]], name="train")
    assert len(data) == 2 and shown(data[1])[0] == "b:b"
    (message,) = caplog.messages
    assert_names(message, "train", 2, 1)


def test_a_batch_by_hand():
    """Passages b, c, d: each once; what else answers a question is no negative of it."""
    data = dataset(
        [line("a", "b", "c", "d"), line("f", "c", "b"), line("h", "d", "j")], [[0, 2], [0], [0]]
    )
    batch = data.collater([data[0], data[1], data[2]])
    rows = [text(row) for row in batch["net_input"]["passage_tokens"]]
    assert rows == ["b:b", "c:c", "d:d", "j:j"]
    assert batch["target"].tolist() == [0, 1, 2]
    assert batch["ignored"].int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert batch["nsentences"] == 3 and batch["id"].tolist() == [0, 1, 2]
    assert batch["ntokens"] == 3 * 3 + 4 * 5
    assert data.collater([]) == {}


def test_questions_with_the_same_passage_are_no_negatives_of_each_other():
    data = dataset([line("a", "b", "c"), line("f", "b", "d")], [[0], [0]])
    batch = data.collater([data[0], data[1]])
    assert batch["target"].tolist() == [0, 0] and not batch["ignored"].any()
    assert len(batch["net_input"]["passage_tokens"]) == 3


def test_different_lengths_are_padded_on_the_right():
    data = dataset([line("a b c", "b c d"), line("f", "g")], [[0], [0]])
    net_input = data.collater([data[0], data[1]])["net_input"]
    pad, eos = DICTIONARY.pad(), DICTIONARY.eos()
    assert net_input["question_tokens"][1].tolist() == [*ids("<question> f"), eos, pad, pad]
    assert net_input["passage_tokens"][1].tolist()[-3:] == [eos, pad, pad]


def test_what_is_too_long_is_cut():
    data = dataset([line("a b c d", "b c d e", "f")], [[0]], max_question_positions=3)
    assert data[0]["question"].tolist() == [*ids("<question> a"), DICTIONARY.eos()]
    data = dataset([line("a", "b c d e", "f")], [[0]], max_passage_positions=6)
    assert [text(passage) for passage in data[0]["passages"]] == ["b:b c", "f:f"]
    assert data[0]["passages"][0][-1] == DICTIONARY.eos()


def test_sizes_count_each_passage_as_the_longest():
    data = dataset(LINES, [[1, 3], [0]], hard_negatives=2)
    assert data.sizes.tolist() == [3 + 3 * 5, 3 + 2 * 5]
    assert data.num_tokens(1) == data.size(1) == 13
    assert data.num_tokens_vec(np.array([1, 0])).tolist() == [13, 18]
    for index in range(2):
        longest = max(map(len, data[index]["passages"]))
        assert data.sizes[index] == len(data[index]["question"]) + longest * len(
            data[index]["passages"]
        )
    cut = dataset(
        [line("a b c d", "b c d e", "f")], [[0]], max_question_positions=3, max_passage_positions=6
    )
    assert cut.sizes.tolist() == [3 + 2 * 6]


def test_the_order_is_another_in_each_epoch_and_can_be_had_again():
    lines, evidence = [line("a", "b")] * 20, [[0]] * 20
    data = dataset(lines, evidence, shuffle=True)
    orders = []
    for epoch in (1, 2, 1):
        data.set_epoch(epoch)
        orders.append(data.ordered_indices().tolist())
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert not data.can_reuse_epoch_itr_across_epochs
    plain = dataset(lines, evidence)
    assert plain.ordered_indices().tolist() == list(range(20))
    assert plain.can_reuse_epoch_itr_across_epochs


def test_no_example_with_an_answer():
    with refuses("valid", 2):
        dataset(LINES, [[], []], name="valid")


def test_alignments_of_other_data():
    with refuses(2, 1):
        dataset(LINES, [[0]])
    data = dataset(LINES, [[0], [2]], name="train")
    with refuses("train", 1, 2):
        data[1]

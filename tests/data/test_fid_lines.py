"""Source lines of a question and its passages, cut up and joined to pairs."""

import torch
from fairseq.data import Dictionary
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.data.fid_lines import Markers, pair_sizes, pairs_of, split_line

EOS = 2
MARKERS = Markers(question=4, title=5, context=6, passages=(7, 8, 9))
# <question> 20 21 <title> 30 <context> 40 41 <title> <context> 50 </s>
LINE = torch.tensor([4, 20, 21, 5, 30, 6, 40, 41, 5, 6, 50, EOS])


def test_a_line_worked_by_hand():
    question, passages = split_line(LINE, MARKERS, EOS)
    assert question.tolist() == [4, 20, 21]
    assert [p.tolist() for p in passages] == [[5, 30, 6, 40, 41], [5, 6, 50]]
    assert [p.tolist() for p in pairs_of(question, passages, EOS)] == [
        [4, 20, 21, 5, 30, 6, 40, 41, EOS],
        [4, 20, 21, 5, 6, 50, EOS],
    ]
    assert [p.tolist() for p in pairs_of(question, passages, EOS, 3, (8, 9))] == [
        [4, 20, 21, 8, 5, 30, 6, EOS],
        [4, 20, 21, 9, 5, 6, 50, EOS],
    ]


def test_a_line_of_text_worked_by_hand():
    """question: 20 21 </s> title: 30 context: 40 </s> title: context: 50 </s>."""
    markers = Markers(EOS, EOS, EOS, (7, 8, 9), text=True)
    line = torch.tensor([14, 20, 21, EOS, 15, 30, 16, 40, EOS, 15, 16, 50, EOS])
    for read in (line, line[:-1]):
        question, passages = split_line(read, markers, EOS)
        assert question.tolist() == [14, 20, 21]
        assert [p.tolist() for p in passages] == [[15, 30, 16, 40], [15, 16, 50]]
        size, sizes = pair_sizes(read, markers, EOS)
        assert (size, sizes.tolist()) == (3, [4, 3])
    assert [p.tolist() for p in pairs_of(question, passages, EOS, 3, (8, 9))] == [
        [14, 20, 21, 8, 15, 30, 16, EOS],
        [14, 20, 21, 9, 15, 16, 50, EOS],
    ]
    assert split_line(line[:3], markers, EOS)[1] == []
    for wrong, of in ((line, MARKERS), (line[3:], markers)):
        with refuses("--frame"):
            pair_sizes(wrong, of, EOS)


def test_parts_are_encoded_with_what_stands_before_them():
    dictionary = Dictionary()
    for symbol in ("<question>", "<title>", "<context>", "<passage:0>", "title:", "a"):
        dictionary.add_symbol(symbol)
    symbols, text = (Markers.of(dictionary, "dict.txt", text) for text in (False, True))
    read = "a <title> </s> <passage:0>"
    found = [markers.encode("title", read, str, dictionary) for markers in (symbols, text)]
    assert [dictionary.string(ids) for ids in found] == [
        "<title> a <unk> <unk>",
        "title: a <title> <unk> <unk>",
    ]


def test_a_question_without_passages_is_read_alone():
    question, passages = split_line(torch.tensor([4, 20, EOS]), MARKERS, EOS)
    assert passages == []
    assert [p.tolist() for p in pairs_of(question, passages, EOS)] == [[4, 20, EOS]]


@given(
    question=st.lists(st.integers(20, 30), max_size=4),
    passages=st.lists(st.lists(st.integers(20, 30), max_size=5), max_size=4),
    ended=st.booleans(),
)
def test_any_line(question, passages, ended):
    parts = [[4, *question], *([5, *text] for text in passages)]
    line = torch.tensor([token for part in parts for token in part] + [EOS] * ended)
    first, rest = split_line(line, MARKERS, EOS)
    assert [first.tolist(), *(p.tolist() for p in rest)] == parts
    size, sizes = pair_sizes(line, MARKERS, EOS)
    assert (size, sizes.tolist()) == (len(parts[0]), [len(p) for p in parts[1:]])
    pairs = pairs_of(first, rest, EOS)
    assert [p.tolist() for p in pairs] == [[*parts[0], *p, EOS] for p in parts[1:] or [[]]]


def test_markers_of_a_dictionary():
    dictionary = Dictionary()
    for symbol in ("<question>", "<title>", "<context>", "<passage:0>", "<passage:1>", "w"):
        dictionary.add_symbol(symbol)
    dictionary.add_symbol("<passage:3>")  # <passage:2> is missing: it names nothing
    assert Markers.of(dictionary, "dict.txt") == Markers(4, 5, 6, (7, 8))


def test_a_dictionary_of_other_data():
    dictionary = Dictionary()
    dictionary.add_symbol("<title>")
    with refuses("dict.txt", "<question>", "<context>"):
        Markers.of(dictionary, "dict.txt")
    eos = dictionary.eos()  # text needs no symbols
    assert Markers.of(dictionary, "dict.txt", text=True) == Markers(eos, eos, eos, (), True)

"""Text becomes the pieces that the data were prepared in, and vectors in the order it was given."""

import io
import json
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from refusals import refuses
from subword_nmt.learn_bpe import learn_bpe

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.fid_lines import Markers
from genft_fairseq.retrieval.encoding import TextEncoder, text_subwords

WORDS = ["<question>", "<title>", "<context>", "<passage:0>", *"abcdefghi"]


def dictionary(words=WORDS):
    made = Dictionary()
    for word in words:
        made.add_symbol(word)
    return made


@pytest.fixture
def codes(tmp_path):
    """Two merges: ``l o`` and ``lo w</w>``."""
    with (tmp_path / "bpe.codes").open("w") as stream:
        learn_bpe(io.StringIO("low low low lows\n"), stream, 2)
    return tmp_path


def split(folder, known, text):
    (subwords,) = text_subwords(folder, known)([text])
    return " ".join(subwords)


LETTERS = [*"lowerts'?", *(f"{letter}@@" for letter in "lowers'")]


def test_moses_tokens_in_pieces(codes):
    subwords = text_subwords(codes, dictionary([*LETTERS, "low", "lo@@"]))
    # No entities, and Moses' rules for no language in particular.
    assert subwords(["low  lows?\n", "low's"]) == [
        ["low", "lo@@", "w@@", "s", "?"],
        ["low", "'", "s"],
    ]


def test_a_piece_that_the_dictionary_lacks_is_split_further(codes):
    assert split(codes, dictionary(LETTERS), "low lows") == "l@@ o@@ w l@@ o@@ w@@ s"


def test_words_are_words_where_the_data_were_prepared_so(codes):
    known = dictionary([*LETTERS, "low"])
    assert split(codes, known, "low? low") == "low ? low"
    recipe = {"recipe": {"command": "prepare-fid.sh --tokenise none --bpe-operations 2"}}
    (codes / "MANIFEST.json").write_text(json.dumps(recipe))
    assert split(codes, known, "low? low") == "l@@ o@@ w@@ ? low"
    (codes / "MANIFEST.json").write_text("nothing")
    assert split(codes, known, "low? low") == "low ? low"


def test_without_codes_text_is_words_already(tmp_path):
    assert split(tmp_path, dictionary(), " low's\n a ") == "low's a"


class Recorded(torch.nn.Module):
    """In place of a model: a vector is the tokens' sum and the length with padding."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches = []

    def embed_passages(self, tokens):
        self.batches.append(tokens)
        kept = tokens.masked_fill(tokens == 1, 0)
        return torch.stack([kept.sum(dim=1), (tokens != 1).sum(dim=1)], dim=1).double()

    embed_questions = embed_passages


def encoder(folder, **changed):
    known = dictionary()
    limits = {"max_question_positions": 4, "max_passage_positions": 7, **changed}
    markers = Markers.of(known, "dict.txt")
    task = SimpleNamespace(
        source_dictionary=known, markers=markers, frame=lambda tokens: tokens, **limits
    )
    return TextEncoder(Recorded(), task, folder, batch_size=2), known


def test_texts_are_read_as_in_training(tmp_path):
    """With their markers, cut at the task's limits; a marker in the text is an unknown word."""
    made, known = encoder(tmp_path)
    made.passages([Passage("a", "b c d e f"), Passage("", "<title> zebra")])
    rows = [known.string(row) for row in made._model.batches[0]]
    assert rows == ["<title> <context> <unk> <unk> <pad> <pad>", "<title> a <context> b c d"]
    assert made._model.batches[0][:, -1].tolist() == [known.pad(), known.eos()]
    made.questions(["a b c d", "e"])
    assert [known.string(row) for row in made._model.batches[1]] == [
        "<question> e <pad>",
        "<question> a b",
    ]


def test_vectors_are_in_the_order_of_the_texts(tmp_path):
    """Batches are made by length, and of no more texts than asked for."""
    made, known = encoder(tmp_path, max_question_positions=9)
    texts = ["a b c", "d", "e f g h", "", "i a"]
    vectors = made.questions(texts)
    assert vectors.dtype == torch.float32
    assert vectors[:, 1].tolist() == [5, 3, 6, 2, 4]
    assert vectors[1, 0] == known.index("<question>") + known.index("d") + known.eos()
    assert [len(batch) for batch in made._model.batches] == [2, 2, 1]


def test_another_model_is_refused(tmp_path):
    with refuses("Linear"):
        TextEncoder(torch.nn.Linear(1, 1), SimpleNamespace(), tmp_path)

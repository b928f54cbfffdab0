"""What a pretrained encoder reads in the place of the symbols between the parts of a line."""

import json

import pytest
import torch
from fairseq.data import Dictionary
from refusals import refuses

from genft_fairseq.data import encoder_texts
from genft_fairseq.data.encoder_texts import EncoderTexts
from genft_fairseq.data.fid_lines import Markers, marker_symbols
from genft_fairseq.data.retrieval_dataset import RetrievalDataset

SAID = {"pooling": "mean", "normalize": True, "longest": 12}
SYMBOLS = {"question": ["<s>", "p"], "passage": ["<s>"], "between": []}


def dictionary():
    made = Dictionary()
    for symbol in (*"abcdp", *marker_symbols(2)):
        made.add_symbol(symbol)
    return made


def framed(text, **changed):
    known = dictionary()
    texts = EncoderTexts(**SAID, **{k: tuple(v) for k, v in {**SYMBOLS, **changed}.items()})
    tokens = torch.tensor([known.index(symbol) for symbol in text.split()])
    row = texts.framing(Markers.of(known, "dict.txt"), known)(tokens)
    assert row.dtype == torch.int64
    return " ".join(known[token] for token in row.tolist())


def test_markers_become_what_the_encoder_reads():
    assert framed("<question> a b") == "<s> p a b"
    assert framed("<title> a <context> b c") == "<s> a b c"
    assert framed("<title> a <context> b c", between=["</s>"]) == "<s> a </s> b c"
    assert framed("<title> <context>") == "<s>"
    assert framed("<title> a b") == "<s> a b"


def test_batches_are_framed_before_they_are_cut():
    known = dictionary()
    line = [known.index(s) for s in "<question> a b c <title> a <context> b c d".split()]
    texts = EncoderTexts(**SAID, **{k: tuple(v) for k, v in SYMBOLS.items()})
    markers = Markers.of(known, "dict.txt")
    data = RetrievalDataset(
        *([torch.tensor([*line, known.eos()])], [torch.tensor([0, 0])], markers, known),
        texts.framing(markers, known),
        max_question_positions=5,
        max_passage_positions=6,
        hard_negatives=0,
    )
    (example,) = data
    rows = [example["question"], *example["passages"], *example["evidence"]]
    read = [" ".join(known[token] for token in row.tolist()) for row in rows]
    assert read == ["<s> p a b </s>", "<s> a b c d </s>", "<s> a b c d </s>"]
    assert data.sizes.tolist() == [5 + 6]


def test_a_folder_says_it(tmp_path):
    assert encoder_texts.read(tmp_path) is None
    path = tmp_path / "hugging_face.json"
    path.write_text(json.dumps({"source": {}, "target": {}}))
    assert encoder_texts.read(tmp_path) is None
    path.write_text(json.dumps({"source": {}, "target": {}, "texts": {**SAID, **SYMBOLS}}))
    found = encoder_texts.read(tmp_path)
    assert found.longest == 12 and found.question == ("<s>", "p") and found.between == ()


BROKEN = [
    *({"pooling": "max"}, {"longest": 2}, {"longest": "7"}, {"normalize": 1}, {"passage": 3}),
    *({"question": [1]}, {"more": 1}),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_description_is_named(tmp_path, broken):
    path = tmp_path / "hugging_face.json"
    texts = {**SAID, **SYMBOLS, **broken}
    path.write_text(json.dumps({"source": {}, "target": {}, "texts": texts}))
    with refuses("hugging_face.json"):
        encoder_texts.read(tmp_path)

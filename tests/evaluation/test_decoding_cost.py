"""What decoding costs, counted by hand on a decoder whose questions end at different steps."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genft_fairseq.evaluation import decoding
from genft_fairseq.evaluation.decoding import DecodingCost, cache_bytes

CPU = torch.device("cpu")


class Attention:
    """Knows its part of the state by name, as fairseq's does."""

    def __init__(self, name):
        self.name = name

    def _get_input_buffer(self, state):
        return state.get(self.name, {})


class Decoder(nn.Module):
    """Two rows a question: a float a step of its own text, five bytes of what it reads."""

    def __init__(self):
        super().__init__()
        self.layers = [SimpleNamespace(self_attn=Attention("self"), encoder_attn=Attention("read"))]

    def forward(self, tokens, encoder_out=None, incremental_state=None):
        rows, steps = tokens.shape
        incremental_state["self"] = {"prev_key": torch.zeros(rows, steps), "none": None}
        incremental_state["read"] = {"prev_key": torch.zeros(rows // 2, 5, dtype=torch.uint8)}


class Ensemble(nn.Module):
    def forward_encoder(self, net_input):
        return [net_input]


def test_a_question_is_charged_what_is_held_when_it_ends():
    """Of three questions one ends after step 1, one after step 3, one after step 4.

    A float a step and a row: 2 * 4 * (1 + 3 + 4) bytes, and 5 bytes each of what is read.
    """
    model = SimpleNamespace(decoder=Decoder())
    generator = SimpleNamespace(model=Ensemble(), beam_size=2)
    cost = DecodingCost(CPU)
    for _ in range(2):  # two batches that are the same
        with cost.watching(generator, model, 3):
            generator.model.forward_encoder("input")
            state: dict = {}
            for step, still_open in enumerate((3, 2, 2, 1), start=1):
                if state:
                    shrink(state, still_open)
                tokens = torch.zeros(2 * still_open, step)
                model.decoder.forward(tokens, encoder_out=None, incremental_state=state)
    metrics = cost.metrics()
    assert cost.questions == 6
    assert metrics["cache_self_attention_bytes_per_question"] == pytest.approx(2 * 4 * 8 / 3)
    assert metrics["cache_cross_attention_bytes_per_question"] == 5
    assert metrics["cache_other_bytes_per_question"] == 0
    assert metrics["cache_bytes_per_question"] == pytest.approx(2 * 4 * 8 / 3 + 5)
    # The methods of the classes are back.
    assert "forward" not in vars(model.decoder)
    assert "forward_encoder" not in vars(generator.model)


def shrink(state, still_open):
    """Leave the rows of so many questions, as the generator does between two steps."""
    state["self"]["prev_key"] = state["self"]["prev_key"][: 2 * still_open].clone()
    state["read"]["prev_key"] = state["read"]["prev_key"][:still_open].clone()


def test_memory_is_counted_once_and_whole():
    decoder = Decoder()
    whole = torch.zeros(10, 4)
    state = {
        "self": {"prev_key": whole[:2], "prev_value": whole[2:4]},  # slices keep all alive
        "read": {"prev_key": torch.zeros(1, 3).expand(100, 3), "mask": None},
        "convolution": {"input_buffer": torch.zeros(7, dtype=torch.float16)},
        "list": [whole, (torch.zeros(1, dtype=torch.uint8),)],
    }
    assert cache_bytes(decoder, state) == {
        "self_attention": 160,
        "cross_attention": 12,
        "other": 15,
    }
    assert cache_bytes(nn.Module(), {"x": torch.zeros(2)})["other"] == 8


def test_seconds(monkeypatch):
    """A clock that a step of the encoder moves by 3 and one of the decoder by 2."""
    clock = [100.0]
    monkeypatch.setattr(decoding.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(decoding.time, "process_time", lambda: 2 * clock[0])
    model = SimpleNamespace(decoder=Decoder())
    generator = SimpleNamespace(model=Ensemble(), beam_size=1)
    cost = DecodingCost(CPU)
    plain = Ensemble.forward_encoder

    def slowly(self, net_input):
        clock[0] += 3
        return plain(self, net_input)

    monkeypatch.setattr(Ensemble, "forward_encoder", slowly)
    with cost.watching(generator, model, 2):
        assert generator.model.forward_encoder("x") == ["x"]
        for step in (1, 2):
            clock[0] += 2
            model.decoder.forward(torch.zeros(2, step), incremental_state={})
    cost.tokens = 14
    clock[0] += 50  # between batches nobody counts
    metrics = cost.metrics()
    assert metrics["seconds_per_question"] == 3.5
    assert metrics["encoder_seconds_per_question"] == 1.5
    assert metrics["decoder_seconds_per_question"] == 2
    assert metrics["processor_seconds_per_question"] == 7
    assert (metrics["tokens_per_second"], metrics["decoder_tokens_per_second"]) == (2.0, 3.5)
    assert (metrics["clock"], metrics["device"]) == ("wall", "cpu")


def test_nothing_is_left_behind_where_decoding_fails():
    model = SimpleNamespace(decoder=Decoder())
    generator = SimpleNamespace(model=Ensemble(), beam_size=1)
    cost = DecodingCost(CPU)
    with pytest.raises(RuntimeError), cost.watching(generator, model, 2):
        raise RuntimeError("no")
    assert cost.questions == 0 and "forward" not in vars(model.decoder)

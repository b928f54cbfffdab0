"""A prefix read at once leaves the state that stepping through it leaves."""

import pytest
import torch
from criterions.test_other_architectures import model_of
from criterions.tiny_fairseq import KINDS, tiny_model, tiny_sample, tiny_task
from torch import nn

from genft_fairseq.generation import rollout as module
from genft_fairseq.generation.rollout import continue_prefixes, read_prefix

PREFIX = torch.tensor([[5, 6, 7, 5, 6], [8, 4, 2, 9, 9], [3, 3, 10, 11, 5], [4, 5, 6, 7, 8]])


def parts(kind):
    """A model in evaluation mode, and what its encoder returns for as many rows as the prefix."""
    task = tiny_task(kind)
    model = tiny_model(task, decoder_layers=3).eval()
    if kind == "language":
        return model, None
    net_input = tiny_sample(task)["net_input"]
    return model, model.encoder(net_input["src_tokens"], net_input["src_lengths"])


def calls(module: nn.Module, run) -> int:
    """How often a module is called while something runs."""
    counted = []
    hook = module.register_forward_hook(lambda *_: counted.append(1))
    run()
    hook.remove()
    return len(counted)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_state_of_stepping(kind, monkeypatch):
    model, encoder_out = parts(kind)
    at_once = read_prefix(model, PREFIX, encoder_out)
    monkeypatch.setattr(module, "_reads_at_once", lambda decoder: False)
    stepped = read_prefix(model, PREFIX, encoder_out)
    assert at_once.keys() == stepped.keys() and len(at_once) == 3 * (2 if encoder_out else 1)
    for name, kept in stepped.items():
        assert kept.keys() == at_once[name].keys()
        for part in ("prev_key", "prev_value"):
            torch.testing.assert_close(at_once[name][part], kept[part], rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_one_call_for_the_prefix(kind):
    """And none of the output layer, which is the dearest where the vocabulary is large."""
    model, encoder_out = parts(kind)
    assert calls(model.decoder, lambda: read_prefix(model, PREFIX, encoder_out)) == 1
    projection = model.decoder.output_projection
    assert calls(projection, lambda: read_prefix(model, PREFIX, encoder_out)) == 0
    hooks = [m._forward_pre_hooks for m in model.modules()]
    assert not any(hooks)  # nothing is left behind


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_short_prefixes(kind):
    model, encoder_out = parts(kind)
    assert read_prefix(model, PREFIX[:, :0], encoder_out) == {}
    got = continue_prefixes(model, PREFIX[:, :1], 4, 1, encoder_out=encoder_out)
    want = continue_prefixes(model, PREFIX[:, :1], 3, 1, encoder_out=encoder_out)
    assert torch.equal(got[:, :3], want)


@torch.no_grad()
def test_other_decoders_step():
    model = model_of("lightconv", tiny_task("translation")).eval()
    encoder_out = model.encoder(torch.tensor([[5, 6, 2]] * 4), torch.tensor([3] * 4))
    assert calls(model.decoder, lambda: read_prefix(model, PREFIX, encoder_out)) == 5

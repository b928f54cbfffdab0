"""Models that normalise in their own way: adaptive softmax, overridden methods, wrappers."""

import copy

import pytest
import torch
from criterions.tiny_fairseq import (
    KINDS,
    assert_same,
    gradients,
    reference_loss,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from fairseq.distributed.module_proxy_wrapper import ModuleProxyWrapper
from torch import Tensor, nn

from genft_fairseq.generation.model_logits import model_logits, normalises_plainly

KNOBS = {"label_smoothing": 0.1, "gamma": 0.2, "unlikelihood_alpha": 0.7}
WANTED = {"label_smoothing": 0.1, "gamma": 0.2, "alpha": 0.7}
SOFTMAX = {"adaptive_softmax_cutoff": "6,10", "adaptive_softmax_factor": 2}
INPUT = {"adaptive_input": True, "adaptive_input_cutoff": "6,10", "adaptive_input_factor": 2}
# As in fairseq's own language models (transformer_lm_wiki103): the input's embeddings are shared.
TIED = {"tie_adaptive_weights": True, "tie_adaptive_proj": True}
ADAPTIVE = {
    "translation": ("translation", SOFTMAX),
    "language": ("language", SOFTMAX),
    "tied": ("language", {**SOFTMAX, **INPUT, **TIED}),
}


def adaptive_lprobs(softmax, features: Tensor) -> Tensor:
    """The two-level distribution written out: a head, and tails weighed by their cluster."""
    flat = features.flatten(0, 1)  # (B, T, D) -> (B*T, D): a tied head knows nothing else
    head = softmax.head(flat).log_softmax(-1)
    cutoff = softmax.cutoff[0]
    parts = [head[:, :cutoff]]
    for i, tail in enumerate(softmax.tail):
        parts.append(tail(flat).log_softmax(-1) + head[:, cutoff + i, None])
    return torch.cat(parts, -1).view(*features.shape[:2], -1)


@pytest.fixture(params=ADAPTIVE)
def adaptive(request):
    kind, flags = ADAPTIVE[request.param]
    task = tiny_task(kind)
    model = tiny_model(task, **flags)
    assert model.decoder.adaptive_softmax is not None
    return task, model


def test_adaptive_softmax_value(adaptive):
    """The loss on the model's own log-probabilities, as validation computes it."""
    task, model = adaptive
    sample = tiny_sample(task)
    assert not normalises_plainly(model)
    with torch.no_grad():
        loss, _, _ = tiny_criterion("scalegrad", task, **KNOBS)(model, sample)
        net_output = model(**sample["net_input"])
        lprobs = model.get_normalized_probs(net_output, log_probs=True)
        want = reference_loss(lprobs, sample["target"], **WANTED)
        assert_same(loss, want.sum())
        # fairseq's own words mean what the loop above says.
        assert_same(adaptive_lprobs(model.decoder.adaptive_softmax, net_output[0]), lprobs)


def test_adaptive_softmax_gradient(adaptive):
    """Training it: the gradient of every parameter, the head and the tails among them."""
    task, model = adaptive
    sample = tiny_sample(task)
    loss, _, _ = tiny_criterion("scalegrad", task, **KNOBS)(model, sample)
    lprobs = adaptive_lprobs(model.decoder.adaptive_softmax, model(**sample["net_input"])[0])
    want = gradients(reference_loss(lprobs, sample["target"], **WANTED).sum(), model)
    assert any("adaptive_softmax" in name and g.ne(0).any() for name, g in want.items())
    assert_same(gradients(loss, model), want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adaptive_softmax_in_half_precision(dtype):
    """A float32 loss here too, finite, with gradients in the model's dtype."""
    task = tiny_task("language")
    model, sample = tiny_model(task, dtype, **SOFTMAX), tiny_sample(task)
    loss, _, _ = tiny_criterion("scalegrad", task, **KNOBS)(model, sample)
    assert loss.dtype == torch.float32
    exact = copy.deepcopy(model).double()
    features = model(**sample["net_input"])[0].double()
    lprobs = adaptive_lprobs(exact.decoder.adaptive_softmax, features)
    want = reference_loss(lprobs, sample["target"], **WANTED).sum()
    assert_same(loss, want, rtol=4 * torch.finfo(dtype).eps)
    for gradient in gradients(loss, model).values():
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


def half_uniform(net_output, log_probs: bool, sample=None) -> Tensor:
    """A distribution that no softmax of the decoder's output gives, as a pointer network's is."""
    probs = 0.5 * net_output[0].softmax(-1) + 0.5 / net_output[0].size(-1)
    return probs.log() if log_probs else probs


def override_decoder(model, name):
    """Make the decoder an instance of a subclass that overrides the method."""

    def method(self, net_output, log_probs, sample=None):
        return half_uniform(net_output, log_probs, sample)

    plain = type(model.decoder)
    model.decoder.__class__ = type("PointerDecoder", (plain,), {name: method})


def override_model(model, name):
    def method(self, net_output, log_probs, sample=None):
        return half_uniform(net_output, log_probs, sample)

    model.__class__ = type("PointerModel", (type(model),), {name: method})


def override_instance(model, name):
    """Some code replaces the method of one object."""
    setattr(model.decoder, name, half_uniform)


METHODS = ["get_normalized_probs", "get_normalized_probs_scriptable"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("override", [override_decoder, override_model, override_instance])
def test_an_overridden_method_is_heard(override, method, kind):
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    assert normalises_plainly(model)
    override(model, method)
    assert not normalises_plainly(model)
    loss, _, _ = tiny_criterion("scalegrad", task, **KNOBS)(model, sample)
    lprobs = half_uniform(model(**sample["net_input"]), log_probs=True)
    want = reference_loss(lprobs, sample["target"], **WANTED).sum()
    assert_same(loss, want)
    assert_same(gradients(loss, model), gradients(want, model))


def test_an_overridden_method_comes_before_an_adaptive_softmax():
    """A model that has one, and mixes it with something else."""
    task = tiny_task("language")
    model, sample = tiny_model(task, **SOFTMAX), tiny_sample(task)
    vocabulary = len(task.target_dictionary)

    def mixed(net_output, log_probs, sample=None):
        lprobs = adaptive_lprobs(model.decoder.adaptive_softmax, net_output[0])
        return (0.5 * lprobs.exp() + 0.5 / vocabulary).log()

    model.decoder.get_normalized_probs = mixed
    loss, _, _ = tiny_criterion("scalegrad", task, **KNOBS)(model, sample)
    lprobs = mixed(model(**sample["net_input"]), log_probs=True)
    assert_same(loss, reference_loss(lprobs, sample["target"], **WANTED).sum())


class Wrapped(nn.Module):
    """Stands for torch's DistributedDataParallel: holds the model, forwards the call only."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distributed_wrapper_keeps_the_plain_path(kind, monkeypatch):
    """And goes through the wrapper's forward, without which the ranks would drift apart."""
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    wrapper = ModuleProxyWrapper(Wrapped(model))
    assert normalises_plainly(wrapper)
    net_output = wrapper(**sample["net_input"])
    assert model_logits(wrapper, net_output) is net_output[0]

    calls = []
    forward = Wrapped.forward
    monkeypatch.setattr(Wrapped, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    criterion = tiny_criterion("scalegrad", task, **KNOBS)
    got, _, got_log = criterion(wrapper, sample)
    assert calls == [1]
    want, _, want_log = criterion(model, sample)
    assert_same(got, want, rtol=0, atol=0)
    assert_same(got_log, want_log, rtol=0, atol=0)


def test_a_distributed_wrapper_does_not_hide_an_adaptive_softmax(adaptive):
    task, model = adaptive
    wrapper = ModuleProxyWrapper(Wrapped(model))
    assert not normalises_plainly(wrapper)
    sample = tiny_sample(task)
    criterion = tiny_criterion("scalegrad", task, **KNOBS)
    with torch.no_grad():
        assert_same(criterion(wrapper, sample)[0], criterion(model, sample)[0], rtol=0, atol=0)


def test_a_model_without_a_decoder_is_asked():
    """Nothing is known of how it normalises."""

    class Bare(nn.Module):
        get_normalized_probs = staticmethod(half_uniform)

    assert not normalises_plainly(Bare())
    logits = torch.randn(2, 3, 5)
    got = model_logits(Bare(), (logits,))
    assert_same(got.exp().sum(-1), torch.ones(2, 3), rtol=1e-6)
    assert_same(got, half_uniform((logits,), True))

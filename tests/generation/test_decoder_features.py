"""Features in place of logits: through the model's own forward, and only there."""

from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F
from criterions.tiny_fairseq import KINDS, assert_same, tiny_model, tiny_sample, tiny_task
from fairseq.distributed.module_proxy_wrapper import ModuleProxyWrapper
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from refusals import refuses
from torch import nn

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.generation.decoder_input import (
    DecoderInput,
    replaced_decoder_input,
)
from genft_fairseq.generation.decoder_output import NoProjection, features_only, output_projection

SIZES = {
    **{f"{side}_embed_dim": 8 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_embed_dim": 8 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{"max_source_positions": 40, "max_target_positions": 40, "dropout": 0.0},
}


def lstm(task, **flags):
    sizes = {"encoder_hidden_size": 8, "decoder_hidden_size": 8, "criterion": "any"}
    args = Namespace(**{**SIZES, **sizes, "decoder_out_embed_dim": 8, **flags})
    ARCH_CONFIG_REGISTRY["lstm"](args)
    return ARCH_MODEL_REGISTRY["lstm"].build_model(args, task).double()


def built(kind):
    """A model of every kind whose output layer is a matrix."""
    language, translation = tiny_task("language"), tiny_task("translation")
    if kind == "lstm":
        return translation, lstm(translation)
    if kind == "tied lstm":
        return translation, lstm(translation, share_decoder_input_output_embed=True)
    task = language if kind.startswith("language") else translation
    tied = {"share_decoder_input_output_embed": True} if kind.endswith("tied") else {}
    return task, tiny_model(task, **tied)


MODELS = ["translation", "translation tied", "language", "language tied", "lstm", "tied lstm"]


@pytest.mark.parametrize("kind", MODELS)
def test_features_times_projection_are_the_logits(kind):
    torch.manual_seed(1)
    task, model = built(kind)
    net_input = tiny_sample(task)["net_input"]
    want = model(**net_input)[0]
    projection = output_projection(model)
    assert (projection.bias is not None) == (kind == "lstm")
    with features_only(model, projection):
        features = model(**net_input)[0]
    assert features.shape == (*want.shape[:2], projection.weight.size(1))
    assert_same(F.linear(features, *projection), want)
    assert torch.equal(model(**net_input)[0], want)  # and afterwards it returns logits again
    assert "output_layer" not in vars(model.decoder)


def test_a_distributed_wrapper_forwards_it():
    task = tiny_task("translation")
    model = tiny_model(task)

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = model

        def forward(self, **net_input):
            return self.module(**net_input)

    wrapped = ModuleProxyWrapper(Wrapper())
    with features_only(wrapped, output_projection(wrapped)):
        assert wrapped(**tiny_sample(task)["net_input"])[0].size(-1) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_what_reads_the_decoder_meanwhile_gets_logits(kind):
    """An extra pass inside the forward; but one that asks for features itself gets these."""
    task = tiny_task(kind)
    model, net_input = tiny_model(task), tiny_sample(task)["net_input"]
    projection = output_projection(model)
    sizes = []

    def substitute(call):
        sizes.append(call.read(DecoderInput(call.tokens)).size(-1))
        with call.reading(DecoderInput(call.tokens)) as forward, features_only(model, projection):
            sizes.append(forward()[0].size(-1))
        return DecoderInput(call.tokens)

    with replaced_decoder_input(model, substitute), features_only(model, projection):
        assert model(**net_input)[0].size(-1) == 8
    assert sizes == [15, 8]


def test_it_ends_with_an_exception_too():
    task = tiny_task("translation")
    model = tiny_model(task)
    with pytest.raises(KeyError), features_only(model, output_projection(model)):
        raise KeyError
    assert model(**tiny_sample(task)["net_input"])[0].size(-1) == 15


def test_the_output_matrix_is_in_the_graph_of_the_features():
    """Where torch looks for parameters that had no part in the forward."""
    task = tiny_task("translation")
    model = tiny_model(task)
    with features_only(model, output_projection(model)):
        features = model(**tiny_sample(task)["net_input"])[0]
    todo, found = [features.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [following for following, _ in node.next_functions]
    weight = model.decoder.output_projection.weight
    assert any(getattr(node, "variable", None) is weight for node in found)


def pointer(net_output, log_probs, sample=None):
    return net_output[0]


def other_models():
    task = tiny_task("translation")
    adaptive = tiny_model(task, adaptive_softmax_cutoff="6,10")
    overridden = tiny_model(task)
    overridden.__class__ = type(
        "PointerModel",
        (type(overridden),),
        {"get_normalized_probs": lambda self, *args, **kw: pointer(*args, **kw)},
    )
    own_layer = tiny_model(task)
    own_layer.decoder.__class__ = type(
        "OwnDecoder",
        (type(own_layer.decoder),),
        {"output_layer": lambda self, features: self.output_projection(features).tanh()},
    )
    wide = tiny_model(task)
    wide.decoder.output_projection = nn.Sequential(nn.Linear(8, 15))
    normalised = tiny_model(task)
    nn.utils.weight_norm(normalised.decoder.output_projection)
    return [
        ((), adaptive),
        (("get_normalized_probs",), overridden),
        (("OwnDecoder",), own_layer),
        (("Sequential",), wide),
        (("Linear",), normalised),
        (("Linear",), nn.Linear(1, 1)),
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_more_than_a_matrix_is_named():
    for named, model in other_models():
        with refuses(*named, error=NoProjection):
            output_projection(model)


def test_parameters_that_are_spread_are_refused():
    model = tiny_model(tiny_task("language"))
    kind = type("FullyShardedDataParallel", (type(model),), {})
    model.__class__ = kind
    with refuses("--loss-chunk-size", "fully_sharded", error=UnsuitableModel):
        output_projection(model)


def capped(self, *args, **keywords):
    """A soft cap on the logits, which the class's own forward knows nothing of."""
    output, extra = super(type(self), self).forward(*args, **keywords)
    return 3 * torch.tanh(output / 3), extra


@pytest.mark.parametrize("part", ["model", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_that_changes_the_logits_is_refused(kind, part):
    """It would change the features, and the loss would be another one."""
    task = tiny_task(kind)
    model, net_input = tiny_model(task), tiny_sample(task)["net_input"]
    owner = model if part == "model" else model.decoder
    owner.__class__ = type("Capped", (type(owner),), {"forward": capped})
    with refuses("Capped", error=UnsuitableModel):  # noqa: SIM117
        with features_only(model, output_projection(model)):
            model(**net_input)
    assert model(**net_input)[0].size(-1) == 15


def test_what_was_put_in_the_place_of_a_layer_is_named():
    model = tiny_model(tiny_task("language"))
    model.decoder.output_layer = lambda features: features
    with refuses(type(model.decoder).__name__, error=NoProjection):
        output_projection(model)
    del model.decoder.output_layer
    model.decoder.output_projection.forward = lambda features: features
    with refuses("Linear", error=NoProjection):
        output_projection(model)

"""``--arch gpt2`` and its sizes: GPT-2's own sizes, and symbols that are never predicted."""

import copy
import importlib
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from refusals import refuses

from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.models import gpt2
from genft_fairseq.models.gpt2 import LINE_END, NEVER, SIZES

TINY = ["--decoder-layers", "2", "--decoder-embed-dim", "16", "--decoder-attention-heads", "2"]
BOS, PAD, EOS, UNK = range(4)


def build(folder: Path, *flags: str, tokens: Iterable[object] = range(20)):
    """The model that ``fairseq-train`` builds of these flags, for a dictionary of these tokens."""
    folder.mkdir(exist_ok=True)
    (folder / "dict.txt").write_text("".join(f"{token} 1\n" for token in tokens))
    words = [str(folder), "--task", "language_modeling", *flags]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    cfg = convert_namespace_to_omegaconf(args)
    return tasks.setup_task(cfg.task).build_model(cfg.model).eval()


PARAMETERS = {  # counted in the published models
    "gpt2": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
    "distilgpt2": 81_912_576,
}


@pytest.mark.parametrize("arch", SIZES)
def test_the_sizes_are_the_published_ones(arch, tmp_path):
    """Beside fairseq's four symbols and two rows of padding; on no device, so without memory."""
    with torch.device("meta"):
        model = build(tmp_path, "--arch", arch, tokens=range(50_257))
    layers, width, heads = SIZES[arch]
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[arch] + 6 * width
    assert len(model.decoder.layers) == layers
    assert model.decoder.layers[0].self_attn.num_heads == heads
    assert model.decoder.layers[0].fc1.out_features == 4 * width
    assert model.max_positions() == 1024


def test_sizes_and_positions_can_be_given(tmp_path):
    flags = ["--arch", "gpt2_medium", *TINY, "--decoder-ffn-embed-dim", "24"]
    model = build(tmp_path, *flags, "--max-target-positions", "48", "--dropout", "0.3")
    assert model.max_positions() == 48
    assert model.decoder.layers[0].fc1.weight.shape == (24, 16)
    assert model.decoder.dropout_module.p == 0.3
    # Blocks shorter than the model's positions leave those as they are.
    short = build(tmp_path, "--arch", "gpt2", *TINY, "--tokens-per-sample", "32")
    assert short.max_positions() == 1024


def test_symbols_that_gpt2_does_not_have_are_never_predicted(tmp_path):
    """Not even where every other logit is far below zero, as GPT-2's are."""
    model = build(tmp_path, "--arch", "gpt2", *TINY)
    with torch.no_grad():
        model.decoder.layer_norm.weight.zero_()
        model.decoder.layer_norm.bias.fill_(1)
        model.decoder.embed_tokens.weight.fill_(-100 / 16)
        model.decoder.embed_tokens.weight[[BOS, PAD, UNK]] = 0
        probabilities = model(torch.tensor([[5, 6]]))[0].softmax(-1)[0, -1]
    assert probabilities[[BOS, PAD, UNK]].tolist() == [0, 0, 0]
    # Twenty tokens, and the end of a line, which is one nat below them: by hand.
    torch.testing.assert_close(probabilities[4].item(), 1 / (20 + math.exp(-1)))
    torch.testing.assert_close(probabilities[EOS].item(), math.exp(-1) / (20 + math.exp(-1)))
    assert continue_prefixes(model, torch.tensor([[EOS, 5]]), 10, PAD).min() >= 4


def test_the_constants_are_kept_and_never_trained(tmp_path):
    model = build(tmp_path, "--arch", "gpt2", *TINY)
    output = model.decoder.output_projection
    assert output.bias[:4].tolist() == [NEVER, NEVER, LINE_END, NEVER]
    assert not output.bias[4:].any()
    assert "decoder.output_projection.bias" not in dict(model.named_parameters())
    assert output.weight is model.decoder.embed_tokens.weight

    twin = copy.deepcopy(model)
    assert twin.decoder.output_projection.weight is twin.decoder.embed_tokens.weight
    twin.decoder.embed_tokens.weight.data.zero_()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.decoder.embed_tokens.weight, model.decoder.embed_tokens.weight)

    half = twin.half().decoder.output_projection
    assert half.bias.dtype == torch.float16 and half.bias.isfinite().all()
    logits = half(torch.full((1, 16), 20.0, dtype=torch.float16)).float()
    assert logits.isfinite().all()
    assert logits.softmax(-1)[0, [BOS, PAD, UNK]].tolist() == [0, 0, 0]


def test_another_dictionary(tmp_path):
    """Text may hold what a dictionary of words lacks; weights of the one are not for the other."""
    numbers = build(tmp_path / "numbers", "--arch", "gpt2", *TINY)
    for name, symbols in (("words", "abcdefghijklmnopqrst"), ("reversed", range(19, -1, -1))):
        other = build(tmp_path / name, "--arch", "gpt2", *TINY, tokens=symbols)
        bias = other.decoder.output_projection.bias
        assert bias[:4].tolist() == [NEVER, NEVER, 0, 0] and not bias[4:].any()
        with refuses("dict.txt"):
            other.load_state_dict(numbers.state_dict())


def test_a_second_import_changes_nothing(tmp_path):
    importlib.reload(gpt2)
    assert build(tmp_path, "--arch", "distilgpt2", *TINY).max_positions() == 1024


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--layernorm-embedding"], ("--layernorm-embedding",)),
        (["--adaptive-softmax-cutoff", "8"], ("--adaptive-softmax-cutoff",)),
        (["--no-token-positional-embeddings"], ("--no-token-positional-embeddings",)),
        (["--decoder-output-dim", "8"], ("--decoder-output-dim", 8, "--decoder-embed-dim", 16)),
        (["--decoder-attention-heads", "3"], ("--decoder-attention-heads", 3)),
    ],
)
def test_settings_of_another_model(flags, named, tmp_path):
    with refuses(*named):
        build(tmp_path, "--arch", "gpt2", *TINY, *flags)

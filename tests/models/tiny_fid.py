"""Tiny Fusion-in-Decoder models, and batches of questions with several passages."""

from argparse import Namespace
from typing import Any

import torch
from criterions.tiny_fairseq import EOS, PAD
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor

from genft_fairseq.models.fid.transformer import FiDTransformerModel

SIZES = {
    **{f"{side}_layers": layers for side, layers in (("encoder", 1), ("decoder", 3))},
    **{f"{side}_embed_dim": 16 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_embed_dim": 16 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{"max_source_positions": 64, "max_target_positions": 64, "dropout": 0.0},
}
# Every economy, and all of them together.
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "first_k": {"first_k": 3},
    "sparse": {"cross_attention_interval": 2},
    "grouped": {"decoder_kv_heads": 2},
    "multi_query": {"decoder_kv_heads": 1},
    "in_parts": {"passages_at_once": 2},
    "all": {
        **{"first_k": 3, "cross_attention_interval": 3, "decoder_kv_heads": 1},
        **{"passages_at_once": 2, "decoder_layers": 4, "decoder_embed_dim": 24},
    },
}
# Questions of 3, 1 and 2 passages, each passage the tokens of a pair.
PASSAGES = [
    [[5, 6, 7, EOS], [5, 6, 8, 9, 10, 11, EOS], [5, 6, EOS]],
    [[12, 13, 14, 8, EOS]],
    [[9, EOS], [9, 4, 4, 5, EOS]],
]
TARGETS = [[8, 9, 10, EOS], [14, EOS], [4, 5, 4, 5, 4, EOS]]


def tiny_task() -> TranslationTask:
    """A task with a vocabulary of 15, built from dictionaries instead of files."""
    dictionary = Dictionary()
    for number in range(11):
        dictionary.add_symbol(f"w{number}")
    return TranslationTask(TranslationConfig(), dictionary, dictionary)


def tiny_model(kind: Any = FiDTransformerModel, seed: int = 1, **flags: Any) -> Any:
    """A model far from uniform, in double precision and training mode."""
    args = Namespace(**{**SIZES, **flags})
    base_architecture(args)
    torch.manual_seed(seed)
    model = kind.build_model(args, tiny_task())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.double().train()


def plain_transformer(seed: int = 1, **flags: Any) -> Any:
    """fairseq's own Transformer with the same parameters."""
    return tiny_model(TransformerModel, seed, **flags)


def padded(rows: list[list[int]], width: int, left: bool) -> Tensor:
    """(len(rows), width) token ids."""
    filled = [[PAD] * (width - len(row)) + row if left else row for row in rows]
    return torch.tensor([row + [PAD] * (width - len(row)) for row in filled])


def tiny_sample(
    passages: list[list[list[int]]] = PASSAGES,
    targets: list[list[int]] = TARGETS,
    left: bool = True,
    more: int = 0,
) -> dict[str, Any]:
    """A batch; ``more`` passages of padding alone, and columns of padding, than it needs."""
    width = max(len(pair) for pairs in passages for pair in pairs) + more
    most = max(map(len, passages)) + more
    src_tokens = torch.stack(
        [padded([*pairs, *[[]] * (most - len(pairs))], width, left) for pairs in passages]
    )
    length = max(map(len, targets))
    return {
        "id": torch.arange(len(passages)),
        "nsentences": len(passages),
        "ntokens": sum(map(len, targets)),
        "net_input": {
            "src_tokens": src_tokens,
            "src_lengths": src_tokens.ne(PAD).sum(dim=(1, 2)),
            "prev_output_tokens": padded([[EOS, *row[:-1]] for row in targets], length, False),
        },
        "target": padded(targets, length, False),
    }

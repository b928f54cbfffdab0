"""A language model and the text that it is evaluated on."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from fairseq import utils
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.checkpoints import (
    build_models,
    chosen_device,
    read_checkpoint,
    require_finite,
)
from genft_fairseq.evaluation.token_figures import TokenFigures
from genft_fairseq.generation.model_logits import model_logits

# The logits of a batch take this many bytes at most, in float32, where one block allows it.
_LOGITS_BYTES = 2**28

# So many tokens tell whether a text is in the dictionary's pieces.
_LOOKED_AT = 10_000

# Called with what has just been done (a number of tokens); a progress bar, or nothing.
Progress = Callable[[int], None]


def _no_progress(_: int) -> None:
    pass


@dataclass
class LoadedModel:
    """A language model in evaluation mode, with the task that knows its data."""

    model: Any
    task: Any
    device: torch.device

    @property
    def dictionary(self) -> Any:
        """Of the text; with --output-dictionary-size the model predicts its first part only."""
        return self.task.source_dictionary

    @property
    def begins_with_bos(self) -> bool:
        """Whether the model was trained on blocks that begin with ``<s>``."""
        return bool(self.task.args.add_bos_token)

    @property
    def positions(self) -> int:
        """How many tokens of text the model can read."""
        return int(self.model.max_positions()) - self.begins_with_bos


def load_language_model(data: str, path: str, cpu: bool = False) -> LoadedModel:
    """Load a checkpoint for the binarized data folder.

    Raises:
        UserError: no such file, not a language model, not one of the data's dictionary, or one
            that training has broken; the folder has no dictionary.
    """
    overrides = {"data": data}
    state = read_checkpoint(path, overrides)
    _require_same_dictionary(state, data, path)
    models, _, task = build_models(path, state, overrides)
    if len(models) != 1 or hasattr(models[0], "encoder"):
        raise UserError(f"{path} holds a {type(models[0]).__name__}, not a language model")
    require_finite(models[0], path)
    device = chosen_device(cpu)
    return LoadedModel(models[0].to(device).eval(), task, device)


def _require_same_dictionary(state: dict[str, Any], data: str, path: str) -> None:
    """fairseq would speak of the size of a tensor."""
    file = os.path.join(data, "dict.txt")
    embedded = (state.get("model") or {}).get("decoder.embed_tokens.weight")
    if "model" in state and any(name.startswith("encoder.") for name in state["model"]):
        return  # no language model, which is said later
    if not os.path.exists(file):
        raise UserError(
            f"{data} holds no dict.txt: a language model's data is what fairseq-preprocess "
            f"--only-source makes"
        )
    if embedded is None:
        return
    symbols = len(Dictionary.load(file))
    if len(embedded) != symbols:
        raise UserError(
            f"{path} was trained with a dictionary of {len(embedded)} symbols, but {file} has "
            f"{symbols}: give the data it was trained on, or data made with its dictionary"
        )


@dataclass
class TokenRows:
    """The text of a split, read item by item.

    Attributes:
        dataset: fairseq's, of token ids.
        tokens: how many it holds.
    """

    dataset: Any
    tokens: int

    def cut(self, size: int) -> Iterator[Tensor]:
        """Cut the text into rows of so many tokens, (size,); what is left over is dropped."""
        kept: list[Tensor] = []
        waiting = 0
        for i in range(len(self.dataset)):
            kept.append(self.dataset[i].long())
            waiting += len(kept[-1])
            if waiting < size:
                continue
            *whole, rest = torch.cat(kept).split(size)
            if len(rest) == size:
                whole.append(rest)
                rest = rest[:0]
            yield from whole
            kept, waiting = [rest], len(rest)


def token_rows(loaded: LoadedModel, data: str, split: str) -> TokenRows:
    """Open a split of the data folder.

    Raises:
        UserError: there is none of this name, or it holds no text.
    """
    path = os.path.join(data, split)
    if not os.path.isfile(f"{path}.idx"):
        there = sorted(name[:-4] for name in os.listdir(data) if name.endswith(".idx"))
        raise UserError(f"--split {split!r}: {data} holds {', '.join(there) or 'no split'}")
    # Nothing at all cannot be mapped into memory.
    if os.path.isfile(f"{path}.bin") and not os.path.getsize(f"{path}.bin"):
        raise UserError(f"--split {split}: {path} holds no token")
    dataset = data_utils.load_indexed_dataset(path, loaded.dictionary)
    if dataset is None:
        raise FileNotFoundError(f"Dataset not found: {split} ({path})")
    rows = TokenRows(dataset, int(sum(dataset.sizes)))
    if not rows.tokens:
        raise UserError(f"--split {split}: {path} holds no token")
    return rows


def require_known(rows: TokenRows, loaded: LoadedModel, split: str) -> None:
    """Refuse text that the dictionary does not know, such as words where it has pieces.

    Raises:
        UserError: most of the first tokens are unknown.
    """
    first = next(rows.cut(min(rows.tokens, _LOOKED_AT)))
    unknown = int(first.eq(loaded.dictionary.unk()).sum())
    if unknown * 2 > len(first):
        raise UserError(
            f"--split {split}: {unknown:,} of the first {len(first):,} tokens are <unk>: was the "
            "text split into the pieces of the model's dictionary before fairseq-preprocess?"
        )


@torch.no_grad()
def token_figures(
    loaded: LoadedModel,
    split: str,
    max_tokens: int | None = None,
    progress: Progress = _no_progress,
    block: int | None = None,
    peer_rows: TokenRows | None = None,
) -> TokenFigures:
    """Predict the tokens of a split on gold prefixes, block by block.

    Args:
        loaded: the model.
        split: of its data folder.
        max_tokens: tokens at a time, at least a block; None: as many as memory should hold.
        progress: told how many tokens have been predicted.
        block: tokens a block; None: as many as the model was trained on.
        peer_rows: the text of the split, to be cut as the code behind the published tables does;
            None: as fairseq does, so that every token is predicted.
    """
    dictionary = loaded.task.target_dictionary
    block = block or loaded.task.args.tokens_per_sample
    max_tokens = max_tokens or max(block, _LOGITS_BYTES // (4 * len(dictionary)))
    if peer_rows is None:
        batches = _fairseq_batches(loaded, split, block, max_tokens)
    else:
        batches = _peer_batches(loaded, peer_rows, block, max_tokens)
    figures = TokenFigures(len(dictionary), dictionary.pad(), dictionary.unk())
    for batch in batches:
        batch = utils.move_to_cuda(batch) if loaded.device.type == "cuda" else batch
        net_output = loaded.model(**batch["net_input"])
        # A model with an adaptive softmax returns features: its log-probabilities are scores too.
        progress(figures.add(model_logits(loaded.model, net_output), batch["target"]))
    return figures


def _fairseq_batches(
    loaded: LoadedModel, split: str, block: int, max_tokens: int
) -> Iterator[dict[str, Any]]:
    """Blocks whose first token is predicted from the last one of the block before."""
    task, dictionary = loaded.task, loaded.task.target_dictionary
    task.args.tokens_per_sample = block
    task.load_dataset(split)
    for batch in task.get_batch_iterator(
        task.dataset(split),
        max_tokens=max_tokens,
        ignore_invalid_inputs=False,
        required_batch_size_multiple=1,
    ).next_epoch_itr(shuffle=False):
        if loaded.begins_with_bos:  # which is a target then, but no text
            bos = batch["target"].eq(dictionary.bos())
            batch["target"] = batch["target"].masked_fill(bos, dictionary.pad())
        yield batch


def _peer_batches(
    loaded: LoadedModel, rows: TokenRows, block: int, max_tokens: int
) -> Iterator[dict[str, Any]]:
    """Rows of one token more than a block, whose first token is read and not predicted.

    The rows do not overlap, and what is left over at the end of the text is dropped; see
    ``get_datasets`` and ``eval_singletoken`` in custom/gpt2/run_gpt2.py, of
    facebookresearch/unlikelihood_training and of shawnlimn/ScaleGrad.
    """
    cut = rows.cut(block + 1)
    while batch := list(islice(cut, max(1, max_tokens // block))):
        text = torch.stack(batch)  # (B, block + 1)
        tokens, target = text[:, :-1], text[:, 1:]
        if loaded.begins_with_bos:
            column = text.new_ones(len(text), 1)
            tokens = torch.cat([column * loaded.dictionary.bos(), tokens], dim=1)
            target = torch.cat([column * loaded.dictionary.pad(), target], dim=1)
        lengths = tokens.new_full((len(tokens),), tokens.size(1))
        yield {"net_input": {"src_tokens": tokens, "src_lengths": lengths}, "target": target}

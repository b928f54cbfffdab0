"""Evaluation of a language model: perplexity, token metrics, completions."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fairseq import utils

from genft_fairseq.data.subwords import Subwords
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.completions import (
    CompletionLog,
    Plan,
    complete,
    number_of_prefixes,
    require_room,
)
from genft_fairseq.evaluation.loading import (
    LoadedModel,
    Progress,
    TokenRows,
    load_language_model,
    require_known,
    token_rows,
)
from genft_fairseq.generation.model_logits import model_logits
from genft_fairseq.metrics.language_modeling import TokenMetrics

# The logits of a batch take this many bytes at most, in float32, where one block allows it.
_LOGITS_BYTES = 2**28


def evaluate(
    progress: Progress,
    data: str,
    path: str,
    split: str,
    predicting: bool = True,
    plan: Plan | None = None,
    bpe: str = "auto",
    max_tokens: int | None = None,
    tokens_per_sample: int | None = None,
    cpu: bool = False,
    peer_compatible: bool = False,
) -> tuple[dict[str, Any], CompletionLog | None]:
    """Evaluate a language model on a data folder.

    Args:
        progress: told of the tokens that have been predicted and generated.
        data: the binarized folder.
        path: the checkpoint.
        split: part of the data.
        predicting: compute the metrics of gold prefixes.
        plan: how to complete prefixes; None: not at all.
        bpe: how subwords make up text; see ``Subwords``.
        max_tokens: tokens predicted at a time; None: by memory.
        tokens_per_sample: of a block that is predicted; None: as in training.
        cpu: do not use a GPU.
        peer_compatible: as the code behind the published tables, where it differs from the papers:
            rows, prefixes, ranks, words.

    Returns:
        the metrics by name, and the completions; None without a plan.

    Raises:
        UserError: the model, the data and the options do not fit.
    """
    loaded = load_language_model(data, path, cpu)
    rows = token_rows(loaded, data, split)
    # Whatever does not fit is said before the work.
    require_known(rows, loaded, split)
    block = _block(loaded, tokens_per_sample, max_tokens, predicting, peer_compatible)
    if predicting and peer_compatible and block and rows.tokens <= block:
        raise UserError(
            f"--peer-compatible needs one row of {block + 1} tokens (--tokens-per-sample "
            f"{block}, plus one), but {split} holds {rows.tokens}"
        )
    log = None
    if plan:
        require_room(plan, loaded.positions, rows.tokens, split)
        choices = len(loaded.task.target_dictionary) - 1
        if plan.beam > choices:
            raise UserError(
                f"--beam {plan.beam} keeps more hypotheses than there are tokens to choose from, "
                f"{choices}"
            )
        subwords = Subwords(loaded.dictionary, bpe, [Path(data), Path(path).parent])
        log = CompletionLog(subwords, plan.length, peer_compatible)
    started = time.perf_counter()
    metrics: dict[str, Any] = {"path": path, "split": split, "peer_compatible": peer_compatible}
    if predicting:
        peer_rows = rows if peer_compatible else None
        total = rows.tokens // (block + 1) * block if peer_rows and block else rows.tokens
        predicted = partial(progress, "predicting", total)
        predicted(0)
        found = token_metrics(loaded, split, max_tokens, predicted, block, peer_rows)
        metrics |= found.metrics(peer_compatible)
        metrics["tokens_per_sample"] = block
    if plan and log:
        total = number_of_prefixes(plan, rows.tokens) * plan.length
        progress("completing", total, 0)
        for batch in complete(loaded, rows, plan):
            for completion in batch:
                log.add(completion)
            progress("completing", total, len(batch) * plan.length)
        metrics |= {**_settings(plan), "bpe": log.subwords.kind}
        metrics |= {"model": log.model.metrics(), "human": log.human.metrics()}
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    return metrics, log


@torch.no_grad()
def token_metrics(
    loaded: LoadedModel,
    split: str,
    max_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
    block: int | None = None,
    peer_rows: TokenRows | None = None,
) -> TokenMetrics:
    """Predict the tokens of a split on gold prefixes, block by block.

    Args:
        loaded: the model.
        split: of its data folder.
        max_tokens: tokens at a time, at least a block; None: as many as memory should hold.
        progress: told how many tokens have just been predicted; None: nobody is.
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
    metrics = TokenMetrics(len(dictionary), dictionary.pad(), dictionary.unk())
    for batch in batches:
        batch = utils.move_to_cuda(batch) if loaded.device.type == "cuda" else batch
        net_output = loaded.model(**batch["net_input"])
        # A model with an adaptive softmax returns features: its log-probabilities are scores too.
        added = metrics.add(model_logits(loaded.model, net_output), batch["target"])
        if progress:
            progress(added)
    return metrics


def _block(
    loaded: LoadedModel,
    block: int | None,
    max_tokens: int | None,
    predicting: bool,
    peer_compatible: bool,
) -> int | None:
    """Return how many tokens of a block are predicted; None for a model that reads line by line.

    Raises:
        UserError: blocks that the model cannot read, that are no blocks, or more than fit.
    """
    args = loaded.task.args
    by_line = args.sample_break_mode == "eos" and not peer_compatible
    if block and by_line:
        raise UserError(
            f"--tokens-per-sample {block}: the model reads line by line (--sample-break-mode eos)"
        )
    if block and block > loaded.positions:
        raise UserError(
            f"--tokens-per-sample must be at most the model's {loaded.positions} positions, "
            f"but is {block}"
        )
    if not block:
        block = int(args.tokens_per_sample)
        block = min(block, loaded.positions) if peer_compatible else block
    if predicting and max_tokens and max_tokens < block:
        raise UserError(
            f"--max-tokens must be at least the {block} of a block (--tokens-per-sample), "
            f"but is {max_tokens}"
        )
    return None if by_line else block


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


def _settings(plan: Plan) -> dict[str, Any]:
    search = asdict(plan.search)
    name = "sampling" if search.pop("sampling") else "beam" if plan.beam else "greedy"
    return {
        **{name: getattr(plan, name) for name in ("prefix_length", "length", "limit")},
        "search": {"search": name, "beam": plan.beam, "seed": plan.seed, **search},
    }

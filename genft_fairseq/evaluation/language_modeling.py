"""Evaluation of a language model: perplexity, token metrics, completions."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    load_language_model,
    require_known,
    token_metrics,
    token_rows,
)

# Called with what begins now and its number of tokens; returns what to tell of the progress.
Begin = Callable[[str, int], Progress]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated.

    Attributes:
        data: the binarized folder.
        path: the checkpoint.
        split: part of the data.
        predicting: compute the figures of gold prefixes.
        plan: how to complete prefixes; None: not at all.
        bpe: how pieces make up text; see ``Subwords``.
        max_tokens: tokens predicted at a time; None: by memory.
        tokens_per_sample: of a block that is predicted; None: as in training.
        cpu: do not use a GPU.
        peer_compatible: as the code behind the published tables, where it differs from the papers:
            rows, prefixes, ranks, words.
    """

    data: str
    path: str
    split: str
    predicting: bool = True
    plan: Plan | None = None
    bpe: str = "auto"
    max_tokens: int | None = None
    tokens_per_sample: int | None = None
    cpu: bool = False
    peer_compatible: bool = False


def evaluate(asked: Evaluation, begin: Begin) -> tuple[dict[str, Any], CompletionLog | None]:
    """Evaluate, and return the figures by name, and the completions.

    Raises:
        UserError: the model, the data and what is asked of them do not fit.
    """
    loaded = load_language_model(asked.data, asked.path, asked.cpu)
    rows = token_rows(loaded, asked.data, asked.split)
    plan, log = asked.plan, None
    # Whatever does not fit is said before the work.
    require_known(rows, loaded, asked.split)
    block = _block(asked, loaded, rows.tokens)
    if plan:
        require_room(plan, loaded.positions, rows.tokens, asked.split)
        tokens = len(loaded.task.target_dictionary) - 1
        if plan.beam > tokens:
            raise UserError(
                f"--beam {plan.beam} keeps more hypotheses than there are tokens to choose from, "
                f"{tokens}"
            )
        folders = [Path(asked.data), Path(asked.path).parent]
        subwords = Subwords(loaded.dictionary, asked.bpe, folders)
        log = CompletionLog(subwords, plan.length, asked.peer_compatible)
    begun = time.perf_counter()
    metrics: dict[str, Any] = {
        **{name: getattr(asked, name) for name in ("path", "split", "peer_compatible")},
    }
    if asked.predicting:
        peer_rows = rows if asked.peer_compatible else None
        predicted = rows.tokens // (block + 1) * block if peer_rows and block else rows.tokens
        progress = begin("predicting", predicted)
        found = token_metrics(loaded, asked.split, asked.max_tokens, progress, block, peer_rows)
        metrics.update(found.metrics(asked.peer_compatible))
        metrics["tokens_per_sample"] = block
    if plan and log:
        progress = begin("completing", number_of_prefixes(plan, rows.tokens) * plan.length)
        for batch in complete(loaded, rows, plan):
            for completion in batch:
                log.add(completion)
            progress(len(batch) * plan.length)
        metrics.update(_settings(plan), bpe=log.subwords.kind)
        metrics.update(model=log.model.metrics(), human=log.human.metrics())
    metrics["seconds"] = round(time.perf_counter() - begun, 1)
    return metrics, log


def _block(asked: Evaluation, loaded: LoadedModel, tokens: int) -> int | None:
    """Return how many tokens of a block are predicted; None for a model that reads line by line.

    Raises:
        UserError: blocks that the model cannot read, that are no blocks, or longer than the text.
    """
    args = loaded.task.args
    block = asked.tokens_per_sample
    by_line = args.sample_break_mode == "eos" and not asked.peer_compatible
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
        block = args.tokens_per_sample
        block = min(block, loaded.positions) if asked.peer_compatible else block
    if asked.predicting and asked.max_tokens and asked.max_tokens < block:
        raise UserError(
            f"--max-tokens must be at least the {block} of a block (--tokens-per-sample), "
            f"but is {asked.max_tokens}"
        )
    if asked.predicting and asked.peer_compatible and tokens <= block:
        raise UserError(
            f"--peer-compatible needs one row of {block + 1} tokens (--tokens-per-sample "
            f"{block}, plus one), but {asked.split} holds {tokens}"
        )
    return None if by_line else block


def _settings(plan: Plan) -> dict[str, Any]:
    search = asdict(plan.search)
    name = "sampling" if search.pop("sampling") else "beam" if plan.beam else "greedy"
    return {
        **{name: getattr(plan, name) for name in ("prefix_length", "length", "limit")},
        "search": {"search": name, "beam": plan.beam, "seed": plan.seed, **search},
    }

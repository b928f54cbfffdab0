"""Completing prefixes by ``evaluate-lm`` and by transformers' ``generate``, in the same ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from completion_models import SPLIT, Twins
from torch import Tensor

from genft_fairseq.convert.gpt2 import SYMBOLS
from genft_fairseq.data.subwords import Subwords
from genft_fairseq.evaluation.completions import CompletionLog, Plan, complete
from genft_fairseq.evaluation.loading import token_rows
from genft_fairseq.generation import rollout as reading
from genft_fairseq.generation.sampling import Search

Shape = tuple[int, int, int]  # prefixes at a time, tokens read, tokens generated


@dataclass(frozen=True)
class Way:
    """A way of completing.

    Attributes:
        ours: settings of ``Plan``.
        theirs: keywords of ``generate``.
        drawn: texts are drawn at random, so that two programs draw different ones.
        step_by_step: read prefixes as fairseq's generators do, one token a call.
    """

    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)
    drawn: bool = False
    step_by_step: bool = False


# By the names of ``completion_tables.SEARCHES``.
WAYS = {
    "greedy": Way(),
    "greedy_step_by_step": Way(step_by_step=True),
    # Theirs keeps to the 50 likeliest tokens unless it is told otherwise.
    "nucleus": Way(
        ours={"search": Search(sampling=True, top_p=0.9)},
        theirs={"do_sample": True, "top_p": 0.9, "top_k": 0},
        drawn=True,
    ),
    "top_k": Way(
        ours={"search": Search(sampling=True, top_k=50)},
        theirs={"do_sample": True, "top_k": 50},
        drawn=True,
    ),
    # All hypotheses are equally long, so that theirs cannot differ by its length penalty.
    "beam": Way(ours={"beam": 5}, theirs={"num_beams": 5}),
}


def complete_by_ours(twins: Twins, way: Way, number: int, shape: Shape) -> Tensor:
    """Do all that ``evaluate-lm --mode completions --bpe none`` does once the model is loaded.

    Args:
        twins: model and text.
        way: how to complete.
        number: of prefixes.
        shape: of the work.

    Returns:
        (number, T), what the model wrote, in transformers' numbers.
    """
    B, P, T = shape
    plan = Plan(prefix_length=P, length=T, limit=number, batch_size=B, **way.ours)
    rows = token_rows(twins.ours, str(twins.folder), SPLIT)
    log = CompletionLog(Subwords(twins.ours.dictionary, "none", []), T, peer_compatible=False)
    written = []
    with _reading(way):
        for batch in complete(twins.ours, rows, plan):
            for completion in batch:
                log.add(completion)
                written.append(completion.continuation)
    assert log.model.metrics()["continuations"] == log.human.metrics()["continuations"] == number
    return torch.tensor(written) - SYMBOLS


@contextmanager
def _reading(way: Way) -> Iterator[None]:
    if not way.step_by_step:
        yield
        return
    with patch.object(reading, "_reads_at_once", lambda decoder: False):
        yield


@torch.no_grad()
def complete_by_theirs(twins: Twins, way: Way, number: int, shape: Shape) -> Tensor:
    """Call ``generate`` on one batch after the other; arguments and result as of ours."""
    B, P, T = shape
    written = []
    for prefix in (twins.text[:number, :P] - SYMBOLS).split(B):
        text = twins.theirs.generate(
            prefix,
            attention_mask=torch.ones_like(prefix),
            max_new_tokens=T,
            pad_token_id=0,
            **{"do_sample": False, **way.theirs},
        )
        written.append(text[:, P:])
    return torch.cat(written)

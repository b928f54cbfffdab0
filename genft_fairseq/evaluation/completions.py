"""Completions of held-out prefixes, and the file that keeps them.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020, arXiv:1908.04319,
section 6: a language model continues 50 tokens of a held-out text by 100, and repetition is
measured on these, beside what the authors of the text wrote. There may be many: they are written to
disk as they come, and never held together.
"""

import json
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.data.subwords import Subwords
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.loading import LoadedModel, TokenRows
from genft_fairseq.generation.rollout import GREEDY, beam_continuations, continue_prefixes
from genft_fairseq.generation.sampling import Search
from genft_fairseq.metrics.language_modeling import NGRAMS, CompletionMetrics, repeated_tokens
from genft_fairseq.metrics.repetition import repetition

# The authors' code cuts the text into rows, 300 tokens and their targets, and these into prefixes.
_PEER_ROW = 301


@dataclass(frozen=True)
class Plan:
    """What to continue, and how.

    Attributes:
        prefix_length: tokens read.
        length: tokens generated.
        limit: the number of prefixes; None: the whole split.
        batch_size: prefixes at a time; the texts do not depend on it.
        search: how a token is chosen.
        beam: hypotheses of a beam search; 0: no beam.
        seed: of sampling.
        peer_compatible: take prefixes as the authors' code does: six in succession from every 301
            tokens.  What a human wrote after one is then the next two prefixes, and is missing
            after the last ones of the text.
    """

    prefix_length: int = 50
    length: int = 100
    limit: int | None = None
    batch_size: int = 32
    search: Search = GREEDY
    beam: int = 0
    seed: int = 1
    peer_compatible: bool = False


@dataclass(frozen=True)
class Completion:
    """A held-out prefix, what the model made of it, and what its author wrote; token ids."""

    prefix: list[int]
    continuation: list[int]
    human: list[int]


def number_of_prefixes(plan: Plan, tokens: int) -> int:
    """Return how many prefixes a text of so many tokens gives."""
    if plan.peer_compatible:
        number = tokens // _PEER_ROW * (_PEER_ROW // plan.prefix_length)
    else:
        number = tokens // (plan.prefix_length + plan.length)
    return number if plan.limit is None else min(number, plan.limit)


def require_room(plan: Plan, positions: int, tokens: int, split: str) -> None:
    """Refuse, before the work, continuations that the model or the text is too short for.

    Raises:
        UserError: so it is.
    """
    window = plan.prefix_length + plan.length
    asked = f"a prefix of {plan.prefix_length} and a continuation of {plan.length} need"
    advice = "give a shorter --prefix-length and --length (to genft test: after --)"
    if window - 1 > positions:
        raise UserError(
            f"{asked} {window - 1} positions, but the model was trained with {positions}: {advice}"
        )
    if plan.peer_compatible and plan.prefix_length > _PEER_ROW:
        raise UserError(
            f"--peer-compatible takes prefixes from rows of {_PEER_ROW} tokens, but "
            f"--prefix-length is {plan.prefix_length}"
        )
    needed = _PEER_ROW if plan.peer_compatible else window
    if tokens < needed:
        asked = "--peer-compatible takes rows of" if plan.peer_compatible else asked
        raise UserError(f"{asked} {needed} tokens, but {split} holds {tokens}: {advice}")


def complete(loaded: LoadedModel, rows: TokenRows, plan: Plan) -> Iterator[list[Completion]]:
    """Continue prefixes of a text, one batch after the other.

    The text is cut into windows of prefix and continuation that do not overlap.  What is sampled
    depends on the seed and the window, not on the batch.  No batch is held after the next.
    """
    windows = islice(_windows(rows, plan), plan.limit)
    number = 0
    while batch := list(islice(windows, plan.batch_size)):
        prefix = torch.stack([prefix for prefix, _ in batch])  # (B, P)
        sentences = torch.arange(number, number + len(batch), device=loaded.device)
        number += len(batch)
        continuation = _continuations(loaded, prefix.to(loaded.device), sentences, plan).tolist()
        humans = [human.tolist() for _, human in batch]
        yield [Completion(*row) for row in zip(prefix.tolist(), continuation, humans, strict=True)]


def _continuations(loaded: LoadedModel, prefix: Tensor, sentences: Tensor, plan: Plan) -> Tensor:
    if loaded.begins_with_bos:
        prefix = torch.cat([prefix.new_full((len(prefix), 1), loaded.dictionary.bos()), prefix], 1)
    given = (loaded.model, prefix, plan.length, loaded.dictionary.pad())
    if plan.beam:
        return beam_continuations(*given, plan.beam, plan.search.no_repeat_ngram_size)
    return continue_prefixes(*given, plan.search, plan.seed, sentences)


def _windows(rows: TokenRows, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of a prefix and what follows it in the text; see ``Plan.peer_compatible``."""
    P = plan.prefix_length
    if not plan.peer_compatible:
        for window in rows.cut(P + plan.length):
            yield window[:P], window[P:]
        return
    # What a human wrote goes on in the next rows.
    ahead = deque(islice(cut := rows.cut(_PEER_ROW), 1 + -(-plan.length // _PEER_ROW)))
    while ahead:
        text = torch.cat(list(ahead))
        for start in range(0, _PEER_ROW - P + 1, P):
            yield text[start : start + P], text[start + P : start + P + plan.length]
        ahead.popleft()
        ahead.extend(islice(cut, 1))


class CompletionLog:
    """Turns completions into text, adds up their metrics, and keeps the texts in a file.

    Args:
        subwords: make text of token ids.
        length: of a whole continuation; metrics of humans are of whole ones.
        peer_compatible: see ``CompletionMetrics``.
    """

    def __init__(self, subwords: Subwords, length: int, peer_compatible: bool):
        self.subwords = subwords
        self.length = length
        self.peer_compatible = peer_compatible
        self.model = CompletionMetrics(peer_compatible)
        self.human = CompletionMetrics(peer_compatible)
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (as long as we)

    def add(self, completion: Completion) -> None:
        """Count a completion, and write its texts down."""
        texts = {
            part: self.subwords.text(getattr(completion, part))
            for part in ("prefix", "continuation", "human")
        }
        written = completion.continuation
        repetitions = {f"seq_rep_{n}": repetition(written, n) for n in NGRAMS}
        for part, metrics in (("continuation", self.model), ("human", self.human)):
            ids = getattr(completion, part)
            repeated = repeated_tokens(ids, self.peer_compatible)
            if len(ids) == self.length:
                metrics.add(ids, texts[part], repeated)
            texts[f"{part}_marked"] = self.subwords.marked(ids, repeated)
        self._file.write(json.dumps(texts | repetitions, ensure_ascii=False) + "\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the texts of every completion, and the ``seq_rep_n`` of its continuation."""
        self._file.flush()
        self._file.seek(0)
        yield from map(json.loads, self._file)

    def json_parts(self, metrics: dict[str, Any]) -> Iterator[str]:
        """Yield metrics, texts and their repetition as one JSON object, part by part."""
        yield json.dumps(metrics, indent=2, ensure_ascii=False).removesuffix("\n}")
        yield ',\n  "completions": ['
        for number, texts in enumerate(self):
            kept = {name: texts[name] for name in texts if not name.endswith("_marked")}
            yield ("," if number else "") + "\n    " + json.dumps(kept, ensure_ascii=False)
        yield "\n  ]\n}\n"

    def text_parts(self) -> Iterator[str]:
        """Yield the texts for people to read, repeated 4-grams marked."""
        for number, texts in enumerate(self, start=1):
            yield (
                f"== {number}\n{texts['prefix']}\n-- model\n{texts['continuation_marked']}\n"
                f"-- human\n{texts['human_marked']}\n\n"
            )

    def json_lines(self) -> Iterator[str]:
        """Yield the texts and their repetition as JSON, one completion a line."""
        for texts in self:
            yield json.dumps(texts, ensure_ascii=False) + "\n"

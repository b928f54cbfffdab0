"""Completions of held-out prefixes, and the files they are written to.

How a language model continues held-out prefixes, beside how their authors did.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020, arXiv:1908.04319,
section 6: 50 tokens of a held-out text are continued by 100, and repetition is measured on these.

Completions on disk: many of them, written as they come, never held together.
"""

import json
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.data.subwords import Subwords
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.loading import LoadedModel, TokenRows
from genft_fairseq.functional.ngrams import repeated_ngram_mask
from genft_fairseq.generation.rollout import GREEDY, beam_continuations, continue_prefixes
from genft_fairseq.generation.sampling import Search
from genft_fairseq.metrics.repetition import DIVERSITY_NGRAMS, Diversity, repetition
from genft_fairseq.metrics.words import words

NGRAMS = (1, 2, 3, 4)

# The n-grams of which the share of repeated tokens is counted, and which are marked in the texts.
MARKED = 4

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


@dataclass
class CompletionFigures:
    """Sums over continuations, to which one after the other is added.

    Attributes:
        peer_compatible: as the authors' code computes them: a text of fewer than four words is left
            out of all repetition of words, and different words are what spaces part; see also
            ``Diversity``.
    """

    peer_compatible: bool = False
    count: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    # By name and n: the sum of the shares, and how many texts were long enough.
    shares: dict[str, tuple[float, int]] = field(default_factory=dict)
    distinct: dict[str, set] = field(default_factory=lambda: {"seq": set(), "word": set()})
    repeated: int = 0
    diversity: Diversity = field(init=False)

    def __post_init__(self) -> None:
        self.diversity = Diversity(self.peer_compatible)

    def add(self, ids: list[int], text: str, repeated: list[bool]) -> None:
        """Add a continuation, as token ids and as text, and what ``repeated_tokens`` says of it."""
        self.count += 1
        self.repeated += sum(repeated)
        self.diversity.add(text.split())
        both: dict[str, Sequence[int | str]] = {"seq": ids, "word": words(text)}
        for name, units in both.items():
            self.lengths[name] = self.lengths.get(name, 0) + len(units)
            self.distinct[name].update(
                text.split(" ") if self.peer_compatible and name == "word" else units
            )
            if self.peer_compatible and name == "word" and len(units) < max(NGRAMS):
                continue
            for n in NGRAMS:
                share = repetition(units, n)
                total, counted = self.shares.get(f"{name}_rep_{n}", (0.0, 0))
                if share is not None:
                    self.shares[f"{name}_rep_{n}"] = (total + share, counted + 1)

    def metrics(self) -> dict[str, float | int | None]:
        """Return the figures by name.

        ``seq_rep_n`` and ``word_rep_n``, the mean share of n-grams (of dictionary tokens, of
        words) that repeat an earlier one of the same text, with ``..._too_short_n``, the number of
        texts shorter than n, if any; ``diversity``, the product of 1 - seq_rep_n over n = 2 to 4,
        of dictionary tokens; ``diversity_...`` of the published tables, of words (``Diversity``);
        ``repeated_tokens``, the share of tokens inside a repeated 4-gram; ``uniq_seq`` and
        ``uniq_words``, different ones; ``length`` and ``word_length``, means; ``continuations``.
        """
        found: dict[str, float | int | None] = {}
        for name in ("seq", "word"):
            for n in NGRAMS:
                total, counted = self.shares.get(f"{name}_rep_{n}", (0.0, 0))
                found[f"{name}_rep_{n}"] = total / counted if counted else None
                if counted < self.count:
                    found[f"{name}_too_short_{n}"] = self.count - counted
        diversity: float | None = 1.0
        for n in DIVERSITY_NGRAMS:
            share = found[f"seq_rep_{n}"]
            diversity = None if share is None or diversity is None else diversity * (1 - share)
        tokens = self.lengths.get("seq", 0)
        return {
            **found,
            "diversity": diversity,
            **self.diversity.metrics(),
            "repeated_tokens": self.repeated / tokens if tokens else None,
            "uniq_seq": len(self.distinct["seq"]),
            "uniq_words": len(self.distinct["word"]),
            "length": tokens / self.count if self.count else None,
            "word_length": self.lengths.get("word", 0) / self.count if self.count else None,
            "continuations": self.count,
        }


def repeated_tokens(ids: list[int], peer_compatible: bool = False) -> list[bool]:
    """Tell of each token whether it lies inside a 4-gram that occurred earlier in the text.

    As the authors' code computes it, the last 4-gram never did.
    """
    if not ids:
        return []
    text = torch.tensor([ids])
    mask = repeated_ngram_mask(text, MARKED, -1)[0]
    if peer_compatible and len(ids) >= MARKED:
        # Their loop ends before the last n-gram.
        shorter = repeated_ngram_mask(text[:, :-1], MARKED, -1)[0]
        mask = torch.cat([shorter, torch.zeros(1, dtype=torch.bool)])
    return mask.tolist()


class CompletionLog:
    """Turns completions into text, adds up their figures, and keeps the texts in a file.

    Args:
        pieces: the text of token ids.
        length: of a whole continuation; figures of humans are of whole ones.
        peer_compatible: see ``CompletionFigures``.
    """

    def __init__(self, subwords: Subwords, length: int, peer_compatible: bool):
        self.subwords = subwords
        self.length = length
        self.peer_compatible = peer_compatible
        self.model = CompletionFigures(peer_compatible)
        self.human = CompletionFigures(peer_compatible)
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
        """Yield figures, texts and their repetition as one JSON object, piece by piece."""
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

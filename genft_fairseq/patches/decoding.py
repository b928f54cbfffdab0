"""Changes to decoding: what a sentence becomes depends on that sentence alone.

fairseq decodes several sentences at once, and lets some of them decide about others: the longest
source sets the maximum length of all, the longest prefix lifts the minimum length of all, diverse
beam search looks for the past of a sentence under its number in the data set, and one hypothesis
that may not be continued ends the command.  ``SentenceSearch`` stands between fairseq's generator
and each of its searches, and gives every sentence its own limits.

Sampling is the exception: all sentences draw from one stream of random numbers, so that which
numbers a sentence gets depends on the others.  What it may draw does not.
"""

import math
import sys
from typing import Any

import torch
from fairseq import scoring, search, token_generation_constraints
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor
from torch.nn.functional import pad

from genft_fairseq.errors import UserError
from genft_fairseq.functional.ngrams import forbid_repeated_ngrams_, forbid_tokens, forbid_tokens_
from genft_fairseq.metrics.unknown_words import marked
from genft_fairseq.patches.registry import extends, replaces


class SentenceSearch(search.Search):
    """One of fairseq's searches, within the limits of each sentence.

    A rule forbids tokens to a hypothesis: <unk> (``--unkpen inf``), all but the end where it is as
    long as it may be, the end where it is shorter than it must be, or what would repeat an n-gram.
    Where a prefix or an earlier rule has left nothing else, the later rule does not apply to that
    hypothesis.  A sentence without any hypothesis to continue, and none that has ended, is
    continued as plain beam search would.

    Args:
        generator: whose search, minimum length and n-gram length these are.
        limits: (B,), the most tokens of each sentence without the end.
    """

    def __init__(self, generator: Any, limits: Tensor):
        super().__init__(generator.tgt_dict)
        self.eos = generator.eos
        self.search = generator.search
        self.plain = search.BeamSearch(generator.tgt_dict)
        forbidding = (search.PrefixConstrainedBeamSearch, search.LexicallyConstrainedBeamSearch)
        self.search_forbids = isinstance(self.search, forbidding)
        self.min_len = generator.min_len
        self.forbids_unknown = generator.unk_penalty == math.inf
        self.blocker = generator.repeat_ngram_blocker
        self.limits = limits
        self.has_ended = torch.zeros_like(limits, dtype=torch.bool)  # (B,), some hypothesis
        self.supports_constraints = self.search.supports_constraints
        # A sentence may have no hypothesis to continue and fewer than a beam that have ended.
        self.stop_on_max_len = True

    def set_src_lengths(self, src_lengths: Tensor) -> None:
        """Pass the lengths of the sources on."""
        self.search.set_src_lengths(src_lengths)

    def init_constraints(self, batch_constraints: Tensor | None, beam_size: int) -> None:
        """Pass constraints on."""
        self.search.init_constraints(batch_constraints, beam_size)

    def update_constraints(self, active_hypos: Tensor) -> None:
        """Pass on which hypotheses are kept."""
        self.search.update_constraints(active_hypos)

    def prune_sentences(self, batch_idxs: Tensor) -> None:
        """Keep what is known of these sentences; the others have left the batch."""
        self.limits, self.has_ended = self.limits[batch_idxs], self.has_ended[batch_idxs]
        self.search.prune_sentences(batch_idxs)

    def step(
        self,
        step: int,
        lprobs: Tensor,
        scores: Tensor,
        prev_output_tokens: Tensor,
        original_batch_idxs: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take a step; see ``fairseq.search.Search``."""
        B, K, V = lprobs.shape
        allowed = self._allowed(step, lprobs, prev_output_tokens, original_batch_idxs)
        over = prev_output_tokens[:, -1].eq(self.eos).view(B, K)
        if step and over.any() and not isinstance(self.search, search.Sampling):
            # fairseq goes on with a hypothesis that has ended where there are few candidates, and
            # may return a longer text than that.  (In sampling it holds the place of its own.)
            allowed[over] = -torch.inf
        # fairseq takes twice as many candidates as hypotheses, of a vocabulary that may have fewer.
        width = max(2 * K + 1, getattr(self.search, "sampling_topk", 0))
        if width > V:
            allowed = pad(allowed, (0, width - V), value=-torch.inf)
        free = allowed.clone() if self.search_forbids else allowed  # it may do so in place
        found = self.search.step(step, allowed, scores, prev_output_tokens, original_batch_idxs)
        if self.search_forbids:
            stuck = found[0].isneginf().all(dim=1) & ~self.has_ended
            multiple = found[0].size(1) // K
            plain = self.plain.step(step, free, scores, candidate_multiple=multiple)
            pairs = zip(plain, found, strict=True)
            found = tuple(torch.where(stuck[:, None], one, other) for one, other in pairs)
        scores, tokens, beams = found
        tokens = tokens.masked_fill(tokens >= V, self.pad)
        ended = tokens[:, :K].eq(self.eos) & ~scores[:, :K].isneginf()
        self.has_ended = self.has_ended | ended.any(dim=1)
        return scores, tokens, beams

    def _allowed(self, step: int, lprobs: Tensor, text: Tensor, sentences: Tensor) -> Tensor:
        """Return the scores of a step, minus infinity for what a rule forbids.

        In place, as fairseq itself does: nobody reads the scores of a step afterwards.
        """
        B, K, V = lprobs.shape
        rows = lprobs.view(B * K, V)
        if self.forbids_unknown:
            self._forbid(rows, self.unk)
        full = (self.limits <= step).repeat_interleave(K)
        if full.any():
            end = rows[:, self.eos].clone()
            rows[full & ~end.isneginf()] = -torch.inf
            rows[:, self.eos] = end
        if step < self.min_len:
            self._forbid(rows, self.eos)
        if self.blocker is None:
            return lprobs
        if isinstance(self.search, search.PrefixConstrainedBeamSearch):
            # What it will forbid: one of the tokens that it allows must be left.
            choice = self.search.apply_mask(rows[:, None], text, sentences)[:, 0]
            rows = forbid_tokens(rows, choice.isneginf())
        return self.blocker(text, rows, B, K, step).view(B, K, V)

    def _forbid(self, rows: Tensor, token: int) -> None:
        ids = torch.full_like(rows[:, :1], token, dtype=torch.long)
        forbid_tokens_(rows, ids, torch.ones_like(ids, dtype=torch.bool))


@replaces(NGramRepeatBlock, "forward", issue=5206)
def forbid_repeated_ngrams(
    self: NGramRepeatBlock, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int
) -> Tensor:
    """``--no-repeat-ngram-size`` did nothing: fairseq compared the padding behind the text.

    Its generators hand over rows that are padded to the maximum length, and their last n - 1
    tokens, which are padding, occur nowhere in the text.
    """
    text = tokens[:, 1 : step + 1]  # without the </s> in front, which the text may well end with
    return forbid_repeated_ngrams_(lprobs, text, self.no_repeat_ngram_size)


@extends(SequenceGenerator, "_generate")
def generate(
    original: Any,
    self: Any,
    sample: dict[str, Any],
    prefix_tokens: Tensor | None = None,
    *rest: Any,
    **kw: Any,
) -> list[list[dict[str, Tensor]]]:
    """Each sentence has limits of its own.

    fairseq takes the longest source and the longest prefix of the batch for all of them, and one
    hypothesis that may not be continued ends the command.
    """
    limits = _limits(self, sample["net_input"])
    if prefix_tokens is not None:
        place = torch.arange(prefix_tokens.size(1), device=prefix_tokens.device)
        prefix_tokens = prefix_tokens.masked_fill(place >= limits[:, None], self.pad)
    changed = ("search", "repeat_ngram_blocker", "min_len", "unk_penalty")
    kept = {name: getattr(self, name) for name in changed}
    self.search = SentenceSearch(self, limits)
    self.repeat_ngram_blocker, self.min_len = None, 0
    if self.unk_penalty == math.inf:
        self.unk_penalty = 0.0
    try:
        found = original(self, sample, prefix_tokens, *rest, **kw)
    finally:
        for name, value in kept.items():
            setattr(self, name, value)
    if not all(found):
        raise UserError("the model predicts no token: its scores are not numbers (nan)")
    return found


@extends(SequenceGenerator, "is_finished")
def is_finished(original: Any, self: Any, step: int, row: int, max_len: int, *rest: Any) -> bool:
    """A sentence ends at its own maximum length, not at that of the batch."""
    if isinstance(self.search, SentenceSearch) and step >= self.search.limits[row]:
        max_len = step
    return original(self, step, row, max_len, *rest)


def _limits(generator: Any, net_input: dict[str, Any]) -> Tensor:
    """Return the most tokens of each sentence without the end, (B,).

    fairseq takes the length of the longest source in the batch for all of them.

    Raises:
        UserError: the minimum length is more than that.
    """
    lengths = _source_lengths(net_input, generator.pad)
    if generator.match_source_len:
        return lengths
    limits = (generator.max_len_a * lengths.double() + generator.max_len_b).long()
    limits = limits.clamp(max=generator.max_len - 1)
    if generator.min_len > limits.max() and not generator.max_len_a:
        raise UserError(
            f"--min-len {generator.min_len} is more than the maximum length, "
            f"{int(limits.max())} tokens (--max-len-b, and the model's positions)"
        )
    return limits


def _source_lengths(net_input: dict[str, Any], padding_idx: int) -> Tensor:
    """Return the lengths of the sources as fairseq counts them, the end included, (B,)."""
    if "src_lengths" in net_input:
        return net_input["src_lengths"]
    if "src_tokens" in net_input:
        return net_input["src_tokens"].ne(padding_idx).sum(dim=1)
    source = net_input["source"] if "source" in net_input else net_input["features"]
    mask = net_input.get("padding_mask")
    mask = source.new_zeros(source.shape[:2], dtype=torch.bool) if mask is None else mask
    return (~mask).sum(dim=1)


@extends(search.DiverseBeamSearch, "step")
def diverse_step(
    original: Any,
    self: Any,
    step: int,
    lprobs: Tensor,
    scores: Tensor,
    text: Any = None,
    ids: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Diverse beam search found the past of a sentence by its number in the data set.

    What it keeps has a row for each sentence of the batch.
    """
    rows = torch.arange(lprobs.size(0), device=lprobs.device)
    return original(self, step, lprobs, scores, text, rows)


@replaces(search.DiverseBeamSearch, "prune_sentences")
def prune_sentences(self: Any, batch_idxs: Tensor) -> None:
    """Diverse beam search kept the rows of sentences that had left the batch."""
    self.group_overlap = self.group_overlap[batch_idxs]


@extends(search.LexicallyConstrainedBeamSearch, "step_sentence")
def step_sentence(
    original: Any, self: Any, *given: Any
) -> tuple[Tensor, Tensor, Tensor, list[Any]]:
    """Constrained search gave places of the beam to constraints that must not be written yet.

    Candidates that fulfil more constraints come first, whatever their score, and so do impossible
    ones.
    """
    number, self.num_cands = self.num_cands, sys.maxsize
    try:
        scores, tokens, beams, states = original(self, *given)
    finally:
        self.num_cands = number
    order = scores.isneginf().int().argsort(stable=True)[:number]
    return scores[order], tokens[order], beams[order], [states[place] for place in order]


@extends(search.LexicallyConstrainedBeamSearch, "init_constraints")
def init_constraints(
    original: Any, self: Any, batch_constraints: Tensor | None, beam_size: int
) -> None:
    """``fairseq-generate --constraints`` has no constraints to read."""
    if batch_constraints is None:
        raise UserError(
            "--constraints: no constraints found; only fairseq-interactive --task translation "
            "reads them, after each sentence, separated by tabs"
        )
    original(self, batch_constraints, beam_size)


@extends(token_generation_constraints, "unpack_constraints")
def unpack_constraints(original: Any, constraint_tensor: Tensor) -> list[Tensor]:
    """Empty constraints are ignored."""
    return [tokens for tokens in original(constraint_tensor) if len(tokens)]


@extends(scoring, "build_scorer")
def build_scorer(original: Any, choice: Any, tgt_dict: Any) -> Any:
    """Unknown words in text that ``fairseq-generate --scoring`` scores match nothing.

    fairseq writes a word that its dictionary does not know as ``<unk>``, in a reference as
    ``<<unk>>``; SentencePiece writes ``⁇``.  A metric of characters would match these with each
    other, and with ordinary words that share their letters; sacreBLEU's tokenisers would take them
    apart.  fairseq's own BLEU, of token ids, knows them apart.
    """
    scorer = original(choice, tgt_dict)
    if hasattr(scorer, "add_string"):
        add = scorer.add_string

        def add_marked(ref: str, pred: str) -> None:
            add(*marked([ref], "reference"), *marked([pred], "candidate"))

        scorer.add_string = add_marked
    return scorer

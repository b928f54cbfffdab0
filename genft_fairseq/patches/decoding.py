"""Remedies for fairseq's searches: what a sentence becomes depends on that sentence alone.

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
from functools import wraps
from typing import Any

import torch
from fairseq import search, token_generation_constraints
from fairseq.distributed import utils as distributed_utils
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.language_modeling import LanguageModelingTask
from torch import Tensor
from torch.nn.functional import pad

from genft_fairseq.errors import UserError
from genft_fairseq.functional.ngrams import forbid_repeated_ngrams_, forbid_tokens, forbid_tokens_


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(SequenceGenerator._generate, "genft", False):
        return
    NGramRepeatBlock.forward = _forbid_repeated_ngrams
    _search_sentence_by_sentence()
    _keep_groups_beside_their_sentence()
    _let_possible_candidates_win()
    _require_constraints()
    _require_possible_options()
    _read_contexts_in_order()


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


def _forbid_repeated_ngrams(
    self: NGramRepeatBlock, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int
) -> Tensor:
    """``--no-repeat-ngram-size`` did nothing: fairseq compared the padding behind the text.

    Its generators hand over rows that are padded to the maximum length, and their last n - 1
    tokens, which are padding, occur nowhere in the text (facebookresearch/fairseq issue 5206).
    """
    text = tokens[:, 1 : step + 1]  # without the </s> in front, which the text may well end with
    return forbid_repeated_ngrams_(lprobs, text, self.no_repeat_ngram_size)


def _search_sentence_by_sentence() -> None:
    generate, finished = SequenceGenerator._generate, SequenceGenerator.is_finished

    @wraps(generate)
    def _generate(
        self: Any,
        sample: dict[str, Any],
        prefix_tokens: Tensor | None = None,
        *rest: Any,
        **kw: Any,
    ) -> list[list[dict[str, Tensor]]]:
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
            found = generate(self, sample, prefix_tokens, *rest, **kw)
        finally:
            for name, value in kept.items():
                setattr(self, name, value)
        if not all(found):
            raise UserError("the model predicts no token: its scores are not numbers (nan)")
        return found

    @wraps(finished)
    def is_finished(self: Any, step: int, row: int, max_len: int, *rest: Any) -> bool:
        if isinstance(self.search, SentenceSearch) and step >= self.search.limits[row]:
            max_len = step
        return finished(self, step, row, max_len, *rest)

    _generate.genft = True  # type: ignore[attr-defined]
    SequenceGenerator._generate = _generate
    SequenceGenerator.is_finished = is_finished


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


def _keep_groups_beside_their_sentence() -> None:
    """Diverse beam search found the past of a sentence by its number in the data set.

    What it keeps has a row for each sentence of the batch.
    """
    by_number = search.DiverseBeamSearch.step

    @wraps(by_number)
    def step(
        self: Any, step: int, lprobs: Tensor, scores: Tensor, text: Any = None, ids: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.arange(lprobs.size(0), device=lprobs.device)
        return by_number(self, step, lprobs, scores, text, rows)

    def prune_sentences(self: Any, batch_idxs: Tensor) -> None:
        self.group_overlap = self.group_overlap[batch_idxs]

    search.DiverseBeamSearch.step = step
    search.DiverseBeamSearch.prune_sentences = prune_sentences


def _let_possible_candidates_win() -> None:
    """Constrained search gave places of the beam to constraints that must not be written yet.

    Candidates that fulfil more constraints come first, whatever their score, and so do impossible
    ones.
    """
    rank = search.LexicallyConstrainedBeamSearch.step_sentence

    @wraps(rank)
    def step_sentence(self: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor, list[Any]]:
        number, self.num_cands = self.num_cands, sys.maxsize
        try:
            scores, tokens, beams, states = rank(self, *given)
        finally:
            self.num_cands = number
        order = scores.isneginf().int().argsort(stable=True)[:number]
        return scores[order], tokens[order], beams[order], [states[place] for place in order]

    search.LexicallyConstrainedBeamSearch.step_sentence = step_sentence


def _require_constraints() -> None:
    """``fairseq-generate --constraints`` has no constraints to read; an empty one is none."""
    init = search.LexicallyConstrainedBeamSearch.init_constraints
    unpack = token_generation_constraints.unpack_constraints

    @wraps(init)
    def init_constraints(self: Any, batch_constraints: Tensor | None, beam_size: int) -> None:
        if batch_constraints is None:
            raise UserError(
                "--constraints: no constraints found; only fairseq-interactive --task translation "
                "reads them, after each sentence, separated by tabs"
            )
        init(self, batch_constraints, beam_size)

    @wraps(unpack)
    def unpack_constraints(constraint_tensor: Tensor) -> list[Tensor]:
        return [tokens for tokens in unpack(constraint_tensor) if len(tokens)]

    search.LexicallyConstrainedBeamSearch.init_constraints = init_constraints
    token_generation_constraints.unpack_constraints = unpack_constraints


def _require_possible_options() -> None:
    """Refuse what ``fairseq-eval-lm`` and ``fairseq-interactive`` would fail at later."""
    call = distributed_utils.call_main

    @wraps(call)
    def call_main(cfg: Any, main: Any, **rest: Any) -> Any:
        context, block = cfg.eval_lm.context_window, getattr(cfg.task, "tokens_per_sample", None)
        if context and block and context >= block:
            raise UserError(
                f"--context-window {context} must be less than --tokens-per-sample {block}"
            )
        shards = max(cfg.dataset.num_shards, cfg.distributed_training.distributed_world_size)
        if context and shards > 1:
            raise UserError(
                f"--context-window {context} needs the whole text in one process, got {shards} "
                "processes or shards (--distributed-world-size, --num-shards)"
            )
        if cfg.generation.print_alignment == "soft" and main.__module__.endswith("interactive"):
            raise UserError(
                "--print-alignment soft: fairseq-interactive supports hard only; fairseq-generate "
                "supports both"
            )
        return call(cfg, main, **rest)

    distributed_utils.call_main = call_main


def _read_contexts_in_order() -> None:
    """``fairseq-eval-lm --context-window`` read other contexts with more than one worker.

    The context of a block is what its worker has read before, and each reads every nth batch.
    """
    load = LanguageModelingTask.eval_lm_dataloader

    @wraps(load)
    def eval_lm_dataloader(self: Any, dataset: Any, *given: Any, **named: Any) -> Any:
        context = named.get("context_window", 0)
        if context:
            named["num_workers"] = min(named.get("num_workers", 1), 1)
        _require_positions(self.args, dataset.sizes, context, named.get("max_positions"))
        return load(self, dataset, *given, **named)

    LanguageModelingTask.eval_lm_dataloader = eval_lm_dataloader


def _require_positions(task: Any, sizes: Any, context: int, positions: Any) -> None:
    """fairseq skips blocks that are longer than the model: its perplexity of no token is 1.

    A sentence that is too long is skipped with a warning; blocks of one length are all too long.
    """
    if not isinstance(positions, int) or len(sizes) == 0:
        return
    blocks = str(task.sample_break_mode or "none") == "none"
    longest = int(max(sizes) if blocks else min(sizes)) + context
    if longest > positions:
        raise UserError(
            f"--tokens-per-sample {task.tokens_per_sample + context}: the text is read "
            f"{longest} tokens at a time, but the model has {positions} positions: "
            f"give at most {positions}"
        )

"""``--criterion sequence_unlikelihood``: unlikelihood of repeats in on-policy text."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from fairseq.criterions import register_criterion
from fairseq.tasks.language_modeling import LanguageModelingTask
from torch import Tensor

from genft_fairseq.criterions.on_policy import OnPolicyCriterion, check_prefix, task_settings
from genft_fairseq.criterions.token_criterion import TokenCriterionConfig
from genft_fairseq.errors import UserError, check_range
from genft_fairseq.functional.linear_loss import Wanted
from genft_fairseq.functional.ngrams import repeated_ngram_mask
from genft_fairseq.functional.selective_log_softmax import SelectedLprobs
from genft_fairseq.functional.token_loss import Positions, Targets
from genft_fairseq.functional.unlikelihood import repeated_token_loss
from genft_fairseq.generation.decoder_input import (
    DecoderCall,
    DecoderInput,
    evaluation_mode,
    replaced_decoder_input,
    unreplaced_decoder_input,
)
from genft_fairseq.generation.decoder_output import DecoderOutput, decoder_output
from genft_fairseq.generation.rollout import continue_prefixes


@dataclass
class SequenceUnlikelihoodCriterionConfig(TokenCriterionConfig):
    sequence_rate: float = field(
        default=0.5, metadata={"help": "share of updates on the model's own text, in [0, 1]"}
    )
    sequence_prefix_length: int = field(
        default=50, metadata={"help": "language models: gold tokens that the model continues"}
    )
    sequence_completion_length: int = field(
        default=100, metadata={"help": "language models: tokens that the model adds"}
    )
    sequence_ngram: int = field(
        default=4, metadata={"help": "tokens inside a repeated n-gram of this length are penalised"}
    )
    sequence_max_len_a: float = field(
        default=0.0,
        metadata={"help": "translation: at most a * source length + b tokens are generated"},
    )
    sequence_max_len_b: int = field(default=200, metadata={"help": "see --sequence-max-len-a"})


@register_criterion("sequence_unlikelihood", dataclass=SequenceUnlikelihoodCriterionConfig)
class SequenceUnlikelihoodCriterion(OnPolicyCriterion):
    """Sequence-level unlikelihood (Welleck et al., ICLR 2020, arXiv:1908.04319).

    In a sequence update the model continues prefixes (of a language model's blocks) or translates
    the source, greedily, and every token x that lies inside an n-gram which already occurred in the
    same continuation costs ``-log(1 - p(x))``, with 1 - p bounded by the authors' 1e-20.  The
    other updates are the token loss, whose unlikelihood has their bound for tokens, 1e-5.

    Deviations from the authors' code: the last n-gram counts (``functional/ngrams.py``); a
    prefix is taken from every stretch of prefix plus completion length, so that such an update
    holds as many tokens as the batch, where they continue a prefix from every 50 tokens.

    Logs ``sequence_unlikelihood`` in bits per generated token, and ``repeated_tokens``, the share
    of these that are penalised.
    """

    registered_name = "sequence_unlikelihood"
    own_metrics = (
        ("sequence_unlikelihood", "generated_tokens", math.log(2)),
        ("repeated_tokens", "generated_tokens", 1.0),
    )

    def __init__(self, cfg: SequenceUnlikelihoodCriterionConfig, task: Any):
        super().__init__(cfg, task, "--sequence-rate", cfg.sequence_rate)
        self.prefix_length = cfg.sequence_prefix_length
        self.completion_length = cfg.sequence_completion_length
        self.ngram = cfg.sequence_ngram
        self.max_len_a, self.max_len_b = cfg.sequence_max_len_a, cfg.sequence_max_len_b
        for flag, value in {
            "--sequence-prefix-length": self.prefix_length,
            "--sequence-completion-length": self.completion_length,
            "--sequence-ngram": self.ngram,
            "--sequence-max-len-b": self.max_len_b,
        }.items():
            check_range(flag, value, value >= 1, "[1, inf)")
        a = self.max_len_a
        check_range("--sequence-max-len-a", a, 0 <= a < math.inf, "[0, inf)")
        if isinstance(task, LanguageModelingTask):
            self._check_blocks(task)
        self.eos_idx = task.target_dictionary.eos()

    def _check_blocks(self, task: Any) -> None:
        P, L = self.prefix_length, self.completion_length
        check_prefix("--sequence-prefix-length", P, task)
        settings = task_settings(task)
        positions = settings.max_target_positions or settings.tokens_per_sample
        needed = P + L - 1
        if needed > positions:
            raise UserError(
                f"--sequence-prefix-length {P} and --sequence-completion-length {L} need "
                f"{needed} positions, but the model has {positions} (--tokens-per-sample)"
            )

    def on_policy_loss(self, model: Any, sample: dict[str, Any], reduce: bool) -> tuple:
        """Compute the unlikelihood of repeats in on-policy text."""
        if "prev_output_tokens" in sample["net_input"]:
            output, text = self._translate(model, sample)
        else:
            output, text = self._complete(model, sample)
        # (B, L) positions and tokens; B or L may be 0, but the output has a gradient
        generated = text.ne(self.padding_idx)
        repeated = repeated_ngram_mask(text, self.ngram, self.padding_idx)
        # A token that is not repeated costs nothing, like padding.
        targets = Targets(text.masked_fill(~repeated, self.padding_idx), self.padding_idx)
        wanted = Wanted(complement=True)
        total, terms = output.loss(targets, _unlikelihood, wanted, per_position=not reduce)
        ntokens = generated.sum()
        logging_output = {
            "loss": total.detach(),
            "nll_loss": 0,
            "ntokens": self.target_tokens(sample),
            "nsentences": sample["target"].size(0),
            "sample_size": ntokens,
            "sequence_unlikelihood": total.detach(),
            "repeated_tokens": repeated.sum(),
            "generated_tokens": ntokens,
        }
        return total if reduce else terms.loss.view(-1, 1), ntokens, logging_output

    def _translate(self, model: Any, sample: dict[str, Any]) -> tuple[DecoderOutput, Tensor]:
        """The output at the (B, L) tokens of the model's own translations, and the tokens."""
        texts: list[Tensor] = []
        limits = (self.max_len_a * sample["net_input"]["src_lengths"] + self.max_len_b).long()

        def translate(call: DecoderCall) -> DecoderInput:
            first = call.tokens[:, :1]
            most = min(int(limits.max()), call.model.decoder.max_positions() - 1)
            with evaluation_mode(call.model.decoder):
                text = continue_prefixes(
                    *(call.model, first, most, self.padding_idx),
                    encoder_out=call.encoder_out,
                    eos_idx=self.eos_idx,
                    max_lengths=limits,
                    min_length=1,
                )
            texts.append(text)
            return DecoderInput(torch.cat([first, text[:, :-1]], dim=1))

        with replaced_decoder_input(model, translate):
            output = self._output(model, sample["net_input"])
        return output, texts[0]

    def _complete(self, model: Any, sample: dict[str, Any]) -> tuple[DecoderOutput, Tensor]:
        """The output at (B', L) tokens of completions of the batch's prefixes, and the tokens."""
        P, L = self.prefix_length, self.completion_length
        prefixes = self._prefixes(sample["net_input"]["src_tokens"])
        with unreplaced_decoder_input(model):
            if prefixes.size(0) == 0:
                # One forward all the same: every process of a distributed run must have one.
                output = self._output(model, sample["net_input"]).rows(0)
                return output, prefixes.new_zeros((0, output.values.size(1)))
            with evaluation_mode(model):
                text = continue_prefixes(model, prefixes, L, self.padding_idx)
            tokens = torch.cat([prefixes, text[:, :-1]], dim=1)
            lengths = tokens.new_full((tokens.size(0),), P + L - 1)
            output = self._output(model, {"src_tokens": tokens, "src_lengths": lengths})
        return output.after(P - 1), text

    def _output(self, model: Any, net_input: dict[str, Any]) -> DecoderOutput:
        return decoder_output(model, lambda: model(**net_input), self.loss_chunk_size)[0]

    def _prefixes(self, tokens: Tensor) -> Tensor:
        """(B', P): the beginning of every stretch of a row that has room for a completion."""
        P, T = self.prefix_length, tokens.size(1)
        starts = range(0, T - P + 1, P + self.completion_length)
        if not starts:
            return tokens[:0]
        prefixes = torch.cat([tokens[:, start : start + P] for start in starts])
        return prefixes[prefixes.ne(self.padding_idx).all(dim=1)]


class _Unlikelihood(NamedTuple):
    loss: Tensor


def _unlikelihood(lprobs: SelectedLprobs, at: Positions) -> _Unlikelihood:
    assert lprobs.complement is not None
    return _Unlikelihood(repeated_token_loss(lprobs.complement, ~at.padding))

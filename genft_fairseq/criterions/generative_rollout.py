"""``--criterion generative_rollout``: some updates on free-running rollouts of the model."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum

from genft_fairseq.criterions.on_policy import OnPolicyCriterion, check_prefix, search
from genft_fairseq.criterions.token_criterion import TokenCriterionConfig
from genft_fairseq.errors import check_range
from genft_fairseq.generation.decoder_input import (
    DecoderCall,
    DecoderInput,
    evaluation_mode,
    replaced_decoder_input,
)
from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.generation.stateless_rng import sentence_ids


@dataclass
class GenerativeRolloutCriterionConfig(TokenCriterionConfig):
    rollout_rate: float = field(
        default=0.1, metadata={"help": "share of updates on the model's own text, in [0, 1]"}
    )
    rollout_search: ChoiceEnum(("greedy", "sampling")) = field(  # type: ignore[valid-type]
        default="greedy", metadata={"help": "how the model chooses its tokens"}
    )
    rollout_temperature: float = field(default=1.0, metadata={"help": "of sampling"})
    rollout_top_k: int = field(
        default=0, metadata={"help": "sample among the k likeliest tokens; 0: all"}
    )
    rollout_top_p: float = field(
        default=1.0,
        metadata={"help": "sample among the likeliest that together have this probability"},
    )
    rollout_prefix_length: int = field(
        default=1,
        metadata={"help": "gold tokens read before the model goes on alone; 1: the first alone"},
    )


@register_criterion("generative_rollout", dataclass=GenerativeRolloutCriterionConfig)
class GenerativeRolloutCriterion(OnPolicyCriterion):
    """The token loss of free-running predictions against gold, position by position.

    The model decodes freely up to the batch's longest target, without gradient and by incremental
    decoding; what it wrote is then read in one parallel pass, which has the gradient.  With dropout
    off that is the loss and the gradient of unrolling the decoder under autograd, because a
    discrete choice has no gradient.  An early end of sentence is read like any token.

    Logs ``rollout_nll_loss``, the plain nll of these updates in bits.
    """

    registered_name = "generative_rollout"
    own_metrics = (("rollout_nll_loss", "rollout_tokens", math.log(2)),)

    def __init__(self, cfg: GenerativeRolloutCriterionConfig, task: Any):
        super().__init__(cfg, task, "--rollout-rate", cfg.rollout_rate)
        self.search = search("rollout", cfg)
        self.prefix_length = cfg.rollout_prefix_length
        check_range(
            "--rollout-prefix-length", self.prefix_length, self.prefix_length >= 1, "[1, inf)"
        )
        check_prefix("--rollout-prefix-length", self.prefix_length, task)

    def on_policy_loss(self, model: Any, sample: dict[str, Any], reduce: bool) -> tuple:
        """Compute the token loss on a rollout."""
        with replaced_decoder_input(model, partial(self._roll_out, sample)):
            loss, sample_size, logging_output = super(OnPolicyCriterion, self).forward(
                model, sample, reduce
            )
        logging_output["rollout_nll_loss"] = logging_output["nll_loss"]
        logging_output["rollout_tokens"] = logging_output["ntokens"]
        return loss, sample_size, logging_output

    def _roll_out(self, sample: dict[str, Any], call: DecoderCall) -> DecoderInput:
        gold = call.tokens
        prefix = gold[:, : self.prefix_length]
        length = gold.size(1) - prefix.size(1)
        if length < 1:
            return DecoderInput(gold)
        with evaluation_mode(call.model.decoder):
            text = continue_prefixes(
                *(call.model, prefix, length, self.padding_idx, self.search),
                seed=torch.initial_seed(),
                sentences=sentence_ids(sample),
                encoder_out=call.encoder_out,
            )
        tokens = torch.cat([prefix, text], dim=1)
        return DecoderInput(torch.where(gold == self.padding_idx, gold, tokens))

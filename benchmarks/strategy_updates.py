"""The updates that are compared: a task and a criterion each, and what the trainer does besides."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, build_criterion
from omegaconf import OmegaConf
from strategy_models import scheduled_sampling_task
from strategy_tables import UNROLLED
from torch import Tensor

import genft_fairseq  # noqa: F401  (registers the criterions)
from genft_fairseq.criterions.token_criterion import TokenCriterion, TokenCriterionConfig
from genft_fairseq.functional.linear_loss import Wanted
from genft_fairseq.generation.decoder_output import DecoderOutput

SMOOTHING = 0.1
CANDIDATES = 5
CLIP_NORM = 1.0
SCHEDULED = {  # what replaces gold, and in how many passes
    "scheduled_argmax": ("argmax", 1),
    "scheduled_sample": ("sample", 1),
    "scheduled_expected": ("expected_embedding", 1),
    "scheduled_argmax_twice": ("argmax", 2),
}


class UnrolledCriterion(TokenCriterion):
    """What ``generative_rollout`` replaces: one call of the decoder a token, all with gradient."""

    registered_name = "unrolled"

    def __init__(self, task: Any, incremental: bool):
        config = TokenCriterionConfig(label_smoothing=SMOOTHING)
        config.sentence_avg = False  # fairseq fills it in from another part of its configuration
        super().__init__(config, task)
        self.incremental = incremental

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the token loss of greedy free-running predictions."""
        source, gold = sample["net_input"], sample["net_input"]["prev_output_tokens"]
        encoder_out = model.encoder(source["src_tokens"], src_lengths=source["src_lengths"])
        state: dict[str, Any] | None = {} if self.incremental else None
        tokens, steps = gold[:, :1], []
        for _ in range(gold.size(1)):
            logits = model.decoder(tokens, encoder_out=encoder_out, incremental_state=state)[0]
            steps.append(logits[:, -1:])
            allowed = logits[:, -1].detach().clone()
            allowed[:, self.padding_idx] = -torch.inf
            tokens = torch.cat([tokens, allowed.argmax(dim=-1, keepdim=True)], dim=1)
        output = DecoderOutput(torch.cat(steps, dim=1))
        targets = self.targets(sample["target"], sample)
        token_loss = replace(self.token_loss, vocabulary=output.vocabulary)
        loss, _ = output.loss(targets, token_loss, Wanted(total=True))
        return loss, sample["ntokens"], {"loss": loss.detach()}


@dataclass
class Update:
    """One way of training on a batch."""

    name: str
    task: Any
    criterion: Any
    candidates: list[Tensor] = field(default_factory=list)

    def run(self, sample: dict[str, Any], model: Any, optimizer: Any, number: int) -> dict:
        """Do what fairseq's trainer does for an update; returns what the criterion logs."""
        torch.manual_seed(1 + number)
        self.criterion.train()
        optimizer.zero_grad()
        _, sample_size, logged = self.task.train_step(
            sample, model, self.criterion, optimizer, number
        )
        optimizer.multiply_grads(1 / float(sample_size))
        optimizer.clip_grad_norm(CLIP_NORM)
        self.task.optimizer_step(optimizer, model=model, update_num=number)
        return logged

    def generated(self, sample: dict[str, Any], logged: dict[str, Any]) -> int:
        """Count the tokens that the model wrote one by one when it was run last.

        Of candidates, the different ones count.
        """
        if self.name in ("generative_greedy", "generative_sampling", *UNROLLED):
            B, T = sample["target"].shape
            return B * (T - 1)  # the first input is given
        if self.candidates:
            return int(self.candidates.pop().ne(self.criterion.padding_idx).sum())
        return int(logged.get("generated_tokens", 0))


def build_update(name: str, kind: str, task: Any, T: int) -> Update | None:
    """Build the update of that name, one of ``strategy_tables.STRATEGIES``.

    Args:
        name: of the strategy.
        kind: "translation" or "language".
        task: fairseq's own, of that kind.
        T: target length; what the model writes is as long.

    Returns:
        None where the strategy is not compared for this kind of model.
    """
    if name == "teacher_forced":
        return Update(name, task, registered_criterion("label_smoothed_cross_entropy", task))
    if name.startswith("sequence"):
        # Of a language model's block a third is the prefix, as 50 tokens are of 50 + 100.
        lengths = {
            "sequence_prefix_length": T // 3,
            "sequence_completion_length": T - T // 3,
            "sequence_max_len_b": T,
        }
        rate = 0.0 if name.endswith("never") else 1.0
        settings = {"sequence_rate": rate, **lengths}
        return Update(name, task, registered_criterion("sequence_unlikelihood", task, **settings))
    if kind == "language":
        return None
    if name in SCHEDULED:
        mixing = scheduled_sampling_task(task.target_dictionary, *SCHEDULED[name])
        return Update(name, mixing, registered_criterion("label_smoothed_cross_entropy", mixing))
    if name.startswith("unrolled"):
        return Update(name, task, UnrolledCriterion(task, incremental=name.endswith("cached")))
    if name.startswith("generative"):
        settings = {
            "rollout_rate": 0.0 if name.endswith("never") else 1.0,
            "rollout_search": "sampling" if name.endswith("sampling") else "greedy",
        }
        return Update(name, task, registered_criterion("generative_rollout", task, **settings))
    search = name.removeprefix("risk_")
    settings = {
        "risk_candidates": CANDIDATES,
        "risk_search": search,
        "risk_max_len_a": 0.0,
        # Beam search adds the end of sentence to that.
        "risk_max_len_b": T - 1 if search == "beam" else T,
    }
    update = Update(name, task, registered_criterion("minimum_risk", task, **settings))
    _note_candidates(update)
    return update


def _note_candidates(update: Update) -> None:
    """Keep the last candidates, for counting."""
    find = update.criterion._candidates

    def noted(*arguments: Any) -> tuple:
        found = find(*arguments)
        update.candidates[:] = found[:1]
        return found

    update.criterion._candidates = noted


def registered_criterion(name: str, task: Any, **flags: Any) -> Any:
    """Build a criterion as fairseq's commands build it, from its registered configuration."""
    config = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name])
    OmegaConf.set_struct(config, False)
    settings = {"label_smoothing": SMOOTHING, "sentence_avg": False, **flags}
    config.update({"_name": name, **settings})
    return build_criterion(config, task)

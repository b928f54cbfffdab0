"""``--task scheduled_sampling_translation`` and ``scheduled_sampling_language_modeling``.

Training as fairseq's own tasks do it, with any criterion, but for what the decoder reads:
``generation/scheduled_sampling.py``.  Validation and decoding are fairseq's own.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import nn

from genft_fairseq.errors import UnsuitableModel, UserError, check_range
from genft_fairseq.functional.token_mixing import (
    BY_STEP,
    COMPOSITES,
    DECAYS,
    SCHEDULES,
    GoldSchedule,
)
from genft_fairseq.generation.decoder_input import (
    replaced_decoder_input,
    require_autoregressive,
    require_two_readings,
)
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.scheduled_sampling import (
    CONFIDENCES,
    MIXES,
    Mixing,
    input_replacement,
)
from genft_fairseq.generation.stateless_rng import sentence_ids


# fairseq reads the types to make a parser, and knows Optional[float], not float | None.
@dataclass
class ScheduledSamplingConfig:
    gold_schedule: ChoiceEnum(SCHEDULES) = field(  # type: ignore[valid-type]
        default="constant",
        metadata={
            "help": "probability eps of reading gold at update i and input position t: constant "
            "eps; linear k - c*i; exponential k^i; inverse_sigmoid k/(k+exp(i/k)); decoding_step "
            "eps^t; composite: --gold-decay at update i*(1-eps^t); inverse_composite: "
            "eps^(t*(1-g)), g --gold-decay at update i; confidence: gold where the model finds "
            "it improbable"
        },
    )
    gold_probability: Optional[float] = field(  # noqa: UP045
        default=None,
        metadata={
            "help": "eps, in [0, 1]; 0, the default of the constant schedule, is the strategy "
            "'recurrent': every input is the model's own; 1 is ordinary training"
        },
    )
    gold_k: Optional[float] = field(  # noqa: UP045
        default=None, metadata={"help": "k of the decays over updates"}
    )
    gold_c: Optional[float] = field(  # noqa: UP045
        default=None, metadata={"help": "c of the linear decay"}
    )
    gold_minimum: float = field(
        default=0.0, metadata={"help": "the least probability that a decay comes to"}
    )
    gold_decay: ChoiceEnum(DECAYS) = field(  # type: ignore[valid-type]
        default="exponential", metadata={"help": "which decay a composite schedule is made of"}
    )
    gold_confidence: float = field(
        default=0.9,
        metadata={"help": "schedule confidence: gold where its probability is at most this"},
    )
    random_confidence: float = field(
        default=0.95,
        metadata={"help": "schedule confidence: a random token of the target above this"},
    )
    confidence_of: ChoiceEnum(CONFIDENCES) = field(  # type: ignore[valid-type]
        default="next",
        metadata={
            "help": "schedule confidence: the probability that decides about an input token: next, "
            "of the gold token predicted after it; own, of the gold token in its place"
        },
    )
    mix: ChoiceEnum(MIXES) = field(  # type: ignore[valid-type]
        default="argmax", metadata={"help": "what replaces gold"}
    )
    mix_temperature: float = field(
        default=1.0, metadata={"help": "of sampled tokens and expected embeddings"}
    )
    mix_top_k: int = field(default=0, metadata={"help": "sample among the k likeliest; 0: all"})
    mix_top_p: float = field(
        default=1.0,
        metadata={"help": "sample among the likeliest that together have this probability"},
    )
    mix_gradient: bool = field(
        default=False,
        metadata={"help": "let the gradient of expected embeddings flow into the earlier passes"},
    )
    sampling_passes: int = field(
        default=1, metadata={"help": "decoder passes before the one that is trained"}
    )


def mixing(cfg: Any, padding_idx: int) -> Mixing:
    """Check a task's flags and make of them how inputs are mixed.

    Raises:
        UserError: a value out of range, or flags that do not go together.
    """
    mix = str(cfg.mix)
    check_range("--sampling-passes", cfg.sampling_passes, cfg.sampling_passes >= 1, "[1, inf)")
    check_range(
        "--mix-temperature", cfg.mix_temperature, 1e-6 <= cfg.mix_temperature <= 1e6, "[1e-6, 1e6]"
    )
    check_range("--mix-top-k", cfg.mix_top_k, cfg.mix_top_k >= 0, "[0, inf)")
    check_range("--mix-top-p", cfg.mix_top_p, 0 < cfg.mix_top_p <= 1, "(0, 1]")
    if mix != "sample" and (cfg.mix_top_k or cfg.mix_top_p < 1):
        raise UserError(f"--mix-top-k and --mix-top-p need --mix sample, but it is {mix}")
    if mix == "argmax" and cfg.mix_temperature != 1:
        raise UserError("--mix-temperature needs --mix sample or expected_embedding, not argmax")
    if mix != "expected_embedding" and cfg.mix_gradient:
        raise UserError(f"--mix-gradient needs --mix expected_embedding, but it is {mix}")
    low, high = cfg.gold_confidence, cfg.random_confidence
    check_range("--gold-confidence", low, 0 <= low < 1, "[0, 1): at 1 every input would stay gold")
    check_range("--random-confidence", high, low <= high <= 1, f"[--gold-confidence {low}, 1]")
    search = Search(True, cfg.mix_temperature, cfg.mix_top_k, cfg.mix_top_p)
    schedule = gold_schedule(cfg)
    return Mixing(
        *(padding_idx, schedule, mix, cfg.sampling_passes, search, cfg.mix_gradient, low, high),
        str(cfg.confidence_of),
    )


def gold_schedule(cfg: Any) -> GoldSchedule:
    """Check the flags of the schedule.

    Raises:
        UserError: a value out of range or missing, or a schedule that would never leave gold
            (but for a constant probability of 1, which says so).
    """
    name, decay = str(cfg.gold_schedule), str(cfg.gold_decay)
    eps, k, c = cfg.gold_probability, cfg.gold_k, cfg.gold_c
    if name == "constant" and eps is None:
        eps = 0.0
    given = f"--gold-schedule {name}"
    if name in ("constant", *BY_STEP):
        _needed(given, "--gold-probability", eps)
        check_range("--gold-probability", eps, 0 <= eps <= 1, "[0, 1]")
    if name in BY_STEP and eps == 1:
        raise UserError(f"{given} would never leave gold: --gold-probability must be below 1")
    decaying = decay if name in COMPOSITES else name
    if decaying in DECAYS:
        _check_decay(given, decaying, k, c, cfg.gold_minimum)
    unused: dict[str, float | str | None] = {
        "--gold-probability": eps if name in (*DECAYS, "confidence") else None,
        "--gold-k": k if decaying not in DECAYS else None,
        "--gold-c": c if decaying != "linear" else None,
        "--gold-minimum": (cfg.gold_minimum or None) if decaying not in DECAYS else None,
    }
    default = ScheduledSamplingConfig()
    if name not in COMPOSITES and decay != str(default.gold_decay):
        unused["--gold-decay"] = decay
    for flag in ("gold_confidence", "random_confidence", "confidence_of"):
        value = getattr(cfg, flag)
        if name != "confidence" and str(value) != str(getattr(default, flag)):
            unused[f"--{flag.replace('_', '-')}"] = value
    for flag, given_value in unused.items():
        if given_value is not None:
            raise UserError(f"{flag} {given_value} has no meaning with {given}")
    return GoldSchedule(name, eps or 0.0, k or 0.0, c or 0.0, cfg.gold_minimum, decay)


def _check_decay(given: str, decay: str, k: float | None, c: float | None, minimum: float) -> None:
    _needed(given, "--gold-k", k)
    assert k is not None
    check_range(
        "--gold-minimum", minimum, 0 <= minimum < 1, "[0, 1): at 1 every input would stay gold"
    )
    if decay == "linear":
        _needed(given, "--gold-c", c)
        assert c is not None
        check_range("--gold-k", k, 0 <= k < math.inf, "[0, inf)")
        check_range("--gold-c", c, 0 <= c < math.inf, "[0, inf)")
        if c == 0 and k >= 1:
            raise UserError(f"{given} would never leave gold: --gold-c must be above 0, but is {c}")
    elif decay == "exponential":
        if k == 1:
            raise UserError(f"{given} would never leave gold: --gold-k must be below 1, but is {k}")
        check_range("--gold-k", k, 0 <= k < 1, "[0, 1)")
    else:
        check_range("--gold-k", k, 1 <= k < math.inf, "[1, inf)")


def _needed(given: str, flag: str, value: float | None) -> None:
    if value is None:
        raise UserError(f"{given} needs {flag}")


class _ScheduledSampling:
    """What both tasks add to fairseq's own."""

    registered_name: str
    cfg: Any
    target_dictionary: Any

    def __init__(self, cfg: Any, *args: Any, **kwargs: Any):
        super().__init__(cfg, *args, **kwargs)  # type: ignore[call-arg]
        self.mixing = mixing(cfg, self.target_dictionary.pad())

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        model = super().build_model(cfg, from_checkpoint)  # type: ignore[misc]
        require_autoregressive(model, f"--task {self.registered_name}")
        embedding = getattr(model.decoder, "embed_tokens", None)
        if self.mixing.mix == "expected_embedding" and not isinstance(embedding, nn.Embedding):
            raise UnsuitableModel(
                "--mix expected_embedding needs a decoder with one embedding matrix, but this one "
                f"has {type(embedding).__name__}"
            )
        return model

    def train_step(
        self,
        sample: dict[str, Any],
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple:
        """Train on mixed inputs; see ``generation/scheduled_sampling.py``."""
        if self.mixing.gradient:
            require_two_readings(model, "--mix-gradient")
        chunk_size = getattr(criterion, "loss_chunk_size", 0)
        replacement = input_replacement(
            self.mixing, sentence_ids(sample), update_num, sample["target"], chunk_size
        )
        replaced = (
            nullcontext() if replacement is None else replaced_decoder_input(model, replacement)
        )
        with replaced:
            return super().train_step(  # type: ignore[misc]
                sample, model, criterion, optimizer, update_num, ignore_grad
            )


@dataclass
class ScheduledSamplingTranslationConfig(TranslationConfig, ScheduledSamplingConfig):
    pass


@register_task("scheduled_sampling_translation", dataclass=ScheduledSamplingTranslationConfig)
class ScheduledSamplingTranslationTask(_ScheduledSampling, TranslationTask):
    """Translation whose decoder reads a mix of gold and its own predictions."""

    registered_name = "scheduled_sampling_translation"


@dataclass
class ScheduledSamplingLanguageModelingConfig(LanguageModelingConfig, ScheduledSamplingConfig):
    pass


@register_task(
    "scheduled_sampling_language_modeling", dataclass=ScheduledSamplingLanguageModelingConfig
)
class ScheduledSamplingLanguageModelingTask(_ScheduledSampling, LanguageModelingTask):
    """Language modelling whose decoder reads a mix of gold and its own predictions."""

    registered_name = "scheduled_sampling_language_modeling"

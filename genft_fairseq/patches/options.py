"""Changes to ``fairseq.options`` and fairseq's commands: values are checked before any work begins.

fairseq looks at many of its settings only where it uses them: after the data are loaded, the model
is built, or an epoch is trained, and some of them never.  Each rule below is a small function of
the settings of one command, from the command line or from hydra, that returns what is wrong, with
the flag, the value and what is allowed.
"""

import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fairseq import options, utils
from fairseq.data import data_utils, plasma_utils
from fairseq.data.encoders import TOKENIZER_REGISTRY
from fairseq.dataclass import initialize
from fairseq.dataclass.configs import GenerationConfig
from fairseq.utils import split_paths
from fairseq_cli import generate, train
from omegaconf import OmegaConf

from genft_fairseq.errors import UserError, known_settings
from genft_fairseq.patches.precision import check_precision
from genft_fairseq.patches.registry import extends
from genft_fairseq.patches.safe_loading import evaluate_literal

# The least value of a number, or of each in a list; fairseq takes --max-tokens 0 for no limit.
LEAST = {
    "beam": 1,
    "nbest": 1,
    "num_workers": 0,
    "required_batch_size_multiple": 1,
    "seed": 0,
    "workers": 1,
}


LEAST_TO_TRAIN = {
    "log_interval": 1,
    "lr": 0,
    "save_interval": 1,
    "update_freq": 1,
    "validate_interval": 1,
}


class Settings:
    """The settings of a command by name; what the command does not know is None.

    Attributes:
        command: the name of its module in ``fairseq_cli``.
    """

    def __init__(self, command: str, values: Mapping[str, Any]):
        self.command = command
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getattr__(self, name: str) -> Any:
        return self._values.get(name)


@extends(options, "parse_args_and_arch", issue=4696)
def parse_args_and_arch(
    original: Any, parser: Any, input_args: Any = None, *rest: Any, **kwargs: Any
) -> Any:
    """Values that are used while the command line is read are checked there.

    ``--bf16`` implies ``--tpu`` in fairseq, and ends in a traceback without a TPU.
    ``--tokenizer moses`` needs the languages before the task finds them in the data folder.
    ``fairseq-validate`` takes the task from the checkpoint, but has no default for its flags.
    """
    if parser.get_default("task") is None:
        parser.set_defaults(task="translation")
    try:
        result = original(parser, input_args, *rest, **kwargs)
        args = result[0] if isinstance(result, tuple) else result
        _require_plasma(args)
        _name_languages(args)
    except ValueError:  # about --fp16 together with the --tpu that --bf16 implies
        check_precision(parser.parse_known_args(input_args)[0])
        raise
    if hasattr(args, "max_update"):  # decoding knows --fp16 alone, and ignores the others
        check_precision(args)
    if getattr(args, "tpu", False) and utils.xm is None:
        if parser.parse_known_args(input_args)[0].tpu:
            raise UserError("--tpu needs torch_xla, which is not installed")
        args.tpu = False
    return result


@extends((initialize, train), "add_defaults")
def add_defaults(original: Any, cfg: Any) -> None:
    """The settings of ``fairseq-hydra-train`` are checked before anything is written.

    A ``memory_efficient_*`` setting implies the plain one, as on the command line; fairseq ignores
    it alone.
    """
    check("train", _flat(cfg))  # hydra has called main before it knew of us
    original(cfg)
    common = cfg.common
    if common.tpu:
        return
    check_precision(common)
    # What the command line implies; alone, they would train in float32.
    common.fp16 = common.fp16 or common.memory_efficient_fp16
    common.bf16 = common.bf16 or common.memory_efficient_bf16


@extends(generate, "main")
def decode(original: Any, args: Any) -> Any:
    """``fairseq-generate`` checks most settings after it has loaded the model and the data."""
    check("generate", vars(args) if isinstance(args, Namespace) else _flat(args))
    return original(args)


def check_run(cfg: Any, main: Callable[..., Any]) -> None:
    """Check the configuration of a command.

    Args:
        cfg: of the command.
        main: its main function.

    Raises:
        UserError: the first rule that is broken.
    """
    _require_possible_options(cfg, main)
    # By the file: the module may be the one that python -m runs.
    code = getattr(main, "__code__", None)
    check(Path(code.co_filename).stem if code else "", _flat(cfg))


def _require_possible_options(cfg: Any, main: Any) -> None:
    """Refuse what ``fairseq-eval-lm`` and ``fairseq-interactive`` would fail at later."""
    context, block = cfg.eval_lm.context_window, getattr(cfg.task, "tokens_per_sample", None)
    if context and block and context >= block:
        raise UserError(f"--context-window {context} must be less than --tokens-per-sample {block}")
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


def _flat(cfg: Any) -> dict[str, Any]:
    """The settings of all groups of a configuration, whose names differ as those of flags do."""
    values: dict[str, Any] = {}
    groups: Any = OmegaConf.to_container(cfg)
    for group in groups.values():
        named = vars(group) if isinstance(group, Namespace) else group
        if isinstance(named, dict):  # hydra may know a group by its name alone
            # Without what another setting decides, and what is missing.
            kept = {n: v for n, v in named.items() if not str(v).startswith(("${", "???"))}
            values.update(kept)
    return values


def check(command: str, values: Mapping[str, Any]) -> None:
    """Check the settings of a command that trains or decodes.

    Args:
        command: the name of its module in ``fairseq_cli``.
        values: by name, as in the code: ``max_tokens``.

    Raises:
        UserError: the first rule that is broken.
    """
    known_settings.update(values)
    given = Settings(command, values)
    for rule in RULES:
        wrong = rule(given)
        if wrong:
            raise UserError(wrong)


# --- rules ---------------------------------------------------------------------------------------


def check_numbers(given: Settings) -> str | None:
    limits = {**LEAST, **(LEAST_TO_TRAIN if given.command == "train" else {})}
    for name, least in limits.items():
        value = getattr(given, name)
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int | float) and number < least:
                return f"{flag(name)} must be at least {least}, but is {number}"
    if isinstance(given.seed, int) and given.seed >= 2**32:  # numpy's limit
        return f"--seed must be below 2**32, but is {given.seed}"
    for name in given:
        value = getattr(given, name)
        share = name.endswith(("dropout", "layerdrop")) and isinstance(value, int | float)
        if share and not 0 <= value <= 1:
            return f"{flag(name)} is a probability, in [0, 1], but is {value}"
    return None


def _checkpoints(given: Settings) -> str | None:
    """fairseq opens a file of results before it looks for the model."""
    if given.command not in ("generate", "interactive", "validate", "eval_lm"):
        return None
    if not given.path:
        return "--path is required: the checkpoint to load"
    shards = (given.checkpoint_shard_count or 1) > 1 or given.checkpoint_suffix
    for name in ("path", "lm_path"):
        for path in split_paths(getattr(given, name) or ""):
            there = os.path.exists(path) or os.path.exists(f"{path[:-3]}-shard0.pt")
            if path and "://" not in path and not there and not shards:
                return f"{flag(name)} names {path}, which does not exist"
    return None


def _baseline(given: Settings) -> str | None:
    baseline = given.finetune_from_model
    if given.command != "train" or not baseline or "://" in baseline:
        return None
    if given.restore_file != "checkpoint_last.pt":
        other = given.restore_file
        return f"--finetune-from-model {baseline} and --restore-file {other} exclude each other"
    for name in ("optimizer", "lr_scheduler", "meters", "dataloader"):
        if getattr(given, f"reset_{name}"):
            return (
                f"--finetune-from-model {baseline} resets the optimizer, the schedule, the meters "
                f"and the order of the data itself: leave out {flag(f'reset_{name}')}"
            )
    last = os.path.join(given.save_dir or "", "checkpoint_last.pt")
    if not os.path.exists(baseline) and not os.path.exists(last):
        return f"--finetune-from-model names {baseline}, which does not exist"
    return None


def _search(given: Settings) -> str | None:
    if given.command not in ("generate", "interactive"):
        return None
    groups = given.diverse_beam_groups or -1
    searches = {
        "--sampling": given.sampling,
        "--diverse-beam-groups": groups > 0,
        "--match-source-len": given.match_source_len,
        "--diversity-rate": (given.diversity_rate or -1) > 0,
    }
    chosen = [name for name, is_given in searches.items() if is_given]
    if len(chosen) > 1:
        return f"{' and '.join(chosen)} are different searches: give one"
    if given.sampling and given.nbest != given.beam:
        return f"--sampling needs --nbest equal to --beam {given.beam}, but it is {given.nbest}"
    if groups > 0 and given.beam % groups:
        return f"--beam {given.beam} must be a multiple of --diverse-beam-groups {groups}"
    if given.temperature is not None and given.temperature <= 0:
        return f"--temperature must be above 0, but is {given.temperature}"
    if not given.max_len_a and given.max_len_b is not None and given.min_len > given.max_len_b:
        return f"--min-len {given.min_len} is more than --max-len-b {given.max_len_b}"
    return None


def _interactive(given: Settings) -> str | None:
    buffer = max(given.buffer_size or 0, 1)
    if given.command != "interactive" or (given.batch_size or 1) <= buffer:
        return None
    return f"--batch-size {given.batch_size} is more than --buffer-size {buffer}: raise the latter"


def _heads(given: Settings) -> str | None:
    for side in ("encoder", "decoder"):
        width = getattr(given, f"{side}_embed_dim")
        heads = getattr(given, f"{side}_attention_heads")
        if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
            multiple = f"a multiple of --{side}-attention-heads {heads}"
            return f"--{side}-embed-dim {width} must be {multiple}"
    return None


def _overrides(given: Settings) -> str | None:
    for name in ("model_overrides", "optimizer_overrides"):
        text = getattr(given, name)
        if isinstance(text, str) and not isinstance(_literal(text), dict):
            return f"{flag(name)} must be a dictionary, {{'name': value}}, but is {text!r}"
    return None


def _betas(given: Settings) -> str | None:
    betas = _literal(given.adam_betas) if isinstance(given.adam_betas, str) else given.adam_betas
    two = isinstance(betas, list | tuple) and len(betas) == 2
    if betas is not None and not (two and all(isinstance(beta, int | float) for beta in betas)):
        return f"--adam-betas must be two numbers, '(0.9, 0.98)', but is {given.adam_betas!r}"
    return None


def _literal(text: str) -> Any:
    try:
        return evaluate_literal(text)
    except UserError:
        return ...


def _bleu_in_validation(given: Settings) -> str | None:
    if not given.eval_bleu:
        return None
    for name in ("eval_bleu_args", "eval_bleu_detok_args"):
        text = getattr(given, name) or "{}"
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            return f'{flag(name)} must be a JSON object, {{"name": value}}, but is {text!r}'
        for key, value in values.items() if name == "eval_bleu_args" else ():
            if not hasattr(_GENERATION, key):  # which fairseq would leave unread
                return f"--eval-bleu-args: {key!r} is not a setting of fairseq-generate's search"
            kind = type(getattr(_GENERATION, key))
            if kind in (int, float) and not isinstance(value, int | float):
                return f"--eval-bleu-args: {key} must be a number, but is {value!r}"
    known = sorted(TOKENIZER_REGISTRY)
    if given.eval_bleu_detok is None or given.eval_bleu_detok in known:
        return None
    return f"--eval-bleu-detok must be one of {', '.join(known)}, but is {given.eval_bleu_detok!r}"


_GENERATION = GenerationConfig()

RULES: tuple[Callable[[Settings], str | None], ...] = (
    *(check_numbers, _checkpoints, _baseline, _search, _interactive, _heads, _overrides),
    *(_betas, _bleu_in_validation),
)


def flag(name: str) -> str:
    """Return a setting as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


# --- what is used while the command line is read -------------------------------------------------


def _require_plasma(args: Namespace) -> None:
    if getattr(args, "use_plasma_view", False) and plasma_utils.plasma is None:
        raise UserError("--use-plasma-view needs the package pyarrow, with pyarrow.plasma")


def _name_languages(args: Namespace) -> None:
    """``--tokenizer moses`` wants to know them; the task finds them in the data folder, but later.

    Raises:
        UserError: they are not given, and the folder does not tell.
    """
    settings = vars(args)
    languages = [settings.get(name, "") for name in ("source_lang", "target_lang")]
    if settings.get("tokenizer") is None or None not in languages:
        return
    folder = split_paths(settings.get("data") or "")[0]
    found = data_utils.infer_language_pair(folder) if os.path.isdir(folder) else (None, None)
    if None in found:
        raise UserError(
            f"--tokenizer {args.tokenizer} needs the languages: --source-lang and --target-lang"
        )
    args.source_lang, args.target_lang = (
        given or there for given, there in zip(languages, found, strict=True)
    )

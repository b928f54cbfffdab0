"""Patches of fairseq's command lines: values are checked before any work begins.

What fairseq's commands are given, checked before they work on it.

fairseq looks at many of its settings only where it uses them: after the data are loaded, the model
is built, or an epoch is trained, and some of them never.  Each rule below is a small function of
the settings of one command, from the command line or from hydra, that returns what is wrong, with
the flag, what was given and what is allowed.

A checkpoint that a flag names must be there.

fairseq begins from random parameters, with exit status 0, where ``--restore-file``,
``--continue-once`` or ``--load-pretrained-encoder-from`` name a file that does not exist.
"""

import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

from fairseq import models, options
from fairseq.data import data_utils, plasma_utils
from fairseq.data.encoders import TOKENIZER_REGISTRY
from fairseq.dataclass import initialize
from fairseq.dataclass.configs import GenerationConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from fairseq.utils import split_paths
from fairseq_cli import generate, preprocess, train
from omegaconf import OmegaConf

from genft_fairseq.errors import UserError, known_settings, told
from genft_fairseq.patches.data import check_text
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


def apply() -> None:
    """Have the settings of all commands checked; a second call changes nothing."""
    if getattr(options.parse_args_and_arch, "genft_arguments", False):
        return
    parse, call_main, add_defaults = (
        *(options.parse_args_and_arch, distributed_utils.call_main, train.add_defaults),
    )
    decode, binarize = generate.main, preprocess.main

    @wraps(parse)
    def parse_args_and_arch(parser: Any, *given: Any, **keywords: Any) -> Any:
        # fairseq-validate has no default; it takes the task from the checkpoint, but for its flags.
        if parser.get_default("task") is None:
            parser.set_defaults(task="translation")
        result = parse(parser, *given, **keywords)
        args = result[0] if isinstance(result, tuple) else result
        _require_plasma(args)
        _name_languages(args)
        return result

    @wraps(call_main)
    def call_main_checked(cfg: Any, main: Callable[..., Any], **keywords: Any) -> Any:
        # By the file: the module may be the one that python -m runs.
        code = getattr(main, "__code__", None)
        check(Path(code.co_filename).stem if code else "", _flat(cfg))
        return call_main(cfg, partial(told, main), **keywords)

    @wraps(add_defaults)
    def add_defaults_checked(cfg: Any) -> None:  # hydra has called main before it knew of us
        check("train", _flat(cfg))
        add_defaults(cfg)

    @wraps(decode)
    def decode_checked(args: Any) -> Any:
        check("generate", vars(args) if isinstance(args, Namespace) else _flat(args))
        return decode(args)

    @wraps(binarize)
    def binarize_checked(args: Any) -> Any:
        check_preprocessing(args)
        return binarize(args)

    parse_args_and_arch.genft_arguments = True  # type: ignore[attr-defined]
    options.parse_args_and_arch = parse_args_and_arch
    distributed_utils.call_main = call_main_checked
    train.add_defaults = initialize.add_defaults = add_defaults_checked
    generate.main, preprocess.main = decode_checked, binarize_checked


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


def _numbers(given: Settings) -> str | None:
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
    *(_numbers, _checkpoints, _baseline, _search, _interactive, _heads, _overrides),
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


# --- fairseq-preprocess --------------------------------------------------------------------------


def check_preprocessing(args: Namespace) -> None:
    """Check the settings of fairseq-preprocess, and its texts, before it makes its folder.

    Raises:
        UserError: the first rule that is broken.
    """
    known_settings.update(vars(args))
    given = Settings("preprocess", vars(args))
    wrong = _numbers(given) or _dictionaries(given)
    if wrong:
        raise UserError(wrong)
    for name, path in _texts(given):
        check_text(name, path)


def _dictionaries(given: Settings) -> str | None:
    if given.dataset_impl == "huffman":
        return "--dataset-impl huffman is not written by fairseq-preprocess: use mmap"
    if given.joined_dictionary and given.srcdict and given.tgtdict:
        return "--joined-dictionary is one dictionary: give --srcdict or --tgtdict, not both"
    sides = [("srcdict", given.source_lang)]
    sides += [] if given.only_source else [("tgtdict", given.target_lang)]
    for name, language in sides:
        path = getattr(given, name)
        if path and not os.path.exists(path):
            return f"{flag(name)} names {path}, which does not exist"
        path = os.path.join(given.destdir, f"dict.{language}.txt" if language else "dict.txt")
        if not getattr(given, name) and os.path.exists(path):
            return f"{path} is there already: give {flag(name)} {path}, or another --destdir"
    one = given.joined_dictionary and (given.srcdict or given.tgtdict)
    lacking = [name for name, _ in sides if not getattr(given, name) and not one]
    if lacking and not given.trainpref:
        return f"--trainpref or {flag(lacking[0])} is required: what to take the dictionary from"
    if given.alignfile and not given.trainpref:
        return f"--alignfile {given.alignfile} needs --trainpref"
    return None


def _texts(given: Settings) -> list[tuple[str, str]]:
    """The texts that are read, with the flags that name them."""
    languages = [given.source_lang] if given.only_source else [given.source_lang, given.target_lang]
    found = []
    for name in ("trainpref", "validpref", "testpref"):
        value = getattr(given, name)
        if value and not (given.dict_only and name != "trainpref"):
            prefixes = [value] if name == "trainpref" else value.split(",")
            found += [
                (flag(name), f"{prefix}.{language}" if language else prefix)
                for prefix in prefixes
                for language in languages
            ]
    return found


_PRETRAINED = ("load_pretrained_encoder_from", "load_pretrained_decoder_from")


def apply_named_files() -> None:
    """Apply every check; a second call changes nothing."""
    if getattr(models.build_model, "genft", False):
        return
    load, build = Trainer.load_checkpoint, models.build_model

    @wraps(load)
    def load_checkpoint(self: Trainer, filename: str, *args: Any, **kwargs: Any) -> Any:
        settings = self.cfg.checkpoint
        # Its own last checkpoint is there once a run has begun, however its path is written.
        last = os.path.join(settings.save_dir, f"checkpoint_last{self.checkpoint_suffix}.pt")
        if os.path.realpath(filename) != os.path.realpath(last):
            named = settings.continue_once == filename
            require_checkpoint(
                "--continue-once" if named else "--restore-file", filename, settings.save_dir
            )
        return load(self, filename, *args, **kwargs)

    @wraps(build)
    def build_model(cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
        for name in _PRETRAINED:
            path = getattr(cfg, name, None)
            if path and not from_checkpoint:  # then its parameters come from there
                require_checkpoint(f"--{name.replace('_', '-')}", path)
        return build(cfg, task, from_checkpoint)

    build_model.genft = True  # type: ignore[attr-defined]
    Trainer.load_checkpoint, models.build_model = load_checkpoint, build_model


def require_checkpoint(flag: str, path: str, save_dir: str | None = None) -> None:
    """Refuse a name that is no file.

    Args:
        flag: that names it.
        path: relative to the current folder.
        save_dir: where the user may have meant.

    Raises:
        UserError: the message names the flag and the path.
    """
    if PathManager.isfile(path):
        return
    meant = os.path.join(save_dir, path) if save_dir else path
    found = f": {meant} does (give its whole path)" if PathManager.isfile(meant) else ""
    wrong = "is a folder" if os.path.isdir(path) else "does not exist"
    raise UserError(f"{flag} {path} {wrong}{found}")

"""The architecture of a checkpoint, as the flags of ``fairseq-train`` that build it again."""

import argparse
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

from fairseq import checkpoint_utils, options
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from omegaconf import OmegaConf

from genft_fairseq.errors import UserError
from genft_fairseq.experiments.strategies import TASKS

# Settings of the task that a language model takes over (its own have no flags).
_FROM_THE_TASK = ("tokens_per_sample", "add_bos_token", "max_target_positions")

# The baseline's own parameters take the place of embeddings read from a file, and how layers are
# spread over devices is the run's concern.
_LEFT_OUT = ("encoder_embed_path", "decoder_embed_path", "min_params_to_wrap")


def read_configuration(path: Path) -> dict[str, Any]:
    """Read the configuration that a checkpoint carries, without running code of the file's.

    Returns:
        ``task``, the name of the task it was trained for, and ``model``, the model's settings.

    Raises:
        UserError: there is no such file, it is not a checkpoint of fairseq's, or loading it could
            run code.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    try:
        cfg = checkpoint_utils.load_checkpoint_to_cpu(str(path))["cfg"]
        return {"task": _plain(cfg.task)["_name"], "model": _plain(cfg.model)}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    # What fairseq raises depends on which part of a checkpoint is not there.
    except Exception as error:
        raise UserError(f"{path} is not a checkpoint of fairseq-train ({error!r})") from error


def require_task(configuration: Mapping[str, Any], task: str, path: Path) -> None:
    """Refuse a checkpoint that was trained for the other kind of task.

    Args:
        configuration: ``read_configuration``'s.
        task: ``translation`` or ``language_modeling``.
        path: of the checkpoint, for the message.

    Raises:
        UserError: a language model is to translate, or a translation model to continue text.
    """
    trained = str(configuration["task"]).removeprefix("scheduled_sampling_")
    if trained in TASKS and trained != task:
        raise UserError(f"{path} was trained for {trained}, but the data is for {task}")


def architecture_flags(model: Mapping[str, Any], data: str, task: str) -> list[str]:
    """Return the flags that make ``fairseq-train`` build the model of these settings.

    Args:
        model: ``read_configuration``'s settings.
        data: the folder to train on.
        task: the fairseq task to train.

    Returns:
        ``--arch``, and a flag for each setting that differs from the architecture's default.

    Raises:
        UserError: the architecture is not known here, or no flag says what differs.
    """
    # Where it was not parsed from a command line, ``arch`` is not set.
    arch = str(model.get("arch") or model.get("_name"))
    if arch not in ARCH_MODEL_REGISTRY:
        raise UserError(f"the checkpoint's architecture, {arch}, is not known: add -- --arch ARCH")
    try:
        # One after the other, because each can move the defaults of those that follow: a decoder is
        # as wide as the encoder, say, and its output as the decoder.
        return _differing_flags(model, arch, [data, "--task", task], one_by_one=True)
    except _Unparsable:
        # Some make sense together only: as many layers as there are kernels, say.
        return _differing_flags(model, arch, [data, "--task", task], one_by_one=False)


class _Unparsable(UserError):
    """Flags that fairseq does not take."""


def _differing_flags(
    model: Mapping[str, Any], arch: str, words: list[str], one_by_one: bool
) -> list[str]:
    flags = ["--arch", arch]
    given: set[str] = set()
    while True:
        try:
            actions, defaults = _parse([*words, *flags])
        # What an architecture raises about settings that do not fit is its own affair.
        except Exception as error:
            raise _Unparsable(
                f"the checkpoint's settings are not those of fairseq-train ({error}): give "
                f"--arch {arch} and its flags after --"
            ) from error
        differing = [action for action in actions if _differs(model, defaults, action)]
        if not differing:
            return flags
        for action in differing[:1] if one_by_one else differing:
            written = _flag(action, model[action.dest])
            if action.dest in given or written is None:
                raise UserError(
                    f"the checkpoint's {action.dest} is {model[action.dest]}, which no flag of "
                    f"--arch {arch} says: give --arch {arch} and its flags after --"
                )
            given.add(action.dest)
            flags += written


def _plain(settings: Any) -> dict[str, Any]:
    """Settings of the old kind are a namespace, with every flag of the command line in it."""
    if isinstance(settings, argparse.Namespace):
        return vars(settings)
    plain: Any = OmegaConf.to_container(settings, resolve=True, enum_to_str=True)
    return plain


def _parse(words: list[str]) -> tuple[list[argparse.Action], dict[str, Any]]:
    """Parse a command line as fairseq does: the flags of the model, and the settings it gets."""
    parser = options.get_training_parser()
    parser.error = _refuse
    args = options.parse_args_and_arch(parser, words)
    (group,) = (group for group in parser._action_groups if "Model-specific" in str(group.title))
    actions = [*group._group_actions]
    actions += [action for action in parser._actions if action.dest in _FROM_THE_TASK]
    # What the parser leaves out takes the model's default, or the task's where both have it.
    settings = _defaults(TASK_DATACLASS_REGISTRY.get(args.task))
    settings |= _defaults(getattr(ARCH_MODEL_REGISTRY[args.arch], "__dataclass", None))
    return list(dict.fromkeys(actions)), settings | vars(args)


def _defaults(dataclass: Any) -> dict[str, Any]:
    """The defaults of a configuration; those that refer to another one are left out."""
    defaults = {} if dataclass is None else vars(dataclass())
    return {name: value for name, value in defaults.items() if "${" not in str(value)}


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


def _differs(
    model: Mapping[str, Any], defaults: Mapping[str, Any], action: argparse.Action
) -> bool:
    name = action.dest
    if name in _LEFT_OUT or name not in model:
        return False
    # What the architecture does not set, the model takes as not given.
    own, default = _comparable(model[name]), _comparable(defaults.get(name))
    if action.nargs == 0 and action.const is True:  # a switch that is off, or that nobody set
        own, default = own or False, default or False
    return bool(own != default)


def _comparable(value: Any) -> Any:
    value = value.value if isinstance(value, Enum) else value
    return list(value) if isinstance(value, tuple) else value


def _flag(action: argparse.Action, value: Any) -> list[str] | None:
    """Write a setting as its flag; None where there is no flag that says it."""
    flag = max(action.option_strings, key=len)
    if action.nargs == 0:
        return [flag] if value == action.const else None
    if value is None:
        return None
    text = str(_comparable(value))
    # Never a word that could be taken for a flag of its own: the value comes from a file.
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]

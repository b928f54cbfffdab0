"""Tables of the plugin's own fairseq flags, made from the code when the site is built.

A line ``<!-- flags: criterions -->`` of a page (or ``tasks``, ``models``, ``bpe``, ``tokenizers``)
becomes a heading and a table for each registered class of this package: the flags that it adds to,
or has another default for than, what it extends.
"""

import re
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator
from typing import Any

from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_NAME_REGISTRY, MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY
from sphinx.application import Sphinx

import genft_fairseq  # noqa: F401 (registers what is shown)
from genft_fairseq.criterions.token_criterion import TokenCriterion, TokenCriterionConfig

MARK = re.compile(r"^<!-- flags: ([a-z]+) -->$", re.MULTILINE)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "criterions": ("--criterion", CRITERION_REGISTRY),
    "tasks": ("--task", TASK_REGISTRY),
    "models": ("--arch", MODEL_REGISTRY),
    "bpe": ("--bpe", REGISTRIES["bpe"]["registry"]),
    "tokenizers": ("--tokenizer", REGISTRIES["tokenizer"]["registry"]),
}


def flag_tables(kind: str) -> str:
    """Return the Markdown of all registered classes of a kind.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"flags: {kind} is none of {', '.join(KINDS)}")
    option, registry = KINDS[kind]
    parts = []
    if kind == "criterions":
        parts.append("### Every criterion of the token loss\n\n" + _table(_shared()))
    for name, cls in sorted(registry.items()):
        if cls.__module__.startswith("genft_fairseq."):
            note = "" if kind != "models" else _architectures(name)
            parts.append(f"### `{option} {name}`\n\n{note}{_table(_own(cls))}")
    return "\n\n".join(parts)


def _shared() -> list[Action]:
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    parser = ArgumentParser(add_help=False)
    gen_parser_from_dataclass(parser, TokenCriterionConfig())
    return [action for action in parser._actions if action.help]


def _own(cls: type[Any]) -> list[Action]:
    """The flags of a class, without those that it shares with what it extends."""
    base = TokenCriterion if issubclass(cls, TokenCriterion) else _fairseq_base(cls)
    known = _shared() if base is TokenCriterion else _actions(base)
    given = {tuple(action.option_strings): action.default for action in known}
    new = object()
    return [
        action
        for action in _actions(cls)
        if action.option_strings
        and action.help
        and given.get(tuple(action.option_strings), new) != action.default
    ]


def _fairseq_base(cls: type[Any]) -> type[Any]:
    return next((each for each in cls.__mro__ if each.__module__.startswith("fairseq.")), object)


def _actions(cls: type[Any]) -> list[Action]:
    parser = ArgumentParser(add_help=False, conflict_handler="resolve")
    if hasattr(cls, "add_args"):
        cls.add_args(parser)
    return parser._actions


def _architectures(model: str) -> str:
    names = sorted(name for name, owner in ARCH_MODEL_NAME_REGISTRY.items() if owner == model)
    others = [f"`{name}`" for name in names if name != model]
    return f"Sizes: {', '.join(others)}.\n\n" if others else ""


def _table(actions: list[Action]) -> str:
    if not actions:
        return "No flag of its own."
    return "\n".join(["| flag | default | meaning |", "|---|---|---|", *map(_row, actions)])


def _row(action: Action) -> str:
    flags = ", ".join(f"`{flag}`" for flag in action.option_strings)
    default = "" if action.default in (None, SUPPRESS) else f"`{action.default}`"
    if action.nargs == 0:
        default = "off" if action.const is True else "on"
    choices = f" (one of {', '.join(map(str, action.choices))})" if action.choices else ""
    return f"| {flags} | {default} | {_escaped((action.help or '') + choices)} |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<|$\[\]])", r"\\\1", " ".join(text.split()))


def _replace(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda found: flag_tables(found[1]), source[0])


def names() -> Iterator[tuple[str, str]]:
    """Yield the kind and name of everything that has a heading, for the tests."""
    for kind, (_, registry) in KINDS.items():
        for name, cls in registry.items():
            if cls.__module__.startswith("genft_fairseq."):
                yield kind, name


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect with the reading of a page."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Every message that the page of troubleshooting explains is one that is really given."""

import argparse
import ast
import contextlib
import dataclasses
import errno
import functools
import importlib.util
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fairseq import options, utils
from fairseq.registry import REGISTRIES
from fairseq_commands import REPOSITORY
from packaging.requirements import Requirement
from setuptools._distutils.spawn import spawn

from genft_fairseq.errors import one_line

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
HOLE = "…"
HEADINGS = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
MESSAGES = [heading.strip("`") for heading in HEADINGS]
OURS = [
    *sorted((REPOSITORY / "genft_fairseq").rglob("*.py")),
    *sorted((REPOSITORY / "data-prep").glob("*.py")),
    *sorted((REPOSITORY / "data-prep").glob("*.sh")),
]
# Modules of others that give messages.  Found, not imported.
OTHERS = (
    *("fairseq.checkpoint_utils", "fairseq.data.data_utils", "fairseq.nan_detector"),
    *("fairseq.optim.dynamic_loss_scaler", "fairseq.registry", "fairseq.tasks.translation"),
    *("fairseq.trainer", "fairseq.utils", "fairseq_cli.generate", "fairseq_cli.train"),
    *("torch.serialization", "pip._internal.commands.install"),
)


def _mutable_default() -> None:
    """What Python 3.11 says of fairseq 0.12.2's configuration."""

    @dataclasses.dataclass
    class Part:
        number: int = 0

    dataclasses.make_dataclass("Whole", [("part", Part, dataclasses.field(default=Part()))])


def _criterion_without_user_dir() -> None:
    """fairseq's own parser, in which the plugin has registered nothing."""
    registry = REGISTRIES["criterion"]["registry"]
    taken = registry.pop("scalegrad")
    try:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), pytest.raises(SystemExit):
            options.get_training_parser().parse_known_args(["data", "--criterion", "scalegrad"])
    finally:
        registry["scalegrad"] = taken
    raise RuntimeError(said.getvalue())


def _full_disk() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint_last.pt")
    raise RuntimeError(one_line(error))


# What is said by compiled code, or put together: each is called, and its error read.
PRODUCED = {
    "… suffix can only be used with … operators": lambda: Requirement("PyYAML (>=5.1.*)"),
    "command … failed: No such file or directory": lambda: spawn(["no-such-compiler"]),
    "mutable default … is not allowed: use default_factory": _mutable_default,
    "module 'numpy' has no attribute 'float'": lambda: np.float,
    "module 'numpy' has no attribute 'compat'": lambda: np.compat,
    "percentile() got an unexpected keyword argument 'interpolation'": lambda: np.percentile(
        [1.0], 50, interpolation="lower"
    ),
    "argument --criterion: invalid choice: 'scalegrad'": _criterion_without_user_dir,
    "No space left on device": _full_disk,
    "FileNotFoundError: …": lambda: utils.import_user_module(
        argparse.Namespace(user_dir="/nowhere/at/all")
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_it_is_given(message):
    if message in PRODUCED:
        with pytest.raises(Exception) as raised:  # noqa: PT011 (its text is what is tested)
            PRODUCED[message]()
        assert _pattern(message).search(f"{raised.type.__name__}: {raised.value}")
    else:
        assert any(_pattern(message).search(text) for text in _texts()), message


def test_every_section_says_what_to_do():
    for section in PAGE.split("\n### ")[1:]:
        heading, _, rest = section.partition("\n")
        assert heading.startswith("`") and heading.endswith("`"), heading
        assert len(rest.split("\n## ")[0].strip()) > 8, heading
    assert len(set(MESSAGES)) == len(MESSAGES)


def test_what_is_not_given_is_not_found():
    """A message whose words changed is found out."""
    assert not any(_pattern("another run is dancing in …").search(text) for text in _texts())
    changed = "another … compare works in a folder"
    assert not any(_pattern(changed).search(text) for text in _texts())


def test_holes_and_joined_literals():
    """A formatted string is one text, over lines and with what it formats left open."""
    source = "raise E(f'{path} has {n:,} lines, '\n  'but {} of them' % 3, '%s is %(what)r')"
    found = list(_literals(source))
    assert "… has … lines, but … of them" in found and "… is …" in found


def _pattern(message: str) -> re.Pattern[str]:
    """What a message is in a source text: its fixed parts in order, with something between them."""
    parts = [re.escape(" ".join(part.split())) for part in message.split(HOLE) if part.strip()]
    return re.compile(r".{0,100}?".join(parts))


@functools.cache
def _texts() -> tuple[str, ...]:
    """All literal texts of the sources, each with a hole where something is put in."""
    paths = [*OURS, *map(_path, OTHERS)]
    return tuple(
        " ".join(text.split())
        for path in paths
        for text in (_literals if path.suffix == ".py" else _shell)(path.read_text("utf-8"))
    )


def _path(module: str) -> Path:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, module
    return Path(found.origin)


def _literals(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield _open("".join(map(_part, node.values)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _open(node.value)


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else HOLE


def _open(text: str) -> str:
    """Put holes where ``format`` and ``%`` would put something."""
    return re.sub(r"\{[\w.:,!]*\}|%\(\w+\)[a-z]|%[a-z]", HOLE, text)


def _shell(source: str) -> Iterator[str]:
    """The lines of a shell script, those that are continued as one."""
    joined = source.replace("\\\n", "")
    for line in joined.splitlines():
        yield re.sub(r"\$\{[^}]*\}|\$\(\(?[^)]*\)?\)|\$\w+|\$[*@#]", HOLE, line)

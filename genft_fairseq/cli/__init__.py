"""The ``genft`` command: one file a subcommand."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from genft_fairseq import __version__
from genft_fairseq.cli.exit_status import EPILOG, status_of

_NAMES = (
    *("train", "finetune", "test", "inference"),
    *("average-checkpoints", "compare", "doctor", "evaluate-lm", "evaluate-qa"),
    *("evaluate-summaries", "export-hf", "import-hf", "preprocess", "report", "retrieve"),
    "user-dir",
)
# Commands that have no file of their own name.
_FILES = dict.fromkeys(("train", "finetune", "test", "inference"), "modes")


class _Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in _NAMES:
            raise KeyError(name)
        variable = name.replace("-", "_")
        module = import_module(f"genft_fairseq.cli.{_FILES.get(name, variable)}")
        command: click.Command = getattr(module, variable)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


@click.group(
    commands=_Commands(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="genft")
def genft() -> None:
    """Train fairseq models that generate well, and measure whether they do."""


def _hold_standard_streams() -> None:
    """Where one is closed, the next file that is opened would take its place, and be printed to."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main() -> None:
    """Run the command, and end with its status: see ``exit_status.py``."""
    _hold_standard_streams()
    # fairseq and hydra tell every step of loading a model, and torch what fairseq should change.
    for library in ("fairseq", "hydra"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="torch|hydra")
    # Text is text: what a terminal has no letter for must not end a command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(status_of(genft, "genft"))

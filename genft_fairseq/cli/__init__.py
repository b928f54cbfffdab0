"""The ``genft`` command: one file a subcommand."""

import io
import logging
import os
import sys
import warnings

import click

from genft_fairseq import __version__
from genft_fairseq.cli.average_checkpoints import average_checkpoints
from genft_fairseq.cli.compare import compare
from genft_fairseq.cli.doctor import doctor
from genft_fairseq.cli.ending import EPILOG, status_of
from genft_fairseq.cli.evaluate_lm import evaluate_lm
from genft_fairseq.cli.evaluate_qa import evaluate_qa
from genft_fairseq.cli.evaluate_summaries import evaluate_summaries
from genft_fairseq.cli.export_hf import export_hf
from genft_fairseq.cli.import_hf import import_hf
from genft_fairseq.cli.modes import finetune, inference, test, train
from genft_fairseq.cli.preprocess import preprocess
from genft_fairseq.cli.report import report
from genft_fairseq.cli.retrieve import retrieve
from genft_fairseq.cli.user_dir import user_dir


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, prog_name="genft")
def genft() -> None:
    """Train fairseq models that generate well, and measure whether they do."""


for command in (
    *(train, finetune, test, inference),
    *(average_checkpoints, compare, doctor, evaluate_lm, evaluate_qa, evaluate_summaries),
    *(export_hf, import_hf, preprocess, report, retrieve, user_dir),
):
    genft.add_command(command)


def _hold_standard_streams() -> None:
    """Where one is closed, the next file that is opened would take its place, and be printed to."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main() -> None:
    """Run the command, and end with its status: see ``ending.py``."""
    _hold_standard_streams()
    # fairseq and hydra tell every step of loading a model, and torch what fairseq should change.
    for library in ("fairseq", "hydra"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="torch|hydra")
    # Text is text: what a terminal has no letter for must not end a command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(status_of(genft, "genft"))

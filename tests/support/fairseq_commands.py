"""Running the real commands from tests: a tiny model, a fast optimisation.

Importing torch and fairseq takes seconds.  ``run`` therefore forks this process, which has them,
and calls the command's own entry point.  ``run_cold`` starts the installed script, as a user does;
``run_warm`` does what that does in a process that has fairseq imported, but not the plugin, and so
do the processes that are started from there.
"""

import functools
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
import torch._dynamo
from forked import Done, Forked
from warm_python import configure_once, warm_python

import genft_fairseq
from genft_fairseq.errors import install_one_line_errors

USER_DIR = str(Path(genft_fairseq.__file__).parent)
BIN = Path(sys.executable).parent
REPOSITORY = Path(USER_DIR).parent

TINY_TRANSLATION = [
    *("--task", "translation", "-s", "en", "-t", "de", "--arch", "transformer"),
    *("--encoder-layers", "1", "--decoder-layers", "1", "--share-all-embeddings"),
    *("--encoder-embed-dim", "16", "--decoder-embed-dim", "16"),
    *("--encoder-ffn-embed-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2"),
]
TINY_LANGUAGE_MODEL = [
    *("--task", "language_modeling", "--arch", "transformer_lm", "--decoder-layers", "1"),
    *("--decoder-embed-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--decoder-attention-heads", "2", "--tokens-per-sample", "16", "--dropout", "0.1"),
]
OPTIMISATION = [
    *("--optimizer", "adam", "--lr", "1e-2", "--max-tokens", "128", "--seed", "3", "--cpu"),
    *("--no-epoch-checkpoints", "--log-format", "simple", "--log-interval", "1"),
]


def run(command: str, *arguments: object, check: bool = True, stdin: str = "") -> Done:
    """Run a command to its end, in a process forked from this one."""
    return _checked(command, Forked(called(command, *arguments), stdin=stdin).wait(300), check)


def called(
    command: str, *arguments: object, prepare: Callable[[], None] = lambda: None
) -> Callable[[], None]:
    """Return what a forked process has to do to be a command of fairseq's, or ``genft``.

    Args:
        command: by the name of its script.
        arguments: of the command line.
        prepare: called in the forked process before the command begins.
    """
    name = "genft_fairseq.cli"
    if command != "genft":
        name = "fairseq_cli." + command.removeprefix("fairseq-").replace("-", "_")
        configure_once()
    importlib.import_module(name)  # before the fork, so that it is imported once
    return functools.partial(_call, name, [command, *map(str, arguments)], prepare)


def _call(module: str, words: list[str], prepare: Callable[[], None]) -> None:
    """In the forked process: do what the script of a command does."""
    prepare()
    sys.argv = words
    if words[0] == "genft":
        sys.modules[module].main()
        return
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)  # as fairseq's scripts begin
    install_one_line_errors()  # as the plugin does when a fairseq command imports it
    sys.modules[module].cli_main()


def run_cold(command: str, *arguments: object, check: bool = True, **environment: str) -> Done:
    """Start the installed script in a new process."""
    return _started(BIN, command, arguments, check, environment)


def run_warm(command: str, *arguments: object, check: bool = True, **environment: str) -> Done:
    """Start the installed script in a process that is forked from one with fairseq imported."""
    return _started(warm_python().bin, command, arguments, check, environment)


def _started(
    folder: Path,
    command: str,
    arguments: Iterable[object],
    check: bool,
    environment: dict[str, str],
) -> Done:
    done = subprocess.run(
        [str(folder / command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            **environment,
        },
    )
    return _checked(command, Done(done.returncode, done.stdout, done.stderr), check)


def _checked(command: str, done: Done, check: bool) -> Done:
    if check and done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def train(
    data: Path,
    save_dir: Path,
    model: list[str],
    *flags: object,
    check: bool = True,
    run: Callable[..., Done] = run,
) -> Done:
    """``fairseq-train`` with the plugin, the tiny model and a fast optimisation."""
    return run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *model, *OPTIMISATION, "--save-dir", save_dir, *flags),
        check=check,
    )


def parameters(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=False)["model"]


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before)

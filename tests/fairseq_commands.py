"""Running the real commands from tests: a tiny model, a fast optimisation.

Importing torch and fairseq takes seconds.  ``run`` therefore forks this process, which has them,
and calls the command's own entry point.  ``run_cold`` starts the installed script, as a user does;
``run_warm`` does what that does in a process that has fairseq imported, but not the plugin, and so
do the processes that are started from there.
"""

import gc
import importlib
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import forked_process
import pytest
import torch
import torch._dynamo
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


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr  # fairseq logs to one or the other

    @property
    def error(self) -> str:
        """The last line of standard error."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


def run(command: str, *arguments: object, check: bool = True, stdin: str = "") -> Done:
    """Call a fairseq command's entry point in a forked process, its output captured."""
    module = "fairseq_cli." + command.removeprefix("fairseq-").replace("-", "_")
    importlib.import_module(module)  # before the fork, so that it is imported once
    configure_once()
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin)
        pid = os.fork()
        if pid == 0:
            become(module, [command, *map(str, arguments)], streams, Path(folder))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done = Done(status, streams[1].read_text(), streams[2].read_text())
    return _checked(command, done, check)


def become(
    module: str, argv: list[str], streams: list[Path], temporary: Path | None = None
) -> NoReturn:
    """In the forked process: take the place of the command, and never return into pytest."""
    status = 1
    try:
        forked_process.begin(temporary)
        gc.freeze()  # a collection would write to every page that is shared with pytest
        for number, (path, mode) in enumerate(zip(streams, ("r", "w", "w"), strict=True)):
            stream = open(path, mode, encoding="utf-8")  # noqa: SIM115
            os.dup2(stream.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        # As fairseq's scripts send it when they start.
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        sys.argv = argv
        install_one_line_errors()  # as the plugin does when a fairseq command imports it
        sys.modules[module].cli_main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        # What the interpreter does at the end of a script: the hook of the plugin, or a traceback.
        hook = sys.excepthook if getattr(sys.excepthook, "shows_one_line", False) else None
        (hook or traceback.print_exception)(type(error), error, error.__traceback__)
    finally:
        forked_process.end(status)


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

"""The commands of a block that is not run, checked against the parsers that would read them.

bash runs such a block as well, but finds these checks on its PATH instead of the commands.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from docs.tiny_commands import FILLED_IN, with_real_user_dir
from fairseq import options
from fairseq_commands import REPOSITORY

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": lambda: options.get_interactive_generation_parser(),
    "fairseq-validate": options.get_validation_parser,
    "fairseq-eval-lm": options.get_eval_lm_parser,
}
# What genft passes on what follows -- to.
PASSED_ON = {"train": "fairseq-train", "finetune": "fairseq-train"}
PASSED_ON |= {"test": "fairseq-generate", "inference": "fairseq-interactive"}
BASH = "/bin/bash"
PYTHON = Path(os.path.abspath(sys.executable))  # said here: a command is checked elsewhere


class Unknown(Exception):
    """A command, or an option, that nothing here knows."""


def check(words: list[str]) -> int:
    """Check a command by its parser; 0 if it would be accepted."""
    name, *rest = words
    try:
        _checker(name)(name, rest)
    except (Unknown, click.ClickException, argparse.ArgumentError) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"{name}: {message}", file=sys.stderr)
        return 2
    return 0


def _checker(name: str) -> Callable[[str, list[str]], object]:
    if name in PARSERS:
        return _fairseq
    found = {
        "fairseq-preprocess": _preprocess,
        "genft": _genft,
        "make": _make,
        "pip": _pip,
        "git": _git,
        "torchrun": _torchrun,
        "srun": _srun,
        "python": _python,
        "python3": _python,
        "script": _script,
    }.get(name)
    if found is None:
        raise Unknown("no parser is known for this command")
    return found


def _preprocess(_: str, rest: list[str]) -> None:
    options.get_preprocessing_parser().parse_args([word for word in rest if word != "..."])


def _fairseq(name: str, rest: list[str]) -> None:
    words = [word for word in with_real_user_dir(rest) if word != "..."]
    if len(words) < len(rest) and name == "fairseq-train" and "--arch" not in words:
        words += ["--arch", "transformer", *(w for pair in FILLED_IN.items() for w in pair)]
    sys.argv = [name, *words]  # where fairseq's parsers look for --user-dir
    options.parse_args_and_arch(PARSERS[name](), words)


def _genft(_: str, rest: list[str]) -> None:
    from genft_fairseq.cli import genft

    if rest[:1] == ["user-dir"] or "--help" in rest:
        genft.main(rest, standalone_mode=False)
        return
    if not rest or rest[0] not in genft.commands:
        raise Unknown(f"there is no command {' '.join(rest[:1])}")
    command = genft.commands[rest[0]]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False  # the files need not be there
    command.make_context(rest[0], list(rest[1:]))
    if "--" in rest and rest[0] in PASSED_ON:
        passed_on = rest[rest.index("--") + 1 :]
        if "--prefix-length" not in passed_on:  # genft evaluate-lm's
            path = ["--path", "model.pt"] if PASSED_ON[rest[0]] != "fairseq-train" else []
            _fairseq(PASSED_ON[rest[0]], [rest[1], *path, *passed_on])


def _make(_: str, rest: list[str]) -> None:
    _succeeds(["/usr/bin/make", "-n", *rest], cwd=REPOSITORY)


def _pip(_: str, rest: list[str]) -> None:
    from pip._internal.commands import create_command

    if rest[:1] != ["install"]:
        raise Unknown("only pip install is known here")
    create_command("install").parse_args(rest[1:])


def _git(_: str, rest: list[str]) -> None:
    if rest[:1] != ["clone"] or len(rest) > 3:
        raise Unknown("only git clone URL [FOLDER] is known here")


def _torchrun(_: str, rest: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    given = get_args_parser().parse_args(rest)
    check_launched([given.training_script, *given.training_script_args])


def _srun(_: str, rest: list[str]) -> None:
    while rest and rest[0].startswith("--"):
        if not re.fullmatch(
            r"--(nodes|ntasks|ntasks-per-node|gpus-per-node|cpus-per-task)", rest[0]
        ):
            raise Unknown(f"{rest[0]} is not known here")
        int(rest[1])
        rest = rest[2:]
    check_launched(rest)


def check_launched(words: list[str]) -> None:
    """Check the command that a launcher starts.

    Raises:
        Unknown: nothing knows it.
    """
    if not words:
        raise Unknown("it starts no command")
    _checker(words[0])(words[0], words[1:])


def _python(_: str, rest: list[str]) -> None:
    if not rest or not Path(rest[0]).is_file():
        raise Unknown(f"there is no file {' '.join(rest[:1])}")
    _knows_flags([str(PYTHON), rest[0]], rest[1:])


def _script(_: str, rest: list[str]) -> None:
    """A script of the shell: data-prep's tell their options, the others what they would do."""
    script, *words = rest
    # With what it needs itself; and asking torch for the GPUs would take seconds.
    environment = {"GPUS": "1", **os.environ, "PATH": f"{PYTHON.parent}:/usr/bin:/bin"}
    if "/data-prep/" in script:
        _knows_flags([BASH, script], words, environment)
    else:
        _succeeds([BASH, script, *words], env={**environment, "DRY_RUN": "1"})


def _knows_flags(
    program: Sequence[str], words: Sequence[str], environment: Mapping[str, str] = os.environ
) -> None:
    # Behind the others: some scripts read, and refuse, what stands in front of it.
    known = _succeeds([*program, *words, "--help"], env=environment)
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and not re.search(rf"(?<![\w-]){flag}(?![\w-])", known):
            raise Unknown(f"{program[-1]} has no option {flag}")


def _succeeds(words: Sequence[object], **how: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **how)  # type: ignore[call-overload]
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise Unknown(lines[-1])
    return str(done.stdout)

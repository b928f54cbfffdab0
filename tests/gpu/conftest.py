"""What the tests on a GPU share.

They have a process of their own, ``pytest tests/gpu``: the other tests fork theirs, and a forked
process cannot use a GPU that was used before.  ``GENFT_TEST_DEVICE=cpu`` tries the tests themselves
where there is no GPU.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DEVICE = os.environ.get("GENFT_TEST_DEVICE", "cuda")
TIMEOUT = 600
# Importing torch and fairseq takes longer than a tiny run: one process for several commands.
RUN_COMMANDS = """
import importlib, json, sys
import genft_fairseq
for name, *arguments in json.loads(sys.argv[1]):
    sys.argv = [name, *arguments]
    print("$", *sys.argv, flush=True)
    importlib.import_module("fairseq_cli." + name.removeprefix("fairseq-")).cli_main()
"""


@pytest.fixture
def device() -> str:
    """Where the tests compute, or a skip that says why they cannot."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU that torch can use")
    return DEVICE


Commands = Callable[..., str]


@pytest.fixture(scope="session")
def commands() -> Commands:
    """Call the entry points of fairseq's commands, one after the other; what they printed."""

    def run(*commands: Sequence[object]) -> str:
        given = json.dumps([list(map(str, command)) for command in commands])
        path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, "-c", RUN_COMMANDS, given],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        )
        if done.returncode:
            pytest.fail(f"ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Path:
    """Sentence pairs of a few words, and what they are translated into: the same, backwards."""
    folder = tmp_path_factory.mktemp("data")
    for split, size in (("train", 60), ("valid", 11)):
        lines = [[f"w{(i * i + 7 * i * j) % 17}" for j in range(2 + i % 5)] for i in range(size)]
        (folder / f"{split}.en").write_text("".join(" ".join(w) + "\n" for w in lines))
        (folder / f"{split}.de").write_text("".join(" ".join(w[::-1]) + "\n" for w in lines))
    texts = ["--trainpref", folder / "train", "--validpref", folder / "valid"]
    languages = ["--source-lang", "en", "--target-lang", "de", "--joined-dictionary"]
    commands(["fairseq-preprocess", *languages, *texts, "--destdir", folder / "bin"])
    return folder / "bin"

"""The commands of a page made small: one layer, two updates, the CPU.

A page writes what its readers type.  The test runs the same entry point with the same flags, but
for those that say how large the model is and how long it is trained.
"""

import importlib
import os
import re
import runpy
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fairseq.models import ARCH_MODEL_REGISTRY

UPDATES, TOKENS = 2, 512
# Models whose width is given, and not larger, are left as they are.
SMALL = 64
SIZES = {"layers": 1, "embed-dim": 16, "ffn-embed-dim": 16, "attention-heads": 2}
TINY = {f"--{side}-{size}": n for side in ("encoder", "decoder") for size, n in SIZES.items()}
# What a reader fills in, where a page writes three dots.
FILLED_IN = {"--optimizer": "adam", "--lr": "1e-4", "--max-tokens": "4096"}
NEVER_RUN = {"pip", "make", "git", "torchrun", "srun", "curl", "wget"}


def run_small(words: list[str]) -> int:
    """Run a command of a page, made small."""
    name, *rest = words
    if name in NEVER_RUN:
        print(f"{name} is not run by a test: mark the block", file=sys.stderr)
        return 1
    return call(name, small(name, rest))


def call(name: str, words: list[str]) -> int:
    """Call the entry point of fairseq's command or of ``genft``, or run a Python file."""
    sys.argv = [name, *words]
    if name.startswith("fairseq-"):
        module = f"fairseq_cli.{name.removeprefix('fairseq-').replace('-', '_')}"
        if module in sys.modules:  # again, because its first lines open the log
            importlib.reload(sys.modules[module])
        importlib.import_module(module).cli_main()
    elif name == "genft":
        from genft_fairseq.cli import main

        main()
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
        runpy.run_path(words[0], run_name="__main__")
    return 0


def small(name: str, words: Sequence[str]) -> list[str]:
    """Return the words of a command, made small where they say how much is to be done."""
    words = with_real_user_dir(words)
    if name == "fairseq-train":
        return _small_training(words)
    if name in ("fairseq-generate", "fairseq-interactive", "fairseq-validate", "fairseq-eval-lm"):
        return [*_capped(words, "--max-len-b", 20, always=name == "fairseq-generate"), *_cpu(words)]
    if name == "genft" and words[:1] == ["compare"]:
        # It counts the updates that its runs have made; what it starts is made small as any other.
        config = Path(words[1])
        text = config.read_text(encoding="utf-8")
        config.write_text(
            re.sub(r"^updates: *\d+", f"updates: {UPDATES}", text, flags=re.MULTILINE)
        )
    return words


def with_real_user_dir(words: Sequence[str]) -> list[str]:
    """Resolve links in the value of ``--user-dir``: fairseq imports a package by one path only."""
    given = value_of(words, "--user-dir")
    return [os.path.realpath(word) if word == given else word for word in words]


def _small_training(words: list[str]) -> list[str]:
    if "..." in words:  # and a folder of their own
        folder = value_of(words, "--save-dir") or "checkpoints"
        Path(folder, "checkpoint_last.pt").unlink(missing_ok=True)
        words = [word for word in words if word != "..."]
        for flag, value in FILLED_IN.items():
            words += [] if flag in words else [flag, value]
        words += [] if "--arch" in words else ["--arch", _architecture(words)]
    block = value_of(words, "--tokens-per-sample")
    words = _capped(words, "--max-tokens", max(TOKENS, int(block or 0)))
    words = _capped(words, "--batch-size", 8)
    words = _capped(words, "--update-freq", 2)
    words = _capped(words, "--max-update", UPDATES, always=True)
    return [*_tiny_architecture(words), "--num-workers", "0", *_cpu(words)]


def _architecture(words: list[str]) -> str:
    return "transformer_lm" if "language" in (value_of(words, "--task") or "") else "transformer"


def _tiny_architecture(words: list[str]) -> list[str]:
    name = value_of(words, "--arch") or value_of(words, "-a")
    if name not in ARCH_MODEL_REGISTRY:
        return words
    parser = ArgumentParser(conflict_handler="resolve", add_help=False)
    ARCH_MODEL_REGISTRY[name].add_args(parser)
    known = {flag for action in parser._actions for flag in action.option_strings}
    widths = [value_of(words, f"--{side}-embed-dim") for side in ("encoder", "decoder")]
    given = [int(width) for width in widths if width]
    if (given and max(given) <= SMALL) or not known & set(TINY):
        return words
    tiny = {flag: n for flag, n in TINY.items() if flag in known}
    if "--cross-attention-interval" in known:  # which counts layers, in one of its models or both
        tiny["--decoder-layers"] = 3
    if "--decoder-kv-heads" in known:
        heads = value_of(words, "--decoder-kv-heads")
        tiny["--decoder-attention-heads"] = max(2, int(heads or 0))
    for flag in tiny:
        words = _without(words, flag)
    return [*words, *(str(word) for pair in tiny.items() for word in pair)]


def value_of(words: Sequence[str], flag: str) -> str | None:
    """Return the value that the words give a flag last."""
    found = [after for word, after in pairwise(words) if word == flag]
    return found[-1] if found else None


def _without(words: list[str], flag: str) -> list[str]:
    while flag in words:
        at = words.index(flag)
        words = words[:at] + words[at + 2 :]
    return words


def _capped(words: list[str], flag: str, most: int, always: bool = False) -> list[str]:
    given = value_of(words, flag)
    if given is None:
        return [*words, flag, str(most)] if always else words
    least = min([most, *(int(number) for number in given.split(","))])
    return [*_without(words, flag), flag, str(least)]


def _cpu(words: list[str]) -> list[str]:
    return [] if "--cpu" in words else ["--cpu"]

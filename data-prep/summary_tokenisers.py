"""What documents and summaries are split into pieces by: GPT-2's BPE, or an imported model's own.

From the command line: checks a model and the lengths that texts are cut to, and prints which of
the model's files make a data folder one that is read as the model's.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from gpt2_bpe import load_fairseq_bpe
from one_line_errors import PrepareError, report_errors
from summary_texts import SIDES


class Encoder(Protocol):
    """What the texts of both sides are encoded by."""

    def encode(self, side: str, texts: Sequence[str], most: int | None) -> list[list[str]]:
        """Return the symbols of each text, without the `</s>` at its end.

        Given `most`, texts are cut so that there are at most so many symbols, `</s>` included.
        """


class Gpt2Encoder:
    """GPT-2's pieces, the same on both sides."""

    def __init__(self, folder: Path) -> None:
        """Read GPT-2's files."""
        files = (str(folder / name) for name in ("encoder.json", "vocab.bpe"))
        self.bpe = load_fairseq_bpe().get_encoder(*files)

    def encode(self, side: str, texts: Sequence[str], most: int | None) -> list[list[str]]:
        """See Encoder."""
        room = None if most is None else most - 1
        return [list(map(str, self.bpe.encode(text)[:room])) for text in texts]


class ModelEncoder:
    """The pieces of an imported model."""

    def __init__(self, folder: Path) -> None:
        """Read its tokenisers."""
        with user_errors() as package:
            self.tokeniser: Any = package.ModelTokeniser.read(folder)

    def encode(self, side: str, texts: Sequence[str], most: int | None) -> list[list[str]]:
        """See Encoder."""
        with user_errors():
            source = side == "source"
            encode = self.tokeniser.encode_sources if source else self.tokeniser.encode_targets
            symbols: list[list[str]] = encode(texts, most)
        return symbols


def leave_package_unrun() -> None:
    """Let the package's modules be imported alone: all of it brings PyTorch and all of fairseq.

    For a process of which nothing else is the package's.
    """
    spec = importlib.util.find_spec("genft_fairseq")
    if spec is None:
        raise PrepareError("genft_fairseq is not installed; run install.sh, or set PYTHON")
    sys.modules.setdefault("genft_fairseq", importlib.util.module_from_spec(spec))


@contextmanager
def user_errors() -> Iterator[ModuleType]:
    """Give the package's module of tokenisers, and tell its errors as ours."""
    from genft_fairseq.data import huggingface_tokeniser

    try:
        yield huggingface_tokeniser
    except huggingface_tokeniser.UserError as error:
        raise PrepareError(str(error)) from None


def model_files(folder: Path) -> list[Path]:
    """Return the files by which a folder is read as that of a model; without its weights."""
    with user_errors() as package:
        tokeniser = package.ModelTokeniser.read(folder)
    joined = tokeniser.source_dictionary == tokeniser.target_dictionary
    files = [folder / package.DESCRIPTION]
    for side in ("",) if joined else (".source", ".target"):
        files += [folder / f"dict{side}.txt", folder / f"tokenizer{side}.json"]
    for file in files:
        if not file.is_file():
            raise PrepareError(f"{folder} holds no {file.name}: name a folder of genft import-hf")
    return files


def positions(folder: Path) -> dict[str, int | None]:
    """Return how long a text of either side may be, `</s>` included; None if there is no limit."""
    with user_errors() as package:
        described = package.read_description(folder)
    found = {side: described.get(f"{side}_positions") for side in SIDES}
    for side, most in found.items():
        if most is not None and (type(most) is not int or most < 1):
            raise PrepareError(
                f"{folder / package.DESCRIPTION}: {side}_positions must be a positive integer or "
                f"null, but is {json.dumps(most)}"
            )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which tokeniser it is, and what is done to texts before."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--gpt2-bpe", type=Path, help="folder of encoder.json and vocab.bpe")
    which.add_argument("--model", type=Path, help="folder of genft import-hf")
    for side in SIDES:
        parser.add_argument(f"--max-{side}-tokens", type=int, help="</s> included")
    parser.add_argument("--prefix", default="", help="before every source")


def make_encoder(args: argparse.Namespace) -> Encoder:
    """Return the tokeniser that the arguments name."""
    return Gpt2Encoder(args.gpt2_bpe) if args.gpt2_bpe else ModelEncoder(args.model)


def lengths(args: argparse.Namespace) -> dict[str, int | None]:
    """Return what texts of either side are cut to."""
    return {"source": args.max_source_tokens, "target": args.max_target_tokens}


def check_lengths(args: argparse.Namespace) -> None:
    """Raise unless there is room for texts that are cut, and the model has the positions."""
    encoder = make_encoder(args)
    limits = positions(args.model) if args.model else dict.fromkeys(SIDES)
    for side, most in lengths(args).items():
        limit = limits[side]
        if most is None:
            continue
        if limit is not None and most > limit:
            raise PrepareError(
                f"--max-{side}-tokens must be at most {limit}, the positions of the model in "
                f"{args.model}, but is {most}"
            )
        (before,) = encoder.encode(side, [args.prefix if side == "source" else ""], None)
        least = len(before) + 2
        if most < least:
            raise PrepareError(
                f"--max-{side}-tokens must be at least {least}, for what stands before a text, a "
                f"token of it, and </s>, but is {most}"
            )


def describe(folder: Path) -> str:
    """Return what is taken of a model: its checksum, the version of what reads it, its files."""
    files = model_files(folder)
    checksum = hashlib.sha256()
    for file in files:
        checksum.update(hashlib.sha256(file.read_bytes()).digest())
    version = importlib.metadata.version("tokenizers")
    return " ".join([checksum.hexdigest(), version, *(file.name for file in files)])


def main() -> None:
    """Read the command line and check; of a model, print what is taken of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    described = describe(args.model) if args.model else None
    check_lengths(args)
    if described:
        print(described)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with report_errors():
        leave_package_unrun()
        main()
    sys.exit(0)

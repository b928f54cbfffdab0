"""Changes to ``fairseq-preprocess`` and ``fairseq-interactive``: raw text is checked when read."""

import io
import itertools
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fairseq_cli import interactive
from fairseq_cli import preprocess as preprocessing

from genft_fairseq.errors import UserError, known_settings, require_regular
from genft_fairseq.patches.options import Settings, check_numbers, flag
from genft_fairseq.patches.registry import extends, replaces

_BLOCK = 1 << 22  # bytes read at a time

_ALONE = re.compile(rb"\r(?!\n)")

# What Python's str.splitlines ends a line at, besides line feed and carriage return, in UTF-8.
_OTHERS = re.compile(rb"[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


@extends(preprocessing, "main")
def main(original: Any, args: Any) -> Any:
    """Settings and texts are checked before the data folder is made.

    ``fairseq-preprocess`` and ``fairseq-interactive`` read text with Python's universal newlines: a
    line feed, CR LF, and a carriage return alone end a line.  Tokenisers, aligners and ``wc`` end a
    line at a line feed only, so that one carriage return within a sentence shifts all that follows
    against the other side.  Other separators of Unicode (vertical tab, form feed, U+0085, U+2028,
    ...) end no line here; a program that splits there leaves files of different lengths.
    """
    check_raw_text(args)
    check_preprocessing(args)
    return original(args)


def check_raw_text(args: Any) -> None:
    """Look through the files that ``fairseq-preprocess`` is about to read, before it writes any.

    Raises:
        UserError: one is missing, has a carriage return within a line, or has other lines than
            the side that it belongs to.
    """
    source, target = args.source_lang, args.target_lang
    languages = [source] if args.only_source else [source, target]
    prefixes = [("--trainpref", args.trainpref)]
    if not args.dict_only:
        named = {"--validpref": args.validpref, "--testpref": args.testpref}
        prefixes += [(name, prefix) for name in named for prefix in (named[name] or "").split(",")]
    aligned = 0
    for name, prefix in prefixes:
        if not prefix:
            continue
        files = [f"{prefix}.{language}" if language else prefix for language in languages]
        for file in files:
            if not Path(file).is_file():
                raise UserError(f"{name} {prefix}: {file} does not exist")
        if args.align_suffix and Path(f"{prefix}.{args.align_suffix}").exists():
            files.append(f"{prefix}.{args.align_suffix}")
            aligned += 1
        if args.alignfile and name == "--trainpref":
            if not Path(args.alignfile).is_file():
                raise UserError(f"--alignfile {args.alignfile} does not exist")
            files.append(args.alignfile)
        _require_same_lines(files)
    if args.align_suffix and not args.dict_only and not aligned:
        raise UserError(f"--align-suffix {args.align_suffix}: no prefix has a file of that ending")


def _require_same_lines(files: list[str]) -> None:
    numbers = [number_of_lines(file) for file in files]
    for file, number in zip(files, numbers, strict=True):
        if number != numbers[0]:
            raise UserError(
                f"{files[0]} has {numbers[0]} lines, but {file} has {number}"
                + (_other_separator(files[0]) or _other_separator(file))
            )


def number_of_lines(path: str) -> int:
    """Count lines as fairseq does, which is as everyone does unless it raises.

    A file without any line feed may end all its lines with a carriage return.

    Raises:
        UserError: a carriage return stands within a line; the message names the line.
    """
    require_regular(path)
    feeds = returns = 0
    first = 0  # line of the first carriage return that is alone
    last = b""
    with open(path, "rb") as stream:
        for block in _blocks(stream):
            for found in _ALONE.finditer(block):
                if found.end() == len(block):
                    continue  # the end of the last line
                returns += 1
                first = first or feeds + block.count(b"\n", 0, found.start()) + 1
            feeds += block.count(b"\n")
            last = block[-1:]
    if feeds and returns:
        raise UserError(_within(path, first))
    return feeds + returns + (last not in (b"", b"\n"))


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Read in parts, none of which separates a carriage return from its line feed."""
    while block := stream.read(_BLOCK):
        while block.endswith(b"\r") and (following := stream.read(1)):
            block += following
        yield block


def _other_separator(path: str) -> str:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if found := _OTHERS.search(line):
                character = ord(found[0].decode())
                return (
                    f": line {number} of {path} holds U+{character:04X}, at which some programs "
                    "end a line"
                )
    return ""


def _within(name: str, line: int) -> str:
    return (
        f"{name}: line {line} holds a carriage return (U+000D), at which fairseq ends a line and "
        "other programs do not: remove it, or replace it by a space"
    )


@replaces(
    interactive,
    "buffered_read",
    why="A carriage return within a line is refused, and so are bytes that are not UTF-8, which "
    "become unknown words where no locale is set.",
)
def buffered_read(input: str, buffer_size: int) -> Iterator[list[str]]:
    """Read lines for ``fairseq-interactive``, so many at a time, without white space around them.

    Raises:
        UserError: a carriage return stands within a line; the message names the line.
    """
    stream: Any
    if input == "-":
        stream = sys.stdin
        if isinstance(stream, io.TextIOWrapper):
            # Where no language is set, Python would read other bytes than UTF-8 as unknown words.
            stream.reconfigure(newline="\n", errors="strict")
    elif Path(input).is_file():
        number_of_lines(input)
        stream = open(input, encoding="utf-8")  # noqa: SIM115
    else:
        require_regular(input)
        stream = open(input, encoding="utf-8", newline="\n")  # noqa: SIM115
    lines = enumerate(stream, start=1)
    while buffer := [*itertools.islice(lines, buffer_size)]:
        for number, line in buffer:
            if "\r" in line.rstrip("\r\n"):
                raise UserError(_within("standard input" if input == "-" else input, number))
        yield [line.strip() for _, line in buffer]


def check_preprocessing(args: Namespace) -> None:
    """Check the settings of fairseq-preprocess, and its texts, before it makes its folder.

    Raises:
        UserError: the first rule that is broken.
    """
    known_settings.update(vars(args))
    given = Settings("preprocess", vars(args))
    wrong = check_numbers(given) or _dictionaries(given)
    if wrong:
        raise UserError(wrong)
    for name, path in _texts(given):
        check_text(name, path)


def _dictionaries(given: Settings) -> str | None:
    if given.dataset_impl == "huffman":
        return "--dataset-impl huffman is not written by fairseq-preprocess: use mmap"
    if given.joined_dictionary and given.srcdict and given.tgtdict:
        return "--joined-dictionary is one dictionary: give --srcdict or --tgtdict, not both"
    sides = [("srcdict", given.source_lang)]
    sides += [] if given.only_source else [("tgtdict", given.target_lang)]
    for name, language in sides:
        path = getattr(given, name)
        if path and not os.path.exists(path):
            return f"{flag(name)} names {path}, which does not exist"
        path = os.path.join(given.destdir, f"dict.{language}.txt" if language else "dict.txt")
        if not getattr(given, name) and os.path.exists(path):
            return f"{path} is there already: give {flag(name)} {path}, or another --destdir"
    one = given.joined_dictionary and (given.srcdict or given.tgtdict)
    lacking = [name for name, _ in sides if not getattr(given, name) and not one]
    if lacking and not given.trainpref:
        return f"--trainpref or {flag(lacking[0])} is required: what to take the dictionary from"
    if given.alignfile and not given.trainpref:
        return f"--alignfile {given.alignfile} needs --trainpref"
    return None


def _texts(given: Settings) -> list[tuple[str, str]]:
    """The texts that are read, with the flags that name them."""
    languages = [given.source_lang] if given.only_source else [given.source_lang, given.target_lang]
    found = []
    for name in ("trainpref", "validpref", "testpref"):
        value = getattr(given, name)
        if value and not (given.dict_only and name != "trainpref"):
            prefixes = [value] if name == "trainpref" else value.split(",")
            found += [
                (flag(name), f"{prefix}.{language}" if language else prefix)
                for prefix in prefixes
                for language in languages
            ]
    return found


def check_text(flag: str, path: str) -> None:
    """Look through a text before fairseq-preprocess reads it, which names no file and no line.

    Args:
        flag: that names the file.
        path: of the file.

    Raises:
        UserError: it is not there, cannot be read, or is not UTF-8.
    """
    require_regular(path)
    number = 0
    try:
        with open(path, "rb") as stream:
            for line in stream:
                number += 1
                line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{flag}: {path} is not UTF-8 in line {number} ({error.reason}): convert it, with "
            "iconv say"
        ) from error
    except OSError as error:
        raise UserError(f"{flag}: {path} cannot be read: {error.strerror}") from error

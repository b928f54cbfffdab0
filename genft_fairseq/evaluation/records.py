"""Where a figure comes from, and how it gets into a page: never typed by hand."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import genft_fairseq
from genft_fairseq.errors import UserError

PACKAGES = ("torch", "fairseq-fixed", "sacrebleu", "sacremoses", "subword-nmt")


def hardware() -> dict[str, Any]:
    """Return the processor's name and the number of cores, and the GPUs if there are any."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"processor": processor(), "cores": os.cpu_count(), **({"gpus": gpus} if gpus else {})}


def processor() -> str:
    """Return the name of the processor as the kernel knows it, where it does."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*more: str) -> dict[str, str]:
    """Return the versions of Python, this package, what all results depend on, and ``more``."""
    from importlib import metadata  # here: it takes longer to import than this package

    ours = {"python": platform.python_version(), "genft_fairseq": genft_fairseq.__version__}
    return ours | {name: metadata.version(name) for name in (*PACKAGES, *more)}


def provenance_line(record: dict[str, Any]) -> str:
    """Write ``hardware`` and ``versions`` of a results file as one line under its table."""
    machine = record["hardware"]
    devices = [f"{machine['processor']}, {machine['cores']} cores", *machine.get("gpus", [])]
    packages = [f"{name} {version}" for name, version in record["versions"].items()]
    return f"{'; '.join(devices)}; {', '.join(packages)}."


def over_seeds(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the figures of runs that differ by their seed alone.

    Args:
        seeds: the figures of each run by name; at least one, all of the same names.

    Returns:
        of each number that every run has ``mean``, ``deviation`` (the standard deviation, by n - 1;
        None for one run) and ``seeds``, the runs' own; of everything else the runs' own in a list.
    """

    def spread(name: str) -> dict[str, Any]:
        values = [found[name] for found in seeds]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return {"mean": statistics.mean(values), "deviation": deviation, "seeds": values}

    numbers = [n for n in seeds[0] if all(isinstance(s[n], int | float) for s in seeds)]
    others = {n: [s[n] for s in seeds] for n in seeds[0] if n not in numbers}
    return {**others, **{name: spread(name) for name in numbers}}


def replace_between_markers(text: str, name: str, content: str) -> str:
    """Put content between ``<!-- name:begin -->`` and ``<!-- name:end -->``; the rest stays.

    Raises:
        ValueError: the text does not hold each marker once, in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{begin} and {end} must each stand there once, in this order")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_writable(flag: str, path: Path) -> None:
    """Try to write where a file will be written later; nothing is left behind, no folder either.

    Raises:
        UserError: it cannot be written, or is a device or a pipe, whose place a file would take;
            the message names the flag.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{flag} {path} is not a regular file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror}") from error


def write_whole(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file, given at once or in parts, so that it is never found half-written.

    Raises:
        UserError: it cannot be written: the disk is full, say.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            with partial.open("w", encoding="utf-8") as file:
                file.writelines([content] if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def record_results(results: dict[str, Any], path: Path, page: Path, name: str, table: str) -> None:
    """Write results as JSON, and their table between the markers ``name`` of a page.

    Raises:
        ValueError: the page does not have the markers; nothing is written.
    """
    filled = replace_between_markers(page.read_text(encoding="utf-8"), name, table)
    write_whole(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    write_whole(page, filled)

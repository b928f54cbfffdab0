"""Provenance of results: versions and hardware, and tables written into a page by a command."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import genft_fairseq
from genft_fairseq.files import write_atomic

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


def record_results(results: dict[str, Any], path: Path, page: Path, name: str, table: str) -> None:
    """Write results as JSON, and their table between the markers ``name`` of a page.

    Raises:
        ValueError: the page does not have the markers; nothing is written.
    """
    filled = replace_between_markers(page.read_text(encoding="utf-8"), name, table)
    write_atomic(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    write_atomic(page, filled)

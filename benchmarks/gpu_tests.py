"""Runs ``tests/gpu``, and keeps what passed and what failed.

    python benchmarks/gpu_tests.py --device cuda --output benchmarks/results/tests-cuda.json

command     the command line
versions    python, torch, fairseq, genft_fairseq
hardware    processor, cores, gpus
device      type ("cpu" or "cuda"), name
passed, failed, skipped
            how many tests
seconds     that they took
failures    the failed ones, by name
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
from result_files import OneLineError, require_output_folder, show, typed_command
from rich.console import Console

REPOSITORY = Path(__file__).resolve().parent.parent


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
@click.option("-k", "expression", default="", help="Only tests whose names match, as pytest's -k.")
def main(device: str, output: Path | None, expression: str) -> None:
    """Run the tests that need a GPU.  Ends with status 1 where one failed."""
    require_output_folder(output)
    results = run(typed_command("gpu_tests.py"), device, expression)
    show(results, output, as_json=False, print_tables=_print)
    sys.exit(1 if results["failed"] else 0)


def run(command: str, device: str, expression: str) -> dict[str, Any]:
    """Run pytest, and read its report."""
    import fairseq
    import torch

    import genft_fairseq
    from genft_fairseq.provenance import hardware, processor

    if device == "cuda" and not torch.cuda.is_available():
        raise OneLineError("--device cuda needs a GPU that torch can use, and there is none")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = [sys.executable, "-m", "pytest", "tests/gpu", "-q", f"--junit-xml={report}"]
        if expression:
            words += ["-k", expression]
        environment = {**os.environ, "GENFT_TEST_DEVICE": device}
        done = subprocess.run(words, cwd=REPOSITORY, env=environment, check=False)
        if not report.exists():
            raise OneLineError(f"pytest ended with {done.returncode}, and wrote no report")
        metrics = _read(report)
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fairseq": fairseq.__version__,
            "genft_fairseq": genft_fairseq.__version__,
        },
        "hardware": hardware(),
        "device": {
            "type": device,
            "name": torch.cuda.get_device_name() if device == "cuda" else processor(),
        },
        **metrics,
    }


def _read(report: Path) -> dict[str, Any]:
    failures, skipped, number, seconds = [], 0, 0, 0.0
    for case in ElementTree.parse(report).iter("testcase"):
        number += 1
        seconds += float(case.get("time", 0))
        skipped += case.find("skipped") is not None
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(f"{case.get('classname', '')}::{case.get('name')}")
    return {
        "passed": number - skipped - len(failures),
        "failed": len(failures),
        "skipped": skipped,
        "seconds": round(seconds, 1),
        "failures": failures,
    }


def _print(results: dict[str, Any], console: Console) -> None:
    console.print(markdown([results]), highlight=False, markup=False)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Say what passed, of one or several runs."""
    blocks = []
    for run in results:
        versions = run["versions"]
        blocks.append(
            f"{run['device']['name']}, torch {versions['torch']}, fairseq {versions['fairseq']}, "
            f"Python {versions['python']}: {run['passed']} passed, {run['failed']} failed, "
            f"{run['skipped']} skipped, in {run['seconds']:,.0f} s."
        )
        blocks += [f"- failed: `{name}`" for name in run["failures"]]
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()

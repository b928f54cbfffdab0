"""Fills the GPU page from the results that are there, and says what waits for a GPU.

    python benchmarks/gpu_page.py

``gpu.sh`` calls this when it ends.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import gpu_tests
import logging_cost
import loss_tables
import projection_tables
import strategy_tables
import training_tables
from result_files import EXISTING, OneLineError

FOLDER = Path(__file__).parent
WAITING = "Waits for a GPU: nothing has been run."
Results = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        marker: between whose markers it lies.
        files: how the names of its results begin.
        markdown: makes its text of them.
    """

    marker: str
    files: str
    markdown: Callable[[Sequence[Results]], str]


def _comparison(results: Sequence[Results]) -> str:
    from genft_fairseq.experiments.table import comparison_table

    return "\n\n".join(map(comparison_table, results))


SECTIONS = (
    Section("tests", "tests", gpu_tests.markdown),
    Section(
        "projection",
        "projection",
        partial(projection_tables.markdown, names=projection_tables.PROJECTIONS),
    ),
    Section("losses", "losses", loss_tables.markdown),
    Section("training", "training", training_tables.markdown),
    Section("strategies", "strategies", strategy_tables.markdown),
    Section("logging", "logging", logging_cost.markdown),
    Section("comparison", "study", _comparison),
)


@click.command()
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=FOLDER / "results",
    help="Where the JSON files are.  [default: benchmarks/results]",
)
@click.option(
    "--page", type=EXISTING, default=FOLDER / "GPU.md", help="[default: benchmarks/GPU.md]"
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True)
def main(results: Path, page: Path, device: str) -> None:
    """Fill the page with what *-DEVICE.json files hold."""
    try:
        text = filled(page.read_text(encoding="utf-8"), results, device)
    except ValueError as error:
        raise OneLineError(f"{page}: {error}") from error
    page.write_text(text, encoding="utf-8")


def filled(text: str, results: Path, device: str = "cuda") -> str:
    """Fill a page.

    Args:
        text: the page, with the markers of every section.
        results: a folder.
        device: how the names of the files in it end, before ``.json``.

    Raises:
        ValueError: a marker is missing, or a file is none of its script.
    """
    from genft_fairseq.provenance import replace_between_markers

    for section in SECTIONS:
        paths = sorted(results.glob(f"{section.files}*-{device}.json"))
        try:
            found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            content = section.markdown(found) if found else WAITING
        except (ValueError, KeyError, TypeError) as error:
            names = ", ".join(path.name for path in paths)
            raise ValueError(f"{names} holds no results of {section.marker}") from error
        text = replace_between_markers(text, section.marker, content)
    return text


if __name__ == "__main__":
    main()

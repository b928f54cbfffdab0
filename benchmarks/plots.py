"""Draws the results: one SVG beside each JSON file in ``benchmarks/results`` that it knows.

python benchmarks/plots.py            # draws
python benchmarks/plots.py --check    # tells whether what is drawn is what the JSON says
"""

import json
from pathlib import Path

import click
from plot_charts import Plot, draw_svg, shows
from plot_topics import TOPICS
from result_files import OneLineError

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=RESULTS,
    help="The folder of JSON files, and of SVG files.  [default: benchmarks/results]",
)
@click.option(
    "--check", is_flag=True, help="Draw nothing: fail where an SVG does not show its JSON."
)
def main(results: Path, check: bool) -> None:
    """Draw the results of all benchmarks."""
    stale = []
    for name in TOPICS:
        source, target = results / f"{name}.json", results / f"{name}.svg"
        if not source.exists():
            click.echo(f"{source.name} is missing: not drawn", err=True)
            if check and target.exists():
                stale.append(f"{target} has no {source.name} beside it")
            continue
        plot = _read(source)
        if not check:
            target.write_text(draw_svg(plot), encoding="utf-8")
        elif not target.exists() or not shows(target.read_text(encoding="utf-8"), plot):
            stale.append(f"{target} does not show {source.name}: run python benchmarks/plots.py")
    if stale:
        raise OneLineError("; ".join(stale))


def _read(path: Path) -> Plot:
    try:
        return TOPICS[path.stem](json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise OneLineError(f"{path} is not a JSON file of the benchmarks") from error


if __name__ == "__main__":
    main()

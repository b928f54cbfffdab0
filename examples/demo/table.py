"""The demo's last page: one table, and two continuations of the same prefix.

python examples/demo/table.py RUNS             reads what run.sh left in RUNS, and prints
python examples/demo/table.py RUNS --record    also writes results.json beside this file, and
                                               the table in the project's README from it
"""

import json
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genft_fairseq.evaluation.records import (
    hardware,
    provenance_line,
    replace_between_markers,
    versions,
    write_whole,
)

TITLES = {"baseline": "MLE", "mle": "MLE + MLE", "scalegrad": "MLE + ScaleGrad"}


HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main(runs: Path, record: bool) -> None:
    results = {
        name: json.loads((runs / name / "evaluation.json").read_text(encoding="utf-8"))
        for name in TITLES
    }
    console = Console()
    console.print(comparison(runs, results))
    console.print(side_by_side(results))
    if record:
        write_record(runs, results)
    console.print(f"Checkpoints, commands, logs and all continuations: {runs}", soft_wrap=True)


def comparison(runs: Path, results: dict) -> Table:
    first = results["baseline"]
    count = first["model"]["continuations"]
    table = Table(
        title=f"{count} held-out prefixes of {first['prefix_length']} tokens, each continued by "
        f"{first['length']} (greedy)",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    headers = ("ppl", "acc", "rep-1", "rep-2", "rep-3", "rep-4", "uniq", "sec")
    table.add_column("model", no_wrap=True)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for name, title in TITLES.items():
        figures = results[name]
        seconds = (runs / name / "seconds").read_text().strip()
        table.add_row(
            title,
            f"{figures['perplexity']:.1f}",
            f"{figures['accuracy']:.3f}",
            *repetition(figures["model"]),
            seconds,
        )
    table.add_row("human text", "", "", *repetition(first["human"]), "")
    return table


def write_record(runs: Path, results: dict) -> None:
    """Write results.json (without the texts) and the README's table."""
    kept = (
        "perplexity",
        "accuracy",
        "tokens",
        "model",
        "human",
        "prefix_length",
        "length",
        "split",
    )
    rows = {
        name: {
            **{key: figures[key] for key in kept},
            "train_seconds": int((runs / name / "seconds").read_text()),
            "command": (runs / name / "command").read_text().strip(),
        }
        for name, figures in results.items()
    }
    saved = {"command": "make demo", "hardware": hardware(), "versions": versions(), "runs": rows}
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    page = replace_between_markers(page, "demo", markdown(saved))
    write_whole(HERE / "results.json", json.dumps(saved, indent=2) + "\n")
    write_whole(ROOT / "README.md", page)


def markdown(saved: dict) -> str:
    """The table as the README shows it."""
    lines = [
        "| model | perplexity | accuracy | rep-1 | rep-2 | rep-3 | rep-4 | uniq | train s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        row = saved["runs"][name]
        cells = [
            title,
            f"{row['perplexity']:.1f}",
            f"{row['accuracy']:.3f}",
            *repetition(row["model"]),
            str(row["train_seconds"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    human = repetition(saved["runs"]["baseline"]["human"])
    lines.append(f"| human text | | | {' | '.join(human)} | |")
    return "\n".join([*lines, "", provenance_line(saved)])


def repetition(figures: dict) -> list[str]:
    rates = [f"{figures[f'seq_rep_{n}']:.3f}" for n in (1, 2, 3, 4)]
    return [*rates, str(figures["distinct_tokens"])]


def side_by_side(results: dict) -> Table:
    """One prefix and what two models made of it.

    Of all prefixes the one where MLE's continuation has the median number of different words:
    neither its best nor its worst.
    """
    mle, scalegrad = results["mle"]["completions"], results["scalegrad"]["completions"]
    ranked = sorted(range(len(mle)), key=lambda i: len(set(mle[i]["continuation"].split())))
    chosen = ranked[len(ranked) // 2]
    table = Table(
        title=f"A held-out prefix: … {mle[chosen]['prefix'][-160:]} …",
        title_justify="left",
        box=box.SIMPLE,
    )
    table.add_column(f"{TITLES['mle']}, goes on", ratio=1)
    table.add_column(f"{TITLES['scalegrad']}, goes on", ratio=1)
    table.add_row(*(Text(run[chosen]["continuation"]) for run in (mle, scalegrad)))
    return table


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--record"]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), record=len(sys.argv) == 3)

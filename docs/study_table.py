"""The table of docs/strategy-study.md, from examples/strategy_study/results.json.

    python docs/study_table.py

writes it between the markers of the page; a test says when it is due.
"""

import json
from pathlib import Path
from typing import Any

from genft_fairseq.files import write_atomic
from genft_fairseq.provenance import replace_between_markers

FOLDER = Path(__file__).parent
PAGE = FOLDER / "strategy-study.md"
RESULTS = FOLDER.parent / "examples" / "strategy_study" / "results.json"
MARKERS = "study"
HEAD = (
    "| system | BLEU | minus standard, by seed | p, by seed | rep-1 | rep-2 | time "
    "| BLEU in standard's time |"
)


def study_table(results: dict[str, Any]) -> str:
    """Write every system beside *standard* of the same seed.

    Args:
        results: what ``genft compare`` recorded.

    Returns:
        Markdown: a table, and a line that says how to read it.
    """
    systems = results["systems"]
    standard = systems["standard"]["equal_updates"]["bleu"]["seeds"]
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    lines += [_row(name, system, standard) for name, system in systems.items()]
    references = results["references"]
    lines.append(
        f"| the references | | | | {references['rep_1']:.3f} | {references['rep_2']:.3f} | | |"
    )
    seeds = ", ".join(map(str, results["seeds"]))
    return "\n".join(
        [*lines, "", f"{results['updates']} updates from the baseline; seeds {seeds}."]
    )


def _row(name: str, system: dict[str, Any], standard: dict[str, float]) -> str:
    metrics = system["equal_updates"]
    seeds = metrics["bleu"]["seeds"]
    with_seeds = name != "standard" and len(seeds) > 1
    differences = [round(seeds[seed] - standard[seed], 1) for seed in seeds]
    minus = [f"{abs(x) if x == 0 else x:+.1f}" for x in differences] if with_seeds else []
    p_values = [f"{p:.3f}" for p in metrics["p_value"]["seeds"].values()] if with_seeds else []
    time = metrics.get("time_ratio")
    cells = [
        _interval(metrics["bleu"]),
        ", ".join(minus),
        ", ".join(p_values),
        *(f"{metrics[repetition]['mean']:.3f}" for repetition in ("rep_1", "rep_2")),
        f"× {time['mean']:.2f}" if time else "",
        _interval(system["equal_time"]["bleu"]) if "equal_time" in system else "",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _interval(figure: dict[str, Any]) -> str:
    if figure["half_width"] is None:
        return f"{figure['mean']:.1f}"
    return f"{figure['mean']:.1f} ± {figure['half_width']:.1f}"


def page_with_table(page: str, results: dict[str, Any]) -> str:
    """Put the table between the markers of the page's text."""
    return replace_between_markers(page, MARKERS, study_table(results))


if __name__ == "__main__":
    table = page_with_table(
        PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))
    )
    write_atomic(PAGE, table)

"""The figures of docs/get-started.md are those that the demo recorded."""

import json

from fairseq_commands import REPOSITORY

FIGURES = REPOSITORY / "examples" / "demo" / "results.json"
ROWS = {"MLE": "baseline", "MLE + MLE": "mle", "MLE + ScaleGrad": "scalegrad"}


def test_the_table_is_the_recorded_one():
    page = (REPOSITORY / "docs" / "get-started.md").read_text(encoding="utf-8")
    recorded = json.loads(FIGURES.read_text())["language_modeling"]
    rows = [row for row in page.splitlines() if row.startswith(("| MLE", "| human"))]
    want = [
        f"| {name} | {run['perplexity']:.1f} | {_repetition(run['model'])} "
        f"| {run['train_seconds']} |"
        for name, run in ((name, recorded[key]) for name, key in ROWS.items())
    ]
    human = recorded["baseline"]["human"]
    assert rows == [*want, f"| human text | | {_repetition(human)} | |"]
    assert f"{human['continuations']} held-out passages" in page


def _repetition(figures: dict[str, float]) -> str:
    return f"{figures['seq_rep_1']:.3f} | {figures['seq_rep_4']:.3f} | {figures['uniq_seq']}"

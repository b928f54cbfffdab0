"""The figures of docs/get-started.md are those that the demo recorded."""

import json

from fairseq_commands import REPOSITORY

FIGURES = REPOSITORY / "examples" / "demo" / "results.json"


def test_the_table_is_the_recorded_one():
    page = (REPOSITORY / "docs" / "get-started.md").read_text(encoding="utf-8")
    recorded = json.loads(FIGURES.read_text())["language_modeling"]
    for run in (recorded[key] for key in ("baseline", "mle", "scalegrad")):
        metrics = f"{run['perplexity']:.1f} | {_repetition(run['model'])} | {run['train_seconds']}"
        assert f"| {metrics} |" in page
    human = recorded["baseline"]["human"]
    assert f"| {_repetition(human)} |" in page
    assert str(human["continuations"]) in page


def _repetition(metrics: dict[str, float]) -> str:
    return f"{metrics['seq_rep_1']:.3f} | {metrics['seq_rep_4']:.3f} | {metrics['uniq_seq']}"

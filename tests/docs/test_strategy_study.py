"""The page of the strategy study says what its results file says."""

import json
import sys

import pytest
import yaml
from fairseq_commands import REPOSITORY

from genft_fairseq.evaluation.records import replace_between_markers
from genft_fairseq.study.comparison_config import OPTIONAL, REQUIRED
from genft_fairseq.study.comparison_entries import ENTRY_KEYS
from genft_fairseq.study.strategies import STRATEGIES

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "strategy-study.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study_table():
    """The script beside the page, as a module."""
    sys.path.insert(0, str(DOCS))
    try:
        import study_table
    finally:
        sys.path.remove(str(DOCS))
    return study_table


@pytest.fixture
def results(study_table):
    return json.loads(study_table.RESULTS.read_text(encoding="utf-8"))


def test_the_table_is_that_of_the_results(study_table, results):
    assert study_table.page_with_table(PAGE, results) == PAGE


def test_another_result_would_show(study_table, results):
    results["systems"]["scalegrad, gamma 0.5"]["equal_updates"]["bleu"]["seeds"]["1001"] += 1
    assert study_table.page_with_table(PAGE, results) != PAGE


def test_a_table_by_hand(study_table):
    """Two systems, two seeds: 30 and 31 against 28 and 31.02."""

    def figures(one, other, **more):
        bleu = {"mean": (one + other) / 2, "half_width": 2.5, "seeds": {"1": one, "2": other}}
        return {"bleu": bleu, "rep_1": {"mean": 0.1}, "rep_2": {"mean": 0.0204}, **more}

    p_value = {"p_value": {"seeds": {"1": 0.04, "2": 0.5}}}
    systems = {
        "standard": {"equal_updates": figures(30.0, 31.0)},
        "other": {
            "equal_updates": figures(28.0, 31.02, time_ratio={"mean": 1.234}, **p_value),
            "equal_time": figures(27.0, 28.0),
        },
    }
    references = {"rep_1": 0.01, "rep_2": 0.002}
    table = study_table.study_table(
        {"systems": systems, "references": references, "updates": 7, "seeds": [1, 2]}
    )
    assert table.splitlines()[2:] == [
        "| standard | 30.5 ± 2.5 |  |  | 0.100 | 0.020 |  |  |",
        "| other | 29.5 ± 2.5 | -2.0, +0.0 | 0.040, 0.500 | 0.100 | 0.020 | × 1.23 | 27.5 ± 2.5 |",
        "| the references | | | | 0.010 | 0.002 | | |",
        "",
        "7 updates from the baseline; seeds 1, 2.",
    ]


def test_every_strategy_and_every_key_is_explained():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    explained = {name for row in rows for name in row.split("|")[1].replace("`", " ").split()}
    keys = {key for key in (*REQUIRED, *OPTIONAL) if key != "task"}
    for name in (*keys, *ENTRY_KEYS["strategy"]):
        assert any(f"`{name}`" in row for row in rows), name
    for strategy in STRATEGIES:
        assert any(word.strip("[") == strategy for word in explained), strategy


def test_the_example_has_keys_of_the_file_alone():
    text = PAGE.split("<<'YAML'\n")[1].split("YAML\n")[0]
    example = yaml.safe_load(text)
    assert set(REQUIRED) <= example.keys() <= {*REQUIRED, *OPTIONAL}


def test_what_is_said_of_the_results(results):
    """The sentences under the table hold of the figures; a new study may need new sentences."""
    systems = {name: system["equal_updates"] for name, system in results["systems"].items()}
    bleu = {name: system["bleu"] for name, system in systems.items()}
    standard = bleu["standard"]["seeds"]
    trained = [n for n, system in results["systems"].items() if system["kind"] == "training"]

    def ahead(name):
        return all(bleu[name]["seeds"][seed] > standard[seed] for seed in standard)

    assert [name for name in trained if ahead(name)] == ["minimum-risk"]
    risk = results["systems"]["minimum-risk"]
    assert risk["equal_time"]["bleu"]["mean"] < bleu["standard"]["mean"] > bleu["baseline"]["mean"]
    assert systems["minimum-risk"]["chrf"]["mean"] > systems["standard"]["chrf"]["mean"]
    by_repetition = sorted(trained, key=lambda name: systems[name]["rep_1"]["mean"])
    assert by_repetition[:2] == ["unlikelihood", "scalegrad, gamma 0.5"]
    for name in by_repetition[:2]:
        assert all(abs(bleu[name]["seeds"][seed] - standard[seed]) < 0.3 for seed in standard)
    gains = [bleu[name]["mean"] - bleu["standard"]["mean"] for name in trained]
    assert bleu["standard"]["mean"] - bleu["standard, greedy"]["mean"] > max(gains)
    blocked = systems["standard, no 3-gram twice"]["rep_2"]["mean"]
    assert blocked < min(systems[name]["rep_2"]["mean"] for name in trained)


def test_markers():
    assert replace_between_markers(PAGE, "study", "x").count("study:begin") == 1

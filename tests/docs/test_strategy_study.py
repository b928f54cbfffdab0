"""The page of the strategy study says what its results file says."""

import json
import re
import sys

import pytest
import yaml
from fairseq_commands import REPOSITORY

from genft_fairseq.experiments.configuration import ENTRY_KEYS, OPTIONAL, REQUIRED
from genft_fairseq.experiments.strategies import STRATEGIES

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


def test_a_table_by_hand(study_table):
    """Two systems, two seeds: 30 and 31 against 28 and 31.02."""

    def metrics(one, other, **more):
        bleu = {"mean": (one + other) / 2, "half_width": 2.5, "seeds": {"1": one, "2": other}}
        return {"bleu": bleu, "rep_1": {"mean": 0.1}, "rep_2": {"mean": 0.0204}, **more}

    p_value = {"p_value": {"seeds": {"1": 0.04, "2": 0.5}}}
    systems = {
        "standard": {"equal_updates": metrics(30.0, 31.0)},
        "other": {
            "equal_updates": metrics(28.0, 31.02, time_ratio={"mean": 1.234}, **p_value),
            "equal_time": metrics(27.0, 28.0),
        },
    }
    references = {"rep_1": 0.01, "rep_2": 0.002}
    table = study_table.study_table(
        {"systems": systems, "references": references, "updates": 7, "seeds": [1, 2]}
    )
    lines = table.splitlines()
    assert "| standard | 30.5 ± 2.5 |  |  | 0.100 | 0.020 |  |  |" in lines
    other = "| 29.5 ± 2.5 | -2.0, +0.0 | 0.040, 0.500 | 0.100 | 0.020 | × 1.23 | 27.5 ± 2.5 |"
    assert f"| other {other}" in lines
    assert any("| 0.010 | 0.002 |" in line for line in lines)


def test_every_strategy_and_every_key_is_named():
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    assert named >= {*REQUIRED, *OPTIONAL, *ENTRY_KEYS["strategy"], *STRATEGIES} - {"task"}


def test_the_example_has_keys_of_the_file_alone():
    text = PAGE.split("<<'YAML'\n")[1].split("YAML\n")[0]
    example = yaml.safe_load(text)
    assert set(REQUIRED) <= example.keys() <= {*REQUIRED, *OPTIONAL}

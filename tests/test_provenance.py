"""Tables are put between markers, files are whole, provenance is real."""

import json
import platform

import pytest
import torch
from refusals import refuses

from genft_fairseq.files import require_writable, write_atomic
from genft_fairseq.metrics.significance import over_seeds
from genft_fairseq.provenance import (
    hardware,
    provenance_line,
    record_results,
    replace_between_markers,
    versions,
)

PAGE = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb <!-- y:begin -->1<!-- y:end -->\n"


def test_replaces_what_is_between_and_nothing_else():
    once = replace_between_markers(PAGE, "x", "| new |")
    assert once == PAGE.replace("old", "| new |")
    assert replace_between_markers(once, "x", "| new |") == once


@pytest.mark.parametrize(
    "page", ["", "<!-- x:begin -->", PAGE + PAGE, "<!-- x:end --><!-- x:begin -->"]
)
def test_markers_missing_twice_or_swapped(page):
    with refuses("x:begin", "x:end", error=ValueError):
        replace_between_markers(page, "x", "new")


def test_provenance():
    record = {"hardware": hardware(), "versions": versions()}
    line = provenance_line(record)
    assert record["hardware"]["processor"] in line
    assert torch.__version__ in line and platform.python_version() in line


def test_more_versions():
    assert versions("rouge-score").items() > versions().items()
    assert "rouge-score" in versions("rouge-score")


def test_means_over_seeds_by_hand():
    """1, 2 and 6 lie -2, -1 and 3 from their mean: 14 over two."""
    seeds = [{"x": x, "p": p, "name": "n"} for x, p in ((1, 0.5), (2, None), (6, 0.25))]
    assert over_seeds(seeds) == {
        "x": {"mean": 3, "deviation": pytest.approx(7**0.5), "seeds": [1, 2, 6]},
        "p": [0.5, None, 0.25],
        "name": ["n"] * 3,
    }
    assert over_seeds([{"x": 4}]) == {"x": {"mean": 4, "deviation": None, "seeds": [4]}}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "figures.json"
    write_atomic(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with refuses(path):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["figures.json"]


def test_results_and_their_table_are_written_both_or_neither(tmp_path):
    path, page = tmp_path / "results.json", tmp_path / "README.md"
    page.write_text(PAGE)
    with refuses("z:begin", error=ValueError):
        record_results({"größer": 1}, path, page, "z", "| table |")
    assert not path.exists() and page.read_text() == PAGE
    record_results({"größer": 1}, path, page, "x", "| table |")
    assert json.loads(path.read_text()) == {"größer": 1} and "größer" in path.read_text()
    assert page.read_text() == PAGE.replace("old", "| table |")


def test_trying_to_write_leaves_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / "results.json"
    require_writable("--output", path)
    assert list(tmp_path.iterdir()) == []
    beside = tmp_path / "results.json.tmp"  # somebody's own
    beside.write_text("precious")
    require_writable("--output", tmp_path / "results.json")
    write_atomic(tmp_path / "results.json", ["in ", "parts"])
    assert beside.read_text() == "precious"
    assert (tmp_path / "results.json").read_text() == "in parts"
    assert len(list(tmp_path.iterdir())) == 2
    for wrong in (tmp_path, beside / "f"):
        with refuses("--output", wrong):
            require_writable("--output", wrong)

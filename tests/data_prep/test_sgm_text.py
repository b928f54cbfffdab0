"""sgm_text.py: the segments of test sets, and that source and reference are of the same ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from official_archives import in_documents, sgm
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

from one_line_errors import PrepareError  # noqa: E402
from sgm_text import extract  # noqa: E402


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    for name, kind in (("src", "srcset"), ("ref", "refset")):
        (tmp_path / name).write_bytes(sgm([f"{name} {n} & <{n}>" for n in range(7)], kind))
    return tmp_path / "src", tmp_path / "ref"


def complaint(sets: tuple[Path, Path], expected: int | None = None) -> str:
    with pytest.raises(PrepareError) as error:
        extract(list(sets), [path.with_suffix(".out") for path in sets], expected)
    return str(error.value).replace(f"{sets[0].parent}/", "")


def test_segments_come_out_in_order_and_without_entities(sets):
    outs = [path.with_suffix(".out") for path in sets]
    assert extract(list(sets), outs, 7) == 7
    expected = in_documents([f"ref {n} & <{n}>" for n in range(7)])
    assert outs[1].read_text().splitlines() == expected


def test_sets_that_are_not_parallel(sets):
    assert_names(complaint(sets, 8), "src", 7, 8)
    content = sets[1].read_text()
    sets[1].write_text(content.replace('docid="paper-1"', 'docid="paper-9"'))
    assert_names(complaint(sets), "src", "ref", 4, "paper-1/1", "paper-9/1")
    sets[1].write_text(content.replace('<seg id="3"> ref 6 &amp; &lt;6&gt; </seg>', ""))
    assert_names(complaint(sets), 7, 6)
    sets[1].write_text(content.replace("</seg>", "", 1))
    assert_names(complaint(sets), 7, 6)
    sets[1].write_text("text\n")
    assert_names(complaint(sets), "ref")

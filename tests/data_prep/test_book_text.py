"""book_text.py: books become lines, only Gutenberg's frame is lost, the ends are held out."""

from __future__ import annotations

import argparse
import gzip
import itertools
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import book_text  # noqa: E402

BOOK = "".join(f"Paragraph {n}\ngoes on.\n\n" for n in range(40))


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "a book.txt"
    path.write_text(BOOK)
    return path


def split(folder: Path, *texts: Path, **options: object) -> dict[str, str]:
    """Return the text of every split."""
    (folder / "input").mkdir(exist_ok=True)
    shutil.rmtree(folder / "text", ignore_errors=True)
    (folder / "text").mkdir()
    arguments = {
        "text": texts, "train": [], "valid": [], "test": [], "input": folder / "input",
        "output": folder / "text", "lines": "join", "keep_spaces": False, "valid_percent": 5,
        "test_percent": 5, "limit": None, **options,
    }  # fmt: skip
    book_text.write_splits(argparse.Namespace(**arguments))
    return {path.stem: path.read_text("utf-8") for path in (folder / "text").iterdir()}


def test_paragraphs_become_lines_and_the_end_is_held_out(book, tmp_path):
    result = split(tmp_path, book)
    lines = [f"Paragraph {n} goes on." for n in range(40)]
    parts = [result[name].splitlines() for name in ("train", "valid", "test")]
    assert list(itertools.chain(*parts)) == lines
    assert list(map(len, parts)) == [37, 2, 1]  # no more than their shares


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r"),
        lambda raw: raw.rstrip(b"\n"),
        lambda raw: b"\n\n" + raw.replace(b"\n\n", b"\n \t\n\n\n"),
        lambda raw: raw.replace(b" ", "\u00a0 \t".encode()),
        gzip.compress,
    ],
)
def test_bytes_that_do_not_matter(book, tmp_path, change):
    expected = split(tmp_path, book)
    book.write_bytes(change(book.read_bytes()))
    assert split(tmp_path, book) == expected


def test_kept_lines(tmp_path):
    play = tmp_path / "play"
    play.write_text("A:\n  To be\u2028or  not. \n\n\nB:\n\tNo.\n\nC.\n\nD.\n")
    kept = split(tmp_path, play, lines="keep", keep_spaces=True, valid_percent=10)
    assert kept == {"train": "A:\n  To be or  not.\n\nB:\n\tNo.\n", "valid": "C.\n", "test": "D.\n"}
    single = split(tmp_path, play, lines="keep", limit=1)
    assert single["train"] == "A:\nTo be or not.\n"


def test_every_line_a_paragraph(tmp_path):
    lines = [f"  Line {n}  of text." for n in range(9_000)]
    book = tmp_path / "lines"
    book.write_text("\n".join(lines) + "\n\n\n")
    parts = split(tmp_path, book, lines="each", keep_spaces=True)
    assert [*itertools.chain(*(parts[s].splitlines() for s in ("train", "valid", "test")))] == lines
    assert 400 < parts["test"].count("\n") < 500


def test_no_test_text(book, tmp_path):
    assert sorted(split(tmp_path, book, test_percent=0)) == ["train", "valid"]
    presplit = split(tmp_path, train=[book, book], valid=[book])
    assert sorted(presplit) == ["train", "valid"]
    assert presplit["train"] == 2 * presplit["valid"]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 39)
)
def test_cuts(lengths, valid, test):
    cuts = book_text.find_cuts(lengths, valid, test)
    latest = len(lengths) - (2 if test else 1)
    assert (cuts is None) == (latest < 1)
    if cuts is not None:
        assert 0 < cuts[0] < cuts[1] <= len(lengths)
        assert (cuts[1] < len(lengths)) == bool(test)
        # What is held out is no larger than asked for, unless a part would have no paragraph.
        assert sum(lengths[cuts[0] :]) <= sum(lengths) * (valid + test) / 100 or cuts[0] == latest
        assert sum(lengths[cuts[1] :]) <= sum(lengths) * test / 100 or cuts[1] == latest + 1


HEADER = "The Project Gutenberg EBook of X\n\nTitle: X\n\n"
LICENCE = "\n\nSection 1. General Terms of Use\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n"
LONG_START = "***START OF THIS PROJECT GUTENBERG EBOOK A TITLE\nTHAT GOES ON ***\n"
SMALL_PRINT = "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
ENDING = "*** END OF THE PROJECT GUTENBERG EBOOK X ***\n"
OLD_ENDING = "End of the Project Gutenberg Etext of X\n"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (HEADER + START + BOOK + ENDING + LICENCE, True),
        (HEADER + LONG_START + BOOK + OLD_ENDING + "\n" + ENDING + LICENCE, True),
        (HEADER + SMALL_PRINT + BOOK + "End of Project Gutenberg's X\n", True),
        (HEADER + SMALL_PRINT + "\nA note.\n\n" + START + BOOK + ENDING, True),
        (HEADER + START + BOOK + ENDING + LICENCE + SMALL_PRINT + LICENCE, True),
        (START + BOOK[:100] + ENDING + LICENCE + HEADER + START + BOOK[100:] + ENDING, True),
        (HEADER + START + BOOK, False),
        (BOOK + ENDING + LICENCE, False),
        (BOOK, None),
    ],
)
def test_gutenberg_markers(tmp_path, capsys, text, dropped):
    book = tmp_path / "pg.txt"
    book.write_text(text)
    lines = "".join(
        split(tmp_path, book, lines="keep")[name] for name in ("train", "valid", "test")
    )
    said = capsys.readouterr().out
    if dropped:
        assert lines.split() == BOOK.split()
        assert "Project Gutenberg" in said
    else:
        assert lines.split() == text.split()
        assert ("Project Gutenberg" in said) == (dropped is False)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["pride_and_prejudice", "moby_dick", "war_and_peace"])
def test_novels_are_split_without_loss(realdata, tmp_path, name):
    book = realdata / f"books/{name}.txt.gz"
    if not book.is_file():
        pytest.skip(f"there is no file {book}")
    whole = gzip.decompress(book.read_bytes()).decode()
    parts = split(tmp_path, book)
    assert "".join(parts[split] for split in ("train", "valid", "test")).split() == whole.split()
    sizes = {split: len(text) for split, text in parts.items()}
    for held_out in ("valid", "test"):
        assert 0.045 < sizes[held_out] / sum(sizes.values()) < 0.055

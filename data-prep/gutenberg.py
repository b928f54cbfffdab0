"""Find what is between the markers that Project Gutenberg puts before and after a book."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# What Project Gutenberg puts around a book, now, and around 2000 ("THE SMALL PRINT" was in front).
START = re.compile(r"\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG|\*END\*? ?THE SMALL PRINT")
END = re.compile(r"\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg")
LONGEST_MARKER = 4  # lines: a title can be long


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, whatever its line ends, without a byte order mark."""
    with path.open(encoding="utf-8-sig", newline=None) as lines:
        for line in lines:
            yield line.rstrip("\n")


def find_body(path: Path) -> tuple[list[range] | None, bool]:
    """Return the line ranges between start and end markers, and whether there is any marker.

    Without a start that is followed by an end there are no ranges but None: all is text. A start
    after a start begins anew (the small print stood before another header), and an end after an
    end says nothing (there were two forms of it, one below the other).
    """
    body: list[range] = []
    begin = None
    marked = False
    in_marker = 0  # lines that the start marker may still go on for
    for number, line in enumerate(read_lines(path)):
        if START.match(line.lstrip()):
            begin, marked, in_marker = number + 1, True, LONGEST_MARKER
        elif begin is not None and END.match(line.lstrip()):
            body.append(range(begin, number))
            begin, in_marker = None, 0
        elif END.match(line.lstrip()):
            marked = True
        if in_marker:
            in_marker -= 1
            if line.rstrip().endswith("*"):
                begin, in_marker = number + 1, 0
    return body or None, marked

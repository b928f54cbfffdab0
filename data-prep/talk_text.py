"""Take the sentences out of the tagged training text of IWSLT: talks, one sentence a line.

Lines about a talk (its address, speaker, translator) are dropped; its title and description are
translated, too, and stay, without their tags.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from one_line_errors import PrepareError, report_errors
from raw_text import need_equal_counts, text_lines

ABOUT = re.compile(rb"\s*</?(?:url|talkid|keywords|speaker|reviewer|translator|doc)\b[^>]*>", re.I)
KEPT = re.compile(rb"</?(?:title|description)>", re.I)


def sentences(path: Path) -> Iterator[bytes]:
    """Yield the lines that are translated."""
    for line in text_lines(path):
        if not ABOUT.match(line):
            yield KEPT.sub(b"", line).strip() + b"\n"


def extract(sources: list[Path], destinations: list[Path], expected: int | None) -> int:
    """Write the sentences of parallel files and return their number."""
    counts: dict[Path, int] = {}
    for source, destination in zip(sources, destinations, strict=True):
        counts[source] = 0
        with destination.open("wb") as out:
            for line in sentences(source):
                out.write(line)
                counts[source] += 1
    need_equal_counts(counts, "sentences")
    count = counts[sources[0]]
    if count == 0 or expected not in (None, count):
        raise PrepareError(f"{sources[0]} has {count} sentences, expected {expected or 'some'}")
    return count


def main() -> None:
    """Read the command line and extract one training text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    parser.add_argument("--destinations", type=Path, nargs="+", required=True)
    parser.add_argument("--sentences", type=int, help="pinned, the same for every source")
    args = parser.parse_args()
    count = extract(args.sources, args.destinations, args.sentences)
    verdict = "not pinned" if args.sentences is None else "as pinned"
    for path in args.sources:
        print(f"    {path.name}: {count} sentences ({verdict})")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)

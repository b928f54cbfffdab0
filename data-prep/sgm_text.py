"""Take the segments out of the SGM or XML files of a test set, source and reference in step.

Both files must name the same documents and segments in the same order: a reference that belongs
to another sentence gives a score, too. Entities become the characters that they stand for.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path

from one_line_errors import PrepareError, report_errors
from raw_text import need_equal_counts, text_lines

# The files are no XML (no root, bare ampersands), and the order of attributes varies.
TAG = re.compile(r"<doc\b([^>]*)>|<seg\b([^>]*)>((?:(?!<seg\b).)*?)</seg\s*>", re.I | re.S)
ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")

Segment = tuple[str, str]  # its name, document/number, and its text


def attribute(tag: str, name: str) -> str:
    """Return the value of an attribute; empty if the tag does not have it."""
    for key, *values in ATTRIBUTE.findall(tag):
        if key.lower() == name:
            return "".join(values)
    return ""


def segments(path: Path) -> list[Segment]:
    """Return the segments of one file, each on one line."""
    content = b"".join(text_lines(path)).decode("utf-8")
    found: list[Segment] = []
    document = ""
    for match in TAG.finditer(content):
        doc_tag, seg_tag, text = match.groups()
        if doc_tag is not None:
            document = attribute(doc_tag, "docid")
        else:
            name = f"{document}/{attribute(seg_tag, 'id')}"
            found.append((name, " ".join(html.unescape(text).split())))
    opened = len(re.findall(r"<seg\b", content, re.I))
    if opened != len(found):
        raise PrepareError(f"{path} opens {opened} segments and closes {len(found)} of them")
    if not found:
        raise PrepareError(f"{path} holds no segment (<seg id=...>)")
    return found


def extract(sources: list[Path], destinations: list[Path], expected: int | None) -> int:
    """Write the segments of parallel files, a line each, and return their number."""
    extracted = [segments(path) for path in sources]
    need_equal_counts({p: len(s) for p, s in zip(sources, extracted, strict=True)}, "segments")
    for path, others in zip(sources[1:], extracted[1:], strict=True):
        for number, (one, other) in enumerate(zip(extracted[0], others, strict=True), start=1):
            if one[0] != other[0]:
                raise PrepareError(
                    f"{sources[0]} and {path} are not parallel: segment {number} is {one[0]} in "
                    f"the one and {other[0]} in the other"
                )
    count = len(extracted[0])
    if expected is not None and count != expected:
        raise PrepareError(f"{sources[0]} has {count} segments, expected {expected}")
    for path, found in zip(destinations, extracted, strict=True):
        text = "".join(f"{line}\n" for _, line in found)
        path.write_bytes(text.encode("utf-8"))
    return count


def main() -> None:
    """Read the command line and extract one test set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    parser.add_argument("--destinations", type=Path, nargs="+", required=True)
    parser.add_argument("--segments", type=int, help="pinned, the same for every source")
    args = parser.parse_args()
    count = extract(args.sources, args.destinations, args.segments)
    verdict = "not pinned" if args.segments is None else "as pinned"
    for path in args.sources:
        print(f"    {path.name}: {count} segments ({verdict})")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)

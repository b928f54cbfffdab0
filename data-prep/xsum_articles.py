"""XSum: the authors' extracted BBC articles to documents and one-sentence summaries.

An article is a file of parts, each after a line `[SN]NAME[SN]`: its address, title, first sentence,
which is the summary, and the rest, which is the document. What the page said around the text
(`Share this with`, ...) is left out, as in the version that most published models were trained on,
the one of Hugging Face's datasets.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from article_archives import Articles, collect
from cnn_dailymail_stories import LINE_END
from one_line_errors import PrepareError, report_errors
from summary_texts import Pair, Writer, one_line

FOLDER = "bbc-summary-data"  # in the archive
MARKER = re.compile(r"\[SN\]([A-Z-]+)\[SN\]")
SUMMARY, DOCUMENT = "FIRST-SENTENCE", "RESTBODY"
AROUND_THE_TEXT = {
    *("Share this with", "Email", "Facebook", "Messenger", "Twitter", "Pinterest", "WhatsApp"),
    *("Linkedin", "LinkedIn", "Copy this link"),
    "These are external links and will open in a new window",
}
NAMES = {"train": "train", "valid": "validation", "test": "test"}  # ours, and in the list


def read_article(name: str, text: str) -> tuple[str, str]:
    """Return document and summary of an article."""
    parts: dict[str, list[str]] = {}
    part: list[str] = []
    for line in map(one_line, LINE_END.split(text)):
        marker = MARKER.fullmatch(line)
        if marker:
            part = parts.setdefault(marker[1], [])
        elif line and line not in AROUND_THE_TEXT:
            part.append(line)
    for needed in (SUMMARY, DOCUMENT):
        if needed not in parts:
            raise PrepareError(f"{name} has no line [SN]{needed}[SN]: it is no article of XSum's")
    return " ".join(parts[DOCUMENT]), " ".join(parts[SUMMARY])


def read_list(path: Path) -> dict[str, list[str]]:
    """Return the names of the articles of each split, in the order of the authors' list."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PrepareError(f"{path.name} is no JSON: {error}") from None
    found = {}
    for ours, theirs in NAMES.items():
        ids = listed.get(theirs) if isinstance(listed, dict) else None
        # Digits only: a name becomes a path.
        if not isinstance(ids, list) or not all(
            isinstance(i, str) and i.isascii() and i.isdigit() for i in ids
        ):
            raise PrepareError(f"{path.name} must have a list of numbers in quotes at '{theirs}'")
        found[ours] = [f"{FOLDER}/{number}.summary" for number in ids]
    return found


def pairs(articles: Articles, names: list[str]) -> Iterator[Pair]:
    """Yield the pairs of a split in the order of its list."""
    for name in names:
        yield Pair(f"the article {name}", *read_article(name, articles.text(name)))


def main() -> None:
    """Read the command line, find the articles and write the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--place", type=Path, required=True, help="archive or folder")
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs=3, help="published, of train, valid and test")
    parser.add_argument("--limit", type=int, help="of training pairs")
    parser.add_argument("--articles", type=Path, required=True, help="file to keep them in")
    parser.add_argument("--dropped", type=Path, required=True, help="file for their numbers")
    args = parser.parse_args()
    splits = read_list(args.list)
    for (split, names), count in zip(splits.items(), args.counts or (), strict=False):
        if len(names) != count:
            raise PrepareError(f"{args.list.name}: {split} has {len(names)}, expected {count}")
    wanted = {name for names in splits.values() for name in names}
    articles = Articles(args.articles)
    collect(articles, args.place, wanted)
    lost = [name for names in splits.values() for name in names if name not in articles.places]
    if lost:
        raise PrepareError(f"{args.place} lacks {len(lost)} of the articles, first {lost[0]}")
    writer = Writer(args.text, args.labels)
    for split, names in splits.items():
        train = split == "train"
        # The published figures are of all validation and test pairs, those without a document too.
        writer.write(split, pairs(articles, names), train, args.limit if train else None)
    writer.finish(args.dropped)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)

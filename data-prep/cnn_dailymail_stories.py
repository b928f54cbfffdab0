"""CNN/Daily Mail, not anonymised: stories out of the official archives to documents and summaries.

As See et al. (2017) take them: paragraphs and highlights without final punctuation get a full
stop, the article is its paragraphs in a row, the summary its highlights. Unlike theirs, and like
what pretrained models are fine-tuned on, the text keeps its case and is not split into words.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from article_archives import Articles, collect
from one_line_errors import PrepareError, report_errors
from raw_text import text_lines
from summary_texts import SENTENCE_MARK, Pair, Writer, one_line

FOLDERS = ("cnn/stories", "dailymail/stories")  # in the archives
LINE_END = re.compile(r"\r\n?|\n")
HIGHLIGHT = "@highlight"
SENTENCE_ENDS = (".", "!", "?", "'", "`", '"', "\u2019", "\u201d", ")")
# `(CNN)The ...`, `(CNN) -- The ...`, `ATLANTA, Georgia (CNN) -- The ...`, `(CNN Student News) -- `
DATELINE = re.compile(r"[^()]{0,60}\(CNN[^()]{0,40}\)\s*(?:--\s*)?")


def ended(line: str) -> str:
    """Return a line with a full stop where it has no final punctuation."""
    return line if HIGHLIGHT in line or line.endswith(SENTENCE_ENDS) else f"{line}."


def read_story(text: str, keep_dateline: bool) -> tuple[str, str]:
    """Return the article of a story, and its highlights parted by the mark of sentences."""
    article: list[str] = []
    highlights: list[str] = []
    part = article
    for line in map(one_line, LINE_END.split(text)):
        if line.startswith(HIGHLIGHT):
            part = highlights
        elif line:
            part.append(ended(line))
    document = " ".join(article)
    dateline = None if keep_dateline else DATELINE.match(document)
    return document[dateline.end() if dateline else 0 :], f" {SENTENCE_MARK} ".join(highlights)


def read_list(path: Path) -> dict[str, str]:
    """Return the addresses of a split by the names of their stories, in the order of the list."""
    addresses = [line.decode("utf-8").strip() for line in text_lines(path)]
    named = {hashlib.sha1(a.encode(), usedforsecurity=False).hexdigest(): a for a in addresses}
    if len(named) != len(addresses):
        raise PrepareError(f"{path} has an address more than once")
    return {f"{name}.story": address for name, address in named.items()}


def pairs(
    articles: Articles, members: dict[str, str], listed: dict[str, str], keep_dateline: bool
) -> Iterator[Pair]:
    """Yield the pairs of a split in the order of its list."""
    for name, address in listed.items():
        story = read_story(articles.text(members[name]), keep_dateline)
        yield Pair(f"the story {name} ({address})", *story)


def find_members(articles: Articles, lists: list[dict[str, str]]) -> dict[str, str]:
    """Return where in the archives each story is."""
    members: dict[str, str] = {}
    for member in articles.places:
        name = member.rpartition("/")[2]
        if name in members:
            raise PrepareError(f"{name} is both in {FOLDERS[0]} and in {FOLDERS[1]}")
        members[name] = member
    listed = [item for names in lists for item in names.items()]
    lost = [f"{name} ({address})" for name, address in listed if name not in members]
    if lost:
        raise PrepareError(f"the archives lack {len(lost)} of the stories, first {lost[0]}")
    return members


def main() -> None:
    """Read the command line, find the stories and write the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--places", type=Path, nargs=2, required=True, help="archives or folders")
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--lists", type=Path, nargs="+", required=True, help="one for each split")
    parser.add_argument("--dateline", choices=["keep", "drop"], required=True)
    parser.add_argument("--limit", type=int, help="of training pairs")
    parser.add_argument("--stories", type=Path, required=True, help="file to keep them in")
    parser.add_argument("--dropped", type=Path, required=True, help="file for their numbers")
    args = parser.parse_args()
    lists = list(map(read_list, args.lists))
    articles = Articles(args.stories)
    for place, folder in zip(args.places, FOLDERS, strict=True):
        collect(articles, place, {f"{folder}/{name}" for listed in lists for name in listed})
    members = find_members(articles, lists)
    writer = Writer(args.text, args.labels)
    for split, listed in zip(args.splits, lists, strict=True):
        found = pairs(articles, members, listed, args.dateline == "keep")
        writer.write(split, found, limit=args.limit if split == "train" else None)
    writer.finish(args.dropped)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)

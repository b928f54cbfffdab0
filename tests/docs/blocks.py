"""The command blocks of a Markdown page: the fences of bash, and how each of them is tested."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

logging.getLogger("markdown_it").setLevel(logging.INFO)  # it tells every step

MARK = re.compile(r"<!--\s*checked:\s*(.*?)\s*-->")
MARKS = ("needs a network", "needs a GPU")
# What other fences hold, and how bash must not be called.
OTHER_LANGUAGES = {"", "text", "python", "yaml", "json", "diff", "bibtex"}
DIRECTIVES = {"{eval-rst}", "{toctree}"}


class BadPage(Exception):
    """A page that breaks the rules of command blocks; the message names page and line."""


@dataclass(frozen=True)
class Block:
    """A fence of bash.

    Attributes:
        line: of the page, on which its first command stands.
        text: the commands.
        mark: why it is checked instead of run; None: it is run.
    """

    line: int
    text: str
    mark: str | None


def blocks(page: Path) -> list[Block]:
    """Return the command blocks of a page.

    Raises:
        BadPage: a fence of another shell's name or of none that is known, or a mark that is none of
            ``MARKS`` or stands elsewhere than on the line above a fence of bash.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    found, used = [], set()
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        if token.type != "fence" or token.map is None:
            continue
        start = token.map[0]
        language = token.info.strip()
        if language in OTHER_LANGUAGES or language.split(" ")[0] in DIRECTIVES:
            continue
        if language != "bash":
            raise BadPage(f"{page.name}:{start + 1}: a fence of {language}; commands are bash")
        mark = MARK.fullmatch(lines[start - 1].strip()) if start else None
        if mark is not None:
            used.add(start - 1)
            if mark[1] not in MARKS:
                allowed = ", ".join(MARKS)
                raise BadPage(f"{page.name}:{start}: the mark {mark[1]!r} is none of {allowed}")
        found.append(Block(start + 2, token.content, mark[1] if mark else None))
    for number, line in enumerate(lines):
        if MARK.search(line) and number not in used:
            raise BadPage(f"{page.name}:{number + 1}: a mark that is not above a fence of bash")
    return found

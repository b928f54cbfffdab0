"""Articles by their names, from archives of hundreds of thousands, or from where they lie unpacked.

An archive is read once, as a stream, and what is wanted of it is kept in one file: nothing is
unpacked, and no path in an archive is ever written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archive_members import WatchedFile, damage_reported, read_members
from one_line_errors import PrepareError


class Articles:
    """The bytes of articles in one file, to be read in any order by their names."""

    def __init__(self, path: Path) -> None:
        """Begin with an empty file."""
        self.file = path.open("w+b")
        self.places: dict[str, tuple[int, int]] = {}
        self.end = 0

    def add(self, name: str, content: bytes, where: Path) -> None:
        """Keep an article, of which there must be one only."""
        if name in self.places:
            raise PrepareError(f"{where} holds {name} more than once")
        self.file.seek(self.end)
        self.file.write(content)
        self.places[name] = self.end, len(content)
        self.end += len(content)

    def text(self, name: str) -> str:
        """Return an article, which must be UTF-8."""
        begin, length = self.places[name]
        self.file.seek(begin)
        try:
            return self.file.read(length).decode("utf-8")
        except UnicodeDecodeError:
            raise PrepareError(f"{name} is not UTF-8") from None


def read_articles(place: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield those of the wanted articles that an archive has, or a folder."""
    if place.is_dir():
        for name in sorted(wanted):
            if (place / name).is_file():
                yield name, (place / name).read_bytes()
        return
    with WatchedFile(place, "reading") as raw, damage_reported(place):
        for name, content in read_members(place, raw, wanted):
            yield name, content.read()


def collect(articles: Articles, place: Path, wanted: set[str]) -> None:
    """Keep those of the wanted articles that an archive has, or a folder."""
    before = len(articles.places)
    for name, content in read_articles(place, wanted):
        articles.add(name, content, place)
    print(f"    {place.name}: {len(articles.places) - before} articles", flush=True)

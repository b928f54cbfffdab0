"""The pages of the built site, as far as tests look at them: ids, links, and what is fetched."""

from html.parser import HTMLParser
from pathlib import Path

# The attributes by which a browser fetches something to show a page.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "shortcut icon"}


class Page(HTMLParser):
    """One page.

    Attributes:
        ids: what a link can lead to.
        links: the targets of its links.
        fetched: the addresses of what is needed to show it.
        tags: how often there is each tag.
        text: all of its text, a piece a line.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.tags: dict[str, int] = {}
        self._text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    @property
    def text(self) -> str:
        return "\n".join(self._text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if given.get("id"):
            self.ids.add(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if given.get(FETCHED.get(tag, "")):
            self.fetched.append(str(given[FETCHED[tag]]))
        if tag == "link" and given.get("rel") in FETCHED_LINKS:
            self.fetched.append(str(given["href"]))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self._text.append(data.strip())

"""Links to files of the repository: each file linked becomes a page under ``source/``.

Markdown is rendered, and the files that it links to become pages as well; text is highlighted;
an image is copied; of a folder, its README.md or a list is shown.  So the same relative links work
for readers of the Markdown and of the site.
"""

import html
import os
import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from myst_parser.slugs import github_slugify
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = "source"
COPIED = {".svg", ".png", ".jpg", ".pdf"}
# What the theme knows these by.
CLASSES = {"table_open": "docutils align-default", "code_inline": "docutils literal notranslate"}
LARGEST = 400_000  # characters of a file whose text is highlighted

Page = tuple[str, dict[str, str], str]


def source_url(path: str) -> str:
    """Return where a file or folder is shown, relative to the root of the site."""
    place = REPOSITORY / path
    if place.is_dir():
        readme = posixpath.normpath(posixpath.join(path, "README.md"))
        listing = posixpath.normpath(posixpath.join(FOLDER, path, "index.html"))
        return f"{FOLDER}/{readme}.html" if (REPOSITORY / readme).is_file() else listing
    return f"{FOLDER}/{path}" + ("" if place.suffix in COPIED else ".html")


class Links:
    """Resolves links of one page of the site, and notes the files that they lead to."""

    def __init__(self, app: Sphinx, folder: str, page: str, found: set[str]):
        self._app, self._folder, self._page, self._found = app, folder, page, found

    def resolve(self, link: str) -> str | None:
        """Return the link as it is in the site, or None: it leads to no file of the repository."""
        path, mark, anchor = link.partition("#")
        if not path or "://" in path or path.startswith(("mailto:", "/")):
            return None
        target = posixpath.normpath(posixpath.join(self._folder, unquote(path)))
        if target.startswith("..") or not (REPOSITORY / target).exists():
            return None
        sources = Path(self._app.srcdir).resolve().relative_to(REPOSITORY).as_posix()
        document = target.removeprefix(f"{sources}/").removesuffix(".md")
        if target.startswith(f"{sources}/") and document in self._app.env.found_docs:
            url = f"{document}.html"
        else:
            self._found.add(target)
            url = source_url(target)
        return posixpath.relpath(url, posixpath.dirname(self._page) or ".") + mark + anchor


def link_to_sources(app: Sphinx, doctree: nodes.document) -> None:
    """Make the links of a document that lead out of the site lead to pages of it."""
    env = app.env
    found = _found(env).setdefault(env.docname, set())
    folder = os.path.relpath(os.path.dirname(env.doc2path(env.docname)), REPOSITORY)
    links = Links(app, folder, f"{env.docname}.html", found)
    for node in list(doctree.findall(_leads_to_a_file)):
        target = node["reftarget"]
        if node.get("refdomain") == "doc":  # MyST has taken a Markdown file for a document
            if target in env.found_docs:
                continue
            target = os.path.relpath(f"{target}.md", REPOSITORY / folder)
            target += f"#{node['reftargetid']}" if node.get("reftargetid") else ""
        url = links.resolve(target)
        if url is not None and not _is_document(env, folder, target):
            link = nodes.reference("", "", *node.children, internal=True, refuri=url)
            link.source, link.line = node.source, node.line
            node.replace_self(link)


def _leads_to_a_file(node: nodes.Node) -> bool:
    kinds = (addnodes.pending_xref, addnodes.download_reference)
    return isinstance(node, kinds) and node.get("reftype") == "myst"


def _is_document(env: BuildEnvironment, folder: str, target: str) -> bool:
    path = (REPOSITORY / folder / target.partition("#")[0]).resolve()
    name = env.path2doc(path) if path.suffix == ".md" else None
    return name in env.found_docs


def _found(env: BuildEnvironment) -> dict[str, set[str]]:
    if not hasattr(env, "genft_sources"):
        env.genft_sources = {}  # type: ignore[attr-defined]
    found: dict[str, set[str]] = env.genft_sources
    return found


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget the links of a document that is read again."""
    _found(env).pop(docname, None)


def collect_pages(app: Sphinx) -> Iterator[Page]:
    """Yield the page of each file linked, and of each that a Markdown file among them links."""
    waiting = set().union(*_found(app.env).values())
    done: set[str] = set()
    while waiting - done:
        path = min(waiting - done)
        done.add(path)
        place = REPOSITORY / path
        if place.is_dir():
            if (place / "README.md").is_file():
                waiting.add(posixpath.normpath(posixpath.join(path, "README.md")))
                continue
            body = _listing(app, path, waiting)
        elif place.suffix in COPIED:
            copy = Path(app.outdir, source_url(path))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, copy)
            continue
        elif place.suffix == ".md":
            body = _rendered(app, path, waiting)
        else:
            body = f"<h1><code>{html.escape(path)}</code></h1>\n{_highlighted(app, place)}"
        yield source_url(path).removesuffix(".html"), {"title": path, "body": body}, "page.html"


def _listing(app: Sphinx, path: str, waiting: set[str]) -> str:
    links = Links(app, path, source_url(path), waiting)
    names = sorted(
        entry.name
        for entry in (REPOSITORY / path).iterdir()
        if entry.is_file() and not entry.name.startswith(".")
    )
    items = (f'<li><a href="{links.resolve(name)}"><code>{name}</code></a></li>' for name in names)
    return f"<h1><code>{html.escape(path)}/</code></h1>\n<ul>{''.join(items)}</ul>"


def _highlighted(app: Sphinx, place: Path) -> str:
    text = place.read_text(encoding="utf-8")
    try:
        lexer = get_lexer_for_filename(place.name).aliases[0]
    except (ClassNotFound, IndexError):
        lexer = "text"
    lexer = "text" if len(text) > LARGEST else lexer
    shown: str = app.builder.highlighter.highlight_block(text, lexer)  # type: ignore[attr-defined]
    return shown


def _rendered(app: Sphinx, path: str, waiting: set[str]) -> str:
    highlighter = app.builder.highlighter  # type: ignore[attr-defined]
    links = Links(app, posixpath.dirname(path), source_url(path), waiting)

    def shown(text: str, language: str, _: str) -> str:
        return str(highlighter.highlight_block(text, language or "text"))

    markdown = MarkdownIt("commonmark", {"highlight": shown}).enable("table")
    markdown.use(anchors_plugin, max_level=4, slug_func=github_slugify)
    markdown.add_render_rule(
        "fence",
        lambda self, tokens, at, options, env: shown(
            tokens[at].content, tokens[at].info.strip(), ""
        ),
    )
    tokens = markdown.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    for token in _all(tokens):
        if token.type in CLASSES:
            token.attrSet("class", CLASSES[token.type])
        for name in ("href", "src"):
            url = links.resolve(str(token.attrs.get(name, "")))
            if url is not None:
                token.attrs[name] = url
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect with the reading of documents and the writing of pages."""
    # Before Sphinx copies what it takes for downloads.
    app.connect("doctree-read", link_to_sources, priority=400)
    app.connect("env-purge-doc", forget)
    app.connect("html-collect-pages", collect_pages)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

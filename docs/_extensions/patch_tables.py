"""Tables of what the plugin changes in fairseq, made from the code when the site is built.

The line ``<!-- patches -->`` of a page becomes a heading and a table for each part of fairseq.
"""

from collections.abc import Iterator

from sphinx.application import Sphinx

import genft_fairseq  # noqa: F401 (imports fairseq's commands as the plugin does)
from genft_fairseq import patches
from genft_fairseq.patches.registry import Patch

MARK = "<!-- patches -->"
ISSUES = "https://github.com/facebookresearch/fairseq/issues"


def tables() -> Iterator[str]:
    """Yield the Markdown of each part: a heading, what it is about, and its changes."""
    for part in patches.PARTS:
        name = part.__name__.rpartition(".")[2]
        about = (part.__doc__ or "").partition("\n\n")[0]
        rows = [_row(patch) for patch in patches.patches() if patch.part == part.__name__]
        table = ["| what is changed | why | issue |", "|---|---|---|", *rows]
        yield "\n\n".join([f"## {name.replace('_', ' ').capitalize()}", about, "\n".join(table)])


def _row(patch: Patch) -> str:
    if callable(patch.owners) and not isinstance(patch.owners, type):
        targets = [f"`{patch.name}` in all of fairseq"]
    else:
        targets = [f"`{_dotted(owner)}.{patch.name}`" for owner in patch.targets()]
    why = patch.why.partition("\n\nRaises:")[0].partition("\n\nReturns:")[0]
    issue = f"[#{patch.issue}]({ISSUES}/{patch.issue})" if patch.issue else ""
    return f"| {', '.join(targets)} | {' '.join(why.split())} | {issue} |".replace("\\", r"\\")


def _dotted(owner: object) -> str:
    module, name = getattr(owner, "__module__", ""), getattr(owner, "__qualname__", "")
    return f"{module}.{name}" if name else str(getattr(owner, "__name__", ""))


def _replace(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, "\n\n".join(tables()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect with the reading of a page."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

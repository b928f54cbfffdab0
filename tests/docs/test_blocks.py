"""Every command block of the README and the documentation is run, or is marked and checked."""

from pathlib import Path

import pytest
from docs.blocks import BadPage
from docs.own_files import add_own_files
from docs.worlds import World
from fairseq_commands import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands(page: Path, world: World):
    if page.name in ("README.md", "get-started.md"):
        add_own_files(world.folder)
    wrong = ""
    try:
        world.run_page(page)
    except BadPage as error:
        wrong = str(error)
    if wrong:  # said without the way there, which is ours and not the page's
        pytest.fail(wrong, pytrace=False)

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


@pytest.mark.parametrize("mark", ["", "<!-- checked: needs a GPU -->\n"], ids=["run", "checked"])
def test_a_wrong_flag_is_found(mark: str, world: World, tmp_path: Path):
    command = "genft doctor --json >found\nfairseq-train data-bin/translation --gama 1"
    page = tmp_path / "page.md"
    page.write_text(f"{mark}```bash\n{command}\n```\n")
    with pytest.raises(BadPage) as raised:
        world.run_page(page)
    assert "--gama" in str(raised.value) and f"line {4 if mark else 3}" in str(raised.value)

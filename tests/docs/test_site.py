"""The documentation builds without a warning, needs no network, and none of its links is broken."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from docs.site_pages import Page
from fairseq_commands import REPOSITORY

from genft_fairseq.cli import genft

SOURCES = REPOSITORY / "docs"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    """All pages, by their path."""
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_it_builds_without_a_warning(site):
    log = (site.parent / "site.log").read_text()
    assert log == "ended with 0\n"


def test_every_page_is_there(site, pages):
    names = [path.relative_to(SOURCES).with_suffix(".html") for path in SOURCES.rglob("*.md")]
    names = [name for name in names if "_build" not in name.parts]
    assert len(names) > 15
    for name in names:
        assert site / name in pages
        assert name.name == "index.html" or str(name) in (site / "index.html").read_text()


def test_nothing_is_fetched(site, pages):
    """Scripts, styles, images and letters are files of the site, whichever page is looked at."""
    for path, page in pages.items():
        for address in page.fetched:
            parts = urlsplit(address)
            assert not parts.scheme and not parts.netloc, f"{path}: {address}"
            assert (path.parent / unquote(parts.path)).is_file(), f"{path}: {address}"
    for style in site.rglob("*.css"):
        for address in re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", style.read_text()):
            assert not re.match(r"""["']?(https?:)?//""", "".join(address)), style


def test_every_link_leads_somewhere(pages):
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                assert parts.netloc and " " not in link, f"{path}: {link}"
                continue
            assert not parts.scheme and not link.startswith("/"), f"{path}: {link}"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].ids | {""}, f"{path}: {link}"
            checked += 1
    assert checked > 1000


def test_mathematics_is_made_at_build_time(site, pages):
    page = pages[site / "mathematics.html"]
    assert page.tags["math"] > 100
    assert not re.search(r"\\[a-z]+\{|\$\$", page.text)
    assert not any("mathjax" in address.lower() for address in page.fetched)


def test_files_of_the_repository_are_pages(site, pages):
    code = pages[site / "source/genft_fairseq/functional/scalegrad.py.html"]
    assert "scalegrad_loss" in code.text and code.tags["span"] > 100  # highlighted
    assert site / "source/README.md.html" in pages
    assert (site / "source/benchmarks/results/projection-cpu.svg").is_file()


def test_every_command_and_option_is_in_the_reference(site, pages):
    page = pages[site / "commands.html"]
    for name, command in genft.commands.items():
        assert f"genft-{name}" in page.ids
        for parameter in command.params:
            for option in (o for o in parameter.opts if o.startswith("--")):
                assert f"cmdoption-genft-{name}-{option.strip('-')}" in page.ids, (name, option)


def test_everything_registered_is_in_the_reference(site, pages):
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    words = pages[site / "commands.html"].text
    for registry in (CRITERION_REGISTRY, TASK_REGISTRY, MODEL_REGISTRY):
        names = [n for n, c in registry.items() if c.__module__.startswith("genft_fairseq.")]
        assert names
        for name in names:
            assert re.search(rf"--(criterion|task|arch)\s+{name}$", words, re.MULTILINE), name

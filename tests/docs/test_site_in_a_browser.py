"""The site in a real browser: it shows its mathematics, light and dark, and fetches nothing."""

import shutil
from pathlib import Path

import pytest
from docs.site_pages import Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGES = ("index.html", "mathematics.html", "commands.html", "source/README.md.html")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages(site: Path, scheme):
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme)
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
            ),
        )
        for name in PAGES:
            page.goto((site / name).as_uri())
            formulas = page.locator("math")
            assert formulas.count() == Page(site / name).tags.get("math", 0)
            heights = formulas.evaluate_all("all => all.map(one => one.clientHeight)")
            assert all(height > 5 for height in heights)
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        browser.close()
    assert wrong == []

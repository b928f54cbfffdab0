"""The page in a real browser: it renders, sorts, switches, prints, and asks for nothing.

Needs playwright, which the extra ``dev`` has, and a Chromium (Debian: apt install chromium).
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report.run_maker import DONE, generated, make_run

from genft_fairseq.report.gather import gather
from genft_fairseq.report.page import html_page

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# Without a sandbox, which root cannot have; and none of the browser's own calls.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
STUDY = Path(__file__).parents[2] / "examples" / "strategy_study" / "results.json"
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt install chromium, or set CHROMIUM=/path/to/it"
)


class Tab:
    """A tab of the browser, and what it asked for and complained of."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        self.page = browser.new_context(offline=True, **settings).new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path) -> Any:
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    references = [f"the cat number {i} sat on the mat" for i in range(9)]
    worse = [text.replace("sat on the", "sat sat sat sat") for text in references]
    for name, written in (
        ("standard", worse),
        ("scalegrad", references),
        ("auxiliary", worse[::-1]),
    ):
        for seed in (1, 2):
            run = make_run(root / f"seed-{seed}" / name, {10: 5.0, 20: 4.0 + seed / 10}, seed=seed)
            (run / "generate-test.txt").write_text(generated(written, references))
    page = root / "report.html"
    page.write_text(html_page(gather([str(root)])), encoding="utf-8")
    return page


def first_column(page: Any) -> list[str]:
    names = page.locator("#scores figure:first-of-type tbody th").all_inner_texts()
    return [name.split()[0] for name in names]


def test_it_renders_and_asks_for_nothing(browser: Any, path: Path) -> None:
    tab = Tab(browser)
    page = tab.open(path)
    assert page.locator("h1").is_visible()
    for section in ("scores", "curves", "repetition", "samples", "runs"):
        assert page.locator(f"#{section} h2").is_visible(), section
    visible = page.locator("figure.plot svg:visible")
    assert visible.count() >= 5
    for box in visible.evaluate_all("all => all.map(svg => svg.getBoundingClientRect().height)"):
        assert box > 100
    # a line of a plot really has a way to go
    lines = page.locator("figure.plot svg:visible path[clip-path]")
    assert max(lines.evaluate_all("all => all.map(path => path.getTotalLength())")) > 50
    assert page.locator("#samples mark.repeated").count() > 0
    assert page.locator("#samples mark.error").count() > 0
    assert (tab.asked, tab.complaints) == ([path.as_uri()], [])


def test_tables_sort_by_any_column_and_back(browser: Any, path: Path) -> None:
    page = Tab(browser).open(path)
    assert first_column(page) == ["auxiliary", "scalegrad", "standard"]
    heading = page.locator("#scores figure:first-of-type thead button", has_text="chrF")
    heading.click()
    ascending = first_column(page)
    assert ascending[-1] == "scalegrad"
    assert heading.locator("..").get_attribute("aria-sort") == "ascending"
    heading.click()
    assert first_column(page)[0] == "scalegrad"
    page.locator("#scores figure:first-of-type thead button").first.click()
    assert first_column(page) == ["auxiliary", "scalegrad", "standard"]


def test_curves_against_updates_or_time(browser: Any, path: Path) -> None:
    page = Tab(browser).open(path)
    assert page.locator(".by-updates:visible").count() == page.locator(".by-updates").count() > 0
    assert page.locator(".by-seconds:visible").count() == 0
    page.locator("input[value=seconds]").check()
    assert page.locator(".by-updates:visible").count() == 0
    assert page.locator(".by-seconds:visible").count() > 0


@pytest.mark.parametrize("width", [1280, 1000, 400])
@pytest.mark.parametrize("of", ["a comparison", "runs"])
def test_every_width_has_room_for_names(
    browser: Any, path: Path, tmp_path: Path, width: int, of: str
) -> None:
    """The page never is wider than the window; what does not fit scrolls within its table."""
    shown = path
    if of == "a comparison":
        shown = tmp_path / "report.html"
        shown.write_text(html_page(gather([str(STUDY)])), encoding="utf-8")
    page = Tab(browser, viewport={"width": width, "height": 900}).open(shown)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    names = page.locator("#scores tbody th, #scores thead th:first-child")
    widths = names.evaluate_all("all => all.map(cell => cell.getBoundingClientRect().width)")
    assert min(widths) >= 128  # 8 letters and the mark of the colour
    # of words as short as these no letter stands alone on its line
    heights = page.locator("#scores thead th:first-child button").evaluate_all(
        "all => all.map(button => button.getClientRects().length)"
    )
    assert set(heights) == {1}
    if width == 1280:
        inside = page.locator(".scroll").evaluate_all(
            "all => all.map(box => box.scrollWidth - box.clientWidth)"
        )
        assert max(inside) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Any, path: Path, scheme: str) -> None:
    page = Tab(browser, color_scheme=scheme).open(path)

    def brightness(name: str) -> int:
        colour = page.evaluate(f"getComputedStyle(document.body).{name}")
        return sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(",")))

    def is_dark() -> bool:
        return brightness("backgroundColor") < brightness("color")

    assert is_dark() == (scheme == "dark")
    # the letters of a plot are the page's
    fill = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert fill == page.evaluate("getComputedStyle(document.body).color")
    page.locator("#theme").click()
    assert is_dark() == (scheme == "light")


def test_it_prints_whole(browser: Any, path: Path) -> None:
    page = Tab(browser, color_scheme="dark").open(path)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_without_scripts_everything_is_there(browser: Any, path: Path) -> None:
    page = Tab(browser, java_script_enabled=False).open(path)
    assert page.locator("#scores table").count() == 2
    assert page.locator(".by-updates").first.is_visible()
    assert not page.locator("#theme").is_visible()


def test_a_run_that_is_going_refreshes(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {10: 5.0}, end=[])
    path = tmp_path / "report.html"
    path.write_text(html_page(gather([str(run)]), refresh=1), encoding="utf-8")
    tab = Tab(browser)
    page = tab.open(path)
    page.locator("#scores thead button").nth(1).click()
    assert page.locator("#scores td").first.inner_text() == "10"
    make_run(tmp_path / "again", {10: 5.0, 20: 4.0}, end=[DONE])
    (run / "train.log").write_text((tmp_path / "again" / "train.log").read_text())
    path.write_text(html_page(gather([str(run)]), refresh=1), encoding="utf-8")
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator("#scores td").first).to_have_text("20", timeout=20_000)
    # what the reader chose is kept; and a page of a finished run stays as it is
    assert page.locator("#scores th[aria-sort]").count() == 1
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    assert set(tab.asked) == {path.as_uri()} and tab.complaints == []

"""The report's forms: HTML that needs nothing else, Markdown, PNG, JSON."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from report.run_maker import generated, make_run

from genft_fairseq.report.gather import Report, gather
from genft_fairseq.report.page import escaped, html_page, write_report
from genft_fairseq.report.plots import plots

EVIL = "<script>alert(1)</script>"
CRASH = ["Traceback (most recent call last):", f"RuntimeError: {EVIL} out of memory"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two systems over two seeds, one of whose runs crashed."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        for name, own in (("mle", "accuracy"), ("$scale_grad$ & <b>", "seen_mass")):
            end = CRASH if (seed, name) == (2, "mle") else ("| done training in 3 seconds",)
            folder = root / f"seed-{seed}" / name
            run = make_run(folder, {10: 5.0, 20: 4.0 + 0.1 * seed}, seed=seed, own=own, end=end)
            written = [f"a b a b {EVIL}", "c d"]
            (run / "generate-test.txt").write_text(generated(written, ["a b", "c d"], [EVIL, "s"]))
    return gather([str(root)])


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html_page(report)


class Elements(HTMLParser):
    """Every element with its attributes, and every text, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_is_fetched(page: str) -> None:
    elements = Elements(page).found
    linked = [a.get(name) or "" for _, a in elements for name in ("src", "href", "xlink:href")]
    assert {link[:1] for link in linked if link} <= {"#", "d"}  # within the page, or data:
    assert not re.search(r"url\((?!#)|@import", page)
    policies = [a["content"] or "" for tag, a in elements if "content" in a and "http-equiv" in a]
    assert any(policy.startswith("default-src 'none';") for policy in policies)


def test_ids_are_unique_and_references_exist(page: str) -> None:
    elements = Elements(page).found
    ids = [a["id"] for _, a in elements if a.get("id")]
    assert len(ids) == len(set(ids))
    linked = {(a.get("href") or a.get("xlink:href") or "") for _, a in elements}
    assert {link[1:] for link in linked if link.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)


def test_text_of_runs_is_text(page: str) -> None:
    assert EVIL not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert [tag for tag, _ in Elements(page).found].count("script") == 1


def test_a_crash_is_shown_with_the_end_of_its_log(page: str) -> None:
    (trouble,) = re.findall(r'<section class="trouble".*?</section>', page, re.DOTALL)
    assert "mle" in trouble and "out of memory" in trouble
    assert 'http-equiv="refresh"' not in page


def test_every_curve_is_there_against_updates_and_time(report: Report) -> None:
    drawn = [(plot.title, plot.by) for plot in plots(report)]
    assert len(set(drawn)) == len(drawn)
    by_updates, by_seconds = ({t for t, by in drawn if by == b} for b in ("updates", "seconds"))
    # Losses and perplexity, and of the two methods a figure each.
    assert len(by_updates & by_seconds) >= 5
    assert {by for _, by in drawn} > {"updates", "seconds"}  # repetition is against n


def test_json_has_no_nan(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {10: float("inf"), 20: float("nan"), 30: 3.0})
    write_report(gather([str(run)]), tmp_path / "r.json")
    found = json.loads(
        (tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    losses = [line["nll_loss"] for line in found["runs"][0]["training"].values()]
    assert losses == [None, None, 3.0]


def test_lines_end_where_json_says(tmp_path: Path) -> None:
    evaluation = {"path": "x", "split": "test", "exact_match": 0.5}
    (tmp_path / "answers.json").write_text(json.dumps(evaluation))
    row = {"question": "q\u2028\x85", "prediction": "p", "answers": ["a"], "f1": 0.0}
    (tmp_path / "answers.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n\n")
    (systems,) = gather([str(tmp_path)]).decoded.values()
    assert [text.source for e in systems.values() for text in e.texts] == ["q\u2028\x85"]


def curves(report: Report) -> list[dict[str, list[list[float]]]]:
    """What each plot against updates draws: points by the name of the line."""
    found = []
    for plot in plots(report):
        if plot.by == "updates":
            axis = Figure().subplots()
            plot.draw(axis)
            lines = axis.get_lines()
            found.append({str(line.get_label()): line.get_xydata().tolist() for line in lines})
    return found


def test_validation_bleu(tmp_path: Path) -> None:
    report = gather([str(make_run(tmp_path / "run", {10: 5.0, 20: 4.0}, bleu=True))])
    assert {"run": [[10, 1.0], [20, 2.0]]} in curves(report)


def test_what_is_logged_now_and_then_goes_along_straight_lines(tmp_path: Path) -> None:
    make_run(tmp_path / "seed-1" / "run", {10: 5.0, 30: 3.0})
    make_run(tmp_path / "seed-2" / "run", {10: 5.0, 20: 5.0}, seed=2)
    # at 20 the first seed is on its way from 5.5 to 3.5; at 30 it is alone
    assert {"run": [[10, 5.5], [20, 5.0], [30, 3.5]]} in curves(gather([str(tmp_path)]))


def test_the_curve_is_the_mean_over_seeds(report: Report) -> None:
    found = [lines["mle"] for lines in curves(report) if "mle" in lines]
    want = [[10, 5.5], [20, (4.6 + 4.7) / 2]]
    assert any(np.shape(line) == (2, 2) and np.allclose(line, want) for line in found)


def test_svg_takes_the_colours_of_the_page(page: str) -> None:
    assert "currentColor" in page and "var(--grid)" in page
    assert "#101112" not in page and "#909192" not in page
    assert page.count('<svg role="img" aria-label=') == page.count("<svg")


def test_a_run_that_is_going_makes_the_page_read_itself_again(tmp_path: Path) -> None:
    report = gather([str(make_run(tmp_path / "run", end=[]))])
    assert report.is_running
    assert '<meta http-equiv="refresh" content="7">' in html_page(report, refresh=7)


def test_markdown(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    pictures = re.findall(r"\]\(<(r-plots/[^>]*)>\)", text)
    assert len(pictures) == len({plot.name for plot in plots(report) if plot.by != "seconds"})
    for picture in pictures:
        assert Image.open(tmp_path / picture).size[0] > 500
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = [line.replace("\\|", "") for line in rows]
    assert len({line.count("|") for line in tables if "BLEU" in line or "mle |" in line}) <= 2
    assert "⟦" in text and "out of memory" in text
    assert "\\<script\\>alert(1)" in text
    assert escaped("a|b\nc*") == "a\\|b c\\*"


def test_png_and_json(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r.png")
    assert Image.open(tmp_path / "r.png").format == "PNG"
    write_report(report, tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert [run["state"] for run in found["runs"]].count("crashed") == 1
    assert found["runs"][0]["validation"]["10"]["nll_loss"] == 5.5
    assert found["tables"][0]["rows"][0].keys() == {
        *("name", "figures", "intervals", "p_values", "recipe", "unlike", "note", "is_whole"),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.png"]

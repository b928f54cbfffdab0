"""What ``genft report`` reads, damaged: reported as far as it can be read, or refused in a line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from trust.damage import as_json, assert_read_or_refused, changed, damaged, fuzz
from trust.test_text_readers import BEGINNING, FINISHED, GENERATED, LOG

from genft_fairseq.cli import genft
from genft_fairseq.report.gather import gather
from genft_fairseq.report.page import json_text

COMPARISON = Path(__file__).parents[2] / "examples" / "strategy_study" / "results.json"
RUN = {
    **{"train.log": LOG, "generate-test.txt": GENERATED, "command": "fairseq-train data --lr 1\n"},
    **{"finished": json.dumps(FINISHED), "genft.json": json.dumps(BEGINNING)},
}
few = settings(fuzz, max_examples=max(12, fuzz.max_examples // 3))


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """Figures of answers, and the results of a comparison, as their commands write them."""
    folder = tmp_path_factory.mktemp("figures")
    (folder / "answers.txt").write_text("me\n")
    example = {"question": "?", "answers": ["me"], "ctxs": [{"title": "t", "text": "me"}]}
    (folder / "examples.json").write_text(json.dumps(example))
    words = ["--predictions-from", "answers.txt", "--references", "examples.json"]
    words = [word if word.startswith("-") else str(folder / word) for word in words]
    output = ["--output", str(folder / "figures.json")]
    done = CliRunner().invoke(genft, ["evaluate-qa", *words, *output], catch_exceptions=False)
    assert done.exit_code == 0
    return {
        "figures.json": json.loads((folder / "figures.json").read_text()),
        "results.json": json.loads(COMPARISON.read_text()),
    }


def report(*paths: Path) -> str:
    return json_text(gather(list(map(str, paths)), baseline=None, different_data=False))


def test_good_files_are_reported(values, folder):
    for name, value in values.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "run").mkdir()
    for file, content in RUN.items():
        (folder / "run" / file).write_text(content)
    for name, held in (("figures.json", "exact"), ("results.json", "bleu"), ("run", "nll_loss")):
        assert held in report(folder / name)


@pytest.mark.parametrize("name", ["figures.json", "results.json"])
@few
@given(data=st.data())
def test_damaged_results(name, values, folder, data):
    path = folder / name
    good = json.dumps(values[name])
    kind = data.draw(st.sampled_from(["bytes", "values"]))
    odd = damaged(good.encode()) if kind == "bytes" else changed(values[name]).map(as_json)
    path.write_bytes(data.draw(odd))
    assert_read_or_refused(lambda: report(path), path, folder=folder)


@pytest.mark.parametrize("name", RUN)
@few
@given(data=st.data())
def test_damaged_runs(name, folder, data):
    run = folder / "run"
    run.mkdir(exist_ok=True)
    for file, content in RUN.items():
        (run / file).write_text(content)
    (run / name).write_bytes(data.draw(damaged(RUN[name].encode())))
    assert_read_or_refused(lambda: report(run), run, folder=folder)

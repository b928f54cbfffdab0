"""What an argument of ``genft report`` stands for: runs, their names and seeds."""

import json
import os
from pathlib import Path

import pytest
from refusals import refuses
from report.run_maker import generated, language_model_evaluation, make_run

from genft_fairseq.report.gather import gather
from genft_fairseq.report.run_folders import find


def names(argument: str) -> list[tuple[str, int | None]]:
    return [(run.name, run.seed) for one in find(argument) for run in one.runs]


def test_a_run_is_called_by_its_folder_or_by_its_user(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scalegrad")
    assert names(str(run)) == [("scalegrad", None)]
    assert names(f"gamma 0.2={run}") == [("gamma 0.2", None)]


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    run = make_run(tmp_path / "lr=0.1")
    assert names(str(run)) == [("lr=0.1", None)]


def test_runs_below_a_folder_are_called_without_their_seed(tmp_path: Path) -> None:
    for seed in (1, 22):
        for name in ("mle", "sub/scalegrad"):
            make_run(tmp_path / f"seed-{seed}" / name)
    found = [("mle", 1), ("sub/scalegrad", 1), ("mle", 22), ("sub/scalegrad", 22)]
    assert names(str(tmp_path)) == found
    assert names(str(tmp_path / "seed-22" / "mle")) == [("mle", 22)]
    assert names(str(tmp_path / "seed-22")) == [("mle", 22), ("sub/scalegrad", 22)]


def test_what_lies_inside_a_run_is_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mle")
    make_run(run / "earlier")
    (tmp_path / ".hidden").mkdir()
    assert names(str(tmp_path)) == [("mle", None)]


def test_texts_alone_are_a_run_too(tmp_path: Path) -> None:
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "generate-test.txt").write_text(generated(["a"], ["a"]))
    (tmp_path / "gpt2").mkdir()
    evaluation = language_model_evaluation(["a b"], ["c d"])
    (tmp_path / "gpt2" / "evaluation.json").write_text(json.dumps(evaluation))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "settings.json").write_text("{}")
    assert names(str(tmp_path)) == [("google", None), ("gpt2", None)]
    assert names(str(tmp_path / "gpt2" / "evaluation.json")) == [("evaluation", None)]


def test_a_log_is_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mle")
    ((found,),) = [one.runs for one in find(str(run / "train.log"))]
    assert (found.name, found.log, found.folder) == ("train", run / "train.log", None)


def test_the_results_of_a_comparison(tmp_path: Path) -> None:
    results = {"systems": {"standard": {}}, "config": {}, "side_by_side": {}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert find(str(tmp_path))[0].comparison == results
    assert find(str(tmp_path / "results.json"))[0].comparison == results


@pytest.mark.parametrize("where", ["missing", "empty", "text.json", "list.json", "broken.json"])
def test_nothing_to_report_is_an_error_that_names_the_path(tmp_path: Path, where: str) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "text.json").write_text('{"path": 1}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    with refuses(tmp_path / where):
        find(str(tmp_path / where))


def test_links_are_followed_once(tmp_path: Path) -> None:
    make_run(tmp_path / "disk" / "mle")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "disk" / "mle")
    (tmp_path / "runs" / "back").symlink_to(tmp_path / "runs")
    assert names(str(tmp_path / "runs")) == [("linked", None)]


def test_a_log_is_known_by_a_line_of_training_too(tmp_path: Path) -> None:
    line = "2026 | INFO | train_inner | epoch 001: 1 / 9 loss=5, num_updates=1"
    (tmp_path / "cut.log").write_text(f"{line}\n")
    assert names(str(tmp_path / "cut.log")) == [("cut", None)]


def test_other_texts_are_no_logs(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("error: not a log\n")
    with refuses(tmp_path / "README.md"):
        find(str(tmp_path / "README.md"))


def test_pipes_and_folders_among_the_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mle")
    for name in ("x.json", "generate-a.txt", "lock"):
        os.mkfifo(run / name)
    (run / "generate-b.txt").mkdir()
    assert gather([str(tmp_path)]).trainings[0].state == "finished"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    make_run(Path(os.fsdecode(os.fsencode(tmp_path) + b"/run\xff")))
    assert names(str(tmp_path)) == [("run\ufffd", None)]

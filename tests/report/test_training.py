"""What a run's folder tells: curves, cost, data, command."""

import json
from pathlib import Path

import numpy as np
import pytest
from refusals import refuses
from report.run_maker import DONE, checkpoint, data_folder, log_lines, make_run

from genft_fairseq.report.gather import require_one_data_set
from genft_fairseq.report.run_folders import find
from genft_fairseq.report.training import Training, read_data, read_training


def read(folder: Path) -> Training:
    ((found,),) = [one.runs for one in find(str(folder))]
    return read_training(found)


def test_figures_command_seed_versions(tmp_path: Path) -> None:
    training = read(make_run(tmp_path / "run", {10: 5.0, 20: 4.0}, seed=7))
    assert training.metrics("training")[20]["nll_loss"] == 4.0
    assert training.metrics("validation")[10]["nll_loss"] == 5.5
    assert training.method_metrics() == {"seen_mass"}
    assert training.found.seed == 7
    assert training.command is not None and training.command.startswith("fairseq-train data-bin/x")
    assert training.versions == "python 3.11.7, torch 2.13.0"
    assert training.data is not None and "data-bin/x" in str(training.data)


def test_cost_of_a_finished_run(tmp_path: Path) -> None:
    finished = {"updates": 30, "train_seconds": 60.0, "peak_memory_mib": 700.0, "checkpoints": []}
    training = read(make_run(tmp_path / "run", finished=finished))
    assert training.cost["seconds_per_update"] == 2.0
    assert training.cost["peak_memory_mib"] == 700.0


def test_time_by_checkpoints_or_by_the_wall_clock(tmp_path: Path) -> None:
    points = [{"updates": 10, "train_seconds": 5.0}, {"updates": 30, "train_seconds": 25.0}]
    finished = {"updates": 30, "train_seconds": 25.0, "checkpoints": points}
    known = read(make_run(tmp_path / "known", finished=finished))
    assert known.seconds_at()(np.array([5, 20])).tolist() == [2.5, 15.0]
    logged = read(make_run(tmp_path / "logged"))  # wall = updates / 2
    assert logged.seconds_at()(np.array([5, 20])).tolist() == [2.5, 10.0]


def test_the_wall_clock_of_a_resumed_run_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {10: 5.0, 20: 4.0})
    log = run / "train.log"
    log.write_text(log.read_text().replace("wall=10", "wall=2"))  # the second began anew
    assert read(run).seconds_at()(np.array([10, 20])).tolist() == [5.0, 7.0]


def test_what_a_killed_run_had_beyond_its_checkpoint_is_gone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {20: 5.0, 40: 4.0, 50: 3.0}, end=[])
    with (run / "train.log").open("a") as log:
        log.write("\n".join([*log_lines({30: 4.5, 35: 4.2}), DONE]))
    training = read(run)
    assert (
        list(training.metrics("training")) == list(training.metrics("validation")) == [20, 30, 35]
    )
    assert training.cost["updates"] == 35


def test_the_wall_clock_is_scaled_to_what_the_checkpoint_knows(tmp_path: Path) -> None:
    finished = {"updates": 30, "train_seconds": 60.0, "checkpoints": []}  # the log: 15
    training = read(make_run(tmp_path / "run", finished=finished))
    assert training.seconds_at()(np.array([10, 30])).tolist() == [20.0, 60.0]


def test_logs_of_other_formats(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = {"epoch": 1, "loss": "5.5", "nll_loss": "5.0", "num_updates": "10", "odd": "mass"}
    validation = {"valid_nll_loss": "4.5", "valid_num_updates": "10", "valid_bleu": "3"}
    (run / "train.log").write_text(
        f"2026 | INFO | train_inner | {json.dumps(metrics)}\n"
        f"2026 | INFO | valid | {json.dumps(validation)}\n"
        "2026 | INFO | train_inner | {broken}\n"
    )
    training = read(run)
    assert training.metrics("training")[10]["nll_loss"] == 5.0
    assert training.metrics("validation")[10] == {"nll_loss": 4.5, "num_updates": 10, "bleu": 3}
    (run / "train.log").write_text(
        "2026 | INFO | train | epoch 001 | loss 5.5 | nll_loss 5 | num_updates 40 | wall 9\n"
    )
    assert read(run).metrics("training") == {
        40: {"epoch": 1.0, "loss": 5.5, "nll_loss": 5.0, "num_updates": 40.0, "wall": 9.0}
    }


def test_a_run_without_anything_but_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"")
    training = read(tmp_path)
    assert (training.command, training.data, training.cost) == (None, None, {})


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"optimization__max_update": 40}, "finished"),
        ({"optimization__max_update": 30}, "finished"),
        ({"optimization__max_update": 41}, "no log"),
        ({"optimization__max_epoch": 2, "train_iterator__epoch": 3}, "finished"),
        ({"optimization__max_epoch": 2, "train_iterator__epoch": 2}, "no log"),
        ({"optimization__max_update": 0, "optimization__max_epoch": 0}, "no log"),
        ({}, "no log"),
    ],
)
@pytest.mark.parametrize("name", ["checkpoint_last.pt", "checkpoint_best.pt"])
def test_a_run_without_a_log_is_as_far_as_its_checkpoint_says(
    tmp_path: Path, settings: dict[str, int], state: str, name: str
) -> None:
    checkpoint(tmp_path / name, 40, **settings)
    training = read(tmp_path)
    assert (training.state, training.cost["updates"]) == (state, 40)
    assert training.last_lines == []


def test_the_log_of_decoding_is_not_that_of_training(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoint_last.pt", 40, optimization__max_update=40)
    decoding = "2026-01-01 00:00:00 | INFO | fairseq_cli.generate | loading model(s)\n"
    (tmp_path / "generate.log").write_text(decoding)
    training = read(tmp_path)
    assert (training.state, training.found.log) == ("finished", None)
    (tmp_path / "mine.log").write_text("\n".join([*log_lines({30: 4.0}), DONE]))
    training = read(tmp_path)
    assert training.found.log == tmp_path / "mine.log" and training.cost["updates"] == 40


def test_a_best_checkpoint_is_older_than_what_the_log_tells(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {10: 5.0, 20: 4.0})
    checkpoint(run / "checkpoint_best.pt", 10)
    assert read(run).cost["updates"] == 20


def test_a_checkpoint_that_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_last.pt").write_bytes(b"half")
    training = read(tmp_path)
    assert (training.state, training.recipe, training.cost) == ("no log", None, {})


def test_the_fingerprint_is_of_the_binarized_files(tmp_path: Path) -> None:
    one = read_data(str(data_folder(tmp_path / "one")), tmp_path)
    same = read_data(str(data_folder(tmp_path / "same")), tmp_path)
    other = read_data(str(data_folder(tmp_path / "other", b"1 2 4")), tmp_path)
    (tmp_path / "same" / "notes.txt").write_text("raw text does not count")
    assert one.identity == same.identity == read_data(same.path, tmp_path).identity
    assert one.identity != other.identity
    shards = read_data(f"{one.path}:{other.path}", tmp_path)
    assert shards.identity not in (one.identity, other.identity)
    (tmp_path / "one" / "dict.en.txt").write_text("a 2\n")
    assert read_data(one.path, tmp_path).identity != one.identity


def test_a_relative_path_is_looked_for_above_the_run(tmp_path: Path) -> None:
    data_folder(tmp_path / "data-bin" / "x")
    training = read(make_run(tmp_path / "runs" / "deep" / "mle"))
    assert training.data is not None and training.data.sha256 is not None


def test_each_run_finds_the_data_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for project in ("a", "b"):
        data_folder(tmp_path / project / "data-bin" / "x", project.encode())
        runs.append(make_run(tmp_path / project / "runs" / "mle"))
    monkeypatch.chdir(tmp_path / "a")
    with refuses("--different-data"):
        require_one_data_set([read(run) for run in runs])


def test_runs_on_different_data_are_refused(tmp_path: Path) -> None:
    data_folder(tmp_path / "a")
    data_folder(tmp_path / "b", b"other")
    runs = [read(make_run(tmp_path / f"run-{n}", data=str(tmp_path / n))) for n in "ab"]
    with refuses("run-a", tmp_path / "a", "run-b", tmp_path / "b", "--different-data"):
        require_one_data_set(runs)
    require_one_data_set([runs[0], runs[0]])

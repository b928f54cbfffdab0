"""How a run was trained: by what strategy, from where, and how far."""

import json
from pathlib import Path

import pytest
from report.run_maker import checkpoint, make_run

from genft_fairseq.report.run_folders import find
from genft_fairseq.report.training import Recipe, read_training


def recipe(folder: Path) -> Recipe | None:
    ((found,),) = [one.runs for one in find(str(folder))]
    return read_training(found).recipe


def start_file(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("flags", "is_standard"),
    [
        ("--criterion label_smoothed_cross_entropy --label-smoothing 0.1", True),
        ("--criterion=cross_entropy", True),
        ("--lr 1", True),  # fairseq-train's own default
        ("--criterion cross_entropy --criterion scalegrad", False),
        ("--criterion unlikelihood", False),
        ("--task scheduled_sampling_translation --criterion cross_entropy", False),
    ],
)
def test_the_strategy_is_told_by_the_flags(tmp_path: Path, flags: str, is_standard: bool) -> None:
    found = recipe(make_run(tmp_path / "run", flags=flags))
    assert found == Recipe(is_standard, None, 30)


def test_the_strategy_is_told_by_the_record_and_by_the_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", flags="--criterion scalegrad")
    checkpoint(run / "checkpoint_last.pt", 30, criterion___name="cross_entropy")
    assert recipe(run) == Recipe(True, None, 30)
    record = {"strategy": "scalegrad", "baseline": {"path": "b.pt", "sha256": "0" * 64}}
    (run / "genft.json").write_text(json.dumps(record))
    found = recipe(run)
    assert found and (found.is_standard, found.start and found.start.path) == (False, "b.pt")


@pytest.mark.parametrize("by", ["command", "checkpoint"])
@pytest.mark.parametrize("flag", ["finetune-from-model", "restore-file"])
def test_a_start_is_known_by_its_content(tmp_path: Path, by: str, flag: str) -> None:
    """Two paths to the same bytes are one start; two contents are two."""
    found = []
    begun = {n: checkpoint(tmp_path / "starts" / f"{n}.pt", n).read_bytes() for n in (10, 20)}
    for name, content in (("a", begun[10]), ("b", begun[10]), ("c", begun[20])):
        start = start_file(tmp_path / f"{name}.pt", content)
        flags = f"--{flag} {start}" if by == "command" else "--lr 1"
        run = make_run(tmp_path / name, flags=flags)
        if by == "checkpoint":
            settings = {f"checkpoint__{flag.replace('-', '_')}": str(start)}
            checkpoint(run / "checkpoint_last.pt", 30, **settings)
        found.append(recipe(run))
    one, same, other = found
    assert one and same and other
    assert one.differences(same) == []
    # A restored run counts on from the updates of its start.
    assert len(one.differences(other)) == (2 if flag == "restore-file" else 1)


@pytest.mark.parametrize("by", ["command", "checkpoint"])
def test_updates_are_those_since_the_start(tmp_path: Path, by: str) -> None:
    """A restored run counts on from its start; one that is fine-tuned, or reset, begins at 0."""
    start = checkpoint(tmp_path / "start.pt", 60)
    found = {}
    for name, flags in {
        "restored": {"restore_file": str(start)},
        "reset": {"restore_file": str(start), "reset_optimizer": True},
        "finetuned": {"finetune_from_model": str(start)},
        "gone": {"restore_file": "gone.pt"},
    }.items():
        words = [
            f"--{flag.replace('_', '-')}{'' if value is True else f' {value}'}"
            for flag, value in flags.items()
        ]
        run = make_run(
            tmp_path / name, {100: 3.0}, flags=" ".join(words) if by == "command" else "--lr 1"
        )
        if by == "checkpoint":
            settings = {f"checkpoint__{flag}": value for flag, value in flags.items()}
            checkpoint(run / "checkpoint_last.pt", 100, **settings)
        told = recipe(run)
        assert told
        found[name] = told.updates
    assert found == {"restored": 40, "reset": 100, "finetuned": 100, "gone": None}
    checkpoint(start, 200)  # trained further since
    told = recipe(tmp_path / "restored")
    assert told and told.updates is None


def test_a_start_that_is_gone_is_known_by_its_path(tmp_path: Path) -> None:
    one, same, other = (
        recipe(make_run(tmp_path / f"{i}", flags=f"--finetune-from-model {start}"))
        for i, start in enumerate(("gone.pt", "gone.pt", "else.pt"))
    )
    assert one and same and other
    assert one.differences(same) == [] and len(one.differences(other)) == 1
    scratch = recipe(make_run(tmp_path / "scratch"))
    assert scratch and len(one.differences(scratch)) == 1


def test_a_relative_start_is_looked_for_above_the_run(tmp_path: Path) -> None:
    start_file(tmp_path / "base" / "checkpoint_best.pt")
    flags = "--finetune-from-model base/checkpoint_best.pt"
    found = recipe(make_run(tmp_path / "runs" / "deep" / "x", flags=flags))
    assert found and found.start and len(found.start.sha256) == 64


def test_updates_are_part_of_it(tmp_path: Path) -> None:
    few, many = (recipe(make_run(tmp_path / f"{n}", {n: 3.0})) for n in (10, 20))
    assert few and many and len(few.differences(many)) == 1
    unknown = Recipe(True, None, None)
    assert unknown.differences(unknown)  # nothing says that they are the same


def test_nothing_is_known_of_settings_in_other_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "command").write_text("fairseq-hydra-train --config-name x\n")
    assert recipe(run) is None

"""``genft average-checkpoints``: the mean, what is refused, and a result that fairseq reads."""

import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq_commands import TINY_TRANSLATION, USER_DIR, Done, parameters, run, train
from genft_process import genft
from refusals import assert_refused, refuses

from genft_fairseq.convert import averaging
from genft_fairseq.convert.averaging import (
    average_checkpoints,
    newest_checkpoints,
    write_checkpoint,
)


def checkpoint(path: Path, **model: object) -> Path:
    """A file in the layout of fairseq's own."""
    state = {
        "args": None,
        "cfg": {"model": {"arch": "transformer"}},
        "model": model,
        "optimizer_history": [{"num_updates": int(path.stem[-1])}],
        "last_optimizer_state": {"state": torch.zeros(1000)},
        "extra_state": {"epoch": 1},
    }
    torch.save(state, path)
    return path


def averaged(*paths: Path) -> dict[str, torch.Tensor]:
    return average_checkpoints(paths)["model"]


def average(*arguments: object) -> Done:
    return genft("average-checkpoints", *arguments)


def test_the_mean_by_hand(tmp_path):
    a = checkpoint(tmp_path / "a1.pt", w=torch.tensor([[1.0, -2.0], [0.5, 8.0]]), b=torch.ones(1))
    b = checkpoint(tmp_path / "b2.pt", w=torch.tensor([[2.0, -4.0], [1.0, 0.0]]), b=torch.ones(1))
    c = checkpoint(tmp_path / "c3.pt", w=torch.tensor([[6.0, -3.0], [0.0, 1.0]]), b=torch.ones(1))
    mean = averaged(a, b, c)
    assert mean["w"].tolist() == [[3.0, -3.0], [0.5, 3.0]]
    assert mean["w"].dtype == torch.float32
    assert set(mean) == {"w", "b"}


def test_half_precision_is_summed_in_double_and_kept(tmp_path):
    """40,000 + 40,000 is infinite in fp16, and 1 + 0.001 is 1 in bf16; their means are not."""
    paths = [
        checkpoint(
            tmp_path / f"{i}.pt",
            h=torch.tensor([40_000.0], dtype=torch.float16),
            b=torch.tensor([value], dtype=torch.bfloat16),
        )
        for i, value in enumerate([1.0, 256.0, -254.0])
    ]
    mean = averaged(*paths)
    assert mean["h"].dtype == torch.float16 and mean["h"].item() == 40_000
    assert mean["b"].dtype == torch.bfloat16 and mean["b"].item() == 1


def test_what_is_no_parameter_is_the_last_ones(tmp_path):
    a = checkpoint(tmp_path / "a1.pt", w=torch.zeros(1), n=torch.tensor(3), empty=torch.empty(0))
    b = checkpoint(tmp_path / "b2.pt", w=torch.ones(1), n=torch.tensor(5), empty=torch.empty(0))
    state = average_checkpoints([a, b])
    assert state["model"]["n"].item() == 5 and state["model"]["n"].dtype == torch.int64
    assert state["model"]["empty"].numel() == 0
    assert state["cfg"] == {"model": {"arch": "transformer"}}
    assert state["optimizer_history"] == [{"num_updates": 2}]
    assert "last_optimizer_state" not in state


def test_tied_parameters_stay_tied(tmp_path):
    """Embeddings shared three ways are written once, as fairseq writes them."""
    paths = []
    for i in (1, 2):
        embedding = torch.full((500, 16), float(i))
        paths.append(checkpoint(tmp_path / f"{i}.pt", x=embedding, y=embedding, z=embedding + 1))
    output = tmp_path / "averaged.pt"
    write_checkpoint(average_checkpoints(paths), output)
    model = torch.load(output)["model"]
    assert model["x"].data_ptr() == model["y"].data_ptr() != model["z"].data_ptr()
    assert model["y"].eq(1.5).all() and model["z"].eq(2.5).all()
    assert output.stat().st_size < 2.2 * 500 * 16 * 4


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"w": torch.zeros(2, 3)}, ["b2.pt", " v"]),
        ({"w": torch.zeros(2, 3), "v": torch.zeros(1), "u": torch.zeros(1)}, ["a1.pt", " u"]),
        ({"w": torch.zeros(3, 2), "v": torch.zeros(1)}, ["w ", "(3, 2)", "(2, 3)"]),
        ({"w": torch.zeros(2, 3), "v": None}, ["v ", "(1,)"]),
    ],
    ids=["missing", "new", "shape", "no tensor"],
)
def test_another_model_is_refused(other, named, tmp_path):
    """With the first difference by name, and nothing written."""
    a = checkpoint(tmp_path / "a1.pt", w=torch.zeros(2, 3), v=torch.zeros(1))
    b = checkpoint(tmp_path / "b2.pt", **other)
    assert_refused(average(a, b, "--output", tmp_path / "averaged.pt"), *named)
    assert {path.name for path in tmp_path.iterdir()} == {"a1.pt", "b2.pt"}


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Malice:
        def __reduce__(self):
            return (Path(tmp_path / "harm").touch, ())

    good = checkpoint(tmp_path / "a1.pt", w=torch.zeros(1))
    bad = checkpoint(tmp_path / "b2.pt", w=torch.zeros(1), m=Malice())
    done = average(good, bad, "--output", tmp_path / "averaged.pt")
    assert_refused(done, bad, "GENFT_TRUST_CHECKPOINT")
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "averaged.pt").exists()


def test_other_files_are_refused(tmp_path):
    whole = checkpoint(tmp_path / "a1.pt", w=torch.zeros(100)).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[:-400])
    torch.save({"weights": 1}, tmp_path / "other.pt")
    checkpoint(tmp_path / "empty1.pt")
    for name in ("cut.pt", "other.pt", "empty1.pt"):
        done = average(tmp_path / name, "--output", tmp_path / "new" / "averaged.pt")
        assert_refused(done, tmp_path / name, unwritten=tmp_path / "new")


def test_nothing_half_written(tmp_path, monkeypatch):
    """A full disk leaves the old result and no other file."""
    output = tmp_path / "averaged.pt"
    output.write_bytes(b"old")

    def cut(state, path):
        Path(path).write_bytes(b"new, but")
        raise OSError("No space left on device")

    monkeypatch.setattr(averaging.torch, "save", cut)
    with refuses(output):
        write_checkpoint({}, output)
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


def names(*arguments: object) -> list[str]:
    return [path.name for path in newest_checkpoints(*arguments)]


def test_the_last_of_a_folder(tmp_path):
    """By number, not by name or time; the best and the last one are no further checkpoints."""
    others = ["checkpoint_best.pt", "checkpoint_last.pt", "checkpoint.best_loss_2.1.pt", "x.pt"]
    by_updates = ["checkpoint_1_900.pt", "checkpoint_1_1000.pt", "checkpoint_2_1100.pt"]
    for name in [*others, *reversed(by_updates)]:
        (tmp_path / name).touch()
    assert names(tmp_path, 2) == by_updates[1:]
    assert names(tmp_path, 3, "updates") == by_updates
    with refuses(tmp_path, 3, "--last", 4):
        names(tmp_path, 4)
    for epoch in (9, 10):
        (tmp_path / f"checkpoint{epoch}.pt").touch()
    with refuses("--by", "epochs", "updates"):
        names(tmp_path, 2)
    assert names(tmp_path, 2, "epochs") == ["checkpoint9.pt", "checkpoint10.pt"]
    assert names(tmp_path, 1, "updates") == ["checkpoint_2_1100.pt"]
    (tmp_path / "empty").mkdir()
    with refuses(tmp_path / "empty", 0, "--last", 1):
        names(tmp_path / "empty", 1)


def test_what_cannot_be_meant_is_refused(tmp_path):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    a = checkpoint(tmp_path / "a1.pt", w=torch.zeros(1))
    output = ("--output", tmp_path / "averaged.pt")
    assert_refused(average(run_folder, *output), run_folder, "--last")
    for arguments in ([a, "--last", 1], [run_folder, a], [run_folder, run_folder, "--last", 1]):
        assert_refused(average(*arguments, *output), "--last")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for written in (a, a / "below-a-file" / "averaged.pt", pipe):
        assert_refused(average(a, "--output", written), "--output", written)
    assert_refused(average(a, a, *output))
    assert parameters(a)["w"].item() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1.pt", "pipe", "run"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder, and a run of three updates with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("averaging")
    for split in ("train", "valid", "test"):
        for language in ("en", "de"):
            (folder / f"{split}.{language}").write_text("a b c\nc b a\nb c\n" * 8)
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    run(
        *("fairseq-preprocess", "-s", "en", "-t", "de", "--joined-dictionary", *prefixes),
        *("--destdir", folder / "data", "--user-dir", USER_DIR),
    )
    train(
        *(folder / "data", folder / "run", TINY_TRANSLATION),
        *("--criterion", "scalegrad", "--max-update", 3, "--save-interval-updates", 1),
        *("--max-tokens", 16),
    )
    return folder / "data", folder / "run"


def test_the_result_translates_and_is_tuned_from(trained, tmp_path):
    data, run_folder = trained
    output = tmp_path / "new" / "averaged.pt"
    done = average(run_folder, "--last", 2, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "checkpoint_1_2.pt" in done.stdout and "checkpoint_1_3.pt" in done.stdout
    two, three = (parameters(run_folder / f"checkpoint_1_{i}.pt") for i in (2, 3))
    for name, mean in parameters(output).items():
        torch.testing.assert_close(mean, ((two[name].double() + three[name]) / 2).float())
    assert output.stat().st_size < (run_folder / "checkpoint_1_3.pt").stat().st_size / 2
    made = run("fairseq-generate", data, "--user-dir", USER_DIR, "--path", output, "--cpu")
    assert made.stdout.count("\nH-") + made.stdout.startswith("H-") == 24
    train(
        *(data, tmp_path / "tuned", TINY_TRANSLATION, "--criterion", "unlikelihood"),
        *("--finetune-from-model", output, "--max-update", 1, "--lr", 0),
    )
    after = parameters(tmp_path / "tuned" / "checkpoint_last.pt")
    assert all(torch.equal(after[name], mean) for name, mean in parameters(output).items())


def test_a_namespace_of_an_older_fairseq_is_kept(tmp_path):
    path = checkpoint(tmp_path / "a1.pt", w=torch.zeros(1))
    state = torch.load(path, weights_only=False)
    torch.save({**state, "args": Namespace(arch="transformer"), "cfg": None}, path)
    assert average_checkpoints([path])["args"] == Namespace(arch="transformer")

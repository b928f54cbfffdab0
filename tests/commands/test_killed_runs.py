"""A run that is killed at any moment resumes, and ends as if nothing had happened.

SIGKILL leaves what is on the disk at that moment.  Every checkpoint found there must be whole, and
the last one must lead to the same parameters, bit for bit, as a run that nobody disturbs.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from fairseq.trainer import Trainer
from fairseq_commands import BIN, TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR
from forked_runs import TIMEOUT, ForkedRun, ranks

# Three batches an epoch.  At --save-interval-updates 2 a checkpoint is due within the first epoch,
# at its end, within the second, and (both for the interval and for the epoch) at its end.
TRAINING = [
    *("--optimizer", "adam", "--lr", "1e-2", "--clip-norm", 1, "--dropout", 0.2, "--seed", 3),
    *("--max-tokens", 2000, "--required-batch-size-multiple", 1, "--max-epoch", 2, "--cpu"),
    *("--log-format", "simple", "--log-interval", 1, "--num-workers", 0),
    *("--save-interval-updates", 2, "--keep-interval-updates", 1, "--keep-last-epochs", 1),
]
TRANSLATION = [*TINY_TRANSLATION, *TRAINING, "--batch-size", 30]
LANGUAGE_MODEL = [*TINY_LANGUAGE_MODEL, *TRAINING, "--batch-size", 13]
ROLLOUT = [
    *("--criterion", "generative_rollout", "--rollout-rate", 0.5, "--rollout-search", "sampling"),
    *("--save-interval-updates", 1, "--keep-best-checkpoints", 1),
]
SCHEDULED = [
    *("--task", "scheduled_sampling_translation", "--criterion", "scalegrad", "--gamma", 0.5),
    *("--gold-schedule", "inverse_sigmoid", "--gold-k", 3, "--mix", "sample"),
]
COMPLETIONS = [
    *("--criterion", "sequence_unlikelihood", "--sequence-rate", 0.5, "--sequence-ngram", 1),
    *("--sequence-prefix-length", 5, "--sequence-completion-length", 8),
]
# The data, the flags, and the number of processes.
CASES: dict[str, tuple[str, list[object], int]] = {
    "scalegrad": ("translation", [*TRANSLATION, "--criterion", "scalegrad"], 1),
    "scheduled_sampling": ("translation", [*TRANSLATION, *SCHEDULED], 1),
    "generative_rollout": ("translation", [*TRANSLATION, *ROLLOUT], 1),
    "sequence_unlikelihood": ("language_model", [*LANGUAGE_MODEL, *COMPLETIONS], 1),
    "accumulation": (
        "translation",
        [*TRANSLATION, "--criterion", "unlikelihood", "--update-freq", 2, "--max-epoch", 3],
        1,
    ),
    "two_processes": ("translation", [*TRANSLATION, *ROLLOUT, "--batch-size", 15], 2),
}


class Run:
    """A training command, which is started as often as it is killed."""

    def __init__(self, name: str, request: pytest.FixtureRequest, folder: Path):
        kind, flags, self.processes = CASES[name]
        data = request.getfixturevalue(f"{kind}_data")
        self.save, self.store = folder / "save", folder / "store"
        self.command = [data, "--user-dir", USER_DIR, *flags, "--save-dir", self.save]
        folder.mkdir(exist_ok=True)

    def start(self, prepare: Callable[[int], None] | None = None) -> ForkedRun:
        several = self.processes > 1
        commands = ranks(self.command, self.processes, self.store) if several else [self.command]
        return ForkedRun(commands, prepare)

    def checkpoints(self) -> list[dict]:
        """Every checkpoint of the folder, which must be whole."""
        return [loaded(path) for path in self.save.glob("*.pt")]

    def last(self) -> dict:
        return loaded(self.save / "checkpoint_last.pt")


def loaded(path: Path) -> dict:
    try:
        state = torch.load(path, weights_only=False)
    except Exception as error:
        pytest.fail(f"{path.name} is not whole: {error}")
    assert "model" in state, path.name
    return state


def updates(state: dict) -> int:
    return state["optimizer_history"][-1]["num_updates"]


def what_goes_on(state: dict) -> dict:
    """The part of a checkpoint that decides how the run goes on; the rest is about time."""
    parts = {key: state["extra_state"][key] for key in ("train_iterator", "val_loss", "best")}
    parts["history"] = state["optimizer_history"][-1]
    return {**parts, "model": state["model"], "optimizer": state["last_optimizer_state"]}


def differences(got: object, want: object, place: str = "") -> list[str]:
    """The places where two checkpoints are not the same, bit for bit."""
    if isinstance(want, torch.Tensor):
        return [] if torch.equal(got, want) else [place]
    if isinstance(want, dict) and got.keys() == want.keys():
        return [x for key in want for x in differences(got[key], want[key], f"{place}.{key}")]
    if isinstance(want, list) and len(got) == len(want):
        return [x for i in range(len(want)) for x in differences(got[i], want[i], f"{place}[{i}]")]
    return [] if got == want else [f"{place}: {got} is not {want}"]


@pytest.fixture(scope="module")
def undisturbed(request, tmp_path_factory):
    """What a run in one piece has saved, by the number of updates; and its moments of saving."""
    runs = {}

    def undisturbed_run(name):
        if name not in runs:
            folder = tmp_path_factory.mktemp("undisturbed")
            run, log = Run(name, request, folder / name), folder / "moments"
            run.start(lambda rank: name_moments(log, keep=folder)).checked()
            saved = {updates(state): state for state in map(loaded, folder.glob("*.pt"))}
            assert differences(run.last(), saved[max(saved)]) == []
            runs[name] = saved, log.read_text().splitlines()
        return runs[name]

    return undisturbed_run


def name_moments(log: Path, deadly: str = "", keep: Path | None = None) -> None:
    """In the forked process: write down each moment of saving, and die in a given one."""
    saving = {"updates": 0}
    save, state_dict = torch.save, Trainer.state_dict

    def moment(what: str, path: object) -> None:
        name = f"{saving['updates']} {what} {os.path.basename(str(path))}"
        with open(log, "a") as file:
            file.write(name + "\n")
        if name == deadly:
            os.killpg(0, signal.SIGKILL)

    def in_two_parts(content, file):
        for part, what in (
            (content[: len(content) // 2], "half of"),
            (content[len(content) // 2 :], "whole"),
        ):
            file.write(part)
            file.flush()
            moment(what, file.name)

    def save_in_two_parts(state, file):
        buffer = BytesIO()
        save(state, buffer)
        if keep is not None:
            (keep / f"{saving['updates']}.pt").write_bytes(buffer.getvalue())
        in_two_parts(buffer.getvalue(), file)

    def copy_in_two_parts(source, target):
        with open(target, "wb") as file:
            in_two_parts(Path(source).read_bytes(), file)

    def watched(function):
        def call(*paths):
            function(*paths)
            if saving["updates"]:
                moment(function.__name__, paths[-1])

        return call

    def begin(self):
        saving["updates"] = self.get_num_updates()
        return state_dict(self)

    Trainer.state_dict, torch.save = begin, save_in_two_parts
    shutil.copyfile = copy_in_two_parts
    os.rename, os.replace, os.remove = map(watched, (os.rename, os.replace, os.remove))


def assert_as_undisturbed(run: Run, saved: dict[int, dict]) -> None:
    """What is there is whole, and what an undisturbed run has after as many updates."""
    for state in run.checkpoints():
        assert differences(what_goes_on(state), what_goes_on(saved[updates(state)])) == []


def finish(run: Run, saved: dict[int, dict]) -> None:
    """Start it once more, and see it end as the undisturbed one; and nothing lies about."""
    run.start().checked()
    assert updates(run.last()) == max(saved)
    assert_as_undisturbed(run, saved)
    assert list(run.save.glob("*.tmp")) == []


def test_killed_in_every_moment_of_saving(undisturbed, request, tmp_path):
    """In the middle and at the end of whatever is done to a file.

    Each start goes on from what a killed one has left, and is killed one moment later.  What
    happens after ``checkpoint_last.pt`` is in place does not happen again: it is reached from a
    copy of the folder.
    """
    saved, moments = undisturbed("scalegrad")
    assert len(moments) > 6 * len(saved) and len(moments) == len(set(moments))
    run, before, log = Run("scalegrad", request, tmp_path), tmp_path / "before", tmp_path / "log"
    for deadly in moments:
        if "remove " in deadly or deadly.endswith("replace checkpoint_last.pt"):
            shutil.rmtree(run.save)
            shutil.copytree(before, run.save)
        (ended,) = run.start(lambda rank, deadly=deadly: name_moments(log, deadly)).wait()
        assert ended.returncode == -signal.SIGKILL, f"{deadly}: {ended.output}"
        assert_as_undisturbed(run, saved)
        if deadly.endswith("whole checkpoint_last.pt.tmp"):
            shutil.rmtree(before, ignore_errors=True)
            shutil.copytree(run.save, before)
    finish(run, saved)


@pytest.mark.parametrize("name", CASES)
def test_killed_from_outside(name, undisturbed, request, tmp_path):
    """At random after each update: in a validation, in a checkpoint, in the update that follows."""
    saved, _ = undisturbed(name)
    run, draw, killed = Run(name, request, tmp_path), random.Random(name), 0
    for update in range(1, max(saved) + 1):
        forked = run.start()
        while forked.running() and last_update(forked.log()) < update:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))
        if forked.running():
            forked.kill()
            killed += 1
        else:
            forked.checked()
        assert_as_undisturbed(run, saved)
    assert killed >= max(saved) / 2
    finish(run, saved)


def last_update(log: str) -> int:
    return max((int(number) for number in re.findall(r"num_updates=(\d+),", log)), default=0)


@pytest.mark.parametrize("killed", [0, 1])
def test_one_of_two_processes_is_killed(killed, undisturbed, request, tmp_path):
    """The other one does not wait for ever, and does not end as if all were well."""
    saved, _ = undisturbed("two_processes")
    run = Run("two_processes", request, tmp_path)
    forked = run.start()
    while forked.running() and last_update(forked.log()) < 3:
        time.sleep(0.001)
    os.kill(forked.pids[killed], signal.SIGKILL)
    codes = [done.returncode for done in forked.wait()]
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] not in (0, -signal.SIGKILL)
    assert_as_undisturbed(run, saved)
    finish(run, saved)


@pytest.mark.skipif(sys.platform != "linux", reason="torch tells the others on Linux only")
def test_the_process_that_started_the_others_is_killed(undisturbed, request, tmp_path):
    """By the two flags: the others end by themselves, and disturb no run that comes after."""
    saved, _ = undisturbed("two_processes")
    run, log = Run("two_processes", request, tmp_path), tmp_path / "log"
    command = [BIN / "fairseq-train", *run.command, "--distributed-world-size", 2]
    with open(log, "w") as stream:
        parent = subprocess.Popen(
            list(map(str, command)),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        wait_until(lambda: last_update(log.read_text()) or parent.poll() is not None)
        assert parent.poll() is None, log.read_text()
        parent.kill()
        parent.wait()
        wait_until(lambda: not group_exists(parent.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert_as_undisturbed(run, saved)
    finish(run, saved)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

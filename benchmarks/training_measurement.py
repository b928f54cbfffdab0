"""The comparison of training runs, as the JSON of ``training.py`` holds it.

Every round runs every command once, in an order that changes from round to round.  A round's words
per second are divided by that round's of fairseq's criterion.

The clock is the processor time of the process where one CPU thread computes: what a run would take
on idle cores, whoever else has a turn; of several processes it is their mean.  With several
threads, and on a GPU, it is the wall.

command     the command line
versions    python, torch, fairseq, genft_fairseq
hardware    processor, cores, gpus
device      type ("cpu" or "cuda"), name
threads     of torch on the CPU, in each process
clock       "processor" or "wall"
updates     of a run
warm_up     how many of them at its beginning are not measured
settings    a list:
  kind        "translation" or "language"
  size        name of the model's size; its facts: width, ffn, layers (a side), heads, vocabulary
  data        what was trained on: "made", or the folder's name
  tokens      most target or source tokens in the batches of an update, of all processes together
  words       target tokens of the measured updates, without padding
  precision   "fp32", "fp16", "bf16" or "amp"
  processes   how many
  backend     of the gradients' exchange; null for one process
  rows        for each by name (``training_commands.ROWS`` says what each is) either
    skipped         the reason, alone; or
    rounds, median_words_per_s, max_words_per_s, ratio_median, ratio_min, ratio_quartiles
                    words per second by the clock, and ratios to those of fairseq's criterion
    wall            the same figures by the wall clock
    peak_bytes      the most memory that a process held, median over rounds
    peak_ratio      peak_bytes / that of fairseq's criterion
"""

import platform
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq
import torch
from loss_comparison import NoResultError
from rich.console import Console
from rich.progress import Progress
from training_commands import BASELINE, Model, train_arguments
from training_data import write_text
from training_metrics import metrics, words
from training_process import FailedRun, Measured, preprocess, train

import genft_fairseq
from genft_fairseq.provenance import hardware, processor

USER_DIR = Path(genft_fairseq.__file__).parent


@dataclass(frozen=True)
class Setting:
    """What all rows of a table have in common."""

    model: Model
    data: Path
    precision: str
    processes: int
    backend: str | None


@dataclass(frozen=True)
class Conditions:
    """How a run is done and measured."""

    device: str
    threads: int
    updates: int
    warm_up: int

    @property
    def clock(self) -> str:
        """Say what the figures are measured by, "processor" or "wall"."""
        return "processor" if self.device == "cpu" and self.threads == 1 else "wall"


def compare(
    command: str,
    models: Sequence[Model],
    data: Path | None,
    names: Sequence[str],
    precisions: Sequence[str],
    processes: Sequence[int],
    backends: Sequence[str],
    conditions: Conditions,
    rounds: int,
) -> dict[str, Any]:
    """Measure the rows of these names in every setting.

    Args:
        command: the command line.
        models: what is trained.
        data: a folder that fairseq-preprocess wrote; None: data is made for each model.
        names: of rows.
        precisions: of ``training_commands.PRECISIONS``.
        processes: numbers of processes.
        backends: of the gradients' exchange between several.
        conditions: how a run is done.
        rounds: how often each command runs.

    Raises:
        NoResultError: no such device, or data, or fairseq's own criterion does not train.
    """
    _require_devices(conditions.device, processes)
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        for model in models:
            folder = data or _made(Path(temporary), model, conditions.updates)
            for precision, number in ((p, n) for p in precisions for n in processes):
                for backend in backends if number > 1 else [None]:
                    setting = Setting(model, folder, precision, number, backend)
                    rows = _Rows(setting, conditions, Path(temporary))
                    measured.append(_compare_in(rows, names, rounds, data))
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fairseq": fairseq.__version__,
            "genft_fairseq": genft_fairseq.__version__,
        },
        "hardware": hardware(),
        "device": {
            "type": conditions.device,
            "name": torch.cuda.get_device_name() if conditions.device == "cuda" else processor(),
        },
        "threads": conditions.threads,
        "clock": conditions.clock,
        "updates": conditions.updates,
        "warm_up": conditions.warm_up,
        "settings": measured,
    }


def _require_devices(device: str, processes: Sequence[int]) -> None:
    if device == "cpu":
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not found:
        raise NoResultError("--device cuda needs a GPU that torch can use, and there is none")
    if max(processes) > found:
        raise NoResultError(
            f"--processes {max(processes)} needs as many GPUs, but there are {found}"
        )


def _made(temporary: Path, model: Model, updates: int) -> Path:
    folder = temporary / f"{model.kind}-{model.size}-{model.vocabulary}"
    if not folder.exists():
        text = folder / "text"
        text.mkdir(parents=True)
        try:
            preprocess([*write_text(text, model, updates), "--destdir", str(folder)], text)
        except FailedRun as error:
            raise NoResultError(f"making data failed: {error}") from error
    return folder


class _Rows:
    """Runs the commands of one setting."""

    def __init__(self, setting: Setting, conditions: Conditions, folder: Path):
        self.setting, self.conditions, self.folder = setting, conditions, folder

    def run(self, name: str) -> list[Measured]:
        """Train once, in as many processes as the setting says."""
        of, how = self.setting, self.conditions
        arguments = train_arguments(
            *(of.data, USER_DIR, of.model, name, how.updates),
            *(of.precision, how.device, of.processes, of.backend),
        )
        arguments += ["--save-dir", str(self.folder)]  # where nothing is saved
        commands = [[*arguments, *flags] for flags in self._group()]
        return train(commands, how.updates, how.warm_up, how.device, how.threads, self.folder)

    def _group(self) -> Iterator[list[str]]:
        """The flags of each process, by which they find each other through a new file."""
        number = self.setting.processes
        if number == 1:
            yield ["--distributed-world-size", "1"]  # however many GPUs there are
            return
        store = self.folder / "store"
        store.unlink(missing_ok=True)
        for rank in range(number):
            device = [] if self.conditions.device == "cpu" else ["--device-id", str(rank)]
            yield [
                *("--distributed-world-size", str(number), "--distributed-no-spawn", *device),
                *("--distributed-rank", str(rank)),
                *("--distributed-init-method", f"file://{store}"),
            ]


def _compare_in(
    rows: _Rows, names: Sequence[str], rounds: int, data: Path | None
) -> dict[str, Any]:
    setting, clock = rows.setting, rows.conditions.clock
    title = " ".join(map(str, (setting.model.kind, setting.precision, setting.processes)))
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task(title, total=rounds * len(names))
        found, skipped = _measure(
            rows, names, rounds, lambda: progress.update(bar, advance=1, refresh=True)
        )
    if BASELINE in skipped:
        raise NoResultError(f"{BASELINE} does not train: {skipped[BASELINE]}")
    base = found[BASELINE]
    return {
        "kind": setting.model.kind,
        "size": setting.model.size,
        "model": setting.model.facts(),
        "data": data.name if data else "made",
        "tokens": setting.model.tokens,
        "words": words(base[0]),
        "precision": setting.precision,
        "processes": setting.processes,
        "backend": setting.backend,
        "rows": {
            name: {"skipped": skipped[name]}
            if name in skipped
            else metrics(found[name], base, clock)
            for name in names
        },
    }


def _measure(
    rows: _Rows, names: Sequence[str], rounds: int, on_run: Callable[[], None]
) -> tuple[dict[str, list[list[Measured]]], dict[str, str]]:
    """Run all rows in turns; what failed once is not tried again."""
    found: dict[str, list[list[Measured]]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(names), len(names)):
            if name not in skipped and BASELINE not in skipped:
                try:
                    found[name].append(rows.run(name))
                except FailedRun as error:
                    skipped[name] = str(error)
            on_run()
    return found, skipped

"""One run of fairseq-generate on the test set, and which checkpoint it translates with."""

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.predictions import read_translations
from genft_fairseq.experiments.configuration import BASELINE, Comparison, Entry
from genft_fairseq.experiments.data_folders import text_flags
from genft_fairseq.experiments.job import Job
from genft_fairseq.experiments.strategies import USER_DIR
from genft_fairseq.experiments.training_run import LAST, TrainingRun, read_finished
from genft_fairseq.files import write_atomic

DECODE, EQUAL_TIME = "decode", "decode, equal time"


def generate_command(
    comparison: Comparison, checkpoint: Path, flags: Sequence[str], device: list[str]
) -> list[str]:
    """Return the command that translates the test set by a checkpoint.

    It writes text as people read it, by the form of the data, unless its flags say how.
    """
    flags = [*comparison.generate, *flags]
    flags = [*text_flags(comparison.data, flags), *flags]
    return [
        *("fairseq-generate", str(comparison.data), "--user-dir", USER_DIR),
        *("--task", comparison.task, "--path", str(checkpoint)),
        *("--source-lang", comparison.source_lang, "--target-lang", comparison.target_lang),
        *("--gen-subset", "test", *flags, *device),
    ]


def output_file(comparison: Comparison, entry: Entry, seed: int, kind: str = DECODE) -> Path:
    """Return where the translations of a row lie; a way of decoding has the standard's folder."""
    folder = comparison.output / f"seed-{seed}"
    if not entry.strategy:
        return folder / comparison.standard.slug / f"generate-test-{entry.slug}.txt"
    suffix = "-equal-time" if kind == EQUAL_TIME else ""
    return folder / entry.slug / f"generate-test{suffix}.txt"


def baseline_output(comparison: Comparison) -> Path:
    """Return where the translations of the starting point lie."""
    return comparison.output / BASELINE / "generate-test.txt"


def equal_time_checkpoint(folder: Path, standard: Path) -> dict:
    """Choose the checkpoint whose training took most nearly as long as standard's.

    Args:
        folder: of the run, finished.
        standard: the folder of the standard run of the same seed, finished.

    Returns:
        ``file``, ``updates`` and ``train_seconds``; ``file`` is None, and ``updates`` 0, for a run
        so slow that the baseline itself is nearest.
    """
    allowed = read_finished(standard)["train_seconds"]
    start = {"file": None, "updates": 0, "train_seconds": 0.0}
    kept = [start, *read_finished(folder)["checkpoints"]]
    return min(kept, key=lambda checkpoint: abs(checkpoint["train_seconds"] - allowed))


def equal_time_path(run: TrainingRun, standard: TrainingRun) -> Path | None:
    """Return the checkpoint to decode for equal time; None where it is decoded already."""
    file = equal_time_checkpoint(run.folder, standard.folder)["file"]
    return None if file in (None, LAST) else run.folder / file


def is_up_to_date(output: Path, checkpoint: Path) -> bool:
    """Whether an output is there, and not older than its checkpoint where that still exists."""
    if not output.exists():
        return False
    return not checkpoint.exists() or output.stat().st_mtime >= checkpoint.stat().st_mtime


class DecodingRun(Job):
    """Decoding of the test set by one checkpoint.

    The command writes beside the output, which takes its name once every sentence is there.
    """

    def __init__(
        self,
        title: tuple[str, int | None, str],
        output: Path,
        needs: Sequence[TrainingRun],
        command: Callable[[Path], list[str]],
        checkpoint: Callable[[], Path | None],
        sentences: int,
    ) -> None:
        super().__init__(*title, output.with_suffix(".log"), needs)
        self.output, self.command, self.checkpoint = output, command, checkpoint
        self.sentences = sentences
        self.partial = output.with_suffix(".tmp")

    def words(self) -> list[str]:
        checkpoint = self.checkpoint()
        assert checkpoint is not None  # is_done was asked first
        return self.command(checkpoint)

    def planned_words(self) -> list[str]:
        if self.kind == EQUAL_TIME:  # which checkpoint, the runs have yet to show
            return self.command(self.output.parent / "checkpoint_EPOCH_UPDATES.pt")
        return self.words()

    @property
    def record(self) -> Path:
        """Where the command stands that made the output."""
        return self.output.with_name(self.output.name + ".command")

    def is_done(self) -> bool:
        checkpoint = self.checkpoint()
        if checkpoint is None:
            return True
        return (
            is_up_to_date(self.output, checkpoint)
            and self.record.exists()
            and shlex.split(self.record.read_text(encoding="utf-8")) == self.command(checkpoint)
        )

    def open_output(self) -> IO[bytes]:
        self.output.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)  # a command that outlived us may still write there
        return self.partial.open("wb")

    def finish(self) -> None:
        found = len(read_translations(self.partial))
        if found != self.sentences:
            raise UserError(f"{found} translations of {self.sentences} sentences")
        write_atomic(self.record, shlex.join(self.words()) + "\n")
        os.replace(self.partial, self.output)

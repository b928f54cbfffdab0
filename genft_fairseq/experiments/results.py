"""What a comparison found: every metric of every seed, its mean and its interval."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genft_fairseq.evaluation.predictions import read_generated
from genft_fairseq.evaluation.translation import RawReferences
from genft_fairseq.experiments.configuration import BASELINE, Comparison, Entry
from genft_fairseq.experiments.decoding_run import (
    DECODE,
    EQUAL_TIME,
    DecodingRun,
    equal_time_checkpoint,
)
from genft_fairseq.experiments.job import Job, printable
from genft_fairseq.experiments.strategies import STANDARD, STRATEGIES
from genft_fairseq.experiments.training_log import read_training_log, token_loss
from genft_fairseq.experiments.training_run import LAST, TrainingRun, read_finished
from genft_fairseq.metrics.significance import bleu_p_values
from genft_fairseq.metrics.translation import (
    translation_intervals,
    translation_metrics,
    word_repetitions,
)
from genft_fairseq.provenance import hardware, versions

Figures = dict[str, Any]

# The 97.5th percentile of Student's t by degrees of freedom, 1 to 30 (a standard table).  Beyond,
# the last one, which makes an interval wider by at most 4 %.
STUDENT_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

MEANING = {
    "interval": "mean ± half_width: Student's t, 95 %, over the seeds; of a single seed, interval: "
    "a 95 % bootstrap over the test sentences",
    "p_value": "paired bootstrap of BLEU against standard of the same seed",
    "train_seconds": "seconds in updates, as the checkpoints hold them: of the processor (all "
    "threads) on the CPU, because others may use the machine, by the wall clock on a GPU; "
    "without starting, validation and saving",
    "epoch_seconds": "train_seconds / updates * updates in an epoch",
    "equal_time": "the kept checkpoint nearest to the train_seconds of standard of the same seed",
    "memory": "of the process and its children once training began, a sample a second",
}


def half_width(values: Sequence[float]) -> float | None:
    """Return the half-width of the 95 % Student-t interval of a mean; None below two values."""
    if len(values) < 2:
        return None
    t = STUDENT_T[min(len(values) - 1, len(STUDENT_T)) - 1]
    return t * statistics.stdev(values) / len(values) ** 0.5


def spread(by_seed: Mapping[str, float | None]) -> Figures:
    """Return mean, standard deviation and half-width over the seeds that have a value."""
    values = [value for value in by_seed.values() if value is not None]
    return {
        "mean": statistics.fmean(values) if values else None,
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "half_width": half_width(values),
        "seeds": dict(by_seed),
    }


def comparison_results(comparison: Comparison, jobs: Sequence[Job]) -> Figures:
    """Score what was decoded, and put it beside what training took.

    Args:
        comparison: what was compared.
        jobs: all of them, after they ran; those that failed are reported as failed.
    """
    found = {(job.row, job.seed, job.kind): job for job in jobs}
    references = RawReferences.read(comparison.data, comparison.references, comparison.target_lang)
    is_only = len(comparison.seeds) == 1
    seeds = [_Seed(seed, found, references, is_only) for seed in comparison.seeds]
    rows = (Entry(BASELINE, ""), *comparison.strategies, *comparison.decodings)
    signatures = next((seed.signatures for seed in seeds if seed.signatures), {})
    return {
        "task": comparison.task,
        "config": comparison.config,
        "updates": comparison.updates,
        "seeds": list(comparison.seeds),
        "side_by_side": {"processes": comparison.processes, "threads": comparison.threads},
        "hardware": hardware(),
        "versions": versions(),
        "meaning": MEANING,
        **signatures,
        "commands": _commands(jobs),
        "references": word_repetitions(references.lines),
        "systems": {row.name: _system(row, seeds, found) for row in rows},
    }


class _Seed:
    """The metrics of one seed, by row."""

    def __init__(
        self,
        seed: int,
        jobs: dict[tuple[str, int | None, str], Job],
        references: RawReferences,
        is_only: bool,
    ) -> None:
        self.seed, self.is_only = seed, is_only
        self.signatures: dict[str, str] = {}
        self.equal_updates: dict[str, Figures] = {}
        self.equal_time: dict[str, Figures] = {}
        mine = [job for (_, of, _), job in jobs.items() if of in (seed, None)]
        self.runs = {
            job.row: job for job in mine if isinstance(job, TrainingRun) and job.state == "finished"
        }
        outputs = {
            (job.row, job.kind): read_generated(job.output)
            for job in mine
            if isinstance(job, DecodingRun) and job.state == "finished" and job.output.exists()
        }
        lowercase = any(map(references.lowercase, outputs.values()))
        texts = {key: references.texts(generated) for key, generated in outputs.items()}
        self._score(texts, references.lines, lowercase)
        for row, run in self.runs.items():
            self.equal_updates.setdefault(row, {}).update(finished_metrics(run.folder))
        self._equal_time()

    def _score(
        self, texts: dict[tuple[str, str], list[str]], references: list[str], lowercase: bool
    ) -> None:
        standard = texts.get((STANDARD, DECODE))
        p_values: dict[str, float] = {}
        if standard is not None:
            others: dict[str, Sequence[str]] = {
                f"{kind} {row}": text for (row, kind), text in texts.items()
            }
            del others[f"{DECODE} {STANDARD}"]
            p_values = bleu_p_values(standard, others, references, lowercase)
        for (row, kind), text in texts.items():
            metrics = translation_metrics(text, references, lowercase)
            self.signatures = {k: metrics.pop(k) for k in ("bleu_signature", "chrf_signature")}
            if f"{kind} {row}" in p_values:
                metrics["p_value"] = p_values[f"{kind} {row}"]
            if self.is_only:
                metrics["intervals"] = translation_intervals(text, references, lowercase)
            (self.equal_time if kind == EQUAL_TIME else self.equal_updates)[row] = metrics

    def _equal_time(self) -> None:
        """Which checkpoint it is, its metrics where they are another row's, and time ratios."""
        standard = self.runs.get(STANDARD)
        if standard is None:
            self.equal_time = {}
            return
        speed = self.equal_updates[STANDARD]["seconds_per_update"]
        for row, run in self.runs.items():
            mine = self.equal_updates[row]
            mine["time_ratio"] = mine["seconds_per_update"] / speed
            chosen = equal_time_checkpoint(run.folder, standard.folder)
            same = {None: self.equal_updates.get(BASELINE, {}), LAST: mine}.get(chosen["file"])
            scores = self.equal_time.get(row, {}) if same is None else same
            kept = (
                *("bleu", "chrf", "length_ratio", "rep_1", "rep_2", "rep_3", "rep_4"),
                *("p_value", "intervals"),
            )
            self.equal_time[row] = {
                **{name: scores[name] for name in kept if name in scores},
                "updates": chosen["updates"],
                "train_seconds": chosen["train_seconds"],
            }


def finished_metrics(folder: Path) -> Figures:
    """Return what a finished run took: seconds, MiB, and its last loss on the validation set."""
    finished = read_finished(folder)
    per_update = finished["train_seconds"] / finished["updates"]
    epoch = finished["updates_per_epoch"]
    validation = read_training_log(folder / "train.log").validation
    return {
        "updates": finished["updates"],
        "train_seconds": finished["train_seconds"],
        "seconds": finished["seconds"],
        "seconds_per_update": per_update,
        "epoch_seconds": per_update * epoch if epoch else None,
        "average_memory_mib": finished["average_memory_mib"],
        "peak_memory_mib": finished["peak_memory_mib"],
        "valid_nll_loss": token_loss(validation[max(validation)]) if validation else None,
    }


def _system(
    row: Entry, seeds: list[_Seed], jobs: dict[tuple[str, int | None, str], Job]
) -> Figures:
    kind = "training" if row.strategy else "decoding" if row.name != BASELINE else "baseline"
    found: Figures = {"kind": kind}
    if row.strategy:
        found |= {"strategy": row.strategy, "summary": STRATEGIES[row.strategy].summary}
    found["flags"] = list(row.flags)
    found["failures"] = [
        {"job": job.title, "seed": job.seed, "error": job.error, "log": printable([str(job.log)])}
        for job in jobs.values()
        if job.row == row.name and job.state == "failed"
    ]
    metrics = {seed.seed: seed.equal_updates.get(row.name, {}) for seed in seeds}
    found["equal_updates"] = _spreads(metrics)
    if kind == "baseline":  # one model: seeds differ in what it is compared with, its p-value
        one = {
            name: found["equal_updates"][name] | spread({"": value}) | {"seeds": {}}
            for name, value in metrics[seeds[0].seed].items()
            if name not in ("p_value", "intervals")
        }
        found["equal_updates"] |= one
    if row.strategy:
        found["equal_time"] = _spreads({s.seed: s.equal_time.get(row.name, {}) for s in seeds})
        runs = [seed.runs[row.name].folder for seed in seeds if row.name in seed.runs]
        found["memory"] = read_finished(runs[0])["memory"] if runs else None
    return found


def _spreads(by_seed: dict[int, Figures]) -> Figures:
    names = dict.fromkeys(name for metrics in by_seed.values() for name in metrics)
    names.pop("intervals", None)
    found = {
        name: spread({str(seed): f[name] for seed, f in by_seed.items() if name in f})
        for name in names
    }
    for metrics in by_seed.values():
        for name, ends in metrics.get("intervals", {}).items():
            found[name]["interval"] = ends
    return found


def _commands(jobs: Sequence[Job]) -> Figures:
    """The commands of the first seed and the baseline; those of other seeds differ by the seed."""
    first = next(job.seed for job in jobs if job.seed is not None)
    return {
        job.title: printable(job.words())
        for job in jobs
        if job.seed in (first, None) and job.kind != EQUAL_TIME
    }

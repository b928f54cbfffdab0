"""``Report``, all that a report shows, and ``gather``, which reads and checks it.

Runs that are put side by side must have the same training data and test set.
"""

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.translation import RawReferences
from genft_fairseq.experiments.configuration import Entry
from genft_fairseq.experiments.results import spread
from genft_fairseq.experiments.training_log import token_loss
from genft_fairseq.report.evaluation_files import (
    Evaluation,
    evaluations_in,
    raw_references,
    read_evaluation,
    score_translations,
    take_raw,
)
from genft_fairseq.report.run_folders import (
    FINISHED,
    RUNNING,
    TRANSLATION,
    Named,
    RunFolder,
    clean,
    find,
    is_trained,
    log_of,
)
from genft_fairseq.report.tables import (
    Row,
    Table,
    comparison_tables,
    evaluation_tables,
    require_one_test_set,
)
from genft_fairseq.report.training import Recipe, Training, find_above, read_training

Figures = dict[str, Any]
Step = Callable[[int], None]
TRAINING = "training"


@dataclass
class Report:
    """What the pages show.

    Attributes:
        names: the arguments, as they were given.
        made: when.
        tables: of scores, and of cost.
        trainings: every run, by name and seed.
        decoded: of each group of systems that wrote the same test set, each system's evaluation
            under its first seed.
        comparisons: the results of ``genft compare``, by the file that holds them.
        notes: what else a reader must know, such as files that are not whole.
    """

    names: list[str]
    made: datetime.datetime
    tables: list[Table] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    decoded: dict[str, dict[str, Evaluation]] = field(default_factory=dict)
    comparisons: dict[str, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Whether a run is still going, and the report will be another one soon."""
        return any(training.state == RUNNING for training in self.trainings)

    @property
    def data(self) -> dict[str, list[Training]]:
        """The runs by what they were trained on, as their commands name it."""
        found: dict[str, list[Training]] = {}
        for training in self.trainings:
            identity = training.data.identity if training.data else ""
            found.setdefault(identity, []).append(training)
        names = {
            identity: runs[0].data.path if runs[0].data else "" for identity, runs in found.items()
        }
        twice = Counter(names.values())
        return {
            f"{names[i]} {i[:12]}".strip() if twice[names[i]] > 1 else names[i]: runs
            for i, runs in found.items()
        }

    @property
    def rows(self) -> dict[str, list[Training]]:
        """The runs by name; those of one name differ by their seed."""
        return by_name(self.trainings)


def by_name(trainings: Iterable[Training]) -> dict[str, list[Training]]:
    """Return runs by name; those of one name differ by their seed."""
    found: dict[str, list[Training]] = {}
    for training in trainings:
        found.setdefault(training.found.name, []).append(training)
    return found


def gather(
    arguments: Sequence[str],
    *,
    baseline: str | None = None,
    different_data: bool = False,
    begin: Callable[[str, int], Step] | None = None,
) -> Report:
    """Read everything that the arguments stand for.

    Args:
        arguments: see ``find``.
        baseline: the system that others are compared with.
        different_data: put runs on different data into one report, in tables of their own.
        begin: told what begins and of how many steps; returns what is told the steps done.

    Raises:
        UserError: nothing to report, a broken file, or runs on different data.
    """
    named = [one for argument in arguments for one in find(argument)]
    runs = list({run.place.resolve(): run for one in named for run in one.runs}.values())
    step = begin("reading", len(runs)) if begin else (lambda _: None)
    report = Report(list(arguments), datetime.datetime.now().astimezone().replace(microsecond=0))
    # First, because a run's command knows its seed.
    trainings = {id(run): _training(run) for run in runs}
    report.trainings = [training for run in runs if (training := trainings[id(run)])]
    in_comparison = _rename_as_compared(named)
    _tell_apart(runs)
    evaluations: list[tuple[str, str, Evaluation]] = []
    scored = _Translations()
    for run in runs:
        found, broken = evaluations_in(run.folder) if run.folder else ([], [])
        found += [read_evaluation(path) for path in run.evaluations]
        report.notes += broken
        # Those of a comparison are scored already.
        scored.add(found, trainings[id(run)], score=id(run) not in in_comparison)
        for evaluation in found:
            evaluation.recipe = _recipe(evaluation, trainings[id(run)])
        seed = "" if run.seed is None else str(run.seed)
        evaluations += [(run.name, seed, evaluation) for evaluation in found]
        step(1)
    scored.finish()
    if not report.trainings and not evaluations and not any(one.comparison for one in named):
        raise UserError(report.notes[0] if report.notes else f"nothing to report in {arguments[0]}")
    if not different_data:
        require_one_data_set(report.trainings)
        require_one_test_set(evaluations)
    _add_tables(report, named, evaluations, baseline)
    _require_baseline(report, baseline)
    return report


def _require_baseline(report: Report, baseline: str | None) -> None:
    known = {row.name: None for table in report.tables for row in table.rows}
    if baseline is not None and baseline not in known:
        raise UserError(f"--baseline {baseline} is not a system of the report: {', '.join(known)}")


def _rename_as_compared(named: Sequence[Named]) -> set[int]:
    """Call the runs of comparisons by their rows' names instead of their folders'; return them."""
    comparisons = [one for one in named if one.comparison is not None]
    found = set()
    for one in comparisons:
        systems = one.comparison["systems"] if one.comparison else {}
        names = {Entry(name, str(s.get("strategy", ""))).slug: name for name, s in systems.items()}
        place = f"{one.source.parent}/" if one.source and len(comparisons) > 1 else ""
        for run in one.runs:
            slug = run.name.rsplit("/", 1)[-1]
            run.name = place + names.get(slug, run.name)
            found.add(id(run))
    return found


def _tell_apart(runs: Sequence[RunFolder]) -> None:
    """Give runs of one name and seed names of their own: where they lie."""
    called = Counter((run.name, run.seed) for run in runs)
    for run in runs:
        if called[run.name, run.seed] > 1:
            run.name = clean(str(run.place))


def _training(run: RunFolder) -> Training | None:
    trained = run.log or (run.folder and is_trained(run.folder))
    return read_training(run) if trained else None


def _recipe(evaluation: Evaluation, training: Training | None) -> Recipe | None:
    """How the model was trained: in the run's folder, or in that of the checkpoint it names."""
    if training is None and evaluation.checkpoint:
        path = find_above(evaluation.checkpoint, evaluation.path.parent, Path.is_file)
        if path is not None and is_trained(path.parent):
            training = read_training(RunFolder("", None, path.parent, log_of(path.parent)))
    return training.recipe if training else None


class _Translations:
    """Scores translations once all are read: a run that knows its data speaks for its test set."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Evaluation, RawReferences | None, bool]] = []

    def add(
        self, evaluations: Iterable[Evaluation], training: Training | None, score: bool
    ) -> None:
        for evaluation in evaluations:
            if evaluation.kind == TRANSLATION:
                self.waiting.append((evaluation, raw_references(evaluation, training), score))

    def finish(self) -> None:
        known = {raw.file: raw for _, raw, _ in self.waiting if raw is not None}
        for evaluation, own, score in self.waiting:
            given = evaluation.generated
            if own is None and given and any(given.targets):
                own = next((raw for raw in known.values() if raw.fit(given)), None)
            if own is not None:
                take_raw(evaluation, own)
            if score:
                score_translations(evaluation, is_raw=own is not None)


def require_one_data_set(trainings: Sequence[Training]) -> None:
    """Refuse to put runs side by side that were not trained on the same data.

    Raises:
        UserError: which two, and on what.
    """
    known = [training for training in trainings if training.data is not None]
    for training in known[1:]:
        first = known[0]
        if training.data.identity != first.data.identity:  # type: ignore[union-attr]
            raise UserError(
                f"{first.found.place} was trained on {first.data}, but {training.found.place} on "
                f"{training.data}: report them apart, or add --different-data"
            )


def _add_tables(
    report: Report,
    named: Sequence[Named],
    evaluations: list[tuple[str, str, Evaluation]],
    baseline: str | None,
) -> None:
    for one in named:
        if one.comparison is not None:
            report.tables += comparison_tables(one.comparison, str(one.source))
            report.comparisons[str(one.source)] = one.comparison
    report.tables += evaluation_tables([each for each in evaluations if each[2].metrics], baseline)
    for data, trainings in report.data.items():
        title = f"{TRAINING} on {data}" if len(report.data) > 1 else TRAINING
        report.tables.append(cost_table(title, by_name(trainings)))
    for name, _, evaluation in evaluations:
        if evaluation.texts:
            group = f"{evaluation.kind}: {evaluation.label}, {evaluation.test_set}"
            report.decoded.setdefault(group, {}).setdefault(name, evaluation)


def cost_table(title: str, rows: dict[str, list[Training]]) -> Table:
    """Return what training took, a row a name."""
    table = Table(title, [], is_cost=True)
    for name, trainings in rows.items():
        by_seed = {_seed(training): _cost(training) for training in trainings}
        names = {figure: None for cost in by_seed.values() for figure in cost}
        metrics = {n: spread({seed: cost.get(n) for seed, cost in by_seed.items()}) for n in names}
        states = {training.state: None for training in trainings}
        whole = list(states) == [FINISHED]
        table.rows.append(Row(name, metrics, note=", ".join(states), is_whole=whole))
    every = [training for trainings in rows.values() for training in trainings]
    clocks = {t.cost["clock"] for t in every if "clock" in t.cost}
    table.notes = [
        "Training s: of updates, by the processor on a CPU and by the clock on a GPU"
        + (f"; where no checkpoint knows it, by the log's {', '.join(clocks)}." if clocks else ".")
    ]
    return table


def _seed(training: Training) -> str:
    return "" if training.found.seed is None else str(training.found.seed)


def _cost(training: Training) -> dict[str, float | None]:
    names = ("updates", "train_seconds", "seconds_per_update", "average_memory_mib")
    found: dict[str, float | None] = {
        name: value
        for name in (*names, "peak_memory_mib")
        if isinstance(value := training.cost.get(name), int | float)
    }
    validation = training.metrics("validation")
    loss = token_loss(validation[max(validation)]) if validation else None
    if loss is not None and loss < 100:
        found["valid_ppl"] = 2**loss
    return found

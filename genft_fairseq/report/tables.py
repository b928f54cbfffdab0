"""The tables of a report: a row a system, its metrics over seeds, and what is significant.

``SCORES`` and ``COST`` list the columns; ``evaluation_tables`` and ``comparison_tables`` make the
tables; ``cell`` says what stands in a cell, for HTML and Markdown alike.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.experiments.results import spread
from genft_fairseq.experiments.strategies import STANDARD
from genft_fairseq.metrics.significance import bleu_p_values, mean_interval, mean_p_value
from genft_fairseq.report.evaluation_files import Evaluation, intervals_of
from genft_fairseq.report.run_folders import TRANSLATION

Figures = dict[str, Any]
Texts = tuple[str, ...]
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Measure:
    """How a figure is shown.

    Attributes:
        title: what people call it.
        digits: behind the point.
        factor: what the stored number is multiplied by, 100 for a share shown in per cent.
        better: ``higher``, ``lower``, or nothing where neither is better in itself.
    """

    title: str
    digits: int = 2
    factor: float = 1.0
    better: str = ""

    def shown(self, value: float | None) -> str:
        """Return a value as it stands in a table; nothing for one that is not known."""
        return "" if value is None else f"{value * self.factor:,.{self.digits}f}"


def _percent(title: str, better: str = "higher", digits: int = 1) -> Measure:
    return Measure(title, digits, 100.0, better)


def _repetition(n: int) -> Measure:
    return _percent(f"rep-{n} %", "lower", 2)


# By the names of the files of `genft evaluate-*`, `genft compare` and the training logs, in the
# order of a table's columns.
SCORES = {
    "bleu": Measure("BLEU", better="higher"),
    "tokenised_bleu": Measure("BLEU (tokenised)", better="higher"),
    "chrf": Measure("chrF", better="higher"),
    "exact_match": _percent("exact match %"),
    "f1": _percent("F1 %"),
    "rouge_1": _percent("ROUGE-1"),
    "rouge_2": _percent("ROUGE-2"),
    "rouge_l": _percent("ROUGE-L"),
    "rouge_lsum": _percent("ROUGE-Lsum"),
    "perplexity": Measure("ppl", better="lower"),
    "accuracy": _percent("accuracy %"),
    "mauve": Measure("MAUVE", 3, better="higher"),
    "length_ratio": Measure("length ratio", 3),
    "words": Measure("words", 1),
    "rep_1": _repetition(1),
    "rep_2": _repetition(2),
    "rep_3": _repetition(3),
    "rep_4": _repetition(4),
    "uniq": Measure("uniq", 0),
    "uniq_seq": Measure("uniq-seq", 0),
    "novel_2": _percent("novel bigrams %", ""),
}
COST = {
    "updates": Measure("updates", 0),
    "valid_ppl": Measure("validation ppl", better="lower"),
    "train_seconds": Measure("training s", 1),  # fewer updates take less
    "seconds_per_update": Measure("s an update", 3, better="lower"),
    "time_ratio": Measure("time ratio", better="lower"),
    "average_memory_mib": Measure("memory MiB", 0, better="lower"),
    "peak_memory_mib": Measure("peak MiB", 0, better="lower"),
}
REPETITIONS = ("rep_1", "rep_2", "rep_3", "rep_4")


def measure(name: str) -> Measure:
    """Return how a figure is shown; an unknown one by its own name."""
    known = SCORES.get(name) or COST.get(name)
    return known or Measure(name.replace("_", " "), 3)


@dataclass
class Row:
    """A system: a training method, over the seeds that there are.

    Attributes:
        name: of the system.
        metrics: by name, ``mean``, ``deviation``, ``half_width`` and ``seeds`` as in the results of
            a comparison.
        intervals: 95 % bootstrap intervals over the texts, where there is one seed.
        p_values: by figure and seed, against the baseline of the same seed.
        recipe: how it was trained, for people to read; empty where nothing says it.
        unlike: in what that differs from how the baseline was trained, apart from the method: then
            a difference is not the method's alone.
        note: what a reader must know of it, such as that it failed.
        is_whole: whether its metrics can be the best of a column: those of finished runs.
    """

    name: str
    metrics: dict[str, Figures] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    p_values: dict[str, dict[str, float]] = field(default_factory=dict)
    recipe: str = ""
    unlike: list[str] = field(default_factory=list)
    note: str = ""
    is_whole: bool = True

    @property
    def notes(self) -> list[str]:
        """What stands beside its name."""
        return [*([self.note] if self.note else []), *(self.unlike if self.p_values else [])]

    def mean(self, name: str) -> float | None:
        """Return a figure over the seeds; None where it is not known."""
        found: float | None = self.metrics.get(name, {}).get("mean")
        return found


@dataclass
class Table:
    """Systems that can be compared.

    Attributes:
        title: of the table.
        rows: in the order in which they were named.
        baseline: the row that p-values are against; empty where there are none.
        references: metrics of the references, or of human text.
        notes: lines below it.
        is_cost: whether it is about training, not about what was written.
        alike: what systems must have in common for a star.
    """

    title: str
    rows: list[Row]
    baseline: str = ""
    references: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_cost: bool = False
    alike: str = "starting point and number of updates"

    def row(self, name: str) -> Row | None:
        """Return the row of a name, if there is one."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def columns(self) -> list[str]:
        """The metrics that any row has, in the catalogue's order."""
        return [n for n in (*SCORES, *COST) if any(row.mean(n) is not None for row in self.rows)]

    @property
    def repetitions(self) -> list[str]:
        """The measures of repetition that it has, by n."""
        return [name for name in REPETITIONS if name in self.columns]


# Of each system its evaluation under each seed; "" is the seed of one that has none.
BySystem = Mapping[str, Mapping[str, Evaluation]]


def evaluation_tables(
    evaluations: Iterable[tuple[str, str, Evaluation]], baseline: str | None
) -> list[Table]:
    """Put evaluations of the same kind, decoded the same way, into a table each.

    Args:
        evaluations: of each the name of its system, its seed, and what was found.
        baseline: the system that the others are compared with; None: see ``choose_baseline``.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, dict[str, Evaluation]]]] = {}
    every = list(evaluations)
    # Where the texts were not kept, nothing says which test set it was: it is taken for the first.
    known: dict[tuple[str, str], str] = {}
    for _, _, found in every:
        if found.test_set:
            known.setdefault((found.kind, found.label), found.test_set)
    for name, seed, found in every:
        sets = groups.setdefault((found.kind, found.label), {})
        test_set = found.test_set or known.get((found.kind, found.label), "")
        sets.setdefault(test_set, {}).setdefault(name, {})[seed] = found
    return [
        _table(f"{kind}: {label}{f' ({test_set})' if len(sets) > 1 else ''}", systems, baseline)
        for (kind, label), sets in groups.items()
        for test_set, systems in sets.items()
    ]


def require_one_test_set(evaluations: Iterable[tuple[str, str, Evaluation]]) -> None:
    """Refuse evaluations of one kind whose references differ.

    Raises:
        UserError: which two.
    """
    first: dict[tuple[str, str], Evaluation] = {}
    for _, _, found in evaluations:
        other = first.setdefault((found.kind, found.label), found)
        if found.test_set and other.test_set and found.test_set != other.test_set:
            raise UserError(
                f"{other.path} and {found.path} have different references: report them apart, or "
                "add --different-data to have a table for each"
            )


def _table(title: str, systems: BySystem, asked: str | None) -> Table:
    baseline = choose_baseline(systems, asked)
    rows = [_row(name, by_seed) for name, by_seed in systems.items()]
    most = max(len(by_seed) for by_seed in systems.values())
    for row in rows:
        seeds = len(systems[row.name])
        row.note = "" if seeds == most else f"{seeds} of {most} seeds"
        if row.name != baseline:
            row.p_values = _p_values(systems[row.name], systems[baseline])
            row.unlike = _unlike(systems[row.name], systems[baseline])
    every = [found for by_seed in systems.values() for found in by_seed.values()]
    references = next((found.of_references for found in every if found.of_references), {})
    signatures = {value: None for found in every for value in found.signatures.values()}
    decoding = [_settings(found.settings) for found in every[:1]]
    notes = [*signatures, *(line for line in decoding if line)]
    compared = any(row.p_values for row in rows)
    return Table(title, rows, baseline if compared else "", references, notes)


def _settings(settings: Figures) -> str:
    flat: Figures = {}
    for name, value in settings.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in flat.items())


def choose_baseline(systems: BySystem, asked: str | None) -> str:
    """Return the row that the others are compared with.

    That is the one asked for; else the one that was fine-tuned by the standard strategy, or, where
    there is none, trained by it.  Of several it is the one that most rows share their starting
    point and number of updates with.  Without any it is the first.
    """
    if asked is not None and asked in systems:
        return asked
    standard = [name for name, by_seed in systems.items() if _is_standard(by_seed)]

    def fitness(name: str) -> tuple[bool, int, bool]:
        alike = [other for other in systems if not _unlike(systems[other], systems[name])]
        called = name.rsplit("/", 1)[-1] == STANDARD
        return _is_finetuned(systems[name]), len(alike), called

    return max(standard, key=fitness, default=next(iter(systems)))


def _is_standard(by_seed: Mapping[str, Evaluation]) -> bool:
    return all(found.recipe and found.recipe.is_standard for found in by_seed.values())


def _is_finetuned(by_seed: Mapping[str, Evaluation]) -> bool:
    return all(found.recipe and found.recipe.start for found in by_seed.values())


def _unlike(mine: Mapping[str, Evaluation], theirs: Mapping[str, Evaluation]) -> list[str]:
    """In what the training of two systems differs, besides their method."""
    found: dict[str, None] = {}
    for seed, one in mine.items():
        other = _of_seed(theirs, seed)
        if other is None:
            continue
        if one.recipe is None or other.recipe is None:
            return ["training not known"]
        found |= dict.fromkeys(one.recipe.differences(other.recipe))
    return list(found)


def _of_seed(theirs: Mapping[str, Evaluation], seed: str) -> Evaluation | None:
    """The baseline of a seed; that of a single seed, an imported model say, is every seed's."""
    return theirs.get(seed) or (next(iter(theirs.values())) if len(theirs) == 1 else None)


def _row(name: str, by_seed: Mapping[str, Evaluation]) -> Row:
    recipes = dict.fromkeys(str(found.recipe) for found in by_seed.values() if found.recipe)
    row = Row(name, recipe="; ".join(recipes))
    names = {n: None for found in by_seed.values() for n in found.metrics if n in SCORES}
    for figure in names:
        row.metrics[figure] = spread({s: found.metrics.get(figure) for s, found in by_seed.items()})
    if len(by_seed) == 1:
        (found,) = by_seed.values()
        scored = intervals_of(found) if found.kind == TRANSLATION else {}
        every = {**_mean_intervals(found), **found.intervals, **scored}
        row.intervals = {name: ends for name, ends in every.items() if name in SCORES}
    return row


def _mean_intervals(found: Evaluation) -> dict[str, tuple[float, float]]:
    """The intervals of metrics that are means over the texts."""
    intervals: dict[str, tuple[float, float]] = {}
    for name, values in found.per_text.items():
        known = tuple(value for value in values if value is not None)
        figure = found.metrics.get(name)
        # Of words beside tokens, say, the mean is another figure.
        if figure is not None and known and math.isclose(statistics.fmean(known), figure):
            ends = _mean_interval(known)
            intervals |= {name: ends} if ends else {}
    return intervals


@lru_cache(maxsize=512)
def _mean_interval(values: tuple[float, ...]) -> tuple[float, float] | None:
    ends = mean_interval(values)
    return (ends[0], ends[1]) if ends else None


def _p_values(
    mine: Mapping[str, Evaluation], theirs: Mapping[str, Evaluation]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for seed, one in mine.items():
        other = _of_seed(theirs, seed)
        for name, p_value in (_seed_p_values(one, other) if other else {}).items():
            found.setdefault(name, {})[seed] = p_value
    return found


def _seed_p_values(one: Evaluation, other: Evaluation) -> dict[str, float]:
    if len(one.texts) != len(other.texts) or len(one.texts) < 2:
        return {}
    found = {}
    if "bleu" in one.metrics and "bleu" in other.metrics and one.kind == TRANSLATION:
        written = tuple(text.written for text in one.texts)
        baseline = tuple(text.written for text in other.texts)
        right = tuple(text.references[0] for text in one.texts)
        found["bleu"] = _bleu_p_value(baseline, written, right, one.lowercase)
    for name in one.per_text.keys() & other.per_text.keys():
        pairs = zip(other.per_text[name], one.per_text[name], strict=True)
        known = [
            (theirs, mine) for theirs, mine in pairs if theirs is not None and mine is not None
        ]
        if len(known) > 1:
            found[name] = mean_p_value([theirs for theirs, _ in known], [mine for _, mine in known])
    return found


@lru_cache(maxsize=512)  # a report that is watched has the same texts again and again
def _bleu_p_value(baseline: Texts, written: Texts, references: Texts, lowercase: bool) -> float:
    return bleu_p_values(baseline, {"": written}, references, lowercase)[""]


def comparison_tables(results: Figures, source: str) -> list[Table]:
    """Return the tables of a comparison as ``genft compare`` found them: by updates, by time.

    Raises:
        UserError: the results are not whole.
    """
    try:
        return _comparison_tables(results, source)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{source} is not a complete genft compare results file: {error!r}"
        ) from error


def _comparison_tables(results: Figures, source: str) -> list[Table]:
    tables = []
    notes = [f"{name.split('_')[0]} {results[name]}" for name in results if "signature" in name]
    for key, title in (("equal_updates", "equal updates"), ("equal_time", "equal training time")):
        updates = results.get("updates") if key == "equal_updates" else None
        found = {name: s for name, s in results["systems"].items() if s.get(key)}
        rows = [_comparison_row(n, s, key, updates) for n, s in found.items()]
        if not rows:
            continue
        references = results.get("references", {}) if key == "equal_updates" else {}
        known = {name: value for name, value in references.items() if value is not None}
        called = Path(source).resolve().parent.name
        table = Table(f"{called}: {title}", rows, STANDARD, known, notes)
        if key == "equal_time":
            table.alike = "starting point and training time"
        tables.append(table)
    return tables


def _comparison_row(name: str, system: Figures, key: str, updates: int | None) -> Row:
    metrics = dict(system[key])
    p_values = metrics.pop("p_value", {}).get("seeds", {})
    failed = " ".join(failure["error"] for failure in system.get("failures", []))
    shown = {n: figure for n, figure in metrics.items() if n in SCORES or n in COST}
    row = Row(name, shown, p_values={"bleu": p_values} if p_values else {}, note=failed)
    for each, figure in shown.items():
        figure["mean"], figure["half_width"], figure["seeds"]  # raises where one is missing
        if figure.get("interval"):
            low, high = figure["interval"]
            row.intervals[each] = (float(low), float(high))
    if system.get("kind") == "baseline":  # all others start from it
        row.recipe, row.unlike = "0 updates", ["other number of updates"]
    elif updates is not None:
        row.recipe = f"{updates:,} updates"
    return row


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the mean, as it is shown.
        spread: what the mean is uncertain by: over seeds ``± half-width``, of one seed's texts
            ``[low, high]``; empty where it is not known.
        p_values: against the baseline, one a seed, as they are shown.
        value: to sort by.
        is_best: none of the column is better.
        differs: from the baseline, significantly and in one direction under every seed, from the
            same starting point and by as many updates, or in the same time.
    """

    text: str = ""
    spread: str = ""
    p_values: str = ""
    value: float | None = None
    is_best: bool = False
    differs: bool = False

    @property
    def plain(self) -> str:
        """Everything in one line."""
        p_values = f"(p {self.p_values})" if self.p_values else ""
        text = f"{self.text}∗" if self.differs else self.text
        return " ".join(part for part in (text, self.spread, p_values) if part)


def cell(table: Table, row: Row, column: str) -> Cell:
    """Return the cell of a row and a column."""
    shown, value = measure(column), row.mean(column)
    if value is None:
        return Cell()
    spread = ""
    half_width = row.metrics[column].get("half_width")
    if half_width is not None:
        spread = f"± {shown.shown(half_width)}"
    elif column in row.intervals:
        low, high = row.intervals[column]
        spread = f"[{shown.shown(low)}, {shown.shown(high)}]"
    p_values = list(row.p_values.get(column, {}).values())
    return Cell(
        shown.shown(value),
        spread,
        ", ".join(_p_value(p) for p in p_values),
        value,
        row.is_whole and value == _best(table, column),
        _differs(table, row, column),
    )


def _differs(table: Table, row: Row, column: str) -> bool:
    """Whether every seed differs significantly from the baseline's, all in one direction."""
    p_values, baseline = row.p_values.get(column, {}), table.row(table.baseline)
    mine = {s: v for s, v in row.metrics[column]["seeds"].items() if v is not None}
    if not p_values or baseline is None or row.unlike or not mine.keys() <= p_values.keys():
        return False
    theirs, mean = baseline.metrics.get(column, {}).get("seeds", {}), baseline.mean(column)
    apart = [
        value - other for s, value in mine.items() if (other := theirs.get(s, mean)) is not None
    ]
    one_way = all(d > 0 for d in apart) or all(d < 0 for d in apart)
    return one_way and max(p_values.values()) < SIGNIFICANT


def _unlike_rows(table: Table) -> list[str]:
    """Why some rows have no star: what differs besides the method."""
    baseline = table.row(table.baseline)
    unlike = [row for row in table.rows if row.unlike and row.p_values]
    if baseline is None or not unlike:
        return []
    trained = [f"{row.name}: {row.recipe or 'training not known'}" for row in (baseline, *unlike)]
    return [
        f"No ∗ where {table.alike} are not known to be the same: then a difference is not the "
        f"method's alone. {'. '.join(trained)}."
    ]


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _best(table: Table, column: str) -> float | None:
    better = measure(column).better
    whole = [row for row in table.rows if row.is_whole]
    values = [value for row in whole if (value := row.mean(column)) is not None]
    if not better or len(values) < 2 or min(values) == max(values):
        return None
    return max(values) if better == "higher" else min(values)


def reference_cells(table: Table) -> list[str]:
    """Return the references' row of a table; empty where nothing is known of them."""
    if not any(column in table.references for column in table.columns):
        return []
    return [measure(column).shown(table.references.get(column)) for column in table.columns]


def explanation(table: Table) -> list[str]:
    """Return what the signs in a table mean, as far as it has them."""
    cells = [cell(table, row, column) for row in table.rows for column in table.columns]
    lines = []
    if any(c.spread.startswith("±") for c in cells):
        lines.append("±: half of the 95 % Student-t interval of the mean over seeds.")
    if any(c.spread.startswith("[") for c in cells):
        lines.append("[ ]: 95 % bootstrap interval over the texts of one run.")
    if any(c.p_values for c in cells):
        lines.append(
            f"p: paired bootstrap against {table.baseline}, one a seed; ∗: below {SIGNIFICANT} "
            f"under every seed, all in one direction, where {table.alike} are the same. It says "
            "nothing of another seed of training."
        )
        lines += _unlike_rows(table)
    if "bleu" in table.columns and any(c.p_values for c in cells):
        lines.append("p of BLEU is sacreBLEU's, about half as large as a two-sided one.")
    return lines

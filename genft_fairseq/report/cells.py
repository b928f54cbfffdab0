"""What stands in the cells of a report's tables, for every form of it."""

from dataclasses import dataclass

from genft_fairseq.report.catalogue import measure
from genft_fairseq.report.tables import SIGNIFICANT, Row, Table


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
    half_width = row.figures[column].get("half_width")
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
    mine = {s: v for s, v in row.figures[column]["seeds"].items() if v is not None}
    if not p_values or baseline is None or row.unlike or not mine.keys() <= p_values.keys():
        return False
    theirs, mean = baseline.figures.get(column, {}).get("seeds", {}), baseline.mean(column)
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

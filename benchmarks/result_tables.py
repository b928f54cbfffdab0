"""A table of results: on the terminal, where rows go by what one types, and in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class ResultTable:
    """Rows of cells, the first of which is a name.

    Attributes:
        title: what the table shows.
        columns: headings.
        rows: a name, and the cells after it.
        notes: what stands below.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    notes: Sequence[str] = field(default=())


def print_table(table: ResultTable, console: Console) -> None:
    """Print a table under the names of its rows."""
    shown = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column(table.columns[0], overflow="fold")
    for column in table.columns[1:]:
        shown.add_column(column.replace(" ", "\n"), justify="right", overflow="fold")
    for name, cells in table.rows:
        shown.add_row(name, *cells)
    console.print(shown)
    for note in table.notes:
        console.print(note, highlight=False)


def table_in_markdown(table: ResultTable, labels: Mapping[str, str]) -> str:
    """Render a table, with the names of its rows spelt out."""
    lines = [table.columns, ("---", *["---:"] * (len(table.columns) - 1))]
    lines += [(labels[name], *cells) for name, cells in table.rows]
    rows = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n\n".join([table.title, rows, *table.notes])

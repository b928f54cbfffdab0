"""The results of ``long_inputs.py`` as tables: what a token of a long source costs."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from loss_tables import conditions_line, mebibytes
from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console

FAIRSEQ = "fairseq"
_MODELS = {"t5": "T5", "bart": "BART", "bert2bert": "BERT2BERT"}
_ATTENTION = {
    "linear": "`--arch hugging_face`",
    "sdpa": "transformers, `sdpa`",
    "eager": "transformers, `eager`",
}
ROWS = {
    **{
        f"{model}_{attention}": f"{name}, {how}"
        for model, name in _MODELS.items()
        for attention, how in _ATTENTION.items()
    },
    FAIRSEQ: "fairseq `transformer`",
}
COLUMNS = (
    *("attention", "training, MiB", "KiB a token", "training, s", "ratio", "quartiles"),
    *("decoding, MiB", "decoding, s", "ratio"),
)
# Bytes a token at the longest texts over those at the shortest, of the same number of tokens.
TARGET_ROWS, TARGET_GROWTH = [name for name in ROWS if name.endswith("_linear")], 1.25


def baseline_of(name: str, names: Collection[str]) -> str:
    """Return the row that a row's time is compared with."""
    eager = f"{name.rsplit('_', 1)[0]}_eager"
    return eager if eager in names else name


def growth(results: dict[str, Any], name: str, which: str) -> float | None:
    """Return how much more memory a token needs in the longest texts than in the shortest."""
    shapes = results["shapes"]
    most = max(shape["texts"] * shape["tokens"] for shape in shapes)
    same = [shape for shape in shapes if shape["texts"] * shape["tokens"] == most]
    ends = [min(same, key=lambda s: s["tokens"]), max(same, key=lambda s: s["tokens"])]
    peaks = [shape["rows"][name][which]["peak_bytes"] for shape in ends]
    if ends[0] is ends[1] or not all(peaks):
        return None
    return float(peaks[1] / peaks[0])


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print all tables; rows go by the names that ``--rows`` takes."""
    console.print(conditions_line(results), highlight=False)
    for table in _tables(results):
        print_table(table, console)
    for note in _notes(results):
        console.print(note, highlight=False)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{conditions_line(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(table, ROWS) for table in _tables(run)]
        blocks += _notes(run)
    return "\n\n".join(blocks)


def _tables(run: dict[str, Any]) -> Iterator[ResultTable]:
    sizes = run["protocol"]
    clock = {"processor": "processor time", "wall": "wall clock"}[run["clock"]]
    for shape in run["shapes"]:
        plural = "" if shape["texts"] == 1 else "s"
        layers, width = sizes["layers"], sizes["width"]
        title = (
            f"{shape['texts']} source{plural} of {shape['tokens']:,} tokens, targets of "
            f"{sizes['length']}, {layers} + {layers} layers, width {width}; {clock}:"
        )
        rows = [(name, list(_cells(metrics))) for name, metrics in shape["rows"].items()]
        yield ResultTable(title, COLUMNS, rows)


def _cells(metrics: dict[str, Any]) -> Iterator[str]:
    training, decoding = metrics["training"], metrics["decoding"]
    low, high = training["ratio_quartiles"]
    yield _peak(training["peak_bytes"])
    each = training["peak_bytes_per_token"]
    yield "" if each is None else f"{each / 1024:.1f}"
    yield f"{training['median_s']:.2f}"
    yield f"{training['ratio_median']:.2f}"
    yield f"{low:.2f}-{high:.2f}"
    yield _peak(decoding["peak_bytes"])
    yield f"{decoding['median_s']:.2f}"
    yield f"{decoding['ratio_median']:.2f}"


def _peak(peak: int | None) -> str:
    return "too large" if peak is None else mebibytes(peak)


def _notes(run: dict[str, Any]) -> list[str]:
    """Say how memory grows, and what missed its target."""
    notes = []
    for which in ("training", "decoding"):
        found = {name: growth(run, name, which) for name in run["shapes"][0]["rows"]}
        said = [f"{ROWS[name]} {value:.2f}" for name, value in found.items() if value is not None]
        if said:
            notes.append(
                "Memory of the longest texts over that of the shortest of as many tokens, "
                f"{which}: "
                f"{'; '.join(said)}."
            )
        for name in TARGET_ROWS:
            value = found.get(name)
            if value is not None and value > TARGET_GROWTH:
                notes.append(f"Above {TARGET_GROWTH:g} in {which}: {ROWS[name]}.")
    return notes

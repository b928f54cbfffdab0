"""The results of ``fusion_in_decoder.py`` as tables: how passages are read, by what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loss_tables import conditions_line, mebibytes
from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console

CONCATENATED, COPIED, BASELINE = "concatenated", "copied", "plain"
ROWS = {
    CONCATENATED: "fairseq `transformer`, all passages as one source",
    COPIED: "plain, fairseq's own decoder, a copy a hypothesis",
    BASELINE: "plain Fusion-in-Decoder",
    "kv_heads_1": "`--decoder-kv-heads 1`",
    "interval_3": "`--cross-attention-interval 3`",
    "interval_3_kv_heads_1": "`--cross-attention-interval 3 --decoder-kv-heads 1`",
    "first_k_8": "`--first-k 8`",
    "first_k_32": "`--first-k 32`",
    "first_k_8_interval_3_kv_heads_1": "`--first-k 8`, interval 3 and 1 head",
}
TOGETHER = "together"
ENCODERS = {
    CONCATENATED: "fairseq `transformer`, all passages as one source",
    TOGETHER: "all passages at once",
    "in_parts": "`--passages-at-once`",
}
# What one row has to reach: tokens per second over plain's, and how many times less cache.
TARGET_ROW, TARGET_SPEED, TARGET_CACHE = "interval_3_kv_heads_1", 2.0, 10.0

DECODING = (
    *("reading", "tokens/s", "ratio", "quartiles", "least", "encoder, s", "whole, s"),
    *("cross cache, MiB", "times smaller", "self cache, MiB", "same answers"),
)
ENCODING = (
    *("encoder", "s a question", "ratio", "quartiles"),
    *("peak, inference, MiB", "peak, training, MiB", "scores of a layer, MiB"),
)


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print all tables; rows go by the names that ``--rows`` takes."""
    console.print(conditions_line(results), highlight=False)
    for table, _ in _tables(results):
        print_table(table, console)
    for note in _notes(results):
        console.print(note, highlight=False)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{conditions_line(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(table, labels) for table, labels in _tables(run)]
        blocks += _notes(run)
    return "\n\n".join(blocks)


def model_name(model: Mapping[str, int]) -> str:
    """Say how large a model is, in a few words."""
    layers = f"{model['encoder_layers']} + {model['decoder_layers']} layers"
    return f"{layers}, width {model['width']}, {model['heads']} heads"


def _tables(run: dict[str, Any]) -> Iterator[tuple[ResultTable, Mapping[str, str]]]:
    work = run["protocol"]
    clock = {"processor": ", processor time", "wall": ""}[run["clock"]]
    for setting in run["settings"]:
        parameters = setting["parameters"] / 1e6
        name = f"{model_name(setting['model'])} ({parameters:.1f} million parameters)"
        passages = f"{work['n_context']} passages of {work['passage_tokens']} tokens"
        for point in setting["beams"]:
            title = (
                f"Decoding{clock}: {name}; {passages}, {work['questions']} questions at a time, "
                f"{work['length']} tokens an answer, beam {point['beam']}:"
            )
            rows = [(row, list(_decoding_cells(f))) for row, f in point["rows"].items()]
            yield ResultTable(title, DECODING, rows), ROWS
        at_once = f"{ENCODERS['in_parts'].rstrip('`')} {work['passages_at_once']}`"
        title = f"Encoding{clock}: {name}; {passages}, {work['questions']} questions at a time:"
        rows = [(row, list(_encoding_cells(f))) for row, f in setting["encoders"].items()]
        yield ResultTable(title, ENCODING, rows), {**ENCODERS, "in_parts": at_once}


def _decoding_cells(metrics: Mapping[str, Any]) -> Iterator[str]:
    low, high = metrics["ratio_quartiles"]
    agreeing = metrics["agreeing"]
    yield f"{metrics['tokens_per_second']:.1f}"
    yield f"{metrics['ratio_median']:.2f}"
    yield f"{low:.2f}-{high:.2f}"
    yield f"{metrics['ratio_min']:.2f}"
    yield f"{metrics['encoder_seconds_per_question']:.2f}"
    yield f"{metrics['seconds_per_question']:.2f}"
    yield f"{metrics['cross_attention_bytes'] / 2**20:.2f}"
    yield f"{metrics['cross_attention_times_smaller']:,.4g}"
    yield f"{metrics['self_attention_bytes'] / 2**20:.2f}"
    yield "" if agreeing is None else f"{agreeing} of {metrics['questions']}"


def _encoding_cells(metrics: Mapping[str, Any]) -> Iterator[str]:
    low, high = metrics["ratio_quartiles"]
    yield f"{metrics['seconds_per_question']:.2f}"
    yield f"{metrics['ratio_median']:.2f}"
    yield f"{low:.2f}-{high:.2f}"
    for pass_ in ("inference", "training"):
        peak = metrics[f"{pass_}_peak_bytes"]
        yield "too large" if peak is None else mebibytes(peak)
    yield mebibytes(metrics["attention_bytes"])


def _notes(run: dict[str, Any]) -> list[str]:
    """Say what missed its target, and whose answers differ that should not."""
    notes = []
    for setting in run["settings"]:
        for point in setting["beams"]:
            where = f"{model_name(setting['model'])}, beam {point['beam']}"
            found = point["rows"].get(TARGET_ROW)
            if found and found["ratio_median"] < TARGET_SPEED:
                notes.append(f"Below {TARGET_SPEED:g} times the tokens per second: {where}.")
            if found and found["cross_attention_times_smaller"] < TARGET_CACHE:
                notes.append(f"Less than {TARGET_CACHE:g} times less cache: {where}.")
            for row, metrics in point["rows"].items():
                if metrics["agreeing"] not in (None, metrics["questions"]):
                    notes.append(f"{ROWS[row]} writes other answers: {where}.")
    return notes

"""How ``long_inputs.py`` measures, and what its JSON holds.

command, versions, hardware, device, threads, dtype, clock
                as ``loss_comparison.py`` describes them
protocol        layers, width, length, vocabulary
shapes          a list, one for each --shape:
    texts, tokens   B and S
    rows            by name:
        training, decoding      each with
            peak_bytes          above model, tokens and parameters' gradients; null where it
                                does not fit; see ``loss_measurement.peak_bytes``
            peak_bytes_per_token
            median_s, min_s, ratio_median, ratio_min, ratio_quartiles, repeats, wall
                                by ``loss_measurement.summarise``; ratios to the same model by
                                its eager attention, or to itself where there is none
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from fusion_rounds import summary, time_rounds
from long_input_models import PASSES, build_pass, make_tokens, run_pass
from long_input_tables import baseline_of
from loss_comparison import conditions
from loss_measurement import Workload, peak_bytes
from rich.console import Console
from rich.progress import Progress

_MODELS = (
    *("t5.modeling_t5", "bart.modeling_bart", "bert.modeling_bert"),
    "encoder_decoder.modeling_encoder_decoder",
)


def compare(
    command: str,
    shapes: Sequence[tuple[int, int]],
    layers: int,
    width: int,
    length: int,
    vocabulary: int,
    repeats: int,
    threads: int,
    device: str,
    names: Sequence[str],
) -> dict[str, Any]:
    """Measure every row at every shape.

    Raises:
        NoResultError: no such device.
    """
    found = conditions(command, "float32", device, threads)
    positions = max(tokens for _, tokens in shapes)
    build = partial(build_pass, layers, width, vocabulary, length, positions, device)
    workload = Workload(
        build=build,
        make_inputs=make_tokens,
        warm_up_shape=(1, 8, vocabulary),
        run=run_pass,
        preload=tuple(f"transformers.models.{name}" for name in _MODELS),
    )
    calls = len(shapes) * len(names) * len(PASSES) * (1 + repeats)
    measured = []
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("long inputs", total=calls)

        def advance() -> None:
            progress.update(bar, advance=1, refresh=True)

        for shape in shapes:
            rows = _peaks(workload, names, (*shape, vocabulary), device, advance)
            _add_times(
                rows, workload, (*shape, vocabulary), repeats, device, found["clock"], advance
            )
            measured.append({"texts": shape[0], "tokens": shape[1], "rows": rows})
    sizes = {"layers": layers, "width": width, "length": length, "vocabulary": vocabulary}
    return {**found, "protocol": sizes, "shapes": measured}


def _peaks(
    workload: Workload, names: Sequence[str], shape: tuple[int, int, int], device: str, advance: Any
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in names:
        rows[name] = {}
        for which in PASSES:
            peak = peak_bytes(workload, f"{name} {which}", shape, torch.float32, device)
            each = None if peak is None else round(peak / (shape[0] * shape[1]))
            rows[name][which] = {"peak_bytes": peak, "peak_bytes_per_token": each}
            advance()
    return rows


def _add_times(
    rows: dict[str, Any],
    workload: Workload,
    shape: tuple[int, int, int],
    repeats: int,
    device: str,
    clock: str,
    advance: Any,
) -> None:
    (source,) = workload.make_inputs(shape, torch.float32, device)
    for which in PASSES:
        calls = {name: partial(workload.build(f"{name} {which}"), source) for name in rows}
        seconds = time_rounds(calls, repeats, device, advance)
        for name, metrics in rows.items():
            compared = baseline_of(name, rows)
            metrics[which] |= summary(seconds[name], seconds[compared], clock)

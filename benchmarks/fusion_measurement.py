"""The comparison of ways to read many passages, as the JSON of ``fusion_in_decoder.py`` holds it.

**Encoding** is timed in rounds, in an order that changes from round to round, and its result kept.
**Decoding** is timed apart from it: everything else that fairseq's ``inference_step`` does, beam
search included, from what was kept.  Every row decodes once in every round, in a changing order,
and a ratio is of times of the same round.  No answer ends before its full length (``--min-len``).
Before anything is timed every row decodes once, and its caches are counted then.

The clock is the processor time of the process where one CPU thread computes: what it would take on
an idle core, whoever else has a turn.  With several threads, and on a GPU, it is the wall.

command, versions, hardware, device, threads, dtype, clock
            as in ``loss_comparison.py``
protocol    n_context (passages a question), passage_tokens, passages_at_once, questions (at a
            time), length (tokens of an answer, its end included)
settings    a list, in the order given:
  model       encoder_layers, decoder_layers, width, heads, vocabulary
  parameters  how many plain Fusion-in-Decoder has
  encoders    for each by name (``fusion_tables.ENCODERS`` says what each is):
    seconds_per_question
                    by the median and the clock
    repeats, median_s, min_s, ratio_median, ratio_min, ratio_quartiles
                    of all questions; the ratio is (its time / the time of "together")
    wall            repeats to ratio_quartiles once more, by the wall clock
    attention_bytes what the scores of all heads, (B * N, H, L, L), would take in one layer
    inference_peak_bytes, training_peak_bytes
                    see ``fusion_memory.py``; null where it does not fit
  beams       a list:
    beam        hypotheses
    rows        for each by name (``fusion_tables.ROWS`` says what each is):
      questions     at a time
      tokens        of all answers, hypotheses that were dropped left out
      agreeing      answers that are plain's; null where the model is another one
      tokens_per_second
                    of the decoder alone, by the median and the clock
      repeats, median_s, min_s
                    of the decoder alone, all questions
      ratio_median, ratio_min, ratio_quartiles
                    of (time of plain / its time) of the same round: above 1, it is faster
      wall          repeats to ratio_quartiles once more, by the wall clock
      encoder       which one it needs
      encoder_seconds_per_question
      seconds_per_question
                    of encoder and decoder, the sum of their medians
      cross_attention_bytes, self_attention_bytes
                    of a question, held when its search ends, all hypotheses together
      cross_attention_times_smaller
                    plain's / its own
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fusion_decoding import decode_all, keep_encodings
from fusion_memory import PASSES, encoder_peaks
from fusion_models import Reader, Size, build_readers, task_of
from fusion_rounds import summary, time_rounds
from fusion_tables import BASELINE, CONCATENATED, ENCODERS, TOGETHER
from loss_comparison import conditions
from rich.console import Console
from rich.progress import Progress


@dataclass(frozen=True)
class Work:
    """What is measured in every setting.

    Attributes:
        names: of ``fusion_tables.ROWS``, the baseline among them.
        questions: B, at a time.
        n_context: N, passages a question.
        passage_tokens: L.
        passages_at_once: where the encoder works in parts.
        beams: hypotheses.
        length: T, tokens of an answer.
        repeats: rounds.
    """

    names: Sequence[str]
    questions: int
    n_context: int
    passage_tokens: int
    passages_at_once: int
    beams: Sequence[int]
    length: int
    repeats: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, N, L)."""
        return self.questions, self.n_context, self.passage_tokens

    @property
    def encoders(self) -> list[str]:
        """Those that the rows need, and the one that works in parts."""
        return [name for name in ENCODERS if name != CONCATENATED or name in self.names]


def compare(
    command: str,
    settings: Sequence[tuple[int, int, int, int]],
    vocabulary: int,
    device: str,
    threads: int,
    **work: Any,
) -> dict[str, Any]:
    """Measure every row in every setting.

    Args:
        command: as it was typed.
        settings: layers of encoder and decoder, width, heads.
        vocabulary: symbols, fairseq's own among them.
        device: "cpu" or "cuda".
        threads: of torch.
        work: the attributes of ``Work``.

    Raises:
        NoResultError: no such device.
    """
    # They tell of what a model of fewer layers leaves out of another one's parameters.
    logging.getLogger("genft_fairseq").setLevel(logging.WARNING)
    found = conditions(command, "float32", device, threads)
    asked = Work(**work)
    protocol = ("n_context", "passage_tokens", "passages_at_once", "questions", "length")
    return {
        **found,
        "protocol": {name: getattr(asked, name) for name in protocol},
        "settings": [
            _compare_in(Size(*setting, vocabulary), asked, device, found["clock"])
            for setting in settings
        ],
    }


def _compare_in(size: Size, work: Work, device: str, clock: str) -> dict[str, Any]:
    title = ",".join(map(str, size.facts().values()))
    calls = len(work.encoders) + len(work.names) * len(work.beams)  # in a round, and before
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task(title, total=calls * (1 + work.repeats))

        def advance() -> None:
            progress.update(bar, advance=1, refresh=True)

        # Memory first, while there is as much as there will be.
        peaks = {}
        for name in work.encoders:
            peaks[name] = encoder_peaks(name, work.shape, size, work.passages_at_once, device)
            advance()
        task = task_of(size)
        readers = build_readers(work.names, size, task, work.shape, device)
        encoders = _time_encoders(readers, work, device, clock, advance)
        for name, metrics in encoders.items():
            metrics["attention_bytes"] = _attention_bytes(name, work.shape, size.heads)
            metrics.update({f"{mode}_peak_bytes": peaks[name][mode] for mode in PASSES})
        keep_encodings(readers)
        beams = []
        for beam in work.beams:
            given = (readers, task, beam, work.length, work.repeats, device, clock)
            rows = decode_all(*given, on_call=advance)
            _add_encoders(rows, encoders, work.questions)
            beams.append({"beam": beam, "rows": rows})
    plain = readers[BASELINE].model
    return {
        "model": size.facts(),
        "parameters": sum(parameter.numel() for parameter in plain.parameters()),
        "encoders": encoders,
        "beams": beams,
    }


def _time_encoders(
    readers: dict[str, Reader], work: Work, device: str, clock: str, on_call: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    plain = readers[BASELINE]
    calls: dict[str, Callable[[], Any]] = {
        TOGETHER: plain.encode,
        "in_parts": lambda: plain.encode(work.passages_at_once),
    }
    if CONCATENATED in readers:
        calls[CONCATENATED] = readers[CONCATENATED].encode
    seconds = time_rounds(calls, work.repeats, device, on_call)
    metrics = {}
    for name in work.encoders:
        found = summary(seconds[name], seconds[TOGETHER], clock)
        each = round(found["median_s"] / work.questions, 6)
        metrics[name] = {"seconds_per_question": each, **found}
    return metrics


def _attention_bytes(encoder: str, shape: tuple[int, int, int], heads: int) -> int:
    B, N, L = shape
    rows, length = (B, N * L) if encoder == CONCATENATED else (B * N, L)
    return rows * heads * length**2 * torch.float32.itemsize


def _add_encoders(
    rows: dict[str, dict[str, Any]], encoders: dict[str, dict[str, Any]], questions: int
) -> None:
    for name, metrics in rows.items():
        encoder = CONCATENATED if name == CONCATENATED else TOGETHER
        encoding = encoders[encoder]["seconds_per_question"]
        metrics["encoder"] = encoder
        metrics["encoder_seconds_per_question"] = encoding
        metrics["seconds_per_question"] = round(encoding + metrics["median_s"] / questions, 6)

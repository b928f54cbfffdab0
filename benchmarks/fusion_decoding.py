"""Writing answers from encoded passages, every row by fairseq's own generator."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from fusion_models import FLAGS, Reader
from fusion_rounds import summary, time_rounds
from fusion_tables import BASELINE, CONCATENATED, COPIED

from genft_fairseq.evaluation.decoding import DecodingCost

SAME_MODEL = (COPIED, BASELINE)  # rows that must write the same
CACHES = ("cross_attention", "self_attention")


def keep_encodings(readers: dict[str, Reader]) -> None:
    """Let every row read what its encoder makes of the batch, computed once."""
    known: dict[tuple[bool, int | None], Any] = {}
    for name, reader in readers.items():
        kind = (name == CONCATENATED, FLAGS[name].get("first_k"))
        if kind not in known:
            known[kind] = reader.encode()
        encoded = known[kind]
        reader.model.encoder.forward_torchscript = lambda _, encoded=encoded: encoded


def decode_all(
    readers: dict[str, Reader],
    task: Any,
    beam: int,
    length: int,
    repeats: int,
    device: str,
    clock: str,
    on_call: Callable[[], None],
) -> dict[str, dict[str, Any]]:
    """Decode with every row.

    Args:
        readers: by name, the baseline among them; their encodings are kept.
        task: of the models.
        beam: hypotheses.
        length: tokens of every answer, its end included.
        repeats: rounds.
        device: "cpu" or "cuda".
        clock: "processor" or "wall".
        on_call: called after every call, of which there is one before the rounds.

    Returns:
        the figures of each row, as the JSON holds them, without those of its encoder.
    """
    limits = Namespace(beam=beam, max_len_a=0, max_len_b=length - 1, min_len=length - 1)
    calls: dict[str, Callable[[], Any]] = {}
    answers: dict[str, list[list[int]]] = {}
    held: dict[str, dict[str, int]] = {}
    for name, reader in readers.items():
        generator = task.build_generator([reader.model], limits)
        calls[name] = lambda reader=reader, generator=generator: task.inference_step(
            generator, [reader.model], reader.sample
        )
        answers[name], held[name] = _decode_once(calls[name], reader, generator, device)
        on_call()
    seconds = time_rounds(calls, repeats, device, on_call)
    metrics = {}
    for name in readers:
        found = summary(seconds[name], seconds[BASELINE], clock, faster=True)
        tokens = sum(map(len, answers[name]))
        pairs = zip(answers[name], answers[BASELINE], strict=True)
        cache = {f"{part}_bytes": held[name][part] for part in CACHES}
        smaller = held[BASELINE]["cross_attention"] / held[name]["cross_attention"]
        metrics[name] = {
            "questions": len(answers[name]),
            "tokens": tokens,
            "agreeing": sum(a == b for a, b in pairs) if name in SAME_MODEL else None,
            "tokens_per_second": round(tokens / found["median_s"], 3),
            **found,
            **cache,
            "cross_attention_times_smaller": round(smaller, 3),
        }
    return metrics


def _decode_once(
    call: Callable[[], Any], reader: Reader, generator: Any, device: str
) -> tuple[list[list[int]], dict[str, int]]:
    """Return the best answer to each question, and the bytes a question of either cache."""
    cost = DecodingCost(torch.device(device))
    questions = len(reader.sample["id"])
    with cost.watching(generator, reader.model, questions):
        found = call()
    metrics = cost.metrics()
    held = {part: round(metrics[f"cache_{part}_bytes_per_question"]) for part in CACHES}
    return [best[0]["tokens"].tolist() for best in found], held

"""A model that reads a question with its passages, loaded with the data it is evaluated on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.data import Dictionary

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.checkpoints import (
    build_models,
    chosen_device,
    read_checkpoint,
    require_finite,
)
from genft_fairseq.evaluation.wording import ANSWERS, Wording


@dataclass
class Reader:
    """A model in evaluation mode, with the task that knows its data."""

    model: Any
    task: Any
    device: torch.device

    @property
    def n_context(self) -> int | None:
        """How many passages the model reads of each question; None: all that there are."""
        return int(getattr(self.task.cfg, "n_context", 0)) or None

    @property
    def pointing(self) -> bool:
        """Whether the model was trained to name the passage that holds its answer."""
        return bool(getattr(self.task.cfg, "source_pointing", False))


def load_reader(
    data: str,
    path: str,
    cpu: bool = False,
    n_context: int | None = None,
    wording: Wording = ANSWERS,
) -> Reader:
    """Load a checkpoint for the binarized data folder.

    Args:
        data: the folder.
        path: of the checkpoint.
        cpu: do not use a GPU.
        n_context: passages read of each question; None: as it was trained.
        wording: of messages.

    Raises:
        UserError: no such file, no model that reads and writes, not one of the data's
            dictionaries, or one that training has broken; ``n_context`` for a task without it.
    """
    overrides: dict[str, Any] = {"data": data}
    overrides |= {} if n_context is None else {"n_context": n_context}
    state = read_checkpoint(path, overrides)
    trained = (state.get("cfg") or {}).get("task") or {}
    name = getattr(trained, "_name", None) or "unknown"
    sides = (getattr(trained, side, None) for side in ("source_lang", "target_lang"))
    pair = [str(side) for side in sides if side is not None]
    if len(pair) != 2:
        raise UserError(
            f"{path} was trained with --task {name}, which reads no {wording.read} and writes no "
            f"{wording.written} (--task fid and --task translation do)"
        )
    if n_context is not None and not hasattr(trained, "n_context"):
        raise UserError(
            f"--n-context {n_context} is of --task fid, but {path} was trained with --task {name}"
        )
    _require_dictionaries(state, data, path, pair)
    models, configuration, task = build_models(path, state, overrides)
    if len(models) != 1 or not all(hasattr(models[0], part) for part in ("encoder", "decoder")):
        raise UserError(f"{path} holds a {type(models[0]).__name__}, not an encoder-decoder")
    require_finite(models[0], path)
    model, device = models[0], chosen_device(cpu)
    model.to(device).eval().prepare_for_inference_(configuration)
    return Reader(model, task, device)


def _require_dictionaries(
    state: dict[str, Any], data: str, path: str, languages: Sequence[str]
) -> None:
    """fairseq would speak of the size of a tensor."""
    for language, side in zip(languages, ("encoder", "decoder"), strict=True):
        file = os.path.join(data, f"dict.{language}.txt")
        if not os.path.exists(file):
            raise UserError(f"{data} holds no dict.{language}.txt, with which {path} was trained")
        embedded = state["model"].get(f"{side}.embed_tokens.weight")
        symbols = len(Dictionary.load(file))
        if embedded is not None and len(embedded) != symbols:
            raise UserError(
                f"{path} was trained with a dictionary of {len(embedded)} symbols, but {file} has "
                f"{symbols}: give the data it was trained on, or data made with its dictionary"
            )


def open_split(reader: Reader, data: str, split: str) -> Any:
    """Open a split of the data folder as fairseq's dataset.

    Raises:
        UserError: there is none of this name.
    """
    cfg = reader.task.cfg
    ending = f".{cfg.source_lang}-{cfg.target_lang}.{cfg.source_lang}.idx"
    if not os.path.isfile(os.path.join(data, split + ending)):
        there = sorted(n.removesuffix(ending) for n in os.listdir(data) if n.endswith(ending))
        raise UserError(f"--split {split!r}: {data} holds {', '.join(there) or 'no split'}")
    reader.task.load_dataset(split)
    return reader.task.dataset(split)

"""Loading a checkpoint, a language model or an encoder-decoder, and the data it is evaluated on."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from genft_fairseq.errors import UserError

# Tokens that tell whether a text is in the subwords of the dictionary.
_LOOKED_AT = 10_000

# Called with what is done, the number of its units, and how many of these have just been done.
Progress = Callable[[str, int, int], None]


@dataclass
class LoadedModel:
    """A model in evaluation mode, with the task that knows its data.

    The properties are those of a language model.
    """

    model: Any
    task: Any
    device: torch.device

    @property
    def dictionary(self) -> Any:
        """Of the text; with --output-dictionary-size the model predicts its first part only."""
        return self.task.source_dictionary

    @property
    def begins_with_bos(self) -> bool:
        """Whether the model was trained on blocks that begin with ``<s>``."""
        return bool(self.task.args.add_bos_token)

    @property
    def positions(self) -> int:
        """How many tokens of text the model can read."""
        return int(self.model.max_positions()) - self.begins_with_bos


def load_language_model(data: str, path: str, cpu: bool = False) -> LoadedModel:
    """Load a checkpoint for the binarized data folder.

    Raises:
        UserError: no such file, not a language model, not one of the data's dictionary, or one
            that training has broken; the folder has no dictionary.
    """
    overrides = {"data": data}
    state = read_checkpoint(path, overrides)
    _require_same_dictionary(state, data, path)
    models, _, task = build_models(path, state, overrides)
    if len(models) != 1 or hasattr(models[0], "encoder"):
        raise UserError(f"{path} holds a {type(models[0]).__name__}, not a language model")
    require_finite(models[0], path)
    device = chosen_device(cpu)
    return LoadedModel(models[0].to(device).eval(), task, device)


def load_encoder_decoder(
    data: str, path: str, cpu: bool = False, n_context: int | None = None
) -> LoadedModel:
    """Load a checkpoint for the binarized data folder.

    Args:
        data: the folder.
        path: of the checkpoint.
        cpu: do not use a GPU.
        n_context: passages read of each question; None: as it was trained.

    Raises:
        UserError: no such file, not an encoder-decoder, not one of the data's dictionaries, or one
            that training has broken; ``n_context`` for a task without it.
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
            f"{path} was trained with --task {name}, but must be an encoder-decoder's "
            "(--task fid or --task translation)"
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
    return LoadedModel(model, task, device)


def read_checkpoint(path: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint's parameters and configuration, some of whose values are replaced.

    Raises:
        UserError: there is no such file.
    """
    if not os.path.isfile(path):
        what = "is no file" if os.path.exists(path) else "does not exist"
        raise UserError(f"--path names {path}, which {what}")
    state: dict[str, Any] = checkpoint_utils.load_checkpoint_to_cpu(path, overrides)
    return state


def build_models(
    path: str, state: dict[str, Any], overrides: dict[str, Any]
) -> tuple[list[Any], Any, Any]:
    """Build what a checkpoint holds; return the models, their configuration, and their task.

    Args:
        path: of the checkpoint.
        state: from ``read_checkpoint``.
        overrides: the same; ``data`` is the binarized folder.

    Raises:
        UserError: the data's dictionary is not of the size that the model was trained with, or the
            checkpoint does not describe a model.
    """
    try:
        models, configuration, task = checkpoint_utils.load_model_ensemble_and_task(
            [path], arg_overrides=overrides, state=state
        )
    except (UserError, OSError):
        raise
    # A configuration that was not written by fairseq can be wrong in any way.
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[-1].strip() if lines else type(error).__name__
        if isinstance(error, RuntimeError) and "size mismatch" in str(error):
            data = overrides["data"]
            raise UserError(f"{path} does not fit the dictionary of {data}: {reason}") from error
        what = f"{type(error).__name__}: {reason}"
        raise UserError(f"{path} describes no model that can be built ({what})") from error
    return models, configuration, task


def require_finite(model: Any, path: str) -> None:
    """Refuse a model that training has broken.

    Raises:
        UserError: a parameter is not a finite number; the message names it.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"{path} holds {name}, some of which is no finite number")


def chosen_device(cpu: bool) -> torch.device:
    """Return the GPU where there is one, and the processor was not asked for."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


def open_split(loaded: LoadedModel, data: str, split: str) -> Any:
    """Open a split of the data folder as fairseq's dataset.

    Raises:
        UserError: there is none of this name.
    """
    cfg = loaded.task.cfg
    ending = f".{cfg.source_lang}-{cfg.target_lang}.{cfg.source_lang}.idx"
    if not os.path.isfile(os.path.join(data, split + ending)):
        there = sorted(n.removesuffix(ending) for n in os.listdir(data) if n.endswith(ending))
        raise UserError(f"--split {split!r}: {data} holds {', '.join(there) or 'no split'}")
    loaded.task.load_dataset(split)
    return loaded.task.dataset(split)


@dataclass
class TokenRows:
    """The text of a split, read item by item.

    Attributes:
        dataset: fairseq's, of token ids.
        tokens: how many it holds.
    """

    dataset: Any
    tokens: int

    def cut(self, size: int) -> Iterator[Tensor]:
        """Cut the text into rows of so many tokens, (size,); what is left over is dropped."""
        kept: list[Tensor] = []
        waiting = 0
        for i in range(len(self.dataset)):
            kept.append(self.dataset[i].long())
            waiting += len(kept[-1])
            if waiting < size:
                continue
            *whole, rest = torch.cat(kept).split(size)
            if len(rest) == size:
                whole.append(rest)
                rest = rest[:0]
            yield from whole
            kept, waiting = [rest], len(rest)


def token_rows(loaded: LoadedModel, data: str, split: str) -> TokenRows:
    """Open a split of the data folder.

    Raises:
        UserError: there is none of this name, or it holds no text.
    """
    path = os.path.join(data, split)
    if not os.path.isfile(f"{path}.idx"):
        there = sorted(name[:-4] for name in os.listdir(data) if name.endswith(".idx"))
        raise UserError(f"--split {split!r}: {data} holds {', '.join(there) or 'no split'}")
    # Nothing at all cannot be mapped into memory.
    if os.path.isfile(f"{path}.bin") and not os.path.getsize(f"{path}.bin"):
        raise UserError(f"--split {split}: {path} holds no token")
    dataset = data_utils.load_indexed_dataset(path, loaded.dictionary)
    if dataset is None:
        raise FileNotFoundError(f"Dataset not found: {split} ({path})")
    rows = TokenRows(dataset, int(sum(dataset.sizes)))
    if not rows.tokens:
        raise UserError(f"--split {split}: {path} holds no token")
    return rows


def require_known(rows: TokenRows, loaded: LoadedModel, split: str) -> None:
    """Refuse text that the dictionary does not know, such as words where it has subwords.

    Raises:
        UserError: most of the first tokens are unknown.
    """
    first = next(rows.cut(min(rows.tokens, _LOOKED_AT)))
    unknown = int(first.eq(loaded.dictionary.unk()).sum())
    if unknown * 2 > len(first):
        raise UserError(
            f"--split {split}: {unknown:,} of the first {len(first):,} tokens are <unk>: was the "
            "text split into the subwords of the model's dictionary before fairseq-preprocess?"
        )


def _require_same_dictionary(state: dict[str, Any], data: str, path: str) -> None:
    file = os.path.join(data, "dict.txt")
    embedded = (state.get("model") or {}).get("decoder.embed_tokens.weight")
    if "model" in state and any(name.startswith("encoder.") for name in state["model"]):
        return  # no language model, which is said later
    if not os.path.exists(file):
        raise UserError(
            f"{data} holds no dict.txt: a language model's data is what fairseq-preprocess "
            f"--only-source makes"
        )
    _require_size(embedded, file, path)


def _require_dictionaries(
    state: dict[str, Any], data: str, path: str, languages: Sequence[str]
) -> None:
    for language, side in zip(languages, ("encoder", "decoder"), strict=True):
        file = os.path.join(data, f"dict.{language}.txt")
        if not os.path.exists(file):
            raise UserError(f"{data} holds no dict.{language}.txt, with which {path} was trained")
        _require_size(state["model"].get(f"{side}.embed_tokens.weight"), file, path)


def _require_size(embedded: Tensor | None, file: str, path: str) -> None:
    """Refuse a dictionary of another size; fairseq would speak of the size of a tensor."""
    if embedded is None:
        return
    symbols = len(Dictionary.load(file))
    if len(embedded) != symbols:
        raise UserError(
            f"{path} was trained with a dictionary of {len(embedded)} symbols, but {file} has "
            f"{symbols}: give the data it was trained on, or data made with its dictionary"
        )

"""Language models: how well they predict text, and how they continue it.

Token-level figures are computed on gold prefixes; completions continue held-out prefixes and are
compared with the human continuation of the same prefixes.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import checkpoint_utils, utils
from fairseq.data import data_utils
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.repetition import distinct_tokens, mean_repetition
from genft_fairseq.generation.rollout import GREEDY, continue_prefixes
from genft_fairseq.generation.token_choice import Search

NGRAMS = (1, 2, 3, 4)

# Called with what has just been done (a number of tokens); a progress bar, or nothing.
Progress = Callable[[int], None]


def _no_progress(_: int) -> None:
    pass


@dataclass
class LoadedModel:
    """A language model in evaluation mode, with the task that knows its data."""

    model: Any
    task: Any
    device: torch.device

    @property
    def dictionary(self) -> Any:
        return self.task.target_dictionary


def load_language_model(data: str, path: str, cpu: bool = False) -> LoadedModel:
    """Load a checkpoint for the binarized data folder.

    Raises:
        UserError: no such file, or not a language model.
        FileNotFoundError: the folder has no dictionary.
    """
    if not os.path.exists(path):
        raise UserError(f"--path names {path}, which does not exist")
    models, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [path], arg_overrides={"data": data}
    )
    if len(models) != 1 or hasattr(models[0], "encoder"):
        raise UserError(f"{path} holds a {type(models[0]).__name__}, not a language model")
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    return LoadedModel(models[0].to(device).eval(), task, device)


def dataset_tokens(loaded: LoadedModel, data: str, split: str) -> int:
    """Count the tokens of a split, as ``token_figures`` will go through them."""
    return len(_stream(loaded, data, split))


@torch.no_grad()
def token_figures(
    loaded: LoadedModel, split: str, max_tokens: int = 4096, progress: Progress = _no_progress
) -> dict[str, float]:
    """Compute perplexity and accuracy on gold prefixes, in the blocks the model was trained on.

    Returns:
        ``perplexity`` (per token of the dictionary), ``accuracy`` (share of tokens that the model
        ranks first) and ``tokens``, their number.
    """
    task = loaded.task
    task.load_dataset(split)
    batches = task.get_batch_iterator(
        task.dataset(split),
        max_tokens=max_tokens,
        ignore_invalid_inputs=False,
        required_batch_size_multiple=1,
    ).next_epoch_itr(shuffle=False)
    nll, correct, tokens = 0.0, 0, 0
    for batch in batches:
        batch = utils.move_to_cuda(batch) if loaded.device.type == "cuda" else batch
        target = batch["target"]
        net_output = loaded.model(**batch["net_input"])
        # Not the logits: a model with an adaptive softmax returns features in their place.
        lprobs = loaded.model.get_normalized_probs(net_output, log_probs=True)
        scored = target.ne(loaded.dictionary.pad())
        nll -= lprobs.gather(-1, target[..., None])[..., 0][scored].double().sum().item()
        correct += int((lprobs.argmax(-1).eq(target) & scored).sum())
        tokens += int(scored.sum())
        progress(int(scored.sum()))
    return {"perplexity": math.exp(nll / tokens), "accuracy": correct / tokens, "tokens": tokens}


@dataclass
class Completion:
    """A held-out prefix, what the model made of it, and what its author wrote; token ids."""

    prefix: list[int]
    continuation: list[int]
    human: list[int]


def complete(
    loaded: LoadedModel,
    data: str,
    split: str,
    prefix_length: int = 50,
    length: int = 100,
    limit: int | None = None,
    batch_size: int = 32,
    search: Search = GREEDY,
    seed: int = 1,
    progress: Progress = _no_progress,
) -> list[Completion]:
    """Continue prefixes of the split's text, which is cut into windows that do not overlap.

    What is sampled depends on the seed and the window, not on the batch.

    Raises:
        UserError: the split is shorter than one window, or the model has too few positions.
    """
    window = prefix_length + length
    if window - 1 > loaded.model.max_positions():
        raise UserError(
            f"a prefix of {prefix_length} and a continuation of {length} need {window - 1} "
            f"positions, but the model was trained with {loaded.model.max_positions()}"
        )
    stream = _stream(loaded, data, split)
    if len(stream) < window:
        raise UserError(
            f"{split} holds {len(stream)} tokens, but a prefix of {prefix_length} and a "
            f"continuation of {length} need {window}"
        )
    windows = stream[: len(stream) // window * window].view(-1, window)[:limit]
    completions = []
    numbers = torch.arange(len(windows), device=loaded.device)
    for batch, sentences in zip(windows.split(batch_size), numbers.split(batch_size), strict=True):
        prefix, human = batch[:, :prefix_length], batch[:, prefix_length:]
        continuation = continue_prefixes(
            *(loaded.model, prefix.to(loaded.device), length, loaded.dictionary.pad()),
            *(search, seed, sentences),
        )
        progress(continuation.numel())
        rows = zip(prefix.tolist(), continuation.tolist(), human.tolist(), strict=True)
        completions += [Completion(*row) for row in rows]
    return completions


def completion_figures(texts: list[list[int]]) -> dict[str, float | int | None]:
    """Compute seq-rep-1..4 and the number of distinct tokens of continuations.

    Texts shorter than n are left out of seq-rep-n; their number, if any, is a figure too.
    """
    repetition = {n: mean_repetition(texts, n) for n in NGRAMS}
    figures: dict[str, float | int | None] = {
        f"seq_rep_{n}": mean.mean for n, mean in repetition.items()
    }
    short = {f"too_short_{n}": mean.too_short for n, mean in repetition.items() if mean.too_short}
    figures.update(short)
    return {**figures, "distinct_tokens": distinct_tokens(texts), "continuations": len(texts)}


def _stream(loaded: LoadedModel, data: str, split: str) -> Tensor:
    """The split as one sequence of token ids, (N,)."""
    path = os.path.join(data, split)
    dataset = data_utils.load_indexed_dataset(path, loaded.dictionary)
    if dataset is None:
        raise FileNotFoundError(f"Dataset not found: {split} ({path})")
    return torch.cat(list(_rows(dataset))) if len(dataset) else torch.empty(0, dtype=torch.long)


def _rows(dataset: Any) -> Iterator[Tensor]:
    for i in range(len(dataset)):
        yield dataset[i].long()

"""Any model as a folder of transformers': read without its code or the network, and written.

``transformers`` is imported where it is needed, because only these commands need it.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genft_fairseq.convert.gpt2_tokeniser import read_json
from genft_fairseq.errors import UserError

WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


MOST_LAYERS = 1000

# No kind of weights takes less, cross-attention that begins at random included.
MOST_PER_BYTE = 4


# BERTs of before transformers asked what they are, such as prajjwal1/bert-small.
_OF_OLD_BERTS = {"hidden_size", "intermediate_size", "max_position_embeddings", "type_vocab_size"}


def require_transformers() -> Any:
    """Import transformers.

    Raises:
        UserError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"transformers cannot be imported ({error}): pip install 'genft_fairseq[hf]'"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json``, and see that there are weights.

    Raises:
        UserError: a file is missing, or the weights are not those of a whole, plain model.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: name one that holds the model, for nothing is fetched")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} has no config.json: is it a folder of transformers'?")
    content = read_json(path)
    if content.get("quantization_config"):
        raise UserError(f"{path}: the weights are quantised; save the model without quantisation")
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder} holds an adapter (adapter_config.json): merge it into its model")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise UserError(f"{folder} holds no weights: none of {', '.join(WEIGHTS)}")
    if "model_type" not in content and content.keys() >= _OF_OLD_BERTS:
        content["model_type"] = "bert"
    return content


def load_model(
    kind: Any,
    folder: Path,
    config: Any,
    described: str,
    missing: Callable[[str], bool] = lambda name: False,
    unexpected: Callable[[str], bool] = lambda name: False,
) -> tuple[Any, list[str]]:
    """Load a model in float32, whatever files its weights are in.

    Pickled weights are read as tensors alone, so that none of their code runs.

    Args:
        kind: its class.
        folder: which ``read_config`` has read.
        config: transformers' configuration.
        described: what it is, for messages.
        missing: tells of a parameter whether it may begin at random.
        unexpected: tells of a parameter whether it may be left out.

    Returns:
        The model, and the parameters that begin at random.

    Raises:
        UserError: the configuration is of no model; a file is broken or holds code; a parameter is
            missing, of another shape, or no finite number, or one is there that the model does not
            have.
    """
    _require_size(config, folder)
    try:
        with torch.device("meta"):  # of no memory: whether there is such a model at all
            described_size = sum(parameter.numel() for parameter in kind(config).parameters())
    except Exception as error:  # each of transformers' modules checks sizes in its own way
        raise UserError(
            f"{folder / 'config.json'} is no configuration of a {described} ({first_line(error)})"
        ) from error
    held = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if described_size > MOST_PER_BYTE * held:
        raise UserError(
            f"{folder / 'config.json'} describes {described_size:,} parameters, but the files "
            f"beside it hold {held:,} bytes: they do not belong together"
        )
    try:
        model, found = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            ignore_mismatched_sizes=True,  # to be told of them, below
            output_loading_info=True,
        )
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same.
        raise UserError(
            f"the weights in {folder} carry something besides tensors, and loading it could run "
            f"code: have them saved as safetensors"
        ) from error
    except Exception as error:  # what a broken file raises depends on where it is broken
        raise UserError(f"the weights in {folder} cannot be read ({first_line(error)})") from error
    for name, saved, wanted in sorted(found["mismatched_keys"]):
        raise UserError(
            f"the weights in {folder} hold {name} of shape {tuple(saved)}, but config.json says "
            f"{tuple(wanted)}"
        )
    lacking = [name for name in found["missing_keys"] if not missing(name)]
    if lacking:
        raise UserError(f"the weights in {folder} lack {min(lacking)}")
    unknown = [name for name in found["unexpected_keys"] if not unexpected(name)]
    if unknown:
        raise UserError(f"the weights in {folder} hold {min(unknown)}, unknown in {described}")
    for name, weight in model.state_dict().items():
        if not weight.isfinite().all():
            raise UserError(
                f"the weights in {folder} hold {name}, some of which is no finite number"
            )
    return model, sorted(found["missing_keys"])


def _require_size(config: Any, folder: Path) -> None:
    """A model of millions of layers takes for ever to find impossible."""
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, int) and value > MOST_LAYERS:
            raise UserError(
                f"{folder / 'config.json'}: {name} must be at most {MOST_LAYERS}, but is {value}"
            )


def save_model(model: Any, folder: Path) -> None:
    """Write ``config.json`` and the weights, in the dtype that they have.

    Raises:
        UserError: they cannot be written.
    """
    try:
        model.save_pretrained(folder)
    except Exception as error:  # a full disk is an error of safetensors' own kind
        raise UserError(f"{folder} cannot be written ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith(":"):  # which field, before what is wrong with it
        return f"{lines[0]} {lines[1].strip()}"
    return lines[0] if lines else type(error).__name__

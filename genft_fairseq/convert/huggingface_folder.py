"""Folders of transformers: any model read without its code or the network, and written.

``transformers`` is imported inside functions, because only imported models need it.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genft_fairseq.errors import UserError, require_regular

WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
MOST_LAYERS = 1000
# Parameters a byte of weights; more means that config.json describes another model.  Quantised
# weights are refused, and cross-attention that is initialised at random is included.
MOST_PER_BYTE = 4
# In the configuration of BERTs from before transformers had model_type, as prajjwal1/bert-small.
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
    """Read ``config.json``, and check that the folder holds weights.

    Raises:
        UserError: a file is missing, or the weights are quantised or an adapter.
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


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    require_regular(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error})") from error


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON object, or with ``kind=list`` a list.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise UserError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, kind):
        raise UserError(f"{path} holds no JSON {'object' if kind is dict else 'list'}")
    return content


def load_model(
    kind: Any,
    folder: Path,
    config: Any,
    described: str,
    missing: Callable[[str], bool] = lambda name: False,
    unexpected: Callable[[str], bool] = lambda name: False,
) -> tuple[Any, list[str]]:
    """Load a model in float32 from safetensors or pickled weights.

    Of pickled weights only tensors are read, so that none of their code runs.

    Args:
        kind: class of the model.
        folder: that ``read_config`` has read.
        config: configuration of transformers.
        described: name of the architecture, for messages.
        missing: tells whether a parameter may be initialised at random.
        unexpected: tells whether a parameter may be left out.

    Returns:
        the model, and the parameters that are initialised at random.

    Raises:
        UserError: the configuration is invalid; a file is broken or holds code; a parameter is
            missing, unknown, not finite, or of another shape.
    """
    _require_size(config, folder)
    try:
        with torch.device("meta"):  # takes no memory, and shows whether the sizes fit
            described_size = sum(parameter.numel() for parameter in kind(config).parameters())
    except Exception as error:  # modules of transformers have no common error for wrong sizes
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
            ignore_mismatched_sizes=True,  # reported below
            output_loading_info=True,
        )
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it anyway.
        raise UserError(
            f"the weights in {folder} carry something besides tensors, and loading it could run "
            f"code: have them saved as safetensors"
        ) from error
    except Exception as error:  # a broken file may raise anything
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
    """Refuse a number of layers that takes forever to build, even on the meta device."""
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, int) and value > MOST_LAYERS:
            raise UserError(
                f"{folder / 'config.json'}: {name} must be at most {MOST_LAYERS}, but is {value}"
            )


def save_model(model: Any, folder: Path) -> None:
    """Write ``config.json`` and the weights in their dtype.

    Raises:
        UserError: they cannot be written.
    """
    try:
        model.save_pretrained(folder)
    except Exception as error:  # safetensors has its own error for a full disk
        raise UserError(f"{folder} cannot be written ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return an error's message in one line."""
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith(":"):  # the field, then what is wrong with it
        return f"{lines[0]} {lines[1].strip()}"
    return lines[0] if lines else type(error).__name__

"""A tiny GPT-2 as transformers saves it, with a byte-level BPE of its own; no download."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from fairseq import checkpoint_utils
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from transformers import GPT2Config, GPT2LMHeadModel

from genft_fairseq.cli import genft
from genft_fairseq.errors import UserError, one_line

MERGES = ("t h", "th e", "Ġ the", "i n", "Ġ a", "a n", "an d", "Ġ w")
PIECES = [*bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
VOCABULARY = len(PIECES) + 1  # <|endoftext|> is the last, as in GPT-2's own
END_OF_TEXT = VOCABULARY - 1


def write_tokeniser(folder: Path, names: tuple[str, str] = ("vocab.json", "merges.txt")) -> None:
    numbered = {subword: number for number, subword in enumerate([*PIECES, "<|endoftext|>"])}
    (folder / names[0]).write_text(json.dumps(numbered))
    (folder / names[1]).write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in MERGES))


def save_gpt2(folder: Path, vocabulary: int = VOCABULARY, **config: Any) -> GPT2LMHeadModel:
    """Write a random GPT-2, whose logits are far apart and whose biases are not zero."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **config}
    ends = {"bos_token_id": vocabulary - 1, "eos_token_id": vocabulary - 1}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **ends, **sizes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def hugging_face_folder(folder: Path, **config: Any) -> GPT2LMHeadModel:
    model = save_gpt2(folder, **config)
    write_tokeniser(folder)
    return model


def call(*arguments: object) -> str:
    """Run ``genft`` here, and return what it printed."""
    result = CliRunner().invoke(genft, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*arguments: object) -> str:
    """Run ``genft`` here, and return the one line that it ends with."""
    result = CliRunner().invoke(genft, list(map(str, arguments)))
    assert isinstance(result.exception, UserError), result.exception
    line = one_line(result.exception)
    assert line and "\n" not in line
    return line


def load(path: Path) -> Any:
    """Load a checkpoint as every fairseq command does; the model, in evaluation mode, and task."""
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    return model.eval(), task


@torch.no_grad()
def largest_difference(model: Any, original: GPT2LMHeadModel, ids: torch.Tensor) -> float:
    """Compare the logits of GPT-2's tokens, (B, T) of them read."""
    ours = model(ids + 4)[0][..., 4:]
    return (ours - original(ids).logits).abs().max().item()


def altered(source: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Copy an imported folder and change its checkpoint."""
    shutil.copytree(source, folder)
    state = torch.load(folder / "model.pt", weights_only=False)
    state["cfg"]["task"]["data"] = str(folder)
    change(state)
    torch.save(state, folder / "model.pt")
    return folder

"""Tiny encoders in folders of sentence-transformers', and the vectors that they should have."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from models.tiny_hugging_face import save_half
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModel

QUESTIONS = ["who sat on the mat ?", "the news", "nobody reads the news in the rain , the dog ran"]
PASSAGES = [
    ("the cat", "the cat sat on the mat , and the dog did not ."),
    ("", "everybody reads it in the sun ."),
    ("the news in the rain", "nobody reads the news ; the cat sat , the dog ran , the day ran in"),
]
MEAN, CLS = "pooling_mode_mean_tokens", "pooling_mode_cls_token"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save_sentence_encoder(
    folder: Path,
    kind: str = "bert",
    place: str = "",
    pooling: str = MEAN,
    normalize: bool = True,
    longest: int | None = 12,
    **config: Any,
) -> Path:
    """Write a folder as sentence-transformers does; ``place`` is where the model is in it."""
    save_half(folder / place, kind, **config)
    modules = [("Transformer", place), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (name, path) in enumerate(modules[: 2 + normalize])
        ],
    )
    write_json(folder / "1_Pooling" / "config.json", {MEAN: False, CLS: False, pooling: True})
    limits = {"max_seq_length": longest, "do_lower_case": False}
    write_json(folder / place / "sentence_bert_config.json", limits)
    return folder


def without_modules(folder: Path, out: Path) -> Path:
    """Copy the model alone."""
    out.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(folder / name, out)
    return out


@torch.no_grad()
def vectors(
    folder: Path,
    texts: Sequence[str | tuple[str, str]],
    pooling: str = MEAN,
    normalize: bool = True,
    longest: int = 12,
    separator: str = " ",
) -> Tensor:
    """What transformers alone makes of the texts, one by one; a title and its text are joined."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(longest)
    found = []
    for text in texts:
        joined = text if isinstance(text, str) else separator.join(filter(None, text))
        ids = torch.tensor([tokenizer.encode(joined).ids])
        states = model(ids).last_hidden_state[0]
        found.append(states[0] if pooling == CLS else states.mean(dim=0))
    made = torch.stack(found)
    return torch.nn.functional.normalize(made, dim=1) if normalize else made

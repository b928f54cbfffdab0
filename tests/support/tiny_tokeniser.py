"""A folder as `genft import-hf` leaves it, but for the weights: tiny tokenisers, no download."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def write_side(folder: Path, suffix: str, first: int) -> None:
    """Write a tokeniser whose pieces are single bytes, numbered from `first` on, and its dict."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: number for number, name in enumerate(SPECIAL)}
    vocabulary |= {letter: first + number for number, letter in enumerate(letters)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / f"tokenizer{suffix}.json"))
    symbols = range(len(SPECIAL), first + len(letters))
    lines = "".join(f"{symbol} 1\n" for symbol in symbols)
    (folder / f"dict{suffix}.txt").write_text(lines)


def write_model(folder: Path, joined: bool = True, positions: object = None) -> Path:
    """Write what describes a model: as BART, texts begin with `<s>`; positions for both sides."""
    folder.mkdir()
    side = {"size": 4 + 256, "bos": 0, "pad": 1, "eos": 2, "unk": 3, "prefix": ["<s>"]}
    other = side if joined else {**side, "size": 10 + 256, "prefix": []}
    sides = {"source": side, "target": other}
    limits = {f"{name}_positions": positions for name in sides}
    (folder / "hugging_face.json").write_text(json.dumps({**sides, **limits}))
    if joined:
        write_side(folder, "", first=4)
    else:
        write_side(folder, ".source", first=4)
        write_side(folder, ".target", first=10)
    return folder

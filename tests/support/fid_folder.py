"""Small binarized folders of questions with passages, and a tiny model to read them."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from genft_fairseq.data.fid_lines import CONTEXT, QUESTION, TITLE, passage_symbol

TINY_FID = [
    *("--task", "fid", "-s", "question", "-t", "answer", "--arch", "fid_transformer"),
    *("--encoder-layers", "1", "--decoder-layers", "2", "--share-all-embeddings"),
    *("--encoder-embed-dim", "16", "--decoder-embed-dim", "16"),
    *("--encoder-ffn-embed-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2"),
]
# A question, its passages as title and text, and the answer: words with spaces between them.
Asked = tuple[str, Sequence[tuple[str, str]], str]


def keys_and_values(number: int, most: int = 4, seed: int = 1) -> list[Asked]:
    """Questions for the value of a key, which one of up to ``most`` passages tells."""
    draw = random.Random(seed)
    asked: list[Asked] = []
    for i in range(number):
        size = 1 + i % most
        keys = [f"k{k}" for k in draw.sample(range(11), size)]
        values = [f"v{v}" for v in draw.sample(range(13), size)]
        passages = [
            (f"t{j % 3}", " ".join(["the", key, "is", value, *["so"] * draw.randrange(3)]))
            for j, (key, value) in enumerate(zip(keys, values, strict=True))
        ]
        wanted = draw.randrange(size)
        asked.append((f"what is {keys[wanted]}", passages, values[wanted]))
    return asked


def line_of(question: str, passages: Iterable[tuple[str, str]]) -> str:
    """The source line of an example."""
    parts = [f"{TITLE} {title} {CONTEXT} {text}" for title, text in passages]
    return " ".join([QUESTION, question, *parts])


def evidence_of(asked: Asked) -> list[int]:
    """The passages that hold the answer."""
    return [i for i, (_, text) in enumerate(asked[1]) if asked[2] in text.split()]


def write_fid_folder(folder: Path, splits: dict[str, list[Asked]], named: int = 8) -> Path:
    """Binarize what ``data-prep/prepare-fid.sh`` would.

    Args:
        folder: is made.
        splits: examples by the name of their part.
        named: of how many passages the dictionary has symbols.
    """
    folder.mkdir(parents=True)
    dictionary = Dictionary()
    for symbol in (QUESTION, TITLE, CONTEXT, *map(passage_symbol, range(named + 1))):
        dictionary.add_symbol(symbol)
    for asked in (asked for part in splits.values() for asked in part):
        for word in f"{line_of(*asked[:2])} {asked[2]}".split():
            dictionary.add_symbol(word)
    for side in ("question", "answer"):
        dictionary.save(str(folder / f"dict.{side}.txt"))
    for split, part in splits.items():
        prefix = f"{folder}/{split}.question-answer"
        for side, lines in (
            ("question", [line_of(*asked[:2]) for asked in part]),
            ("answer", [asked[2] for asked in part]),
        ):
            tokens = [dictionary.encode_line(line, add_if_not_exist=False) for line in lines]
            _write(f"{prefix}.{side}", tokens)
        pairs = [[n for i in evidence_of(asked) for n in (0, i)] for asked in part]
        _write(f"{folder}/{split}.align.question-answer", [torch.IntTensor(p) for p in pairs])
    return folder


def _write(prefix: str, rows: Iterable[torch.Tensor]) -> None:
    builder = MMapIndexedDatasetBuilder(f"{prefix}.bin")
    for row in rows:
        builder.add_item(row)
    builder.finalize(f"{prefix}.idx")

"""Embedding questions and passages with a trained bi-encoder."""

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq.data import data_utils
from torch import Tensor

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION, ModelTokeniser
from genft_fairseq.data.prepared_tokeniser import read_preparation
from genft_fairseq.errors import UserError, require_regular

CODES = "bpe.codes"


class TextEncoder:
    """A bi-encoder that reads text, split into the subwords that it was trained on.

    Args:
        model: ``--arch bi_encoder``, in evaluation mode.
        task: ``--task retrieval``, of the same checkpoint.
        folder: of the data that it was trained on; it says how text becomes subwords.
        batch_size: texts encoded at a time; fewer where they are long.

    Raises:
        UserError: the checkpoint holds no bi-encoder.
    """

    def __init__(self, model: Any, task: Any, folder: Path, batch_size: int = 64):
        if not hasattr(model, "embed_questions"):
            raise UserError(
                f"--method dense needs a bi-encoder of --task retrieval, but the checkpoint holds "
                f"a {type(model).__name__}"
            )
        self._model, self._task, self._batch_size = model, task, batch_size
        self._device = next(model.parameters()).device
        self._subwords = text_subwords(folder, task.source_dictionary)

    @property
    def width(self) -> int:
        """Return D, the length of the vectors."""
        return int(self._model.passage_encoder.embed_tokens.embedding_dim)

    def questions(self, texts: Sequence[str]) -> Tensor:
        """Return (Q, D), float32, on the model's device."""
        marker, longest = self._task.markers.question, self._task.max_question_positions
        rows = self._rows([marker], [[text] for text in texts], longest)
        return self._embedded(rows, self._model.embed_questions)

    def passages(self, passages: Sequence[Passage]) -> Tensor:
        """Return (P, D), float32, on the model's device."""
        markers, longest = self._task.markers, self._task.max_passage_positions
        parts = [[passage.title, passage.text] for passage in passages]
        rows = self._rows([markers.title, markers.context], parts, longest)
        return self._embedded(rows, self._model.embed_passages)

    def _rows(self, marked: list[int], texts: list[list[str]], longest: int) -> list[Tensor]:
        """Number the parts of each text, each part behind its marker."""
        dictionary, markers = self._task.source_dictionary, self._task.markers
        special = {markers.question, markers.title, markers.context, *markers.passages}
        subwords = iter(self._subwords([part for parts in texts for part in parts]))
        rows = []
        for _ in texts:
            row = []
            for marker in marked:
                ids = [dictionary.index(subword) for subword in next(subwords)]
                # Text may look like a marker.
                row += [marker, *(dictionary.unk() if i in special else i for i in ids)]
            read = self._task.frame(torch.tensor(row))[: longest - 1]
            rows.append(torch.cat([read, torch.tensor([dictionary.eos()])]))
        return rows

    @torch.inference_mode()
    def _embedded(self, rows: list[Tensor], embed: Callable[[Tensor], Tensor]) -> Tensor:
        # Sorted by length, so that texts are padded little.
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        found: dict[int, Tensor] = {}
        for start in range(0, len(rows), self._batch_size):
            numbers = order[start : start + self._batch_size]
            tokens = data_utils.collate_tokens(
                [rows[number] for number in numbers], self._task.source_dictionary.pad()
            )
            vectors = embed(tokens.to(self._device)).float()
            found.update(zip(numbers, vectors, strict=True))
        return torch.stack([found[number] for number in range(len(rows))])


def text_subwords(folder: Path, dictionary: Any) -> Callable[[Sequence[str]], list[list[str]]]:
    """Return a function that splits texts into subwords, as a data folder was prepared.

    With ``hugging_face.json`` in the folder they are those of an imported model.  With
    ``bpe.codes``, text is split into Moses tokens (unless the manifest says otherwise) and then
    into subwords by subword-nmt, limited to those in the dictionary.  Otherwise text is words.

    Raises:
        UserError: the codes are broken.
    """

    def one_by_one(split: Callable[[str], str]) -> Callable[[Sequence[str]], list[list[str]]]:
        return lambda texts: [split(" ".join(text.split())).split() for text in texts]

    if (folder / DESCRIPTION).exists():
        encode = ModelTokeniser.read(folder).encode_sources
        return lambda texts: encode([" ".join(text.split()) for text in texts])
    codes = folder / CODES
    if not codes.exists():
        return one_by_one(str)
    from subword_nmt.apply_bpe import BPE

    split = BPE(_merges(codes), vocab=set(dictionary.symbols)).process_line
    words = _moses_words() if _has_moses_tokens(folder) else str
    return one_by_one(lambda text: str(split(words(text))))


def _merges(codes: Path) -> io.StringIO:
    """Read the merges of subword-nmt, which would exit the process at a wrong line."""
    require_regular(codes)
    try:
        with codes.open(encoding="utf-8", newline="\n") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{codes} cannot be read: {error}") from error
    first, *lines = text.rstrip("\n").split("\n")
    if not re.fullmatch(r"#version: \d{1,3}(\.\d{1,3})*\s*", first):
        lines.insert(0, first)
    if not lines:
        raise UserError(f"{codes} holds no merge of two pieces")
    for number, line in enumerate(lines, start=1):
        if len(line.strip("\r\n ").split(" ")) != 2 or line.startswith("#version:"):
            raise UserError(f"{codes}: merge {number} must be two pieces, but is {line!r:.60}")
    return io.StringIO(text, newline="\n")


def _moses_words() -> Callable[[str], str]:
    from sacremoses import MosesTokenizer

    # The language that fairseq's commands give to Moses with -s question.
    tokenise = MosesTokenizer("question").tokenize
    return partial(tokenise, aggressive_dash_splits=True, return_str=True, escape=False)


def _has_moses_tokens(folder: Path) -> bool:
    preparation = read_preparation(folder)
    return preparation is None or preparation.has_moses_tokens

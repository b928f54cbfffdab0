"""Opening the index of ``genft retrieve``: loaded where there is one, built where not."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from genft_fairseq.cli.progress_bar import number_of_lines
from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION
from genft_fairseq.data.passages import PassageTable
from genft_fairseq.files import atomic_folder, file_sha256
from genft_fairseq.retrieval import dense
from genft_fairseq.retrieval.bm25 import BM25Index, BM25Options
from genft_fairseq.retrieval.dense import Found
from genft_fairseq.retrieval.encoding import TextEncoder
from genft_fairseq.retrieval.index_folder import RECORD, IndexRecord

# Finds so many passages for each question.
Searching = Callable[[Sequence[str], int], Found]


_PASSAGES_AT_ONCE = 1024


class WatchedTable(PassageTable):
    """A table that shows how far it is read, whoever reads it: it is read several times.

    Args:
        path: of the table.
        bar: shows it.
    """

    def __init__(self, path: Path, bar: Progress):
        super().__init__(path)
        self.bar = bar
        self._lines: int | None = None

    def __iter__(self) -> Iterator[Passage]:
        """Read the passages in order; see ``PassageTable``."""
        if self._lines is None:
            self._lines = number_of_lines(self.path, self.bar)
        task = self.bar.add_task(self.path.name, total=self._lines)
        try:
            yield from self.bar.track(super().__iter__(), total=self._lines, task_id=task)
        finally:
            self.bar.remove_task(task)


def open_bm25(table: WatchedTable, folder: Path | None, **options: Any) -> Searching:
    """Load or build an index by words.

    Args:
        table: of the passages.
        folder: of the index; None: it is built in memory, and forgotten.
        options: of ``BM25Options``.

    Raises:
        UserError: the folder holds the index of another table or of other options, or something
            else.
    """
    chosen = BM25Options(**options)
    if folder is not None and _is_index(folder):
        index = BM25Index.load(folder, table, chosen)
    else:
        with _new(folder) as written:
            index = BM25Index.build(table, chosen)
            if written is not None:
                index.save(written)

    def search(questions: Sequence[str], k: int) -> Found:
        task = table.bar.add_task("questions", total=len(questions), unit="questions")
        return index.search(table.bar.track(questions, task_id=task), k)

    return search


def open_dense(
    table: WatchedTable,
    folder: Path | None,
    path: str,
    data: str | None,
    batch_size: int,
    cpu: bool,
) -> Searching:
    """Load a bi-encoder or a pretrained encoder, and load or compute the vectors of the passages.

    Args:
        table: of the passages.
        folder: of the vectors; None: they are kept in a temporary file.
        path: of the checkpoint; or a folder: see ``load_encoder``.
        data: the binarized folder that it was trained on; None with a folder.
        batch_size: texts encoded at a time.
        cpu: do not use a GPU.

    Raises:
        UserError: the checkpoint is no bi-encoder, or the folder holds the vectors of another
            table or checkpoint, or something else.
    """
    encoder, checksum = load_encoder(path, data, batch_size, cpu)
    options = {"checkpoint": checksum}
    wanted = IndexRecord("dense", table.path.name, table.fingerprint(), options)
    keeping = nullcontext(None)
    if folder is None:
        keeping = tempfile.TemporaryDirectory(prefix="genft-retrieve-")  # type: ignore[assignment]
    with keeping as temporary:
        place = folder if folder is not None else Path(temporary, "index")  # type: ignore[arg-type]
        if not _is_index(place):
            with atomic_folder(place) as written:
                blocks = map(encoder.passages, dense.in_blocks(table, _PASSAGES_AT_ONCE))
                dense.write_embeddings(written, wanted, blocks, encoder.width)
        vectors = dense.load_embeddings(place, wanted, table)

    def search(questions: Sequence[str], k: int) -> Found:
        task = table.bar.add_task("questions", total=len(questions), unit="questions")
        found = []
        for start in range(0, len(questions), _PASSAGES_AT_ONCE):
            block = questions[start : start + _PASSAGES_AT_ONCE]
            found.append(encoder.questions(block))
            table.bar.advance(task, len(block))
        # A mapped file can be read even where its name is gone.
        return dense.search(vectors, torch.cat(found), k)

    return search


def load_encoder(
    path: str, data: str | None, batch_size: int, cpu: bool
) -> tuple[TextEncoder, str]:
    """Load a bi-encoder for the data folder that it was trained on, or a pretrained encoder.

    Args:
        path: of a checkpoint; or a folder of ``genft import-hf``, of sentence-transformers, or of
            transformers with a BERT or RoBERTa.
        data: the data folder; None with a folder.
        batch_size: texts encoded at a time.
        cpu: do not use a GPU.

    Returns:
        The encoder, and the checksum of its checkpoint.

    Raises:
        UserError: there is no bi-encoder, or none that is known here.
    """
    folder = Path(path)
    if not folder.is_dir():
        assert data is not None
        return _load_checkpoint(path, data, batch_size, cpu)
    if (folder / DESCRIPTION).is_file():
        return _load_checkpoint(str(folder / "model.pt"), path, batch_size, cpu)
    from genft_fairseq.convert.encoder_decoder_checkpoint import write_encoder

    with tempfile.TemporaryDirectory(prefix="genft-retrieve-") as imported:
        # The checkpoint, and so its checksum, does not depend on where it lies.
        write_encoder(folder, Path(imported), Path("."), None, None, passages=1)
        return _load_checkpoint(f"{imported}/model.pt", imported, batch_size, cpu)


def _load_checkpoint(path: str, data: str, batch_size: int, cpu: bool) -> tuple[TextEncoder, str]:
    from genft_fairseq.evaluation import loading

    overrides = {"data": data}
    state = loading.read_checkpoint(path, overrides)
    (model, *_), _, task = loading.build_models(path, state, overrides)
    loading.require_finite(model, path)
    model = model.to(loading.chosen_device(cpu)).eval()
    return TextEncoder(model, task, Path(data), batch_size), file_sha256(Path(path))


def _is_index(folder: Path) -> bool:
    return (folder / RECORD).exists()


def _new(folder: Path | None) -> AbstractContextManager[Path | None]:
    return nullcontext(None) if folder is None else atomic_folder(folder)


OPEN: dict[str, Callable[..., Searching]] = {"bm25": open_bm25, "dense": open_dense}

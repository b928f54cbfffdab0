"""``genft retrieve``: the passages of a table that may answer each question.

An index is loaded where its folder holds one, and built where not.  What needs torch is imported
when it is used: --help does not need it.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genft_fairseq.cli.measuring import dump, json_option
from genft_fairseq.cli.progress_bar import number_of_lines, working_bar
from genft_fairseq.data.fid_json import Example, Passage
from genft_fairseq.data.passages import PassageTable
from genft_fairseq.errors import UserError
from genft_fairseq.files import atomic_folder, file_sha256, require_writable, write_atomic
from genft_fairseq.retrieval.index_folder import RECORD, IndexRecord

if TYPE_CHECKING:
    from rich.progress import Progress

    from genft_fairseq.retrieval.dense import Found
    from genft_fairseq.retrieval.encoding import TextEncoder

# Finds so many passages for each question.
Searching = Callable[[Sequence[str], int], "Found"]
_PASSAGES_AT_ONCE = 1024
POSITIVE = click.IntRange(min=1)

# Of each method alone: what the other one would ignore is refused.
OWN = {
    "bm25": {"k1": "--k1", "b": "--b", "stopwords": "--stopwords", "stemming": "--stemming"},
    "dense": {"path": "--path", "data": "--data", "batch_size": "--batch-size", "cpu": "--cpu"},
}


@click.command("retrieve")
@click.argument("passages", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--questions",
    "question_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="FiD's JSON or JSON lines, NQ-open's JSON lines, or .tsv of question and answers.",
)
@click.option(
    "--method",
    type=click.Choice(["bm25", "dense"]),
    default="bm25",
    show_default=True,
    help="bm25: lexical; dense: the vectors of an encoder, pretrained or a trained bi-encoder.",
)
@click.option("--top-k", type=POSITIVE, default=20, show_default=True, help="Passages a question.")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written here: FiD's JSON lines.",
)
@click.option(
    "--index",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the index: built where there is none yet, and used again.",
)
@click.option("--k1", type=float, default=1.5, show_default=True, help="BM25's k1.")
@click.option("--b", type=float, default=0.75, show_default=True, help="BM25's b.")
@click.option(
    "--stopwords/--no-stopwords",
    default=True,
    show_default=True,
    help="BM25: leave out the words that English is full of.",
)
@click.option("--stemming", is_flag=True, help="BM25: cut the endings of English words off.")
@click.option(
    "--path",
    help="Dense: a checkpoint of --task retrieval; or a folder with a pretrained encoder, of "
    "sentence-transformers, transformers (BERT, RoBERTa) or genft import-hf.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False),
    help="Dense: the data that a checkpoint was trained on.",
)
@click.option(
    "--batch-size", type=POSITIVE, default=64, show_default=True, help="Dense: texts a batch."
)
@click.option("--cpu", is_flag=True, help="Dense: do not use a GPU.")
@json_option
@click.pass_context
def retrieve(
    context: click.Context,
    passages: Path,
    question_file: str,
    method: str,
    top_k: int,
    output: Path,
    index: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find passages of the table PASSAGES (id, text, title; gzipped or not) for questions.

    \b
    genft retrieve psgs_w100.tsv.gz --questions nq-dev.json --output found.jsonl --index bm25/
    genft retrieve psgs_w100.tsv.gz --questions nq-dev.json --output found.jsonl \\
        --method dense --path all-MiniLM-L6-v2/ --index minilm/

    The output is what data-prep/prepare-fid.sh reads. recall@k is the share of questions with a
    passage that holds an answer among the first k.
    """
    _require_effect(context, method)
    require_writable("--output", output)  # before the work, not after it
    if output.resolve() in (passages.resolve(), Path(question_file).resolve()):
        raise UserError(f"--output {output} is what is read")
    if index is not None and not index.exists():
        require_writable("--index", index)
    metrics = _retrieve(passages, question_file, method, top_k, output, index, as_json, options)
    if as_json:
        click.echo(dump(metrics), nl=False)
        return
    for name, value in metrics.items():
        shown = f"{value:.4f}" if name.startswith("recall") else value
        click.echo(f"{name.replace('recall_', 'recall@'):<16} {shown}")


def _require_effect(context: click.Context, method: str) -> None:
    for other, flags in OWN.items():
        for name, flag in flags.items():
            given = context.get_parameter_source(name)
            if other != method and given is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{flag} needs --method {other}, but it is {method}")
    path, data = context.params["path"], context.params["data"]
    if method != "dense":
        return
    if not path:
        raise click.UsageError("--method dense needs --path")
    folder = Path(path).is_dir()
    if not folder and not data:
        raise click.UsageError(f"--path {path} needs --data, the folder it was trained on")
    if folder and data:
        raise click.UsageError(f"--data {data} is for a checkpoint, but --path {path} is a folder")


def _retrieve(
    passages: Path,
    question_file: str,
    method: str,
    top_k: int,
    output: Path,
    index: Path | None,
    quiet: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    from genft_fairseq.data.questions import read_questions
    from genft_fairseq.metrics.question_answering import recall_metrics

    questions = list(read_questions(question_file))
    with working_bar(quiet, "passages") as bar:
        step = bar.add_task("indexing", total=None)
        table = WatchedTable(passages, bar)
        begun = time.perf_counter()
        own = {name: options[name] for name in OWN[method]}
        searching = OPEN[method](table, index, **own)
        ready = time.perf_counter()
        bar.update(step, description="searching")
        found = searching([question.question for question in questions], top_k)
        searched = time.perf_counter()
        bar.update(step, description="writing")
        named = table.pick(found.numbers.unique().tolist())
        holds: list[list[bool]] = []
        write_atomic(output, _lines(questions, found, named, holds))
    return {
        "questions": len(questions),
        "passages": table.fingerprint().passages,
        "method": method,
        "index_seconds": round(ready - begun, 2),
        "search_seconds": round(searched - ready, 2),
        "with_answers": len(holds),
        **recall_metrics(holds),
        "output": str(output),
    }


def _lines(
    questions: Sequence[Example],
    found: "Found",
    named: Mapping[int, Passage],
    holds: list[list[bool]],
) -> Iterator[str]:
    """Write the examples one by one, and note which passages hold an answer."""
    from genft_fairseq.data.answer_match import contains_answer

    for question, numbers, scores in zip(questions, found.numbers, found.scores, strict=True):
        ctxs = tuple(
            replace(named[number], score=round(score, 4))
            for number, score in zip(numbers.tolist(), scores.tolist(), strict=True)
        )
        if question.answers:
            holds.append([contains_answer(passage.text, question.answers) for passage in ctxs])
        example = replace(question, passages=ctxs)
        yield json.dumps(example.as_json(), ensure_ascii=False) + "\n"


class WatchedTable(PassageTable):
    """A table that shows how far it is read, whoever reads it: it is read several times.

    Args:
        path: of the table.
        bar: shows it.
    """

    def __init__(self, path: Path, bar: "Progress"):
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
    from genft_fairseq.retrieval.bm25 import BM25Index, BM25Options

    chosen = BM25Options(**options)
    if folder is not None and _is_index(folder):
        index = BM25Index.load(folder, table, chosen)
    else:
        with _new(folder) as written:
            index = BM25Index.build(table, chosen)
            if written is not None:
                index.save(written)

    def search(questions: Sequence[str], k: int) -> "Found":
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
        UserError: the checkpoint is not a bi-encoder, or the folder holds the vectors of another
            table or checkpoint, or something else.
    """
    import torch

    from genft_fairseq.retrieval import dense

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

    def search(questions: Sequence[str], k: int) -> "Found":
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
) -> tuple["TextEncoder", str]:
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
        UserError: there is no encoder, or not one of a known architecture.
    """
    from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION

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


def _load_checkpoint(path: str, data: str, batch_size: int, cpu: bool) -> tuple["TextEncoder", str]:
    from genft_fairseq.evaluation import loading
    from genft_fairseq.retrieval.encoding import TextEncoder

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

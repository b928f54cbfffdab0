"""``genft retrieve``: the passages of a table that may answer each question."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from genft_fairseq.cli.measuring import dump, json_option
from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.errors import UserError
from genft_fairseq.files import require_writable, write_atomic

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
    # Imported here: they bring in torch, which --help does not need.
    from genft_fairseq.cli import retrievers
    from genft_fairseq.data.questions import read_questions
    from genft_fairseq.metrics.question_answering import recall_metrics

    questions = list(read_questions(question_file))
    with working_bar(quiet, "passages") as bar:
        step = bar.add_task("indexing", total=None)
        table = retrievers.WatchedTable(passages, bar)
        begun = time.perf_counter()
        own = {name: options[name] for name in OWN[method]}
        searching = retrievers.OPEN[method](table, index, **own)
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


def _lines(questions: list, found: Any, named: dict, holds: list[list[bool]]) -> Iterator[str]:
    """Write the examples one by one, and note which passages hold an answer."""
    from dataclasses import replace

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

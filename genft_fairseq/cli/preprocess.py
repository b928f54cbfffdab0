"""``genft preprocess``: long documents to a table of passages, and which of them hold answers."""

import json
from pathlib import Path
from typing import Any

import click

from genft_fairseq.cli.measuring import json_option, tell
from genft_fairseq.cli.progress_bar import number_of_lines, working_bar
from genft_fairseq.errors import UserError
from genft_fairseq.files import require_writable, write_atomic

POSITIVE = click.IntRange(min=1)


@click.command("preprocess")
@click.argument("documents", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written here: a passage table (.tsv).",
)
@click.option("--window", type=POSITIVE, default=100, show_default=True, help="Words of a passage.")
@click.option(
    "--stride",
    type=POSITIVE,
    default=50,
    show_default=True,
    help="Words from the beginning of one passage to that of the next.",
)
@click.option(
    "--questions",
    "question_file",
    type=click.Path(exists=True, dir_okay=False),
    help="Questions with answers: FiD's JSON, NQ-open's JSON lines, or .tsv.",
)
@click.option(
    "--matched",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written here: the questions with the passages that hold an answer, as FiD's JSON lines.",
)
@click.option(
    "--max-passages",
    type=POSITIVE,
    default=100,
    show_default=True,
    help="Passages written for a question, the first ones.",
)
@json_option
def preprocess(
    documents: Path,
    output: Path,
    window: int,
    stride: int,
    question_file: str | None,
    matched: Path | None,
    max_passages: int,
    as_json: bool,
) -> None:
    """Cut DOCUMENTS into overlapping passages, none of which cuts a word.

    DOCUMENTS are JSON lines of id, title and text, or a table (.tsv) of id, text and title. A
    question whose ctxs name documents by their ids gets all passages of those, has_answer telling
    which hold an answer; another one gets those that hold one, whatever document they are of.
    Text in a script without spaces (Chinese, Japanese, Thai, ...) is cut by characters.
    """
    _require_outputs(documents, question_file, output, matched)
    from genft_fairseq.data.passages import passage_rows, read_documents
    from genft_fairseq.data.questions import read_questions
    from genft_fairseq.retrieval.windows import WindowMatches, check_windows, document_windows

    check_windows(window, stride)
    questions = list(read_questions(question_file, need_answers=True)) if question_file else []
    matches = WindowMatches(questions, max_passages)
    with working_bar(as_json, "documents") as bar:
        total = number_of_lines(documents, bar)
        read = bar.track(read_documents(documents), total=total, description="cutting")
        write_atomic(output, passage_rows(matches.watch(document_windows(read, window, stride))))
    done: dict[str, Any] = {
        "output": str(output),
        "passages": matches.passages,
        "documents": matches.documents,
    }
    lines = [f"{output}: {matches.passages} passages of {matches.documents} documents"]
    if matched is not None:
        write_atomic(matched, (json.dumps(m, ensure_ascii=False) + "\n" for m in matches.as_json()))
        answered = matches.answered()
        done |= {"matched": str(matched), "questions": len(questions), "answered": answered}
        lines.append(
            f"{matched}: {len(questions)} questions, {answered} with a passage that holds an answer"
        )
    tell(as_json, done, *lines)


def _require_outputs(
    documents: Path, question_file: str | None, output: Path, matched: Path | None
) -> None:
    if bool(question_file) != bool(matched):
        raise click.UsageError("--questions and --matched go together")
    for flag, path in {"--output": output, "--matched": matched}.items():
        if path is None:
            continue
        require_writable(flag, path)  # before the work, not after it
        if path.resolve() in [Path(p).resolve() for p in (documents, question_file) if p]:
            raise UserError(f"{flag} {path} is what is read")
    if matched is not None and matched.resolve() == output.resolve():
        raise click.UsageError(f"--output and --matched are both {output}: name two files")

"""Questions to learn reading from, made of the passages themselves.

A name or number of a sentence is taken out and asked for; the rest of the sentence, some of its
words dropped, is the question, much as in salient span masking (Guu et al., 2020, REALM,
arXiv:2002.08909).  A model that starts from nothing learns here to find and copy an answer, before
the few real questions teach it what is asked for.  With ``--sentences`` the whole sentence
is to be written, which is learned first: it has ten times the words to learn from.  Every draw is
a hash of what is drawn for, so that the result never changes.

    python clozes.py PASSAGES.tsv --output clozes.jsonl --per-passage 8
"""

import hashlib
import json
import re
from pathlib import Path

import click

from genft_fairseq.data.passages import PassageTable

_NAME = r"[A-Z][\w'’.-]*\w(?: (?:of|the|and|de|von|van) [A-Z][\w'’-]+| [A-Z][\w'’-]+)*"
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_NUMBER = rf"(?:(?:{_MONTHS}) )?\d[\d,.]*\d|\d"
_SPAN = re.compile(rf"(?<![\w]){_NUMBER}(?![\w])|(?<=[a-z,;:(] ){_NAME}")
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
BLANK = "what"
NEAR = 12  # words of the sentence on either side of the blank


def draw(*given: object) -> float:
    """A number in [0, 1) that depends on nothing but what is given."""
    digest = hashlib.sha256(json.dumps(given).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def clozes(text: str, dropped: float) -> list[tuple[float, str, str, str]]:
    """The clozes of a passage: a draw to choose by, question, answer, and all words together."""
    found = []
    for sentence in _SENTENCE_END.split(text):
        for span in _SPAN.finditer(sentence):
            answer = span.group().strip(" .,")
            before, after = sentence[: span.start()].split(), sentence[span.end() :].split()
            if not answer or len(answer.split()) > 5 or len(before) + len(after) < 6:
                continue
            before, after = before[-NEAR:], after[:NEAR]
            words = [*before, BLANK, *after]
            kept = [
                word
                for number, word in enumerate(words)
                if word == BLANK or draw(sentence, answer, number) >= dropped
            ]
            whole = " ".join([*before, answer, *after])
            found.append((draw(sentence, answer), " ".join(kept), answer, whole))
    return found


@click.command(help=__doc__)
@click.argument("passages", type=click.Path(exists=True, dir_okay=False))
@click.option("--output", required=True, help="Written here: JSON lines of question and answers.")
@click.option("--per-passage", default=8, show_default=True, help="Most questions of a passage.")
@click.option("--dropped", default=0.3, show_default=True, help="Share of words left out.")
@click.option("--sentences", is_flag=True, help="Give the whole sentence, under this key, as well.")
def main(passages: str, output: str, per_passage: int, dropped: float, sentences: bool) -> None:
    lines, seen = [], set()
    for passage in PassageTable(passages):
        for _, question, answer, whole in sorted(clozes(passage.text, dropped))[:per_passage]:
            if (question, answer) not in seen:
                seen.add((question, answer))
                asked: dict[str, object] = {
                    "id": f"{passage.id}-{len(lines)}",
                    "question": question,
                }
                asked["answers"] = [answer]
                if sentences:
                    asked["sentence"] = whole
                lines.append(json.dumps(asked, ensure_ascii=False))
    # In an order that has nothing to do with the passages', so that any part is a sample.
    lines.sort(key=lambda line: draw("order", line))
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    click.echo(f"{len(lines)} questions in {output}")


if __name__ == "__main__":
    main()

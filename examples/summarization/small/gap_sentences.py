"""Makes pairs to learn copying and choosing from: a passage of any text, its principal sentences.

python examples/summarization/small/gap_sentences.py TEXT... --words 60 --output PREFIX

The principal sentences are those that share most words with the rest of the passage, as in PEGASUS
(Zhang et al., 2020, arXiv:1912.08777); unlike there they stay in the passage, because a model that
starts from nothing has to learn to copy first.  PREFIX.train.* and PREFIX.valid.* are written.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.summarization import sentences

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Pair = tuple[str, str]


@click.command()
@click.argument("texts", type=FILE, nargs=-1, required=True)
@click.option("--words", type=click.IntRange(min=8), required=True, help="Of a passage, at least.")
@click.option("--sentences", "number", type=click.IntRange(min=1), default=1, help="Of a summary.")
@click.option("--hold-out", type=click.IntRange(min=1), default=200, help="Pairs for validation.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(texts: tuple[Path, ...], words: int, number: int, hold_out: int, output: Path) -> None:
    pairs = [pair for path in texts for pair in pairs_of(read(path), words, number)]
    if len(pairs) < 2 * hold_out:
        raise click.ClickException(f"{len(pairs)} pairs, fewer than twice --hold-out {hold_out}")
    # Evenly over all texts.
    every = len(pairs) // hold_out
    held = set(range(0, every * hold_out, every))
    for split, wanted in (("train", False), ("valid", True)):
        kept = [pair for at, pair in enumerate(pairs) if (at in held) == wanted]
        for side, ending in enumerate(("source", "target")):
            lines = (f"{pair[side]}\n" for pair in kept)
            write_atomic(output.with_name(f"{output.name}.{split}.{ending}"), lines)
        print(f"{split}: {len(kept):,} pairs")


def read(path: Path) -> Iterator[str]:
    """Yield the paragraphs of a text, which blank lines part."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for paragraph in re.split(r"\n\s*\n", file.read()):
            yield " ".join(paragraph.split())


def pairs_of(paragraphs: Iterator[str], words: int, number: int) -> Iterator[Pair]:
    """Yield passages of so many words, or some more, with the sentences that stand for them."""
    passage: list[str] = []
    for paragraph in paragraphs:
        for sentence in sentences(paragraph):
            # Longer ones are lists and tables, or what the rule did not part.
            if len(sentence.split()) <= words // 2 + 20:
                passage.append(sentence)
            if sum(len(s.split()) for s in passage) >= words:
                if len(passage) > number:
                    yield " ".join(passage), " ".join(principal(passage, number))
                passage = []


def principal(passage: list[str], number: int) -> list[str]:
    """Return the sentences that share most words with the others, in their order."""
    bags = [Counter(sentence.lower().split()) for sentence in passage]
    whole = sum(bags, Counter())

    def shared(at: int) -> float:
        rest = whole - bags[at]
        common = (bags[at] & rest).total()
        return 2 * common / (bags[at].total() + rest.total())

    best = sorted(range(len(passage)), key=lambda at: (-shared(at), at))[:number]
    return [passage[at] for at in sorted(best)]


if __name__ == "__main__":
    main()

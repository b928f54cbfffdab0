"""Writes the first sentences of every article: the baseline that news articles are hard to beat by.

python examples/summarization/lead.py ARTICLES --sentences 3 --output FILE

ARTICLES holds one a line; so does FILE, sentences parted by <q>.
"""

from pathlib import Path

import click

from genft_fairseq.evaluation.predictions import read_text
from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.summarization import MARK, sentences


@click.command()
@click.argument("articles", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sentences", "number", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(articles: Path, number: int, output: Path) -> None:
    lines = (f" {MARK} ".join(sentences(text)[:number]) for text in read_text(articles, "article"))
    write_atomic(output, (f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()

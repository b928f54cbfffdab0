"""How many updates an epoch has, which a schedule that ends with the training must know beforehand.

python examples/book/updates.py DATA --block 256 --max-tokens 4096 --update-freq 1 --workers 1
"""

import logging
from math import ceil
from pathlib import Path

import click


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--block", type=int, required=True, help="--tokens-per-sample")
@click.option("--max-tokens", type=int, required=True)
@click.option("--update-freq", type=int, default=1)
@click.option("--workers", type=int, default=1)
def main(data: Path, block: int, max_tokens: int, update_freq: int, workers: int) -> None:
    logging.disable(logging.INFO)  # fairseq greets when it is imported
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    text = MMapIndexedDataset(str(data / "train"))  # its sizes are gone when it is
    tokens = int(text.sizes.sum())
    click.echo(updates_an_epoch(tokens, block, max_tokens, update_freq * workers))


def updates_an_epoch(tokens: int, block: int, max_tokens: int, batches_an_update: int) -> int:
    """Return the updates that fairseq makes of a text, cut into blocks of one length."""
    rows = max_tokens // block
    if rows >= 8:
        rows -= rows % 8  # fairseq's --required-batch-size-multiple
    if rows == 0:
        raise click.ClickException(f"--max-tokens {max_tokens} is less than a block of {block}")
    return max(1, ceil(ceil(ceil(tokens / block) / rows) / batches_an_update))


if __name__ == "__main__":
    main()

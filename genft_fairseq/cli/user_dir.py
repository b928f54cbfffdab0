"""``genft user-dir``: what to give ``--user-dir``."""

from pathlib import Path

import click

import genft_fairseq


@click.command("user-dir")
def user_dir() -> None:
    """Print the folder of the plugin, for --user-dir "$(genft user-dir)"."""
    click.echo(Path(genft_fairseq.__file__).resolve().parent)

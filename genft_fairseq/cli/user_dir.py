"""``genft user-dir``: what to give ``--user-dir``."""

from pathlib import Path

import click

import genft_fairseq
from genft_fairseq.cli.measuring import json_option, tell


@click.command("user-dir")
@json_option
def user_dir(as_json: bool) -> None:
    """Print the folder of the plugin, for --user-dir "$(genft user-dir)"."""
    folder = str(Path(genft_fairseq.__file__).resolve().parent)
    tell(as_json, {"user_dir": folder}, folder)

"""``--json``: standard output is JSON alone, for machines to read.

While a command works, ``working_bar`` keeps what libraries print away from standard output.
"""

import json
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


def dump(found: Any) -> str:
    """Write what was found as JSON, with a line feed at its end."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def tell(as_json: bool, done: Any, *lines: str) -> None:
    """Print what was done: as JSON, or as lines for people to read."""
    if as_json:
        click.echo(dump(done), nl=False)
        return
    for line in lines:
        click.echo(line)

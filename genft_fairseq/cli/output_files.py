"""The files that a measuring command writes, checked before the work that fills them."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from genft_fairseq.evaluation.records import require_writable


def require_outputs(files: dict[str, str | None], inputs: Mapping[str, Any] | None = None) -> None:
    """Refuse files that cannot be written, or are the same.

    Args:
        files: by flag; None: not asked for.
        inputs: parameters of the command, of which those that name a file are read.

    Raises:
        UserError: one cannot be written.
        click.UsageError: two are one.
    """
    given = {flag: path for flag, path in files.items() if path}
    for (flag, path), (other, same) in combinations(given.items(), 2):
        if Path(path).resolve() == Path(same).resolve():
            raise click.UsageError(f"{flag} and {other} are both {path}: name two files")
    for name, read in (inputs or {}).items():
        flag = f"--{name.replace('_', '-')}"
        reads = isinstance(read, str) and flag not in files and Path(read).is_file()
        for output, path in given.items() if reads else ():
            if Path(path).resolve() == Path(read).resolve():
                raise click.UsageError(f"{output} would overwrite {path}, which {flag} reads")
    for flag, path in given.items():
        require_writable(flag, Path(path))

"""A folder that is written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genft_fairseq.errors import UserError


def require_new(folder: Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        UserError: it is a file, or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give a folder beside the one asked for, which takes its name at the end.

    Whatever happens before leaves nothing under the name; a kill leaves the folder beside it.

    Args:
        folder: the one asked for, which may exist if it is empty.

    Raises:
        UserError: it holds something, or cannot be written.
    """
    require_new(folder)
    folder = folder.resolve()  # a link to an empty folder cannot be replaced, but what it names can
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)

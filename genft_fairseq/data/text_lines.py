"""Lines of UTF-8 text with their numbers, so that an error can say which one it is about."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from genft_fairseq.errors import UserError, require_regular


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read lines, without their ends, and their numbers from 1.

    Only a line feed ends a line.

    Args:
        path: of the file; gzipped where its name ends in ``.gz``.

    Raises:
        UserError: it cannot be read, or is not UTF-8; the message names the line.
    """
    require_regular(path)
    opened = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: line {number} is not UTF-8: {error.reason} at byte {error.start} of the line"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        beyond = f" beyond line {number}" if number else ""
        raise UserError(f"{path} cannot be read{beyond}: {reason}") from None

"""Objects of a JSON file one at a time, however large the file is.

An array of objects, or one object after the other, as in JSON lines. A half of a surrogate pair,
which JSON can write and no UTF-8 can hold, is read as U+FFFD.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from genft_fairseq.errors import UserError, require_regular

_BLOCK = 1 << 20  # characters read at a time
_SPACE = " \t\r\n"
_IN_NUMBERS = "+-.0123456789Ee"
_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_WORD = 16  # of what an error points to the beginning of: \ud83d\ude00, -Infinity
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read_objects(path: Path) -> Iterator[Any]:
    """Decode the elements of an array, or the values that follow each other, one at a time.

    Args:
        path: of UTF-8 JSON or JSON lines, gzipped or not, whatever its name says.

    Raises:
        UserError: the file cannot be read, or is no JSON.
    """
    require_regular(path)
    try:
        with path.open("rb") as raw:
            # Its first bytes tell; a name may be that of a pipe.
            zipped = raw.peek(2).startswith(_GZIP_MAGIC)
            content = gzip.GzipFile(fileobj=raw) if zipped else raw
            stream = io.TextIOWrapper(cast(BinaryIO, content), encoding="utf-8-sig")
            yield from _decoded(_JsonText(stream, path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason}") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read: {reason}") from None


def _decoded(text: "_JsonText") -> Iterator[Any]:
    if text.next_sign() != "[":
        while text.next_sign():
            yield text.value()
        return
    text.skip()
    more = text.next_sign() != "]"
    while more:
        yield text.value()
        sign = text.next_sign()
        more = sign == ","
        if more:
            text.skip()
        elif sign != "]":
            raise text.error(f"the array goes on with {sign}" if sign else "the array does not end")
    text.skip()
    if text.next_sign():
        raise UserError(f"{text.path}: more text follows the end of the array")


class _JsonText:
    """A text of JSON values, of which little more than one is in memory."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self.stream = stream
        self.path = path
        self.buffer = ""
        self.start = 0  # of what is not decoded yet
        self.ended = False
        self.number = 0  # of values so far
        self.decoder = json.JSONDecoder()

    def read_on(self) -> None:
        """Drop what is decoded and append a block.

        As long as what is there already: so a value that needs many is scanned few times.
        """
        block = self.stream.read(max(_BLOCK, len(self.buffer) - self.start))
        self.buffer, self.start, self.ended = self.buffer[self.start :] + block, 0, not block

    def next_sign(self) -> str:
        """Return the next sign that is no space, without passing it; nothing at the end."""
        while True:
            while self.start < len(self.buffer) and self.buffer[self.start] in _SPACE:
                self.start += 1
            if self.start < len(self.buffer) or self.ended:
                return self.buffer[self.start : self.start + 1]
            self.read_on()

    def skip(self) -> None:
        """Pass the sign that `next_sign` has returned."""
        self.start += 1

    def value(self) -> Any:
        """Decode the next value, and pass it."""
        self.next_sign()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.start)
            except json.JSONDecodeError as error:
                # Cut off by the end of the block, it is wrong where it ends, or in its last text.
                cut_off = error.pos > len(self.buffer) - _LONGEST_WORD
                if self.ended or not (cut_off or error.msg.startswith("Unterminated string")):
                    raise self.error(error.msg) from None
            except RecursionError:
                raise self.error("nested too deep") from None
            except ValueError as error:  # a whole number of thousands of digits
                raise self.error(str(error).partition(";")[0]) from None
            else:
                # A number may go on in the next block, even behind its point or its e.
                if self.ended or self.buffer[end : end + 1] not in _IN_NUMBERS:
                    halved = _HALF_A_PAIR.search(self.buffer, self.start, end)
                    self.start = end
                    self.number += 1
                    return _mended(value) if halved else value
            self.read_on()

    def error(self, reason: str) -> UserError:
        """Return the error of the value that begins here."""
        return UserError(
            f"{self.path}: example {self.number} is no JSON ({reason}): the file must be an array "
            "of examples, or one example a line"
        )


def _mended(value: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_mended(element) for element in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(element) for key, element in value.items()}
    return value

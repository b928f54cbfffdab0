"""Damaged files, made from good ones, and what every reader owes to whoever hands one in.

A reader returns, or raises an error for which there is one line that names the file; it comes to
an end soon, in little memory, and writes nothing.
"""

import contextlib
import json
import os
import random
import re
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from genft_fairseq.errors import one_line

VARIABLE = "GENFT_FUZZ_EXAMPLES"
# Always the same ones, unless more are asked for: GENFT_FUZZ_EXAMPLES=5000 pytest tests/trust
fuzz = settings(
    max_examples=int(os.environ.get(VARIABLE, 40)),
    derandomize=VARIABLE not in os.environ,
    deadline=None,
    database=None,
    # A smaller seed is no smaller damage.
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 20  # for what takes milliseconds
MEMORY = 4 << 30  # bytes more than the process has mapped already


class Hang(BaseException):
    """Not an Exception: no reader takes it for damage of its file."""


# --- what every reader owes -----------------------------------------------------------------------


def assert_read_or_refused(read: Callable[[], object], *named: object, folder: Path) -> str | None:
    """Call a reader; return the line that it refuses a file with, or None where it read it.

    Args:
        read: the call; what it returns is read to its end where it is an iterator.
        named: one of these is in the line.
        folder: in which nothing may change.
    """
    before = listing(folder)
    line = refusal(read)
    if line is not None:
        assert "\n" not in line and len(line) < 2000, line
        assert any(str(name) in line for name in named), f"none of {named} is in: {line}"
    assert listing(folder) == before
    return line


def refusal(read: Callable[[], object]) -> str | None:
    """Return the line that a command would print; fail where it would print a traceback."""
    try:
        with no_hang(), little_memory():
            found = read()
            if isinstance(found, Iterator):
                for _ in found:
                    pass
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        return line
    return None


@contextlib.contextmanager
def no_hang(seconds: float = SECONDS) -> Iterator[None]:
    """End what takes longer, as what waits for the writer of a pipe would."""

    def stop(*_: object) -> None:
        raise Hang(f"it took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Let the process map no more than MEMORY bytes besides what it has."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder, with its kind and size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size)
    return found


# --- bytes ----------------------------------------------------------------------------------------

SNIPPETS = [
    *(b"", b"\0", b"\0" * 40, b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\r\n", b"\n\n", b"\x1b[2J"),
    *("\u2028".encode(), "\U0001f600".encode()[:3], "é".encode("latin-1"), b"\xed\xa0\x80"),
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"9" * 5000, b"0x" + b"f" * 6000, b"true", b"null"),
    *(b"[" * 20_000, b'{"a":' * 20_000, b"(" * 300, b"'", b'"', b"\\u", b"\\ud800", b",", b":"),
    *(b"&a [*a]", b"<<: *a", b"!!python/object/apply:os.getcwd []", b"__import__('os')", b"$(id)"),
    *(b"\t", b"\t\t\t", b" ", b"#", b"-", b"../../../etc/passwd", b"/dev/zero", b"x" * 100_000),
]
_NUMBER = re.compile(rb"\d+")


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 8])):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _insert(draw: random.Random, content: bytes) -> bytes:
    at = draw.choice([0, len(content), draw.randrange(len(content) + 1)])
    return content[:at] + draw.choice(SNIPPETS) + content[at:]


def _overwrite(draw: random.Random, content: bytes) -> bytes:
    at = draw.randrange(len(content) + 1)
    new = draw.choice([bytes(8), b"\xff" * 8, draw.randbytes(draw.randrange(1, 30))])
    return content[:at] + new + content[at + len(new) :]


def _leave_out(draw: random.Random, content: bytes) -> bytes:
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


def _repeat(draw: random.Random, content: bytes) -> bytes:
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] + content[end:]


def _number(draw: random.Random, content: bytes) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    start, end = draw.choice(found).span()
    return content[:start] + draw.choice(SNIPPETS[15:22]) + content[end:]


def _line_ends(draw: random.Random, content: bytes) -> bytes:
    return content.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\n\0", b"\x0b"]))


BYTES = [_cut, _flip, _flip, _insert, _insert, _overwrite, _leave_out, _repeat, _number, _line_ends]


def damaged(*contents: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that differ from one of the good files in one place to three."""

    def damage(content: bytes, seed: int, number: int) -> bytes:
        draw = random.Random(seed)
        for _ in range(number):
            content = draw.choice(BYTES)(draw, content)
        return content

    return st.builds(damage, st.sampled_from(contents), st.integers(0, 1 << 30), st.integers(1, 3))


# --- values ---------------------------------------------------------------------------------------

ODD = [
    *(None, True, False, 0, -1, 7, 2**31, 2**63, 10**30, 0.5, float("nan"), float("inf")),
    *("", " ", "\0", "a\nb", "\ud800", "9" * 5000, "nowhere/../..", "x" * 3000, "no"),
    *([], [None], [[]], ["a", 1], {}, {"": None}, {"a": {"b": []}}, [[[[[[]]]]]]),
]


def changed(value: Any) -> st.SearchStrategy[Any]:
    """A value of JSON's kinds, of which one part to three are of another kind, or missing."""

    def change(seed: int, number: int) -> Any:
        draw, found = random.Random(seed), value
        for _ in range(number):
            places = list(_places(found))
            found = _replaced(found, draw.choice(places), draw)
        return found

    return st.builds(change, st.integers(0, 1 << 30), st.integers(1, 3))


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, part in items:
        yield from _places(part, (*place, key))


def _replaced(value: Any, place: Sequence[Any], draw: random.Random) -> Any:
    if not place:
        return draw.choice(ODD)
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1 and draw.random() < 0.25:
        del copy[place[0]]
    else:
        copy[place[0]] = _replaced(value[place[0]], place[1:], draw)
    return copy


def as_json(value: Any) -> bytes:
    """Write a value as JSON, with what JSON does not have (nan) as Python writes it."""
    return json.dumps(value).encode()

"""Raw text whose lines others would count otherwise is refused before anything is written."""

import io
import sys

import pytest
from fairseq.data import data_utils
from fairseq_commands import USER_DIR, run
from refusals import assert_refused, refuses

from genft_fairseq.evaluation.predictions import read_lines
from genft_fairseq.patches.preprocessing import buffered_read, number_of_lines

LINES = ["one two", "three four five", "six", "seven eight"]
PLAIN = "".join(f"{line}\n" for line in LINES)
# At which str.splitlines, but neither fairseq nor wc, ends a line.
SEPARATORS = ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def write(path, text):
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN[:-1],
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r\n", 2),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r")[:-1],
        PLAIN[:-1] + "\r",
        PLAIN.replace(" ", "\x1f\0"),
        *(PLAIN.replace("two", f"two{separator}") for separator in SEPARATORS),
    ],
    ids=ascii,
)
def test_lines_are_those_that_fairseq_reads(text, tmp_path):
    file = write(tmp_path / "text", text)
    with open(file, encoding="utf-8") as stream:
        assert number_of_lines(file) == len(list(stream)) == 4
    assert [len(lines) for lines in buffered_read(file, 3)] == [3, 1]


@pytest.mark.parametrize("block", [1, 7, 8, 1 << 22])
def test_ends_between_two_blocks(block, tmp_path, monkeypatch):
    monkeypatch.setattr("genft_fairseq.patches.preprocessing._BLOCK", block)
    assert number_of_lines(write(tmp_path / "text", PLAIN.replace("\n", "\r\n"))) == 4
    assert number_of_lines(write(tmp_path / "text", PLAIN.replace("\n", "\r"))) == 4
    assert number_of_lines(write(tmp_path / "text", "")) == 0
    for line, text in enumerate(LINES, start=1):
        broken = PLAIN.replace(text, f"{text} \r more")
        with refuses(tmp_path / "text", f"line {line} "):
            number_of_lines(write(tmp_path / "text", broken))
    with refuses(tmp_path / "text", "line 1 "):
        number_of_lines(write(tmp_path / "text", PLAIN.replace("\n", "\r\r\n")))


def preprocess(folder, *flags):
    flags = ["--trainpref", folder / "train", "--destdir", folder / "data", *flags]
    return run("fairseq-preprocess", "--user-dir", USER_DIR, *flags, check=False)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("broken", ["train.en", "train.de", "valid.de"])
def test_a_carriage_return_within_a_line(broken, workers, tmp_path):
    for name in ("train.en", "train.de", "valid.en", "valid.de"):
        write(tmp_path / name, PLAIN.replace("four ", "four\r") if name == broken else PLAIN)
    flags = ["-s", "en", "-t", "de", "--validpref", tmp_path / "valid", "--workers", workers]
    done = preprocess(tmp_path, *flags)
    assert_refused(done, tmp_path / broken, "line 2 ", unwritten=tmp_path / "data")


def test_one_side_alone(tmp_path):
    write(tmp_path / "train", PLAIN.replace("six", "six\rsix"))
    done = preprocess(tmp_path, "--only-source")
    assert_refused(done, tmp_path / "train", "line 3 ", unwritten=tmp_path / "data")
    write(tmp_path / "train", PLAIN.replace("\n", "\r\n"))
    assert preprocess(tmp_path, "--only-source").returncode == 0
    found = data_utils.load_indexed_dataset(str(tmp_path / "data" / "train"))
    assert [len(sentence) for sentence in found] == [3, 4, 2, 3]


@pytest.mark.parametrize("separator", ["\n", *SEPARATORS], ids=ascii)
def test_sides_of_different_lengths(separator, tmp_path):
    """Where a program has split at another separator, the message says which line holds one."""
    source = PLAIN.replace("four", f"four{separator}")
    write(tmp_path / "train.en", source)
    write(tmp_path / "train.de", PLAIN if separator == "\n" else PLAIN + "nine\n")
    named = [tmp_path / "train.en", tmp_path / "train.de", "4", "5"]
    if separator != "\n":
        named.append("line 2 ")
    done = preprocess(tmp_path, "-s", "en", "-t", "de")
    assert_refused(done, *named, unwritten=tmp_path / "data")


def test_alignments_belong_to_the_lines(tmp_path):
    for name in ("train.en", "train.de"):
        write(tmp_path / name, PLAIN)
    flags = ["-s", "en", "-t", "de", "--align-suffix", "align"]
    done = preprocess(tmp_path, *flags)
    assert_refused(done, "--align-suffix align", unwritten=tmp_path / "data")
    write(tmp_path / "train.align", "0-0\n" * 3)
    done = preprocess(tmp_path, *flags)
    assert_refused(done, tmp_path / "train.align", unwritten=tmp_path / "data")
    write(tmp_path / "train.align", "0-0\n" * 4)
    assert preprocess(tmp_path, *flags).returncode == 0


@pytest.mark.parametrize("flag", ["--validpref", "--alignfile"])
def test_a_file_that_is_missing(flag, tmp_path):
    for name in ("train.en", "train.de"):
        write(tmp_path / name, PLAIN)
    missing = tmp_path / "none"
    done = preprocess(tmp_path, "-s", "en", "-t", "de", flag, missing)
    assert_refused(done, flag, missing, unwritten=tmp_path / "data")


@pytest.mark.parametrize("text", [PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN[:-1]], ids=ascii)
def test_lines_of_standard_input(text, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
    assert list(buffered_read("-", 3)) == [LINES[:3], LINES[3:]]


def test_a_carriage_return_in_standard_input(monkeypatch):
    """What came before is translated already."""
    text = PLAIN.replace("seven ", "seven\r").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), "utf-8"))
    read = buffered_read("-", 3)
    assert next(read) == LINES[:3]
    with refuses("line 4 "):
        next(read)


def test_standard_input_that_is_not_utf_8(monkeypatch):
    """Without a language Python itself would pass the bytes on as surrogates."""
    stream = io.TextIOWrapper(io.BytesIO("caf\xe9\n".encode("latin-1")), "utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(UnicodeDecodeError):
        next(buffered_read("-", 1))


def test_a_file_of_fairseq_interactive_is_looked_through_at_once(tmp_path):
    file = write(tmp_path / "text", PLAIN.replace("seven ", "seven\r"))
    with refuses(file, "line 4 "):
        next(buffered_read(file, 1))


def test_our_own_readers_end_a_line_at_a_line_feed(tmp_path):
    file = tmp_path / "text"
    for separator in ("\r", *SEPARATORS):
        write(file, f"one{separator}two\nthree\n")
        assert read_lines(file) == [f"one{separator}two", "three"]
    write(file, PLAIN.replace("\n", "\r\n"))
    assert read_lines(file) == LINES

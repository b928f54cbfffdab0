"""prepare-book.sh: what it refuses, what it makes of books, and that it can be killed."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path

import pytest
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
BOOK = "".join(f"Paragraph {n}\ngoes on.\n\n" for n in range(40))
LIMIT = 150
FEW = ("--bpe-operations", 300)


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-book.sh")


@pytest.fixture
def book(tmp_path) -> Path:
    path = tmp_path / "a book.txt"
    path.write_text(BOOK)
    return path


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], ("--text", "--train", "--valid")),
        (["--train", "BOOK"], ("--text", "--train", "--valid")),
        (["--text", "BOOK", "--valid", "BOOK"], ("--text", "--train", "--valid")),
        (
            ["--text", "BOOK", "--test", "BOOK", "--test-percent", "3"],
            ("--test-percent", 3, "--test"),
        ),
        (["--train=BOOK", "--valid=BOOK", "--valid=BOOK"], ("--valid",)),
        (["--train=BOOK", "--valid=BOOK", "--test-percent=3"], ("--test-percent", "--text")),
        (["--text", "/nowhere"], ("--text", "/nowhere")),
        (["--valid-percent", "0"], ("--valid-percent", 0)),
        (["--test-percent", "5%"], ("--test-percent", "5%")),
        (
            ["--text", "BOOK", "--valid-percent", "60", "--test-percent", "40"],
            ("--valid-percent", 60, "--test-percent", 40),
        ),
        (["--lines", "cut"], ("--lines", "cut")),
        (["--bpe", "gpt3"], ("--bpe", "gpt3")),
        (["--tokenise", "on"], ("--tokenise", "on")),
        (
            ["--text", "BOOK", "--bpe", "gpt2", "--tokenise", "moses"],
            ("--tokenise", "moses", "--bpe"),
        ),
        (["--text", "BOOK", "--gpt2-bpe", "/"], ("--gpt2-bpe", "--bpe", "gpt2")),
        (["--text", "BOOK", "--bpe", "gpt2", "--gpt2-bpe", "/nowhere"], ("--gpt2-bpe", "/nowhere")),
        (
            ["--text", "BOOK", "--bpe", "gpt2", "--gpt2-bpe", str(DATA_PREP)],
            ("--gpt2-bpe", f"{DATA_PREP}/encoder.json"),
        ),
    ],
)
def test_wrong_options(prepare, out, book, arguments, named):
    arguments = [argument.replace("BOOK", str(book)) for argument in arguments]
    assert_names(prepare.complain("--out", out, *arguments), *named)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ()),
        (gzip.compress(b""), ()),
        ("eins\nzwei\nfünf\n".encode("latin-1"), ((3,))),
        (gzip.compress(os.urandom(3000).hex().encode())[:-100], ()),
        (b" \n\t\n\n", ()),
        (10_000 * b"Is this one?\n", (100000,)),
        (b"One.\n\nTwo.\n", (2,)),
    ],
    ids=["empty", "empty gzip", "latin-1", "cut gzip", "blank", "no blank line", "small"],
)
def test_wrong_text(prepare, out, book, content, named):
    """The second of two texts is named, in the first place where something is wrong."""
    other = book.with_name("other")
    other.write_bytes(content)
    message = prepare.complain("--out", out, "--text", book, "--text", other)
    assert_names(message, other, *named)


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def books(realdata: Path) -> Path:
    folder = realdata / "books"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.fixture(scope="module")
def novel(books):
    return books / "pride_and_prejudice.txt.gz"


@pytest.fixture(scope="module")
def prepared(prepare, novel, tmp_path_factory) -> Path:
    """Return the data of the first paragraphs of a novel, made in one go."""
    out = tmp_path_factory.mktemp("prepared") / "novel"
    prepare.succeed("--text", novel, "--out", out, "--limit", LIMIT, *FEW)
    assert not Path(f"{out}.partial").exists()
    return out


@pytest.mark.realdata
def test_counts_and_content(prepared, novel, read_tree):
    manifest = json.loads((prepared / "MANIFEST.json").read_text())
    assert {name: entry["lines"] for name, entry in manifest["inputs"].items()} == {"text.1": 13030}
    binarised = manifest["counts"].pop("binarised")
    assert binarised["train"] == LIMIT
    for counts in manifest["counts"].values():
        assert {Path(name).stem: count for name, count in counts.items()} == binarised
    tree = read_tree(prepared)
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert {"bpe.codes", "dict.txt", "raw/test.txt", "test.idx", "train.bin"} <= set(tree)
    assert tree["raw/test.txt"].decode().split()[-4:] == "means of uniting them.".split()
    for place in (prepared, novel):
        assert not any(str(place.parent).encode() in content for content in tree.values())


def decode(folder: Path, split: str, decoder) -> list[str]:
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(folder / "dict.txt"))
    data = data_utils.load_indexed_dataset(str(folder / split))
    return [decoder(dictionary.string(tokens)) for tokens in data]


@pytest.mark.realdata
def test_pieces_read_back_as_plain_text(prepared):
    for split in ("valid", "test"):
        lines = (prepared / f"raw/{split}.txt").read_text("utf-8").split("\n")[:-1]
        text = decode(prepared, split, lambda line: f"{line} ".replace("@@ ", "").rstrip())
        for ours, theirs in zip(text, lines, strict=True):
            assert ours == theirs or "<unk>" in ours  # letters that the first pages do not have
        assert sum(map(str.__eq__, text, lines)) > 0.85 * len(lines)


@pytest.mark.realdata
def test_killed_runs_continue(prepare, prepared, novel, tmp_path, read_tree):
    """Not a byte depends on the number of workers either."""
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    arguments = ("--text", novel, "--out", out, "--limit", LIMIT, *FEW, "--workers", 1)
    finished: dict[str, int] = {}
    for reached in (work / "work/text/train.txt", work / "work/bpe/train.txt"):
        prepare.kill_when(reached.exists, *arguments)
        assert not out.exists()
        assert finished.items() <= prepare.finished(work).items()
        finished = prepare.finished(work)
    prepare.succeed(*arguments)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


@pytest.mark.realdata
def test_complete_folder(prepare, prepared, novel, books, tmp_path):
    """The text decides, not the name of its file or whether it is gzipped."""
    copy = tmp_path / "renamed"
    copy.write_bytes(gzip.decompress(novel.read_bytes()))
    options = ("--limit", LIMIT, *FEW)
    prepare.leave_alone(prepared, "--text", copy, *options)
    other = books / "moby_dick.txt.gz"
    message = prepare.complain("--text", other, *options, "--out", prepared)
    assert_names(message, prepared, "prepare-book.sh --text d02c06ecdee0")


@pytest.mark.realdata
def test_play_with_gpt2_pieces(prepare, books, realdata, tmp_path):
    """Every line comes back exactly, blank ones and spaces included."""
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    play = tmp_path / "play.txt"
    text = gzip.decompress((books / "tinyshakespeare.txt.gz").read_bytes()).decode()
    odd = "ODD:\n   naïve — 戦場\u00a03  👩‍👩‍👧\n"
    play.write_text("".join(itertools.islice(text.splitlines(True), 3000)) + "\n" + odd, "utf-8")
    out = tmp_path / "out"
    printed = prepare.succeed(
        "--text", play, "--out", out, "--lines", "keep", "--bpe", "gpt2",
        "--gpt2-bpe", realdata / "gpt2_bpe", "--test-percent", 2,
    )  # fmt: skip
    assert f"--gpt2-encoder-json {out}/encoder.json --gpt2-vocab-bpe {out}/vocab.bpe" in printed
    bpe = GPT2BPE(
        GPT2BPEConfig(
            gpt2_encoder_json=str(out / "encoder.json"), gpt2_vocab_bpe=str(out / "vocab.bpe")
        )
    )
    for split in ("valid", "test"):
        lines = (out / f"raw/{split}.txt").read_text("utf-8").split("\n")[:-1]
        assert "" in lines
        assert decode(out, split, bpe.decode) == lines
    assert lines[-2:] == odd.split("\n")[:-1]
    assert (out / "dict.txt").read_text().split("\n")[-2] == "50256 1"


@pytest.mark.realdata
def test_files_that_are_split_already_with_moses(prepare, books, novel, tmp_path):
    out = tmp_path / "out"
    short = tmp_path / "short.txt"
    short.write_text("“Well,” said she.\n\nThe well-known end.\n", "utf-8")
    prepare.succeed(
        "--train", novel, "--train", books / "moby_dick.txt.gz", "--valid", short, "--out", out,
        "--limit", 50, "--tokenise", "moses", *FEW,
    )  # fmt: skip
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert sorted(manifest["inputs"]) == ["train.1", "train.2", "valid.1"]
    assert manifest["counts"]["tokenised"] == {"train.txt": 50, "valid.txt": 2}
    assert not (out / "test.bin").exists()
    text = decode(out, "valid", lambda line: f"{line} ".replace("@@ ", "").rstrip())
    assert text == ['" Well , " said she .', "The well @-@ known end ."]


def test_test_sets_beside_split_books(prepare, book):
    """Other books to test on: the book itself is split in two, and each of them is a test set."""
    texts = ["Paragraph 1", "goes Paragraph 2"]
    out = book.with_name("data")
    arguments = []
    for number, text in enumerate(texts):
        book.with_name(f"other {number}").write_text(text)
        arguments += ["--test", book.with_name(f"other {number}")]
    prepare.succeed("--text", book, *arguments, "--out", out, "--bpe-operations", 30)
    join = lambda line: f"{line} ".replace("@@ ", "").rstrip()  # noqa: E731
    assert [decode(out, split, join) for split in ("test", "test1")] == [[text] for text in texts]
    lengths = {split: len(decode(out, split, join)) for split in ("train", "valid")}
    assert lengths == {"train": 39, "valid": 1}
    assert (out / "raw/test1.txt").read_text() == "goes Paragraph 2\n"

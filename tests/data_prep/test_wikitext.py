"""prepare-wikitext-*.sh: they can be killed, and what they make of real text is right."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from local_mirror import needs_curl
from official_archives import write_wikitext
from refusals import assert_names

SPLITS = ("train", "valid", "test")
LINES = 300
LIMIT = 250


@pytest.fixture(scope="module")
def wikitext2(script):
    return script("prepare-wikitext-2.sh")


@pytest.fixture(scope="module")
def wikitext103(script):
    return script("prepare-wikitext-103-bpe.sh")


@pytest.fixture(scope="module")
def real(realdata):
    """Return WikiText's own text by split and kind; the test text stands for the training text."""
    folder = realdata / "wikitext"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")

    def read(split: str, kind: str) -> bytes:
        name = "test" if split == "train" else split
        return gzip.decompress((folder / f"wiki.{name}.{kind}.gz").read_bytes())

    return read


@pytest.fixture(scope="module")
def source(real, realdata, tmp_path_factory) -> Path:
    """Return a folder of archives of both kinds, with the first lines of every split."""
    folder = tmp_path_factory.mktemp("source")
    for kind in ("raw", "tokens"):
        texts = {split: real(split, kind).splitlines(True)[:LINES] for split in SPLITS}
        joined = {split: b"".join(lines) for split, lines in texts.items()}
        write_wikitext(folder, "wikitext-103", kind, joined)
        write_wikitext(folder, "wikitext-2", kind, joined)
    return folder


@pytest.fixture(scope="module")
def options(source, realdata):
    return ("--unpinned", "--limit", LIMIT, "--gpt2-bpe", realdata / "gpt2_bpe", "--from", source)


@pytest.fixture(scope="module")
def prepared(wikitext103, options, tmp_path_factory) -> Path:
    """Return the data of the first lines with GPT-2's pieces, made in one go."""
    out = tmp_path_factory.mktemp("prepared") / "wikitext"
    wikitext103.succeed("--out", out, *options)
    assert not Path(f"{out}.partial").exists()
    return out


def stripped(text: bytes, count: int | None = LINES) -> list[str]:
    return [line.strip(" ") for line in text.decode().split("\n")[:-1]][:count]


def read_back(folder: Path, split: str, decode) -> list[str]:
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(folder / "dict.txt"))
    data = data_utils.load_indexed_dataset(str(folder / split))
    return [decode(dictionary.string(tokens)) for tokens in data]


@pytest.mark.realdata
def test_counts_and_content(prepared, source, read_tree):
    manifest = json.loads((prepared / "MANIFEST.json").read_text())
    assert manifest["recipe"]["command"] == (
        f"prepare-wikitext-103-bpe.sh --unpinned --blank-lines keep --limit {LIMIT} --bpe gpt2"
    )
    assert {entry["lines"] for entry in manifest["inputs"].values()} == {LINES}
    after = {"train": LIMIT, "valid": LINES, "test": LINES}
    assert manifest["counts"].pop("binarised") == after
    for counts in manifest["counts"].values():
        assert counts == {f"{split}.txt": count for split, count in after.items()}
    assert manifest["dictionaries"] == {"dict.txt": 50_257}
    tree = read_tree(prepared)
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert {"encoder.json", "vocab.bpe", "raw/valid.txt", "raw/test.txt"} < set(tree)
    assert not any(str(source.parent).encode() in content for content in tree.values())


@pytest.mark.realdata
def test_gpt2_pieces_read_back_as_the_text(prepared, real):
    """Every line, without the spaces around it; blank ones are a lone end of sentence."""
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    encoder, merges = str(prepared / "encoder.json"), str(prepared / "vocab.bpe")
    bpe = GPT2BPE(GPT2BPEConfig(gpt2_encoder_json=encoder, gpt2_vocab_bpe=merges))
    for split in SPLITS:
        lines = stripped(real(split, "raw"), LIMIT if split == "train" else LINES)
        assert lines.count("") > 50
        assert read_back(prepared, split, bpe.decode) == lines
        if split != "train":
            assert (prepared / f"raw/{split}.txt").read_text("utf-8").split("\n")[:-1] == lines


@pytest.mark.realdata
def test_killed_runs_continue(wikitext103, prepared, options, tmp_path, read_tree):
    """Not a byte depends on the number of workers either."""
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    arguments = ("--out", out, *options, "--workers", 1)
    finished: dict[str, int] = {}
    # In the middle of encoding and of fairseq-preprocess.
    for pattern in ("work/bpe/train.txt", "data/train*.bin"):
        wikitext103.kill_when(lambda: any(work.glob(pattern)), *arguments)  # noqa: B023
        assert not out.exists()
        assert finished.items() <= wikitext103.finished(work).items()
        finished = wikitext103.finished(work)
    wikitext103.succeed(*arguments)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


@pytest.mark.realdata
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_words_from_a_mirror(wikitext2, source, real, tmp_path):
    out = tmp_path / "out"
    wikitext2.succeed(
        "--out", out, "--bpe", "none", "--unpinned", "--limit", LIMIT, WIKITEXT_URL=source.as_uri()
    )
    train = stripped(real("train", "tokens"), LIMIT)
    words = {word for line in train for word in line.split()}
    assert "<unk>" in words
    dictionary = {line.split()[0] for line in (out / "dict.txt").read_text("utf-8").splitlines()}
    assert {word for word in dictionary if not word.startswith("madeup")} == words - {"<unk>"}
    assert read_back(out, "train", str) == train
    assert (out / "raw/test.txt").read_text("utf-8").split("\n")[:-1] == stripped(
        real("test", "tokens")
    )


@pytest.mark.realdata
def test_unpacked_text_is_pinned_too(wikitext103, real, realdata, tmp_path):
    """The real validation and test text pass, with as many training lines as there must be."""
    source = tmp_path / "wikitext-103-raw"
    source.mkdir()
    for split in ("valid", "test"):
        shutil.copy(realdata / f"wikitext/wiki.{split}.raw.gz", source)
    train = stripped(real("train", "raw"), 400)
    content = "\n".join(train).encode() + (1_801_350 - 400 + 1) * b"\n"
    (source / "wiki.train.raw").write_bytes(content[:-1])
    arguments = ("--from", tmp_path, "--out", tmp_path / "out")
    message = wikitext103.complain(*arguments)
    assert_names(message, f"{source}/wiki.train.raw", 1801349, 1801350)
    assert not (tmp_path / "out.partial").exists()

    (source / "wiki.train.raw").write_bytes(content)
    subwords = ("--bpe", "subword-nmt", "--bpe-operations", 2000, "--blank-lines", "drop")
    wikitext103.succeed(*arguments, *subwords, "--limit", 100)
    manifest = json.loads((tmp_path / "out/MANIFEST.json").read_text())
    assert manifest["counts"]["text"] == {"train.txt": 100, "valid.txt": 2461, "test.txt": 2891}
    kept = [line for line in train if line][:100]
    joined = read_back(tmp_path / "out", "train", lambda x: f"{x} ".replace("@@ ", "").rstrip())
    assert joined == kept


@pytest.mark.realdata
def test_pins_are_those_of_the_real_text(wikitext2, real, out, tmp_path):
    pins = dict(re.findall(r"^ +(\w+(?:\.\w+)?)\) echo (\w+)", wikitext2.path.read_text(), re.M))
    for split in ("valid", "test"):
        assert hashlib.sha256(real(split, "raw")).hexdigest() == pins[f"{split}.raw"]
        for kind in ("raw", "tokens"):
            assert real(split, kind).count(b"\n") == int(pins[split])
    for split in SPLITS:
        (tmp_path / f"wiki.{split}.raw").write_bytes(real(split, "raw"))
    assert_names(
        wikitext2.complain("--from", tmp_path, "--out", out),
        f"{tmp_path}/wiki.train.raw",
        f"{pins['train.raw']}",
        f"{pins['test.raw']}",
    )


@pytest.mark.realdata
@needs_curl
def test_of_gpt2_files_only_what_is_missing_is_fetched(wikitext2, source, realdata, tmp_path):
    folder, there = tmp_path / "from", tmp_path / "mirror"
    folder.mkdir()
    there.mkdir()
    shutil.copy(source / "wikitext-2-raw-v1.zip", folder)
    shutil.copy(realdata / "gpt2_bpe" / "encoder.json.gz", folder)
    vocabulary = gzip.decompress((realdata / "gpt2_bpe" / "vocab.bpe.gz").read_bytes())
    (there / "vocab.bpe").write_bytes(vocabulary)
    out = tmp_path / "out"
    arguments = ("--unpinned", "--limit", 20, "--from", folder, "--out", out)
    printed = wikitext2.succeed(*arguments, GPT2_BPE_URL=there.as_uri())
    assert printed.count("fetching") == 1
    assert (out / "vocab.bpe").read_bytes() == vocabulary


@pytest.mark.realdata
def test_another_encoder_in_the_folder_is_named(wikitext2, source, tmp_path):
    """It is not passed over for the network's."""
    folder = tmp_path / "from"
    folder.mkdir()
    shutil.copy(source / "wikitext-2-raw-v1.zip", folder)
    for name in ("encoder.json", "vocab.bpe"):
        (folder / name).write_text("{}")
    out = tmp_path / "out"
    arguments = ("--unpinned", "--limit", 20, "--from", folder, "--out", out)
    assert_names(wikitext2.complain(*arguments), f"{folder}/encoder.json")
    assert not out.exists()

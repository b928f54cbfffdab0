"""prepare-multi30k.sh: what it refuses, that it can be killed, and that its result is right."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq.data import Dictionary, data_utils
from local_mirror import mirror, needs_curl
from refusals import assert_names

from genft_fairseq.data.encoders import PreparedTokenizer, PreparedTokenizerConfig
from genft_fairseq.evaluation.predictions import Generated, read_lines
from genft_fairseq.evaluation.translation import generated_metrics

NAMES = [
    f"{split}.{language}.gz"
    for split in ("train", "val", "test_2016_flickr")
    for language in ("en", "de")
]
LIMIT = 200


@pytest.fixture(scope="module")
def multi30k(script):
    return script("prepare-multi30k.sh")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a folder laid out as the official one, with other text."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in NAMES:
        write_gzip(folder / name, b"one\ntwo\nthree\n")
    return folder


def write_gzip(path: Path, text: bytes) -> None:
    path.write_bytes(gzip.compress(text, mtime=0))


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--lowercase", "on"], ("--lowercase",)),
        (["--frm", "x"], ("--frm",)),
        (["data"], ("data",)),
        (["--from"], ("--from",)),
        (["--limit", "--workers", "2"], ("--limit", "--workers")),
        (["--out="], ("--out",)),
        (["--limit", "0"], ("--limit", 0)),
        (["--limit", "-3"], ("--limit", -3)),
        (["--limit=ten"], ("--limit", "ten")),
        (["--workers", "1.5"], ("--workers", 1.5)),
        (["--workers", "0"], ("--workers", 0)),
        (["--bpe-operations", "1e3"], ("--bpe-operations", "1e3")),
        (["--length-ratio", "0.5"], ("--length-ratio", 0.5)),
        (["--truecase", "maybe"], ("--truecase", "maybe")),
        (["--min-length", "9", "--max-length", "8"], ("--min-length", 9, "--max-length", 8)),
        (["--from", "/nowhere/at/all"], ("--from", "/nowhere/at/all")),
    ],
)
def test_wrong_options(multi30k, out, arguments, named):
    assert_names(multi30k.complain("--out", out, *arguments), *named)


def test_missing_file_is_named(multi30k, raw, out):
    (raw / "val.de.gz").unlink()
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, "--from", f"{raw}/val.de.gz")


def test_unequal_length(multi30k, raw, out):
    write_gzip(raw / "train.de.gz", b"one\ntwo\n")
    assert_names(
        multi30k.complain("--from", raw, "--out", out),
        f"{raw}/train.en.gz",
        3,
        f"{raw}/train.de.gz",
        2,
    )


@pytest.mark.parametrize("content", [gzip.compress(b""), b""], ids=["gzipped", "plain"])
def test_empty_file(multi30k, raw, out, content):
    (raw / "train.en.gz").write_bytes(content)
    assert_names(multi30k.complain("--from", raw, "--out", out), f"{raw}/train.en.gz")


def test_not_utf8(multi30k, raw, out):
    write_gzip(raw / "train.de.gz", "eins\nfünf\ndrei\n".encode("latin-1"))
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, f"{raw}/train.de.gz", 2)


def test_other_text(multi30k, raw, out):
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, f"{raw}/train.en.gz")
    expected, found = re.findall("[0-9a-f]{64}", message)
    assert expected.startswith("460a15fb")
    assert found == hashlib.sha256(b"one\ntwo\nthree\n").hexdigest()


def test_truncated_gzip(multi30k, raw, out):
    whole = gzip.compress(os.urandom(3000).hex().encode())
    (raw / "train.en.gz").write_bytes(whole[:-100])
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, f"{raw}/train.en.gz")


def test_gzip_in_name_only(multi30k, raw, out):
    (raw / "train.en.gz").write_bytes(b"one\ntwo\nthree\n")
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, f"{raw}/train.en.gz")


def test_output_folder_with_other_data(multi30k, raw, tmp_path, read_tree):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, out, "--out")
    assert read_tree(tmp_path / "mine") == {"thesis.tex": b"mine"}
    assert not (tmp_path / "mine.partial").exists()


def test_work_folder_with_other_data(multi30k, raw, tmp_path):
    work = tmp_path / "mine.partial"
    work.mkdir()
    (work / "thesis.tex").write_text("mine")
    message = multi30k.complain("--from", raw, "--out", tmp_path / "mine")
    assert_names(message, work)
    assert [path.name for path in work.iterdir()] == ["thesis.tex"]


def test_output_that_is_a_file(multi30k, raw, tmp_path):
    out = tmp_path / "file"
    out.write_text("mine")
    message = multi30k.complain("--from", raw, "--out", out)
    assert_names(message, out, "--out")
    message = multi30k.complain("--from", raw, "--out", out / "below")
    assert_names(message, out, "--out")
    assert out.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_no_permission(multi30k, raw, tmp_path):
    parent = tmp_path / "locked"
    parent.mkdir(mode=0o500)
    message = multi30k.complain("--from", raw, "--out", parent / "out")
    assert_names(message, parent)


def test_python_without_the_packages(multi30k, raw, out, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(
        "#!/bin/sh\necho lacks fairseq sacremoses\n"
    )  # what the script's question answers
    bare.chmod(0o755)
    message = multi30k.complain("--from", raw, "--out", out, PYTHON=str(bare))
    assert_names(message, bare)
    message = multi30k.complain("--from", raw, "--out", out, PYTHON="/nowhere/python")
    assert_names(message, "/nowhere/python")


# --- downloads ------------------------------------------------------------------------------------


@needs_curl
def test_wrong_download_is_not_kept(multi30k, raw, out):
    with mirror(raw) as (url, requests):
        message = multi30k.complain("--out", out, MULTI30K_URL=url)
    assert_names(message, "download/train.en.gz")
    paths = [path for path, _ in requests]
    assert paths == ["/train.en.gz", "/train.en.gz", "/train.de.gz"]
    assert re.fullmatch(r"bytes=[1-9]\d*-", requests[1][1])  # it went on where it was cut off


@needs_curl
def test_missing_download_is_named(multi30k, raw, out):
    (raw / "train.en.gz").unlink()
    with mirror(raw) as (url, _):
        message = multi30k.complain("--out", out, MULTI30K_URL=url)
    assert_names(message, f"{url}/train.en.gz")
    assert "404" in message


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(realdata: Path) -> Path:
    folder = realdata / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.fixture(scope="module")
def prepared(multi30k, source, tmp_path_factory) -> Path:
    """Return the data of the first pairs, made in one go."""
    out = tmp_path_factory.mktemp("prepared") / "multi30k"
    multi30k.succeed("--from", source, "--out", out, "--limit", LIMIT, "--workers", 2)
    assert not Path(f"{out}.partial").exists()
    return out


@pytest.mark.realdata
def test_counts_and_content(prepared, source, read_tree):
    manifest = json.loads((prepared / "MANIFEST.json").read_text())
    lines = {name: entry["lines"] for name, entry in manifest["inputs"].items()}
    assert lines == {
        f"{split}.{language}": count
        for split, count in (("train", 29_000), ("valid", 1_014), ("test", 1_000))
        for language in ("en", "de")
    }
    binarised = manifest["counts"].pop("binarised")
    after = {"train": LIMIT, "valid": 1_014, "test": 1_000}
    assert set(manifest["counts"]) == {"selected", "tokenised", "cleaned", "bpe"}
    for stage, counts in manifest["counts"].items():
        assert counts == {f"{s}.{x}": n for s, n in after.items() for x in ("en", "de")}, stage
    assert binarised == {f"{s}.en-de.{x}": n for s, n in after.items() for x in ("en", "de")}

    tree = read_tree(prepared)
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert tree["dict.en.txt"] == tree["dict.de.txt"]
    for ours, theirs in (("valid", "val"), ("test", "test_2016_flickr")):
        for language in ("en", "de"):
            untouched = gzip.decompress((source / f"{theirs}.{language}.gz").read_bytes())
            assert tree[f"raw/{ours}.{language}"] == untouched
    assert not any(str(prepared.parent).encode() in content for content in tree.values())


@pytest.mark.realdata
def test_symbols_become_the_raw_text_again(prepared):
    """Whatever the flags of fairseq-generate; and raw text becomes the words of the data."""
    dictionary = Dictionary.load(str(prepared / "dict.de.txt"))
    data = data_utils.load_indexed_dataset(str(prepared / "test.en-de.de"), dictionary)
    symbols = [dictionary.string(data[i]) for i in range(len(data))]
    words = [re.sub("@@( |$)", "", line) for line in symbols]
    tokeniser = PreparedTokenizer(
        PreparedTokenizerConfig(source_lang="de", target_lang="de", prepared_data=str(prepared))
    )
    raw = read_lines(prepared / "raw" / "test.de")
    # What is unknown is a sign that none of the few training sentences has.
    known = [i for i, line in enumerate(words) if "<unk>" not in line]
    assert len(known) > 900
    assert [tokeniser.encode(raw[i]) for i in known] == [words[i] for i in known]
    text = [tokeniser.decode(line) for line in words]
    sides = {
        "as it is": (symbols, symbols, symbols),
        "--remove-bpe": (words, words, words),
        "--bpe and --tokenizer": (text, symbols, text),
    }
    found = {}
    for name, (targets, hypotheses, detokenised) in sides.items():
        generated = Generated([], targets, hypotheses, detokenised)
        found[name], file = generated_metrics(generated, prepared, "test", "de")
        assert file == prepared / "raw" / "test.de"
    assert found["as it is"] == found["--remove-bpe"] == found["--bpe and --tokenizer"]
    assert found["as it is"]["bleu"] > 97 and found["as it is"]["chrf"] > 97
    assert found["as it is"]["length_ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.realdata
@needs_curl
def test_download_gives_the_same_bytes(multi30k, prepared, source, tmp_path, read_tree):
    """Two runs, with other workers, one of them over a network that fails: not a byte differs."""
    out = tmp_path / "other" / "name"
    with mirror(source) as (url, requests):
        multi30k.succeed("--out", out, "--limit", LIMIT, "--workers", 1, MULTI30K_URL=url)
    assert [path for path, _ in requests] == ["/train.en.gz"] + [f"/{name}" for name in NAMES]
    assert read_tree(out) == read_tree(prepared)


@pytest.mark.realdata
def test_killed_runs_continue(multi30k, prepared, source, tmp_path, read_tree):
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    arguments = ("--from", source, "--out", out, "--limit", LIMIT)

    def reached(pattern: str) -> Callable[[], bool]:
        return lambda: any(work.glob(pattern))

    # In the middle of unpacking, of tokenising, and of fairseq-preprocess.
    finished: dict[str, int] = {}
    code, complaint = multi30k.kill_when(
        reached("work/raw/train.de"), *arguments, how=signal.SIGINT
    )
    assert code == 130
    assert complaint.startswith("prepare-multi30k.sh: ") and complaint.count("\n") == 1
    for pattern in ("work/tokenised/valid.en", "data/train*.bin"):
        multi30k.kill_when(reached(pattern), *arguments)
        assert not out.exists()
        assert finished.items() <= multi30k.finished(work).items()
        finished = multi30k.finished(work)
    multi30k.succeed(*arguments)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


@pytest.mark.realdata
def test_other_options_start_anew(multi30k, source, tmp_path):
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    arguments = ("--from", source, "--out", out)
    multi30k.kill_when((work / "work/stamps/select").exists, *arguments, "--limit", 5)
    multi30k.kill_when((work / "work/tokenised/train.en").exists, *arguments, "--limit", 7)
    assert len((work / "work/selected/train.en").read_text().splitlines()) == 7


@pytest.mark.realdata
def test_complete_folder(multi30k, prepared, source, tmp_path, read_tree):
    out = tmp_path / "out"
    shutil.copytree(prepared, out)
    leftover = tmp_path / "out.partial"  # of a run that was killed after its last act
    leftover.mkdir()
    (leftover / "recipe").write_text("any")
    multi30k.leave_alone(out, "--from", source, "--limit", LIMIT)
    assert not leftover.exists()

    message = multi30k.complain("--from", source, "--out", out)
    assert_names(message, out, f"prepare-multi30k.sh --limit {LIMIT} ")
    assert read_tree(out) == read_tree(prepared)

    (out / "train.en-de.de.bin").unlink()
    message = multi30k.complain("--from", source, "--out", out, "--limit", LIMIT)
    assert_names(message, out, "train.en-de.de.bin")


@pytest.mark.realdata
def test_other_text_in_the_same_layout(multi30k, prepared, source, tmp_path):
    """Accepted when asked for, and told in the manifest; a threshold of one's own, too."""
    other = tmp_path / "other"
    shutil.copytree(source, other)
    write_gzip(other / "val.en.gz", b"A dog .\n")
    write_gzip(other / "val.de.gz", "Ein Hund \u2028 .\n".encode())
    out = tmp_path / "out"
    arguments = ("--from", other, "--out", out, "--limit", 50, "--vocabulary-threshold", 2)
    multi30k.succeed(*arguments, "--unpinned")
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert manifest["recipe"]["command"].endswith(
        "--truecase off --vocabulary-threshold 2 --unpinned"
    )
    assert manifest["inputs"]["valid.en"]["lines"] == 1
    assert manifest["counts"]["bpe"]["valid.de"] == 1
    # Neither the data of the one nor that of the other is taken for what was asked for.
    assert_names(multi30k.complain(*arguments), "prepare-multi30k.sh")


@pytest.mark.realdata
def test_cleaning_that_leaves_nothing(multi30k, source, out):
    message = multi30k.complain(
        "--from", source, "--out", out, "--limit", 3, "--min-length", 90, "--workers", 1
    )
    assert_names(message, "--min-length")
    shutil.rmtree(f"{out}.partial")  # finished stages are kept for the next try


@pytest.mark.realdata
@pytest.mark.parametrize(("language", "least"), [("en", 0.965), ("de", 0.935)])
def test_round_trip(prepared, language, least):
    """What fairseq-generate prints, pieces joined and detokenised, is the raw text again.

    Lost are letters that two hundred training pairs do not have (1955 of 2014 English lines come
    back, and 1895 German ones; trained on all pairs, no letter is unknown and 2010 and 2005 do),
    quotation marks that normalisation made plain, and the space at an apostrophe.
    """
    from fairseq.data import Dictionary, data_utils
    from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig
    from fairseq.data.encoders.subword_nmt_bpe import SubwordNMTBPE, SubwordNMTBPEConfig

    dictionary = Dictionary.load(str(prepared / f"dict.{language}.txt"))
    bpe = SubwordNMTBPE(SubwordNMTBPEConfig(bpe_codes=str(prepared / "bpe.codes")))
    moses = MosesTokenizer(MosesTokenizerConfig(target_lang=language))
    same = known = total = 0
    for split in ("valid", "test"):
        data = data_utils.load_indexed_dataset(str(prepared / f"{split}.en-de.{language}"))
        lines = (prepared / "raw" / f"{split}.{language}").read_text("utf-8").split("\n")[:-1]
        assert len(lines) == len(data)
        text = [moses.decode(bpe.decode(dictionary.string(tokens))) for tokens in data]
        same += sum(ours == theirs for ours, theirs in zip(text, lines, strict=True))
        known += sum("<unk>" not in ours for ours in text)
        total += len(lines)
    assert same / total >= least
    assert same / known >= 0.99

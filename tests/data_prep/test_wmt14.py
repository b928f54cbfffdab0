"""prepare-wmt14-en-*.sh, on archives that are laid out as the official ones, with other text."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from local_mirror import mirror, needs_curl
from official_archives import Text, in_documents, lines, numbered, wmt14_archives, write_tar
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

from moses_tokenise import Tokeniser  # noqa: E402

SMALL = ("--bpe-operations", 200, "--vocabulary-threshold", 2, "--workers", 2, "--unpinned")
EN_DE = {"europarl-v7": 220, "commoncrawl": 150, "news-commentary-v9": 90}
# The line ends and invisible characters that text from the web has, and a dash that is a word.
HOSTILE = ["a\x85b", "a\u2028b", "a\rb", "a\x0b\x1c\x00b", "a\u200bb\u00ad", "a – b", "&amp; <b>"]


@pytest.fixture(scope="module")
def en_de(script):
    return script("prepare-wmt14-en-de.sh")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return the archives of English-German with a few synthetic pairs each."""
    texts = {name: numbered(name, 8) for name in (*EN_DE, "valid", "test")}
    wmt14_archives(tmp_path / "raw", texts, "de")
    return tmp_path / "raw"


# --- what is refused ------------------------------------------------------------------------------


def test_the_pinned_counts_are_the_published_totals():
    """4,520,620 and 40,842,333 pairs."""
    totals = []
    for pair in ("en-de", "en-fr"):
        script = (DATA_PREP / f"prepare-wmt14-{pair}.sh").read_text()
        rows = re.findall(r"^(?:texts=')?(\S+) (\d+) wmt\d\d/", script, re.MULTILINE)
        totals.append(sum(int(count) for name, count in rows if name not in ("valid", "test")))
    assert totals == [4_520_620, 40_842_333]


def test_a_missing_archive_is_named(en_de, raw, out):
    (raw / "dev.tgz").unlink()
    assert_names(
        en_de.complain("--from", raw, "--out", out), "--from", "dev.tgz", "dev/newstest2013.en", raw
    )


def test_other_archives_are_refused_unless_unpinned(en_de, raw, out):
    path = raw / "training-parallel-europarl-v7.tgz"
    assert_names(en_de.complain("--from", raw, "--out", out), path, 657632379, path.stat().st_size)


def test_unpacked_text_of_another_length_is_refused(en_de, raw, out):
    """Unpacked files have no checksum; their lines are counted."""
    with tarfile.open(raw / "training-parallel-europarl-v7.tgz") as archive:
        archive.extractall(raw, filter="data")
    (raw / "training-parallel-europarl-v7.tgz").unlink()
    path = raw / "training" / "europarl-v7.de-en.en"
    message = en_de.complain("--from", raw, "--out", out)
    assert_names(message, path, 8, 1920209)


def test_a_missing_member_is_named(en_de, raw, out):
    path = raw / "training-parallel-europarl-v7.tgz"
    write_tar(path, {"training/europarl-v7.de-en.en": b"one\n"})
    message = en_de.complain("--from", raw, "--out", out, "--unpinned")
    assert_names(message, path, "training/europarl-v7.de-en.de")


def test_texts_of_unequal_length(en_de, raw, out):
    stem = "training/europarl-v7.de-en"
    members = {f"{stem}.en": b"one\ntwo\n", f"{stem}.de": b"eins\n"}
    write_tar(raw / "training-parallel-europarl-v7.tgz", members)
    message = en_de.complain("--from", raw, "--out", out, "--unpinned")
    assert_names(message, "members/europarl-v7.de-en.en", 2, "members/europarl-v7.de-en.de", 1)


def test_control_characters_separate_words_and_end_no_line():
    tokeniser = Tokeniser("en", printing_only=True)
    tokenised = [tokeniser(line) for line in HOSTILE]
    assert tokenised == ["a b", "a b", "a b", "a b", "a b", "a - b", "& amp ; < b >"]


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(realdata: Path) -> dict[str, list[str]]:
    """Return the real text, by file; it is tokenised already, which is all the same here."""
    names = ("wmt15_demo10k.train", "newstest2012_3000")
    folder = realdata / "wmt_ende"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return {
        f"{name[:3]}.{language}": gzip.open(folder / f"{name}.tok.{language}.gz", "rt")
        .read()
        .split("\n")
        for name in names
        for language in ("en", "de")
    }


def real_texts(text: dict[str, list[str]], corpora: dict[str, int]) -> dict[str, tuple[Text, Text]]:
    texts, start = {}, 0
    for name, count in corpora.items():
        texts[name] = (text["wmt.en"][start : start + count], text["wmt.de"][start : start + count])
        start += count
    for name, part in (("valid", slice(40)), ("test", slice(40, 73))):
        texts[name] = (text["new.en"][part], text["new.de"][part])
    return texts


@pytest.fixture(scope="module")
def texts(text) -> dict[str, tuple[Text, Text]]:
    texts = real_texts(text, EN_DE)
    for side in texts["commoncrawl"]:
        side[: len(HOSTILE)] = HOSTILE
    return texts


@pytest.fixture(scope="module")
def source(texts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("official") / "archives"
    wmt14_archives(folder, texts, "de")
    return folder


@pytest.fixture(scope="module")
def prepared(en_de, source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "wmt14"
    en_de.succeed("--from", source, "--out", out, *SMALL)
    assert not Path(f"{out}.partial").exists()
    return out


@pytest.mark.realdata
def test_counts_and_content(prepared, texts, read_tree):
    manifest = json.loads((prepared / "MANIFEST.json").read_text())
    inputs = manifest["inputs"]
    assert {name: entry["lines"] for name, entry in inputs.items()} == {
        f"{name}.{language}": len(sides[0])
        for name, sides in texts.items()
        for language in ("en", "de")
    }
    for name in EN_DE:
        expected = hashlib.sha256(lines(texts[name][1])).hexdigest()
        assert inputs[f"{name}.de"]["sha256"] == expected
    assert manifest["recipe"]["command"] == (
        "prepare-wmt14-en-de.sh --bpe-operations 200 --min-length 1 --max-length 250 "
        "--length-ratio 1.5 --truecase off --vocabulary-threshold 2 --unpinned"
    )

    counts = manifest["counts"]
    assert set(counts) == {"selected", "tokenised", "bpe", "cleaned", "binarised"}
    kept = counts["cleaned"]["train.en"]
    assert 0.6 * sum(EN_DE.values()) < kept < sum(EN_DE.values())
    for stage in ("selected", "tokenised", "bpe"):
        assert counts[stage]["train.de"] == sum(EN_DE.values())
    assert counts["binarised"]["train.en-de.de"] == kept
    assert counts["binarised"]["test.en-de.en"] == 33
    assert manifest["commands"][-2].startswith("clean_pairs.py ")

    tree = read_tree(prepared)
    assert tree["dict.en.txt"] == tree["dict.de.txt"]
    assert tree["raw/valid.de"] == lines(texts["valid"][1])
    assert tree["raw/test.en"] == lines(in_documents(texts["test"][0]))
    assert not any(str(prepared.parent).encode() in content for content in tree.values())


@pytest.mark.realdata
def test_no_pair_is_longer_or_more_unlike_than_allowed(prepared):
    """Lengths are those in pieces, which is what the model sees."""
    from fairseq.data import data_utils

    paths = [prepared / f"train.en-de.{language}" for language in ("en", "de")]
    sides = [data_utils.load_indexed_dataset(str(path)) for path in paths]
    for one, other in zip(*sides, strict=True):
        shorter, longer = sorted((len(one) - 1, len(other) - 1))  # without </s>
        assert shorter >= 1 and longer <= 250 and longer <= 1.5 * shorter


@pytest.mark.realdata
@needs_curl
def test_download_of_a_share_of_each_corpus(en_de, source, tmp_path):
    """Over a network that fails; 46 of 460 pairs, a tenth of each corpus."""
    out = tmp_path / "out"
    arguments = ("--out", out, "--limit", 46, *SMALL, "--truecase", "on")
    with mirror(source) as (url, requests):
        en_de.succeed(*arguments, WMT14_URL=url)
    first = "/wmt13/training-parallel-europarl-v7.tgz"
    assert [path for path, _ in requests] == [
        *(first, first, "/wmt13/training-parallel-commoncrawl.tgz"),
        *("/wmt14/training-parallel-nc-v9.tgz", "/wmt14/dev.tgz", "/wmt14/test-full.tgz"),
    ]
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert manifest["counts"]["selected"]["train.en"] == 46
    assert {"truecase-model.en", "truecase-model.de"} <= {path.name for path in out.iterdir()}


@needs_curl
def test_a_wrong_download_is_not_kept(en_de, raw, out):
    with mirror(raw) as (url, _):
        message = en_de.complain("--out", out, WMT14_URL=url)
    assert_names(message, "download/training-parallel-europarl-v7.tgz")


@needs_curl
def test_what_is_right_is_not_fetched_again(en_de, raw, tmp_path):
    """Not even by a run with other options, which makes all else anew."""
    path = raw / "training-parallel-commoncrawl.tgz"
    path.write_bytes(path.read_bytes()[:-20])
    arguments = ("--out", tmp_path / "out", "--unpinned")
    with mirror(raw) as (url, _):
        message = en_de.complain(*arguments, WMT14_URL=url)
        assert_names(message, f"download/{path.name}")
    with mirror(raw) as (url, requests):
        en_de.complain(*arguments, "--limit", 3, WMT14_URL=url)
    assert {request for request, _ in requests} == {f"/wmt13/{path.name}"}


@pytest.mark.realdata
def test_killed_runs_continue(en_de, prepared, source, tmp_path, read_tree):
    """From unpacked files, too, one of them zipped, with another number of workers: same bytes."""
    folder = tmp_path / "unpacked"
    shutil.copytree(source, folder)
    for name in ("training-parallel-europarl-v7.tgz", "test-full.tgz"):
        with tarfile.open(folder / name) as archive:
            archive.extractall(folder, filter="data")
        (folder / name).unlink()
    member = folder / "training" / "europarl-v7.de-en.de"
    Path(f"{member}.gz").write_bytes(gzip.compress(member.read_bytes()))
    member.unlink()

    out, work = tmp_path / "out", tmp_path / "out.partial"
    arguments = ("--from", folder, "--out", out, *SMALL, "--workers", 1)

    def reached(pattern: str) -> Callable[[], bool]:
        return lambda: any(work.glob(pattern))

    finished: dict[str, int] = {}
    for pattern in ("work/raw/commoncrawl.en", "work/bpe/train.en"):
        en_de.kill_when(reached(pattern), *arguments)
        assert not out.exists()
        assert finished.items() <= en_de.finished(work).items()
        finished = en_de.finished(work)
    en_de.succeed(*arguments)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


@pytest.mark.realdata
def test_english_french(script, text, tmp_path):
    """Its German text stands for French, of which there is none: the script cannot tell."""
    corpora = {"europarl-v7": 60, "commoncrawl": 60, "undoc.2000": 60, "news-commentary-v9": 60}
    texts = real_texts(text, {**corpora, "giga-fren": 60})
    wmt14_archives(tmp_path / "raw", texts, "fr")
    out = tmp_path / "out"
    script("prepare-wmt14-en-fr.sh").succeed("--from", tmp_path / "raw", "--out", out, *SMALL)
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert manifest["counts"]["selected"]["train.fr"] == 300
    assert manifest["inputs"]["giga-fren.fr"] == {
        "lines": 60,
        "sha256": hashlib.sha256(lines(texts["giga-fren"][1])).hexdigest(),
    }
    assert (out / "test.en-fr.fr.bin").is_file()

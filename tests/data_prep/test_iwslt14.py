"""prepare-iwslt14-de-en.sh, on an archive that is laid out as the official one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from local_mirror import mirror, needs_curl
from official_archives import (
    IWSLT_TESTS,
    Text,
    in_documents,
    iwslt14_members,
    lines,
    numbered,
    write_tar,
)
from refusals import assert_names

TRAIN = 330
SMALL = ("--bpe-operations", 200, "--unpinned")


@pytest.fixture(scope="module")
def iwslt14(script):
    return script("prepare-iwslt14-de-en.sh")


@pytest.fixture
def members() -> dict[str, bytes]:
    """Return what the official archive holds, with a few synthetic pairs."""
    return iwslt14_members({name: numbered(name, 8)[::-1] for name in ("train", *IWSLT_TESTS)})


@pytest.fixture
def raw(tmp_path: Path, members: dict[str, bytes]) -> Path:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "de-en.tgz", members)
    return tmp_path / "raw"


# --- what is refused ------------------------------------------------------------------------------


def test_options(iwslt14, out):
    message = iwslt14.complain("--out", out, "--lowercase", "yes")
    assert_names(message, "--lowercase", "yes")
    message = iwslt14.complain("--out", out, "--truecase", "on")
    assert_names(message, "--truecase", "--lowercase")


def test_missing_files_are_named(iwslt14, tmp_path, members, out):
    for name, content in members.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    path.with_name("IWSLT14.TED.tst2011.de-en.en.xml").unlink()
    assert_names(
        iwslt14.complain("--from", tmp_path, "--out", out),
        "--from",
        "de-en.tgz",
        "de-en/IWSLT14.TED.tst2011.de-en.en.xml",
        tmp_path,
    )


@needs_curl
def test_another_archive_is_refused_and_not_kept(iwslt14, raw, out):
    size = (raw / "de-en.tgz").stat().st_size
    with mirror(raw) as (url, _):
        message = iwslt14.complain("--out", out, IWSLT14_URL=url)
    assert_names(message, "download/de-en.tgz", 19982877, size)


def test_unpacked_text_of_another_length_is_refused(iwslt14, tmp_path, members, out):
    for name, content in members.items():
        path = tmp_path / f"{name}.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content))
    assert_names(
        iwslt14.complain("--from", tmp_path, "--out", out),
        f"{tmp_path}/de-en/train.tags.de-en.de.gz",
        8,
        174443,
    )


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        (
            *("train.tags.de-en.en", b" sentence 3 of train . \n", b""),
            ("members/train.tags.de-en.de", "members/train.tags.de-en.en"),
        ),
        (
            *("IWSLT14.TED.tst2010.de-en.en.xml", b'docid="paper-1"', b'docid="another"'),
            (
                "members/IWSLT14.TED.tst2010.de-en.de.xml",
                "members/IWSLT14.TED.tst2010.de-en.en.xml",
                4,
                "paper-1/1",
                "another/1",
            ),
        ),
    ],
)
def test_bad_text(iwslt14, raw, members, out, name, old, new, named):
    assert old in members[f"de-en/{name}"]
    members[f"de-en/{name}"] = members[f"de-en/{name}"].replace(old, new)
    write_tar(raw / "de-en.tgz", members)
    assert_names(iwslt14.complain("--from", raw, "--out", out, "--unpinned"), *named)


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts(realdata: Path) -> dict[str, tuple[Text, Text]]:
    """Return real text in place of the talks; it is tokenised already, which is all the same."""
    folder = realdata / "wmt_ende"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    sides = []
    for language in ("de", "en"):
        path = folder / f"wmt15_demo10k.train.tok.{language}.gz"
        sides.append(gzip.decompress(path.read_bytes()).decode().split("\n"))
    texts = {"train": (sides[0][:TRAIN], sides[1][:TRAIN])}
    for number, name in enumerate(IWSLT_TESTS):
        start = 1000 + 10 * number
        texts[name] = (sides[0][start : start + 9], sides[1][start : start + 9])
    return texts


@pytest.fixture(scope="module")
def source(texts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    write_tar(folder / "de-en.tgz", iwslt14_members(texts))
    return folder


@pytest.fixture(scope="module")
def prepared(iwslt14, source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "iwslt14"
    iwslt14.succeed("--from", source, "--out", out, *SMALL, **iwslt14.COLD)
    return out


@pytest.mark.realdata
def test_counts_and_content(prepared, texts, read_tree):
    manifest = json.loads((prepared / "MANIFEST.json").read_text())
    counts = manifest["counts"]
    assert set(counts) == {"selected", "tokenised", "cleaned", "bpe", "binarised"}
    assert counts["selected"] == {
        **{f"train.{x}": TRAIN for x in ("de", "en")},
        **{f"test.{x}": 45 for x in ("de", "en")},
    }
    train, valid = counts["cleaned"]["train.de"], counts["cleaned"]["valid.de"]
    assert 0.6 * TRAIN < train + valid < TRAIN
    assert valid == (train + valid) // 23
    assert counts["binarised"]["valid.de-en.en"] == valid
    assert manifest["commands"][0].startswith("moses_tokenise.py --languages de en --lowercase (")
    assert manifest["commands"][1].endswith(" --length-ratio 1.5 --hold-out-every 23")
    assert manifest["recipe"]["command"].endswith(" --lowercase on --unpinned")

    tree = read_tree(prepared)
    assert tree["dict.en.txt"] == tree["dict.de.txt"]
    assert tree["dict.en.txt"].decode() == tree["dict.en.txt"].decode().lower()
    assert tree["raw/test.en"] == lines(
        [line for name in IWSLT_TESTS for line in in_documents(texts[name][1])]
    )


@pytest.mark.realdata
def test_validation_is_one_in_23_of_what_is_clean(prepared, texts):
    """Counted again here, from the tokens; raw and binarised validation text are the same pairs."""
    from fairseq.data import Dictionary, data_utils

    def unlike(pair: tuple[str, str]) -> bool:
        shorter, longer = sorted(len(tokens[side][line].split()) for side, line in enumerate(pair))
        return shorter < 1 or longer > 175 or longer > 1.5 * shorter

    tokens = tokenised(texts["train"])
    clean = [pair for pair in zip(*texts["train"], strict=True) if not unlike(pair)]
    expected = clean[22::23]
    for side, language in enumerate(("de", "en")):
        raw = (prepared / "raw" / f"valid.{language}").read_text("utf-8").split("\n")[:-1]
        assert raw == [pair[side].strip() for pair in expected]
        dictionary = Dictionary.load(str(prepared / f"dict.{language}.txt"))
        data = data_utils.load_indexed_dataset(str(prepared / f"valid.de-en.{language}"))
        subwords = [dictionary.string(line, "@@ ") for line in data]
        wanted = [tokens[side][pair[side]].lower() for pair in expected]
        same = sum(one == other for one, other in zip(subwords, wanted, strict=True))
        # A letter that three hundred pairs do not have is unknown.
        assert same + sum("<unk>" in line for line in subwords) == len(wanted)
        assert same >= len(wanted) - 2


def tokenised(sides: tuple[Text, Text]) -> list[dict[str, str]]:
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    found = []
    for language, text in zip(("de", "en"), sides, strict=True):
        normaliser, tokeniser = MosesPunctNormalizer(language), MosesTokenizer(language)
        options = {"aggressive_dash_splits": True, "escape": False, "return_str": True}
        found.append(
            {line: tokeniser.tokenize(normaliser.normalize(line), **options) for line in text}
        )
    return found


@pytest.mark.realdata
def test_killed_run_continues_with_the_same_bytes(iwslt14, prepared, source, tmp_path, read_tree):
    out, work = tmp_path / "out", tmp_path / "out.partial" / "work"
    arguments = ("--from", source, "--out", out, *SMALL, "--workers", 1)
    iwslt14.kill_when((work / "held_out" / "valid.en").exists, *arguments)
    assert not out.exists()
    iwslt14.succeed(*arguments)
    assert read_tree(out) == read_tree(prepared)


@pytest.mark.realdata
def test_a_limit_too_small_to_hold_anything_out(iwslt14, source, tmp_path):
    message = iwslt14.complain(
        "--from", source, "--out", tmp_path / "out", *SMALL, "--limit", 20, "--lowercase", "off"
    )
    assert_names(message, 23, "--limit")

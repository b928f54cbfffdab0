"""prepare-summaries.sh: what it makes of documents and summaries, and that it can be killed."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from refusals import assert_names
from tiny_tokeniser import SPECIAL, write_model

SIDES = ("source", "target")
ODD = "naïve — “Zürich” 戦場\u00a03\u2028\x85 \ufeff👩‍👩‍👧  two  spaces "
DOCUMENTS = {
    "train": [f"Document {number} says {number * number}." for number in range(30)],
    "valid": [ODD, "</s> <pad> <s>A text of symbols<unk><|endoftext|> 50256", "The end."],
}
SUMMARIES = {
    "train": [f"It says {number * number}." for number in range(30)],
    "valid": ["One. <q> Two <q>and<q> three.", "</s>", ODD],
}


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-summaries.sh")


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        split: (
            write_lines(folder / f"{split}.documents", DOCUMENTS[split]),
            write_lines(folder / f"{split}.summaries", SUMMARIES[split]),
        )
        for split in DOCUMENTS
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "bart", positions=100)


@pytest.fixture(scope="module")
def arguments(files, model) -> tuple[object, ...]:
    tests = ("--test", *files["valid"], "--test", *files["train"])
    return ("--train", *files["train"], "--valid", *files["valid"], *tests, "--model", model)


@pytest.fixture(scope="module")
def prepared(prepare, arguments, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "summaries"
    prepare.succeed(*arguments, "--out", out, "--workers", 2, **prepare.COLD)
    assert not Path(f"{out}.partial").exists()
    return out


# --- the whole recipe -----------------------------------------------------------------------------


def load(folder: Path, split: str, side: str) -> list[list[int]]:
    from fairseq.data import data_utils

    data = data_utils.load_indexed_dataset(str(folder / f"{split}.source-target.{side}"))
    return [tokens.tolist() for tokens in data]


def symbols(folder: Path, split: str, side: str) -> list[list[str]]:
    """Return the symbols of each text, without its end, which is required."""
    from fairseq.data import Dictionary

    dictionary = Dictionary.load(str(folder / f"dict.{side}.txt"))
    texts = [[dictionary[token] for token in line] for line in load(folder, split, side)]
    assert all(text[-1] == "</s>" for text in texts)
    return [text[:-1] for text in texts]


def test_ids_read_back_as_text(prepared):
    """The data folder is one of the model's; text that spells symbols stays text."""
    from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

    tokeniser = ModelTokeniser.read(prepared)
    for split, like in (("train", "train"), ("valid", "valid"), ("test", "valid")):
        for side, texts in (("source", DOCUMENTS[like]), ("target", SUMMARIES[like])):
            lines = symbols(prepared, split, side)
            assert all(line[0] == "<s>" and set(line[1:]).isdisjoint(SPECIAL) for line in lines)
            # One token a byte: sentences that <q> parts stand behind each other.
            expected = [
                text.replace(SUMMARIES["valid"][0], "One. Two and three.") for text in texts
            ]
            assert [len(line) - 1 for line in lines] == [len(text.encode()) for text in expected]
            assert list(map(tokeniser.decode, lines)) == expected


def test_folder_and_manifest(prepared, model, files, read_tree):
    tree = read_tree(prepared)
    for name in ("hugging_face.json", "tokenizer.json", "dict.txt"):
        assert tree[name] == (model / name).read_bytes()
    assert tree["dict.source.txt"] == tree["dict.target.txt"] == tree["dict.txt"]
    raw = {f"raw/{s}.{side}" for s in ("valid", "test", "test1") for side in ("source", "target")}
    assert {name for name in tree if name.startswith("raw/")} == raw
    assert tree["raw/test.target"] == files["valid"][1].read_bytes()
    assert tree["raw/valid.source"] == files["valid"][0].read_bytes()
    manifest = json.loads(tree["MANIFEST.json"])
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    splits = {"train": 30, "valid": 3, "test": 3, "test1": 30}
    counts = manifest["counts"]
    assert counts["dropped"] == dict.fromkeys(splits, 0)
    assert counts["text"] == counts["pieces"]
    assert counts["pieces"] == {f"{s}.{x}": n for s, n in splits.items() for x in SIDES}
    assert counts["binarised"] == {
        f"{s}.source-target.{x}": n for s, n in splits.items() for x in SIDES
    }
    assert set(manifest["inputs"]) == {f"{split}.{side}" for split in splits for side in SIDES}
    assert not any(str(prepared.parent).encode() in content for content in tree.values())


def test_killed_runs_continue(prepare, prepared, arguments, tmp_path, read_tree):
    """Not a byte depends on the number of workers either."""
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    given = (*arguments, "--out", out, "--workers", 1)
    finished: dict[str, int] = {}
    for pattern in ("work/text/valid.source", "work/pieces/train.target", "data/train*.bin"):
        prepare.kill_when(lambda pattern=pattern: any(work.glob(pattern)), *given)
        assert not out.exists()
        assert finished.items() <= prepare.finished(work).items()
        finished = prepare.finished(work)
    prepare.succeed(*given)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


def test_complete_folder(prepare, prepared, arguments, files, model, tmp_path):
    """The texts and the model decide, not the names of their files or whether they are gzipped."""
    copy = tmp_path / "renamed"
    copy.write_bytes(gzip.compress(files["train"][0].read_bytes()))
    same = tmp_path / "model"
    shutil.copytree(model, same)
    given = [copy if part == files["train"][0] else part for part in arguments]
    given = [same if part == model else part for part in given]
    prepare.leave_alone(prepared, *given)
    message = prepare.complain(*given, "--prefix", "summarize: ", "--out", prepared)
    assert_names(message, prepared, "prepare-summaries.sh --train ", "--prefix=summarize: ")


def test_two_dictionaries_a_prefix_and_what_is_dropped(prepare, files, tmp_path):
    """Also Windows' ends of lines, and a mark that editors put before a text."""
    documents = tmp_path / "documents"
    documents.write_bytes(b"\xef\xbb\xbfFirst.\r\n\r\nThird.\r\nFourth.\r\nFifth.\r\n")
    summaries = write_lines(tmp_path / "summaries", ["1st", "2nd", " ", "4th", "5th"])
    model = write_model(tmp_path / "model", joined=False)
    out = tmp_path / "out"
    printed = prepare.succeed(
        *("--train", documents, summaries, "--valid", documents, summaries, "--out", out),
        *("--drop-empty", "--limit", 2, "--model", model, "--prefix=summarize: "),
    )
    assert f"--bpe hugging_face --hugging-face-tokeniser {out} " in printed
    for name in ("dict.source.txt", "dict.target.txt", "tokenizer.target.json"):
        assert (out / name).read_bytes() == (model / name).read_bytes()
    assert not (out / "dict.txt").exists()
    from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

    tokeniser = ModelTokeniser.read(out)
    targets = symbols(out, "train", "target")
    assert list(map(tokeniser.decode, targets)) == ["1st", "4th"]
    assert [line[0] for line in targets] != ["<s>", "<s>"]  # the two sides differ in this
    expected = ["summarize: First.", "summarize: Fourth.", "summarize: Fifth."]
    assert symbols(out, "valid", "source") == tokeniser.encode_sources(expected)
    assert (out / "raw/valid.source").read_bytes() == b"First.\nFourth.\nFifth.\n"
    counts = json.loads((out / "MANIFEST.json").read_text())["counts"]
    assert counts["dropped"] == {"train": 2, "valid": 2}

    empty = write_lines(tmp_path / "empty", 5 * [""])
    pairs = ("--train", documents, empty, "--valid", documents, summaries, "--drop-empty")
    assert_names(prepare.complain(*pairs, "--model", model, "--out", tmp_path / "none"), "train")


def test_a_text_longer_than_the_model_reads(prepare, files, model, tmp_path):
    """Named with its line, and with the option that cuts it."""
    valid = write_lines(tmp_path / "valid", ["short", 98 * "x", 99 * "x", 200 * "x"])
    out = tmp_path / "out"
    pairs = ("--train", *files["train"], "--valid", valid, valid, "--out", out, "--model", model)
    assert_names(prepare.complain(*pairs), 3, valid, 101, "</s>", 100, "--max-source-tokens")
    assert not out.exists()
    message = prepare.complain(*pairs, "--max-source-tokens", 100)
    assert_names(message, 3, valid, 101, "</s>")
    prepare.succeed(*pairs, "--max-source-tokens", 90, "--max-target-tokens", 100)
    assert [len(line) for line in load(out, "valid", "source")] == [7, 90, 90, 90]
    assert [len(line) for line in load(out, "valid", "target")] == [7, 100, 100, 100]
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert manifest["counts"]["cut"] == {
        **{"train.source": 0, "valid.source": 3},
        **{"train.target": 0, "valid.target": 2},
    }
    assert (out / "raw/valid.source").read_text() == valid.read_text()


# --- real text ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def news(realdata: Path) -> Path:
    folder = realdata / "cnndm"
    if not folder.is_dir() or not (realdata / "gpt2_bpe").is_dir():
        pytest.skip(f"there is no folder {folder}, or no gpt2_bpe beside it")
    return folder


@pytest.mark.realdata
def test_news_with_gpt2_pieces(prepare, news, tmp_path):
    """Every document and summary comes back exactly, but for what was cut."""
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    out = tmp_path / "out"
    names = {"train": "train", "valid": "val", "test": "test"}
    pairs = [
        part
        for split, name in names.items()
        for part in (f"--{split}", *(news / f"{name}.{side}.gz" for side in SIDES))
    ]
    options = ("--gpt2-bpe", news.parent / "gpt2_bpe", "--max-target-tokens", 60)
    printed = prepare.succeed(*pairs, *options, "--out", out)
    assert f"--bpe gpt2 --gpt2-encoder-json {out}/encoder.json" in printed
    bpe = GPT2BPE(
        GPT2BPEConfig(
            gpt2_encoder_json=str(out / "encoder.json"), gpt2_vocab_bpe=str(out / "vocab.bpe")
        )
    )
    cuts = {}
    for split, name in names.items():
        for side in SIDES:
            raw = gzip.decompress((news / f"{name}.{side}.gz").read_bytes())
            if split != "train":
                assert (out / f"raw/{split}.{side}").read_bytes() == raw
            lines = raw.decode().split("\n")[:-1]
            assert len(lines) == 100
            ids = symbols(out, split, side)
            texts = [bpe.decode(" ".join(line)) for line in ids]
            if side == "source":
                assert texts == lines
                continue
            cuts[f"{split}.target"] = 0
            for line, tokens, text in zip(lines, ids, texts, strict=True):
                whole = bpe.encode(line).split()
                assert tokens == whole[:59]
                assert text == line or len(whole) > 59
                cuts[f"{split}.target"] += len(whole) > 59
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert manifest["counts"]["cut"] == cuts
    assert min(cuts.values()) > 0
    dictionary = (out / "dict.source.txt").read_text().splitlines()
    assert dictionary == [f"{number} 1" for number in range(50_257)]
    assert (out / "dict.target.txt").read_text().splitlines() == dictionary

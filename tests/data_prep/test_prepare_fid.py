"""prepare-fid.sh: that its result is right, whatever the options, and that it can be killed."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from refusals import assert_names, refuses

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import fid_binarise  # noqa: E402
from one_line_errors import PrepareError  # noqa: E402

FEW = ("--bpe-operations", 60)


def passage(number: int) -> dict[str, object]:
    return {
        "id": str(number),
        "title": f"Buch {number}",
        "text": f"Das Buch {number} schrieb Jörg Müller-{number % 5} im Jahr {1900 + number}.",
        "score": 9.5,
    }


EVERYWHERE = {
    "title": "책",
    "text": "책은 도서관에 있다. <title> is a tag, as is </s> or <passage:3>.",
}
TRAIN = [
    {
        "question": f"wer schrieb buch {n}?",
        "answers": [f"Jörg Müller-{n % 5}", f"Müller-{n % 5}"],
        "ctxs": [passage(n), EVERYWHERE, passage(n + 1)],
        "notes": {"long": f"Jörg Müller-{n % 5} schrieb Buch {n}, <unk> und mehr."},
    }
    for n in range(30)
]
VALID = [
    {
        "id": "erste",
        "question": "wer schrieb <title> \u2028 buch\u00a03?",
        "target": "도서관",
        "answers": ["서울", "도서관", "im Jahr"],
        "ctxs": [{**EVERYWHERE, "title": ""}, passage(3), {"text": ""}],
        "notes": {"long": ["Das Buch ist im Jahr 1903 dort.", "anderswo"]},
    },
    {
        "question": "ein sehr langes buch, das jörg müller im jahr 1903 in 10 teilen schrieb?",
        "answers": ["Buch 7"],
        "ctxs": [passage(8)],
        "notes": {"long": "Buch 8."},
    },
]
# What the first source line of validation text is in words, and the second answer.
FIRST = (
    "<question> wer schrieb < title > buch 3 ? "
    "<title> <context> 책 은 도 서 관 에 있 다 . "
    "< title > is a tag , as is < / s > or < passage : 3 > . "
    "<title> Buch 3 <context> Das Buch 3 schrieb Jörg Müller @-@ 3 im Jahr 1903 . "
    "<title> <context>"
)


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-fid.sh")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Return files of all three layouts."""
    folder = tmp_path_factory.mktemp("examples")
    paths = {name: folder / name for name in ("train.json", "valid.jsonl", "test.json.gz")}
    paths["train.json"].write_text(json.dumps(TRAIN))
    lines = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in VALID)
    paths["valid.jsonl"].write_text(lines, "utf-8")
    paths["test.json.gz"].write_bytes(gzip.compress(json.dumps(VALID[1:]).encode(), mtime=0))
    return {name.partition(".")[0]: path for name, path in paths.items()}


@pytest.fixture(scope="module")
def arguments(files) -> tuple[object, ...]:
    given = ("--train", files["train"], "--valid", files["valid"])
    return (*given, "--test", files["test"], "--test", files["valid"])


@pytest.fixture(scope="module")
def prepared(prepare, arguments, tmp_path_factory) -> Path:
    """Return the data of all examples, made in one go."""
    out = tmp_path_factory.mktemp("prepared") / "fid"
    prepare.succeed(*arguments, "--out", out, "--workers", 2, *FEW, **prepare.COLD)
    assert not Path(f"{out}.partial").exists()
    return out


def load(folder: Path, name: str) -> list[list[int]]:
    from fairseq.data import data_utils

    data = data_utils.load_indexed_dataset(str(folder / name))
    return [tokens.tolist() for tokens in data]


def words(folder: Path, name: str) -> list[str]:
    """Return the lines of one side, pieces joined."""
    from fairseq.data import Dictionary

    dictionary = Dictionary.load(str(folder / "dict.question.txt"))
    lines = [dictionary.string(torch.tensor(tokens)) for tokens in load(folder, name)]
    return [f"{line} ".replace("@@ ", "").rstrip() for line in lines]


def scoring(folder: Path, split: str) -> list[dict[str, object]]:
    lines = (folder / f"{split}.fid.jsonl").read_text("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def test_lines(prepared):
    """As they were given, with each text's own place; what looks like a symbol is none."""
    sources = {s: words(prepared, f"{s}.question-answer.question") for s in ("train", "valid")}
    assert sources["valid"][0] == FIRST
    assert sources["valid"][1].endswith(
        " schrieb ? <title> Buch 8 <context> Das Buch 8 schrieb Jörg Müller @-@ 3 im Jahr 1908 ."
    )
    for number, line in enumerate(sources["train"]):
        assert line.startswith(f"<question> wer schrieb buch {number} ? <title> Buch {number} ")
        assert line.count("<title>") == line.count("<context>") == 3
        assert line.count("<question>") == 1
    targets = words(prepared, "train.question-answer.answer")
    assert targets[:2] == ["Jörg Müller @-@ 0", "Jörg Müller @-@ 1"]
    # The target, not the first answer; the letters of a word that was never seen are known.
    assert words(prepared, "valid.question-answer.answer") == ["도 서 관", "Buch 7"]
    for name in ("question", "answer"):
        one, two = (words(prepared, f"{s}.question-answer.{name}") for s in ("test1", "valid"))
        assert one == two
        assert words(prepared, f"test.question-answer.{name}") == one[1:]


def test_evidence(prepared):
    """In texts, not in titles: passage 8 is entitled Buch 8, and Buch 7 stands nowhere."""
    assert load(prepared, "valid.align.question-answer") == [[0, 0, 0, 1], []]
    assert load(prepared, "test.align.question-answer") == [[]]
    # The author of book n+1 is another; that of the same number mod 5 the same.
    assert load(prepared, "train.align.question-answer") == 30 * [[0, 0]]
    assert scoring(prepared, "valid")[0] == {
        "id": "erste",
        "question": VALID[0]["question"],
        "target": "도서관",
        "answers": ["서울", "도서관", "im Jahr"],
        "ctxs": [
            {"title": "", "has_answer": True},
            {"id": "3", "title": "Buch 3", "score": 9.5, "has_answer": True},
            {"title": "", "has_answer": False},
        ],
    }
    assert [example["id"] for example in scoring(prepared, "train")] == list(map(str, range(30)))
    assert "target" not in scoring(prepared, "train")[0]
    assert scoring(prepared, "test1") == scoring(prepared, "valid")


def test_dictionary_and_manifest(prepared, read_tree):
    tree = read_tree(prepared)
    assert tree["dict.question.txt"] == tree["dict.answer.txt"]
    symbols = [line.rpartition(" ")[0] for line in tree["dict.answer.txt"].decode().splitlines()]
    ours = ["<question>", "<title>", "<context>", *(f"<passage:{n}>" for n in range(101))]
    assert symbols[: len(ours)] == ours
    assert (len(symbols) + 4) % 8 == 0
    assert len(set(symbols)) == len(symbols)
    assert {name for name in tree if name.startswith("raw/")} == {
        f"raw/{split}.{side}"
        for split in ("valid", "test", "test1")
        for side in ("question", "answer")
    }
    assert tree["raw/valid.answer"].decode() == "도서관\nBuch 7\n"
    assert tree["raw/valid.question"].decode().startswith("wer schrieb <title> buch 3?\nein sehr")
    manifest = json.loads(tree["MANIFEST.json"])
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    binarised = manifest["counts"]["binarised"]
    for split, count in (("train", 30), ("valid", 2), ("test", 1), ("test1", 2)):
        assert binarised[f"{split}.align.question-answer"] == count
        assert binarised[f"{split}.question-answer.question"] == count
        assert binarised[f"{split}.question-answer.answer"] == count
    assert len(binarised) == 12
    assert set(manifest["inputs"]) == {"train", "valid", "test", "test1"}
    assert not any(str(prepared.parent).encode() in content for content in tree.values())


def test_what_does_not_agree_is_found(prepared, tmp_path):
    """The last stage checks its own result; here something happens to that."""
    from fairseq.data import indexed_dataset

    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    dictionary = shutil.copy(data / "dict.answer.txt", tmp_path / "dict.txt")
    args = argparse.Namespace(data=data, dictionary=Path(dictionary), frame="symbols")
    symbols = fid_binarise.check_dictionary(args)
    assert_names(fid_binarise.check_split(args, "valid", symbols), "valid", 2, 4)

    evidence = str(data / "valid.align.question-answer")
    for pairs in ([[0, 3], []], [[], [0, 1]], [[1, 0], []]):  # of 3 passages, and 1
        builder = indexed_dataset.make_builder(f"{evidence}.bin", "mmap")
        for pair in pairs:
            builder.add_item(torch.tensor(pair))
        builder.finalize(f"{evidence}.idx")
        wrong = 0 if pairs[0] else 1
        with refuses("valid", wrong, error=PrepareError):
            fid_binarise.check_split(args, "valid", symbols)
    (data / "valid.fid.jsonl").write_text("{}\n")
    with refuses("valid", "fid.jsonl", 1, error=PrepareError):
        fid_binarise.check_split(args, "valid", symbols)
    (data / "dict.answer.txt").write_text("a 1\n")
    with refuses("dict.answer.txt", error=PrepareError):
        fid_binarise.check_dictionary(args)


def test_killed_runs_continue(prepare, prepared, arguments, tmp_path, read_tree):
    """Not a byte depends on the number of workers either."""
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    given = (*arguments, "--out", out, *FEW, "--workers", 1)
    # When only one of the lines' files is there, and in the middle of fairseq-preprocess.
    finished: dict[str, int] = {}
    for pattern in ("work/lines/train.question", "data/train*.bin"):
        prepare.kill_when(lambda pattern=pattern: any(work.glob(pattern)), *given)
        assert not out.exists()
        assert finished.items() <= prepare.finished(work).items()
        finished = prepare.finished(work)
    prepare.succeed(*given)
    assert read_tree(out) == read_tree(prepared)
    assert not work.exists()


def test_complete_folder(prepare, prepared, arguments, files, tmp_path):
    """The examples decide, not the name of their file or whether it is gzipped."""
    copy = tmp_path / "renamed"
    copy.write_bytes(gzip.compress(files["train"].read_bytes()))
    prepare.leave_alone(prepared, "--train", copy, *arguments[2:], *FEW)
    options = (*arguments[2:], "--out", prepared, *FEW)
    message = prepare.complain("--train", files["valid"], *options)
    assert_names(message, prepared, "prepare-fid.sh --train ")
    message = prepare.complain("--train", copy, *options, "--max-passage", 9)
    assert_names(message, prepared, "--max-passage 180", "--max-passage 9")


def test_limits_and_another_target_with_the_dictionary_of_another_folder(
    prepare, prepared, files, tmp_path
):
    out = tmp_path / "out"
    prepare.succeed(
        *("--train", files["valid"], "--valid", files["train"], "--test", files["valid"]),
        *("--out", out, "--dict-from", prepared, "--target", "notes.long", "--limit", 1),
        *("--max-question", 5, "--truncate-questions", "--max-title", 1, "--max-passage", 4),
        *("--max-answer", 3, "--max-passages", 2),
    )
    for name in ("bpe.codes", "dict.question.txt", "dict.answer.txt"):
        assert (out / name).read_bytes() == (prepared / name).read_bytes()
    ours, theirs = (load(folder, "train.question-answer.question") for folder in (out, prepared))
    assert len(ours) == 1
    # One piece of the title is one word, because Buch was learned whole; the rest is cut.
    line = words(out, "valid.question-answer.question")[3]
    assert line == "<question> wer schrieb buch 3 ? <title> Buch <context> Das Buch 3 schrieb" + (
        " <title> 책 <context> 책 은 도 서"
    )
    whole = load(prepared, "train.question-answer.question")
    tokens = load(out, "valid.question-answer.question")
    assert [line[:6] for line in tokens] == [line[:6] for line in whole]  # the question fits
    assert all(len(line) == 1 + 5 + 2 * (1 + 1 + 1 + 4) + 1 for line in tokens)
    first = load(prepared, "valid.question-answer.question")[0]
    assert ours[0][:6] == first[:6] and len(ours[0]) == 1 + 5 + (1 + 1 + 4) + (3 + 4) + 1
    # Evidence is what the whole text holds; the long answer is trained on and cut.
    assert load(out, "train.align.question-answer") == [[0, 0, 0, 1]]
    assert load(out, "valid.align.question-answer") == 30 * [[0, 0]]
    assert scoring(out, "test")[0]["target"] == "Das Buch ist im Jahr 1903 dort."
    assert scoring(out, "test")[0]["answers"] == VALID[0]["answers"]
    assert words(out, "test.question-answer.answer")[0] == "Das Buch i"
    assert all(len(line) == 3 + 1 for line in load(out, "valid.question-answer.answer"))
    assert (out / "raw/test.answer").read_text().startswith("Das Buch ist im Jahr 1903 dort.\n")
    assert theirs != ours
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert (
        "--max-passages 2 --target notes.long --tokenise moses --dict-from "
        in (manifest["recipe"]["command"])
    )


def test_a_dictionary_that_does_not_go_with_the_options(prepare, prepared, files, out, tmp_path):
    given = ("--train", files["train"], "--valid", files["valid"], "--out", out, "--dict-from")
    assert_names(
        prepare.complain(*given, prepared, "--max-passages", 101),
        "--max-passages",
        101,
        prepared,
        100,
    )
    assert_names(
        prepare.complain(*given, prepared, "--tokenise", "none"),
        "--tokenise",
        "none",
        "--dict-from",
        prepared,
    )
    assert_names(
        prepare.complain(*given, prepared, *FEW), "--bpe-operations", "--dict-from", prepared
    )
    other = tmp_path / "other"
    shutil.copytree(prepared, other)
    (other / "dict.answer.txt").write_text("a 1\n")
    assert_names(
        prepare.complain(*given, other),
        "--dict-from",
        "dict.question.txt",
        "dict.answer.txt",
        other,
    )
    (other / "dict.question.txt").write_text("a 1\n")
    assert_names(prepare.complain(*given, other), f"{other}/dict.question.txt", "<question>")


def test_passages_by_score_and_the_frame_of_text(prepare, prepared, tmp_path):
    """Highest first, cut to --max-passages afterwards; evidence and records in the same order."""
    texts = [f"Das Buch {n} schrieb Jörg." for n in range(4)]

    def example(*scores: object) -> dict[str, object]:
        found = [
            {"title": f"Buch {n}", "text": texts[n]} | ({} if s is None else {"score": s})
            for n, s in enumerate(scores)
        ]
        return {"question": "wer schrieb?", "answers": ["Buch 3"], "ctxs": found}

    path = tmp_path / "scored.json"
    path.write_text(json.dumps([example(1, "9", 2, "10"), example(4, 3, 2, None)]))
    given = ("--train", path, "--valid", path, "--max-passages", 2, "--dict-from", prepared)
    out, kept, text = (tmp_path / name for name in ("out", "kept", "text"))
    prepare.succeed(*given, "--out", out)
    line = words(out, "train.question-answer.question")
    by_score = [3, 1], [0, 1]
    for number, found in enumerate(by_score):
        parts = [f"<title> Buch {n} <context> {texts[n].replace('.', ' .')}" for n in found]
        assert line[number] == f"<question> wer schrieb ? {' '.join(parts)}"
    assert load(out, "train.align.question-answer") == [[0, 0], []]
    ctxs = scoring(out, "valid")[0]["ctxs"]
    assert [(c["title"], c["score"], c["has_answer"]) for c in ctxs] == [
        ("Buch 3", 10.0, True),
        ("Buch 1", 9.0, False),
    ]
    prepare.succeed(*given, "--out", kept, "--keep-order")
    assert [c["title"] for c in scoring(kept, "valid")[0]["ctxs"]] == ["Buch 0", "Buch 1"]
    command = json.loads((kept / "MANIFEST.json").read_text())["recipe"]["command"]
    assert " --keep-order " in command
    assert_names(prepare.complain(*given, "--out", kept), "--keep-order")

    learned = (*given[:-2], "--bpe-operations", 20)
    prepare.succeed(*learned, "--out", text, "--frame", "text")
    line = words(text, "train.question-answer.question")
    for number, found in enumerate(by_score):
        parts = [f"title : Buch {n} context : {texts[n].replace('.', ' .')}" for n in found]
        assert line[number] == f"question : wer schrieb ? {' '.join(parts)}"
    ends = [tokens.count(2) for tokens in load(text, "train.question-answer.question")]
    assert ends == [3, 3]  # one before each passage, and the last
    assert load(text, "train.align.question-answer") == [[0, 0], []]
    # What the models of a folder read has its frame.
    message = prepare.complain(*given, "--out", tmp_path / "no", "--frame", "text")
    assert_names(message, "--frame", "text", prepared, "symbols")
    assert not (tmp_path / "no").exists()
    message = prepare.complain(*given[:-1], text, "--out", kept)
    assert message.count("--frame text ") == 1 and str(kept) in message


@pytest.mark.realdata
def test_natural_questions(prepare, realdata, tmp_path):
    """What fairseq-generate prints of a right answer is that answer, but for Moses' losses."""
    from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig

    path = realdata / "qa" / "nq_fid_dev.json.gz"
    if not path.is_file():
        pytest.skip(f"there is no file {path}")
    out = tmp_path / "out"
    given = ("--train", path, "--valid", path, "--out", out, "--bpe-operations", 300)
    prepare.succeed(*given, "--max-passages", 5, "--max-passage", 400)
    assert sum(map(bool, load(out, "train.align.question-answer"))) == 93
    tokens = [t for line in load(out, "train.question-answer.question") for t in line]
    assert 3 not in tokens  # nothing is unknown
    examples = json.loads(gzip.decompress(path.read_bytes()))
    moses = MosesTokenizer(MosesTokenizerConfig(target_lang="answer"))
    answers = [moses.decode(line) for line in words(out, "valid.question-answer.answer")]
    same = sum(a == e["target"] for a, e in zip(answers, examples, strict=True))
    assert same >= 95
    lines = words(out, "valid.question-answer.question")
    assert all(
        line.count("<title>") == len(e["ctxs"]) for line, e in zip(lines, examples, strict=True)
    )

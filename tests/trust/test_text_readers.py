"""Readers of text that users hand in, on files that are damaged in every way that we know."""

import gzip
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from trust.damage import as_json, assert_read_or_refused, changed, damaged, fuzz

from genft_fairseq.data.fid_json import read_examples
from genft_fairseq.data.passages import PassageTable, read_documents
from genft_fairseq.data.prepared_tokeniser import Preparation, splitter
from genft_fairseq.data.questions import Question, read_questions, read_references
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.predictions import read_predictions, read_text, read_translations
from genft_fairseq.evaluation.question_answering import read_answers
from genft_fairseq.experiments.comparison import _has_other_baseline
from genft_fairseq.experiments.configuration import read_comparison
from genft_fairseq.experiments.results import finished_metrics
from genft_fairseq.experiments.save_folders import read_beginning
from genft_fairseq.experiments.training_log import last_validation, read_training_log, train_seconds
from genft_fairseq.retrieval.index_folder import read_record

EXAMPLE = {
    **{"id": "0", "question": "who?", "target": "me", "answers": ["me", "I"]},
    "ctxs": [{"id": "1", "title": "A", "text": "it is me", "score": 30.8, "has_answer": True}],
}
PREPARED = {**EXAMPLE, "ctxs": [{"title": "A", "has_answer": True}]}
PREDICTION = {"id": "0", "prediction": "<passage:1> me", "pointer": 1}
ASKED = {"id": "0", "question": "who?", "answers": [{"text": "me", "answer_start": 6}]}
PARAGRAPH = {"context": "it is me", "qas": [ASKED, {**ASKED, "id": "1", "answers": []}]}
SQUAD = {"version": "v2.0", "data": [{"title": "A", "paragraphs": [PARAGRAPH]}]}
DOCUMENT = {"id": "d", "title": "T", "text": "some words of a document"}
TABLE = 'id\ttext\ttitle\n1\t"a ""quoted"" text"\tA\n2\tanother text\tB\n'
ROWS = "who\t['me', \"I\"]\nwhat\tthis\tthat\n"
GENERATED = (
    "S-0\tein Hund\nT-0\ta dog\nH-0\t-0.5\ta d@@ og\nD-0\t-0.5\ta dog\nP-0\t-0.5 -0.5\n"
    "H-1\t-0.25\ttwo\nD-1\t-0.25\ttwo\nGenerate test with beam=5: BLEU4 = 1.0\n"
)
LOG = (
    "2026-01-01 | INFO | fairseq.utils | total memory = 15.8 GB\n"
    "2026-01-01 | INFO | fairseq.trainer | Start iterating over samples\n"
    "2026-01-01 | INFO | train_inner | epoch 001:      2 / 10 loss=4.2, nll_loss=4.1, ppl=17, "
    "ups=9.1, num_updates=2, lr=0.01, gb_free=3.2\n"
    "2026-01-01 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 3 | nll_loss 2.9 | "
    "ppl 8.1e+01 | num_updates 2 | best_loss inf\n"
)
CONFIG = {
    **{"data": "data", "source_lang": "en", "target_lang": "de", "baseline": "baseline.pt"},
    **{"output": "runs", "updates": 300, "seeds": [1001, 2001], "processes": 2, "checkpoints": 5},
    **{"train": "--arch transformer --lr 1e-3", "generate": ["--beam", 5]},
    "strategies": ["standard", {"name": "gentle", "strategy": "scalegrad", "flags": "--gamma 0.5"}],
    "decodings": [{"name": "blocked", "flags": ["--no-repeat-ngram-size", 3]}],
}
RECORD = {
    **{"method": "bm25", "table": "t.tsv", "options": {"k1": 1.5}},
    "fingerprint": {"sha256": "0" * 64, "passages": 3},
}
BEGINNING = {
    **{"strategy": "scalegrad", "command": "fairseq-train ..."},
    "baseline": {"path": "base.pt", "sha256": "0" * 64},
}
CHECKPOINT = {"file": "checkpoint_last.pt", "updates": 9, "train_seconds": 3.5}
FINISHED = {
    **{"updates": 9, "train_seconds": 3.5, "seconds": 4.5, "average_memory_mib": None},
    **{"peak_memory_mib": 9.5, "updates_per_epoch": 3, "memory": "resident"},
    "checkpoints": [CHECKPOINT],
}


def _pair(path: Path) -> None:
    """Both files of genft evaluate-qa, of which the second is good."""
    questions = [Question("0", "who?", ("me",), (True,))]
    read_answers(path, questions, Path("questions.json"))


def _compare(path: Path) -> None:
    (path.parent / "data" / "raw").mkdir(parents=True, exist_ok=True)
    (path.parent / "data" / "raw" / "test.de").write_text("ein Hund\n")
    (path.parent / "baseline.pt").touch()
    read_comparison(path)


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file, what the file is called, and good ones."""

    read: Callable[[Path], object]
    name: str
    good: tuple[bytes, ...]
    value: object = None  # where it is one of JSON's

    @classmethod
    def of_json(cls, read: Callable[[Path], object], name: str, value: object) -> "Reader":
        return cls(
            read, name, (json.dumps(value).encode(), json.dumps(value, indent=1).encode()), value
        )


def _passages(path: Path) -> object:
    return iter(PassageTable(path))


def _lines(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def _zipped(content: str) -> bytes:
    return gzip.compress(content.encode(), mtime=0)


def _text(path: Path) -> object:
    return read_text(path, "reference")


def _summaries(path: Path) -> object:
    return read_predictions(path, None)


def _other_baseline(path: Path) -> object:
    (path.parent / "baseline.pt").touch()
    asked = SimpleNamespace(output=path.parent, baseline=path.parent / "baseline.pt")
    return _has_other_baseline(asked)  # type: ignore[arg-type]


def _truecased(path: Path) -> object:
    return splitter(Preparation(has_moses_tokens=True, is_truecased=True), path.parent, "de")


def _in_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: read(path.parent)


READERS = {
    "FiD JSON": Reader.of_json(read_examples, "examples.json", [EXAMPLE, {**EXAMPLE, "id": 7}]),
    "FiD JSON lines": Reader(read_examples, "examples.jsonl", (_lines(EXAMPLE, EXAMPLE),)),
    "FiD JSON, gzipped": Reader(read_examples, "e.json.gz", (gzip.compress(_lines(EXAMPLE)),)),
    "right answers": Reader.of_json(read_references, "test.fid.jsonl", [PREPARED, EXAMPLE]),
    "questions": Reader(read_questions, "q.jsonl", (_lines({"question": "?", "answer": ["a"]}),)),
    "questions in rows": Reader(read_questions, "q.tsv", (ROWS.encode(),)),
    "questions in rows, gzipped": Reader(read_questions, "q.tsv.gz", (_zipped(ROWS),)),
    "passages": Reader(_passages, "p.tsv", (TABLE.encode(),)),
    "passages, gzipped": Reader(_passages, "p.tsv.gz", (_zipped(TABLE),)),
    "documents": Reader(read_documents, "d.jsonl", (_lines(DOCUMENT, {"text": "two"}),)),
    "predictions": Reader.of_json(_pair, "p.jsonl", PREDICTION),
    "SQuAD JSON": Reader.of_json(read_references, "dev-v2.0.json", SQUAD),
    "predictions by id": Reader.of_json(_pair, "predictions.json", {"0": "me"}),
    "predictions in lines": Reader(_pair, "p.txt", (b"<passage:1> me\n",)),
    "generate-test.txt": Reader(_summaries, "generate-test.txt", (GENERATED.encode(),)),
    "translations": Reader(read_translations, "generate-test.txt", (GENERATED.encode(),)),
    "references": Reader(_text, "references.txt", (b"one\ntwo\n",)),
    "references, gzipped": Reader(_text, "references.gz", (_zipped("one\ntwo\n"),)),
    "training log": Reader(read_training_log, "train.log", (LOG.encode(),)),
    "last validation": Reader(_in_folder(last_validation), "train.log", (LOG.encode(),)),
    "seconds": Reader(_in_folder(train_seconds), "seconds", (b"123\n",)),
    "compare YAML": Reader.of_json(_compare, "compare.yaml", CONFIG),
    "compare YAML in blocks": Reader(_compare, "compare.yaml", (yaml.safe_dump(CONFIG).encode(),)),
    "record of an index": Reader.of_json(_in_folder(read_record), "index.json", RECORD),
    "record of fine-tuning": Reader.of_json(_in_folder(read_beginning), "genft.json", BEGINNING),
    "record of a comparison": Reader.of_json(
        _other_baseline, "comparison.json", {"baseline": "b.pt", "baseline_sha256": "0" * 64}
    ),
    "truecasing model": Reader(_truecased, "truecase-model.de", (b"Der (3/4) der (1)\n",)),
    "finished run": Reader.of_json(_in_folder(finished_metrics), "finished", FINISHED),
}
_BY_BYTES = [*READERS]
_BY_VALUES = [name for name, reader in READERS.items() if reader.value is not None]


def refused(name: str, content: bytes, folder: Path) -> str | None:
    """Write a file and read it; see ``assert_read_or_refused``."""
    reader = READERS[name]
    path = folder / reader.name
    if reader.read is _compare:
        path.write_bytes(b"")
        with pytest.raises(UserError):  # makes what a good file needs
            _compare(path)
    elif reader.read is _other_baseline:
        (folder / "baseline.pt").touch()
    path.write_bytes(content)
    return assert_read_or_refused(lambda: reader.read(path), path, folder, folder=folder)


@pytest.mark.parametrize("name", _BY_BYTES)
def test_a_good_file_is_read(name, folder):
    for content in READERS[name].good:
        assert refused(name, content, folder) is None


@pytest.mark.parametrize("name", _BY_BYTES)
@fuzz
@given(data=st.data())
def test_damaged_text(name, folder, data):
    """Cut, flipped, doubled; NUL, byte-order mark, CRLF, broken UTF-8; huge numbers, deep nests."""
    refused(name, data.draw(damaged(*READERS[name].good)), folder)


@pytest.mark.parametrize("name", _BY_VALUES)
@fuzz
@given(data=st.data())
def test_values_of_other_kinds(name, folder, data):
    """Whole JSON, in which a part is missing, or is what it must not be."""
    refused(name, as_json(data.draw(changed(READERS[name].value))), folder)


_BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise("abcdefghi")
)
BAD_YAML = {
    "aliases of aliases": _BOMB,
    "merges of merges": "a: &a {x: 1}\n"
    + "".join(
        f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n"
        for a, b in itertools.pairwise("abcdefghi")
    ),
    "itself": "a: &a [*a]\n",
    "an object of Python's": "!!python/object/apply:os.mkdir [made]\n",
    "deep": "[" * 5000,
    "a key twice": "updates: 1\nupdates: 2\n",
}


@pytest.mark.parametrize("content", BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_takes_all_memory_or_makes_objects(content, folder):
    assert refused("compare YAML", content.encode(), folder) is not None


def test_one_alias_is_as_good_as_its_text(folder):
    config = {**CONFIG, "decodings": None}
    text = yaml.safe_dump(config).replace("decodings: null\n", "")
    text += "decodings:\n- {name: a, flags: &f [--beam, 3]}\n- {name: b, flags: *f}\n"
    assert refused("compare YAML in blocks", text.encode(), folder) is None


def test_a_log_with_a_line_of_one_word(folder):
    """Read in a moment, not in the square of its length."""
    line = LOG.splitlines()[2].partition("loss=")[0] + "x" * (1 << 20) + "\n"
    assert refused("training log", LOG.encode() + line.encode(), folder) is None


def test_the_line_of_an_error_is_one_line(folder):
    """What a file holds can neither end a line nor speak to the terminal."""
    questions = [Question("p\nq", "?", ("me",), ())]
    path = folder / "p.jsonl"
    path.write_bytes(_lines({"prediction": "me", "id": "\x1b[2Jc\u2028d"}))
    line = assert_read_or_refused(
        lambda: read_answers(path, questions, Path("q.json")),
        path,
        folder=folder,
    )
    assert line is not None and r"\x1b[2Jc\u2028d" in line and "p q" in line

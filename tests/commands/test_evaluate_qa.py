"""``genft evaluate-qa`` on a checkpoint that the real commands made, and on files of answers.

A plain Transformer reads each question with its passages as one line.  It has learned to answer
always the same, so that every figure is known.
"""

import gzip
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from fairseq_commands import TINY_TRANSLATION, USER_DIR, run, train
from fid_folder import TINY_FID, evidence_of, keys_and_values, line_of, write_fid_folder
from genft_process import genft as genft_process
from refusals import assert_refused

from genft_fairseq.cli import genft
from genft_fairseq.evaluation.decoding import Decoding, build_generator
from genft_fairseq.evaluation.loading import load_encoder_decoder

SAID = "<passage:1> the lon@@ don"
# Answers, and whether each passage holds one.
TEST = [
    (["London"], [True, False]),
    (["Paris", "The london!"], [False]),
    (["Rome"], [False, False, False, False, False, True]),
    (["London bridge"], []),
    (["A"], [True]),
]
EXACT, F1 = 2 / 5, (1 + 1 + 2 / 3) / 5
MODEL = [*TINY_TRANSLATION[:2], "-s", "question", "-t", "answer", *TINY_TRANSLATION[6:]]


def source_line(number, passages):
    line = f"<question> who is number w{number % 7}"
    for passage in range(passages):
        line += f" <title> lon@@ don <context> w{passage} is in the lon@@ don"
    return line


def write_split(folder, split, rows, prepared):
    """The text of a split, and what its preparation leaves beside the binarized data."""
    lines, examples = [], []
    for number, (answers, holds) in enumerate(rows):
        lines.append(source_line(number, len(holds)))
        examples.append(
            {
                "id": f"q{number}",
                "question": f"who is number {number}",
                "answers": answers,
                "ctxs": [{"title": "London", "has_answer": held} for held in holds],
            }
        )
    (folder / f"{split}.question").write_text("\n".join(lines) + "\n")
    (folder / f"{split}.answer").write_text(f"{SAID}\n" * len(rows))
    (prepared / f"{split}.fid.jsonl").write_text("".join(json.dumps(e) + "\n" for e in examples))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qa")
    prepared = folder / "bin"
    prepared.mkdir()
    rows = [(["London"], [True] * (number % 4)) for number in range(24)]
    for split in ("train", "valid"):
        write_split(folder, split, rows, prepared)
    write_split(folder, "test", TEST, prepared)
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    run(
        "fairseq-preprocess",
        *("-s", "question", "-t", "answer", "--joined-dictionary", "--destdir", prepared),
        *prefixes,
    )
    (prepared / "bpe.codes").write_text("#version: 0.2\nl o\n")
    return prepared


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train(
        *(data, folder, MODEL, "--criterion", "label_smoothed_cross_entropy"),
        *("--max-update", 60, "--disable-validation", "--max-tokens", 1000),
    )
    return folder / "checkpoint_last.pt"


def evaluate(*arguments):
    words = ["evaluate-qa", *map(str, arguments)]
    return CliRunner().invoke(genft, words)


def figures_of(*arguments):
    shown = evaluate(*arguments, "--json")
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def decoded(data, checkpoint, tmp_path_factory):
    """Figures and answers, decoded one question at a time."""
    written = tmp_path_factory.mktemp("decoded") / "answers.jsonl"
    flags = ("--cpu", "--batch-size", 1, "--predictions", written)
    metrics = figures_of(data, "--path", checkpoint, *flags)
    return metrics, written


# --- with a model --------------------------------------------------------------------------------


def test_answers_and_figures(decoded):
    metrics, written = decoded
    answers = [json.loads(line) for line in written.read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [f"q{number}" for number in range(5)]
    assert {(answer["prediction"], answer["pointer"]) for answer in answers} == {("the london", 1)}
    assert answers[1] == {
        "id": "q1",
        "question": "who is number 1",
        "prediction": "the london",
        "pointer": 1,
        "answers": ["Paris", "The london!"],
        "exact_match": True,
        "f1": 1.0,
    }
    assert metrics["questions"] == 5
    assert metrics["exact_match"] == EXACT and metrics["f1"] == pytest.approx(F1)
    low, high = metrics["exact_match_interval"]
    assert low < EXACT < high
    assert (metrics["answers_without_letters"], metrics["empty_predictions"]) == (1, 0)
    assert (metrics["target_exact_match"], metrics["target_f1"]) == (EXACT, pytest.approx(F1))
    assert (metrics["recall_1"], metrics["recall_5"], metrics["recall_all"]) == (0.4, 0.4, 0.6)
    assert (metrics["evidence_accuracy"], metrics["with_evidence"]) == (2 / 5, 3)
    assert metrics["pointed_nowhere"] == 1  # the question without passages
    assert 0 <= metrics["bleu"] < 100 and "tok:13a" in metrics["bleu_signature"]


def test_the_cache_by_hand(decoded):
    """One layer, 16 wide, in float32: 128 bytes a position of keys and values.

    Of its own text the decoder holds five tokens; of what it reads a padding mask as well, which
    fairseq holds in float32.
    """
    metrics, _ = decoded
    assert metrics["generated_tokens"] == 5 * 5
    assert metrics["cache_self_attention_bytes_per_question"] == 5 * 128
    positions = sum(len(source_line(0, len(holds)).split()) + 1 for _, holds in TEST)
    assert metrics["cache_cross_attention_bytes_per_question"] == positions * (128 + 4) / 5
    assert metrics["cache_other_bytes_per_question"] == 0
    total = metrics["seconds_per_question"]
    assert total > metrics["encoder_seconds_per_question"] > 0
    assert total > metrics["decoder_seconds_per_question"] > 0
    assert (metrics["clock"], metrics["device"]) == ("wall", "cpu")


def test_a_beam_holds_its_own_text_for_every_hypothesis(data, checkpoint, decoded):
    """fairseq keeps what is read once for all hypotheses of a question."""
    flags = ("--cpu", "--batch-size", 1, "--beam", 3)
    metrics = figures_of(data, "--path", checkpoint, *flags)
    own = "cache_self_attention_bytes_per_question"
    assert metrics[own] >= 3 * decoded[0][own] and metrics[own] % (3 * 128 / 5) < 1e-6
    read = "cache_cross_attention_bytes_per_question"
    assert decoded[0][read] <= metrics[read] <= 3 * decoded[0][read]


@pytest.mark.parametrize("beam", [1, 4])
def test_the_answers_are_those_of_fairseq_generate(data, checkpoint, beam, tmp_path):
    """Text, order and figures, from its output as well, in whatever batches."""
    run(
        "fairseq-generate",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--beam", beam),
        *("--task", "translation", "-s", "question", "-t", "answer", "--max-len-b", 4),
        *("--tokenizer", "moses", "--bpe", "subword_nmt", "--bpe-codes", data / "bpe.codes"),
        *("--results-path", tmp_path, "--max-tokens", 100, "--lenpen", 0.5),
        *("--no-repeat-ngram-size", 2, "--nbest", 1),
    )
    generated = tmp_path / "generate-test.txt"
    flags = ("--max-len-b", 4, "--lenpen", 0.5, "--no-repeat-ngram-size", 2)
    written = tmp_path / "answers.jsonl"
    ours = figures_of(
        *(data, "--path", checkpoint, "--cpu", "--beam", beam, "--batch-size", 3, *flags),
        *("--predictions", written),
    )
    texts = [json.loads(line)["prediction"] for line in written.read_text().splitlines()]
    said = [line.split("\t")[2] for line in generated.read_text().splitlines() if line[0] == "D"]
    assert sorted(texts) == sorted(text.removeprefix("<passage:1> ") for text in said)
    for arguments in ([data], ["--references", data / "test.fid.jsonl"], [data, "--n-context", 0]):
        scored = figures_of(*arguments, "--predictions-from", generated)
        shared = scored.keys() & ours.keys() - {"path", "predictions_from", "data", "split"}
        assert {"exact_match", "evidence_accuracy", "rouge_l", "recall_1"} <= shared
        assert {name: scored[name] for name in shared} == {name: ours[name] for name in shared}


def test_the_search_is_the_one_asked_for(data, checkpoint):
    loaded = load_encoder_decoder(str(data), str(checkpoint), cpu=True)
    asked = Decoding(beam=3, max_len_b=7, lenpen=0.5, no_repeat_ngram_size=2)
    generator = build_generator(loaded, asked)
    assert (generator.beam_size, generator.max_len_a, generator.max_len_b) == (3, 0, 7)
    assert generator.len_penalty == 0.5
    assert generator.repeat_ngram_blocker.no_repeat_ngram_size == 2


def test_table_and_files(data, checkpoint, tmp_path):
    output, predictions = tmp_path / "new" / "figures.json", tmp_path / "answers.jsonl"
    shown = evaluate(
        *(data, "--path", checkpoint, "--cpu", "--limit", 2, "--output", output),
        *("--predictions", predictions, "--language", "other"),
    )
    assert shown.exit_code == 0, shown.output
    assert "BLEU" in shown.stdout and str(predictions) in shown.stdout
    metrics = json.loads(output.read_text())
    assert (metrics["questions"], metrics["language"]) == (2, "other")
    assert metrics["exact_match"] == 1 / 2  # London is not the london
    assert len(predictions.read_text().splitlines()) == 2


def test_two_runs(data, decoded, tmp_path):
    """Of five questions the other run answers all wrong: the difference is two of five."""
    _, written = decoded
    other = tmp_path / "other.txt"
    other.write_text("nothing\n" * 5)
    metrics = figures_of(data, "--predictions-from", written, "--baseline", other)
    assert metrics["baseline"]["exact_match"] == 0
    assert 0 < metrics["baseline"]["exact_match_p_value"] < 1
    assert evaluate(data, "--predictions-from", written, "--baseline", other).exit_code == 0
    same = figures_of(data, "--predictions-from", other, "--baseline", other)
    assert same["baseline"]["f1_p_value"] == 1


# --- answers in files ----------------------------------------------------------------------------


@pytest.fixture
def public(tmp_path):
    """Two questions in Korean, as the public JSON."""
    passages = [{"title": "", "text": "수도는 부산이 아니다"}, {"title": "", "text": "서울의 인구"}]
    examples = [
        {"question": "수도?", "answers": ["서울특별시", "서울"], "ctxs": passages},
        {"question": "끝?", "target": "부산", "answers": ["부산"], "ctxs": passages[::-1]},
    ]
    path = tmp_path / "public.json"
    path.write_text(json.dumps(examples, ensure_ascii=False), encoding="utf-8")
    return path


def test_lines_of_text_in_korean(public, tmp_path):
    answers = tmp_path / "answers.txt"
    answers.write_text("<passage:2> 서울시\n<passage:0> 부산\n", encoding="utf-8")
    metrics = figures_of(
        *("--predictions-from", answers, "--references", public, "--language", "ko")
    )
    assert metrics["exact_match"] == 1 / 2
    # Of 서울시 two syllables of three are all of 서울; 서울특별시 has three of its five.
    assert metrics["f1"] == pytest.approx((0.8 + 1) / 2)
    assert (metrics["recall_1"], metrics["recall_all"]) == (0, 1)
    assert (metrics["evidence_accuracy"], metrics["reranked_recall_1"]) == (1 / 2, 1 / 2)
    # Of the first passages alone none holds an answer.
    read = ("--n-context", 1)
    flags = ("--predictions-from", answers, "--references", public, *read)
    assert figures_of(*flags)["evidence_accuracy"] == 1 / 2
    assert figures_of(*flags)["pointed_nowhere"] == 1


def test_json_lines(public, tmp_path):
    answers = tmp_path / "answers.jsonl"
    rows = [{"prediction": "서울"}, {"id": "1", "prediction": "<passage:1> 부산", "pointer": 2}]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = figures_of("--predictions-from", answers, "--references", public)
    assert metrics["exact_match"] == 1 / 2  # a pointer that is given leaves the text as it is
    assert (metrics["pointed_nowhere"], metrics["evidence_accuracy"]) == (1, 1 / 2)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    assert figures_of("--predictions-from", empty, "--references", public)["empty_predictions"] == 2


def test_generated_text_is_made_as_when_decoding(data, tmp_path):
    """With the data folder at hand, of the symbols: its language is English, not "answer"."""
    generated = tmp_path / "generate.txt"
    generated.write_text(
        "".join(
            f"H-{number}\t-1\tLon@@ don &apos;s\nD-{number}\t-1\tLondon 's\n"
            f"H-{number}\t-2\tsecond\nD-{number}\t-2\tsecond\n"
            for number in (3, 1, 0, 2, 4)
        )
    )
    written = tmp_path / "answers.jsonl"

    def texts(*arguments):
        figures_of(*arguments, "--predictions-from", generated, "--predictions", written)
        return {json.loads(line)["prediction"] for line in written.read_text().splitlines()}

    assert texts(data) == {"London's"}
    assert texts(data, "--tokenizer", "none") == {"London &apos;s"}
    assert texts("--references", data / "test.fid.jsonl") == {"London 's"}
    # A folder whose text nobody split into words.
    plain = tmp_path / "plain"
    shutil.copytree(data, plain)
    (plain / "MANIFEST.json").write_text('{"recipe": {"command": "x --tokenise none"}}')
    assert texts(plain) == {"London &apos;s"}


def test_passages_of_references_are_read_by_score(tmp_path):
    """The passage with the answer is the last of the file, and has the highest score."""
    ctxs = [{"text": "a", "score": 1}, {"text": "b", "score": "2"}, {"text": "x", "score": 30.5}]
    bare = [{"text": "a", "score": 1}, {"text": "x"}]
    examples = [{"question": "?", "answers": ["x"], "ctxs": found} for found in (ctxs, bare)]
    references, answers = tmp_path / "references.json", tmp_path / "answers.txt"
    references.write_text(json.dumps(examples))
    answers.write_text("<passage:1> x\n<passage:2> x\n")
    flags = ("--predictions-from", answers, "--references", references)
    metrics = figures_of(*flags)
    assert (metrics["recall_1"], metrics["evidence_accuracy"]) == (1 / 2, 1)
    assert metrics["passage_order"] == {"keep": False, "examples": 2, "changed": 1, "unscored": 1}
    kept = figures_of(*flags, "--keep-order")
    assert (kept["recall_1"], kept["evidence_accuracy"]) == (0, 1 / 2)
    assert kept["passage_order"] == {"keep": True, "examples": 2, "changed": 0, "unscored": 0}


def test_prepared_questions_keep_the_order_that_models_read(data, tmp_path):
    """Binarized passages stand in that order, whatever their scores."""
    copy = shutil.copytree(data, tmp_path / "data")
    rows = [json.loads(line) for line in (copy / "test.fid.jsonl").read_text().splitlines()]
    for row in rows:
        for number, passage in enumerate(row["ctxs"]):
            passage["score"] = number
    (copy / "test.fid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = tmp_path / "answers.txt"
    answers.write_text("<passage:1> London\n" * 5)
    metrics = figures_of(copy, "--predictions-from", answers)
    want = figures_of(data, "--predictions-from", answers)
    assert metrics["passage_order"] is None
    for name in ("recall_1", "evidence_accuracy"):
        assert metrics[name] == want[name]
    assert metrics["recall_1"] == 0.4


# --- SQuAD's own files ---------------------------------------------------------------------------


def squad(*questions, version="v2.0"):
    """A data set of one article, and a paragraph for each two questions."""
    asked = [
        {"id": name, "question": "?", "answers": [{"text": a, "answer_start": 0} for a in right]}
        for name, right in questions
    ]
    pairs = [asked[start : start + 2] for start in range(0, len(asked), 2)]
    paragraphs = [{"context": "...", "qas": pair} for pair in pairs]
    return {"version": version, "data": [{"title": "", "paragraphs": paragraphs}]}


SQUAD = squad(
    ("a", ["the Thames", "River Thames"]),
    ("b", []),
    ("c", ["Paris"]),
    ("d", []),
    ("e", ["The", "The Who"]),
)
ANSWERED = {"d": "", "c": "in Paris", "b": "London", "a": "Thames.", "e": "the"}


@pytest.fixture
def squad_files(tmp_path):
    references, answers = tmp_path / "dev-v2.0.json", tmp_path / "predictions.json"
    references.write_text(json.dumps(SQUAD))
    answers.write_text(json.dumps(ANSWERED, indent=4))
    return references, answers


def test_squads_own_files(squad_files, tmp_path):
    """By hand, as evaluate-v2.0.py counts: a and d are right, of c one word of two.

    The rows of the answers are in the order of the questions.
    """
    references, answers = squad_files
    written = tmp_path / "answers.jsonl"
    flags = ("--predictions-from", answers, "--references", references)
    metrics = figures_of(*flags, "--predictions", written)
    assert (metrics["questions"], metrics["exact_match"]) == (5, 2 / 5)
    assert metrics["f1"] == pytest.approx((1 + 0 + 2 / 3 + 1 + 0) / 5)
    assert (metrics["has_answer_questions"], metrics["no_answer_questions"]) == (3, 2)
    assert metrics["has_answer_exact_match"] == 1 / 3
    assert metrics["has_answer_f1"] == pytest.approx((1 + 2 / 3) / 3)
    assert (metrics["no_answer_exact_match"], metrics["no_answer_f1"]) == (1 / 2, 1 / 2)
    assert not any("recall" in name for name in metrics) and metrics["passage_order"] is None
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert [(row["id"], row["prediction"]) for row in rows] == [
        (name, ANSWERED[name]) for name in "abcde"
    ]
    assert evaluate(*flags).exit_code == 0
    # The other forms of answers go with it as well, and other runs.
    lines = tmp_path / "answers.txt"
    lines.write_text("".join(ANSWERED[name] + "\n" for name in "abcde"))
    other = figures_of("--references", references, "--predictions-from", lines)
    for forms in (metrics, other):
        forms.pop("predictions_from")
    assert other == metrics
    both = figures_of(*flags, "--baseline", lines)
    assert both["baseline"]["exact_match"] == 2 / 5


def test_squad_without_unanswerable_questions(tmp_path):
    """Version 1.1, MLQA and their kind; a language's articles do not count."""
    references, answers = tmp_path / "dev.json", tmp_path / "predictions.json"
    references.write_text(json.dumps(squad(("1", ["der Rhein"]), (2, ["Köln"]), version="1.1")))
    answers.write_text(json.dumps({"2": "in Köln", "1": "Rhein"}))
    metrics = figures_of(
        *("--predictions-from", answers, "--references", references, "--language", "de")
    )
    assert (metrics["exact_match"], metrics["f1"]) == (1 / 2, pytest.approx((1 + 2 / 3) / 2))
    assert not any(name.startswith(("has_answer", "no_answer")) for name in metrics)


def test_only_unanswerable_questions(tmp_path):
    references, answers = tmp_path / "dev.json", tmp_path / "predictions.json"
    references.write_text(json.dumps(squad(("a", []))))
    answers.write_text(json.dumps({"a": "."}))
    flags = ("--predictions-from", answers, "--references", references)
    metrics = figures_of(*flags)
    assert (metrics["exact_match"], metrics["no_answer_f1"]) == (1, 1)
    assert metrics["has_answer_questions"] == 0
    assert evaluate(*flags).exit_code == 0


def test_answers_by_id_to_questions_of_other_files(public, tmp_path):
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"1": "<passage:2> 부산", "0": "서울"}))
    metrics = figures_of("--predictions-from", answers, "--references", public)
    assert (metrics["exact_match"], metrics["pointed_nowhere"]) == (1, 1)


@pytest.mark.realdata
def test_questions_of_natural_questions(realdata, tmp_path):
    """A right answer with an article and a full stop is right, for every question."""
    references = realdata / "qa" / "nq_fid_dev.json.gz"
    with gzip.open(references, "rt", encoding="utf-8") as file:
        examples = json.load(file)
    answers = tmp_path / "answers.txt"
    answers.write_text("".join(f"The {e['answers'][-1]}.\n" for e in examples), encoding="utf-8")
    metrics = figures_of("--predictions-from", answers, "--references", references)
    assert (metrics["questions"], metrics["exact_match"], metrics["f1"]) == (100, 1, 1)
    assert metrics["rouge_l"] > 0.7  # which keeps the article
    # ASCII answers as strings: not far from what tokens find.
    found = [
        any(a.lower() in c["text"].lower() for a in e["answers"] for c in e["ctxs"])
        for e in examples
    ]
    assert metrics["recall_5"] == pytest.approx(sum(found) / 100, abs=0.03)


# --- Fusion-in-Decoder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fusion(tmp_path_factory):
    """A folder, and a model with every economy that names its evidence."""
    folder = tmp_path_factory.mktemp("fusion")
    asked = keys_and_values(24)
    data = write_fid_folder(folder / "bin", {"train": asked, "valid": asked, "test": asked[:7]})
    with (data / "test.fid.jsonl").open("w") as file:
        for number, example in enumerate(asked[:7]):
            question, passages, right = example
            held = [index in evidence_of(example) for index in range(len(passages))]
            ctxs = [{"title": "", "has_answer": value} for value in held]
            given = {"id": number, "question": question, "answers": [right], "ctxs": ctxs}
            file.write(json.dumps(given) + "\n")
    train(
        *(data, folder, TINY_FID, "--criterion", "label_smoothed_cross_entropy"),
        *("--max-update", 30, "--disable-validation", "--max-tokens", 1000, "--source-pointing"),
        *("--decoder-kv-heads", 1, "--cross-attention-interval", 2),
    )
    return data, folder / "checkpoint_last.pt"


def test_fusion_in_decoder(fusion, tmp_path):
    """Answers as fairseq-generate gives them, and the smaller cache in bytes.

    Two layers hold their own text and one of them the passages, each 8 wide: 64 bytes a position
    and layer, and with the passages a byte of padding mask.
    """
    data, checkpoint = fusion
    run(
        "fairseq-generate",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--beam", 2),
        *("--task", "fid", "--source-pointing", "-s", "question", "-t", "answer"),
        *("--max-len-b", 5, "--results-path", tmp_path),
    )
    written = tmp_path / "answers.jsonl"
    flags = (data, "--path", checkpoint, "--cpu", "--max-len-b", 5)
    ours = figures_of(*flags, "--beam", 2, "--predictions", written)
    scored = figures_of(data, "--predictions-from", tmp_path / "generate-test.txt")
    pointing = [name for name in scored if name.startswith(("evidence", "reranked", "pointed"))]
    assert len(pointing) >= 5
    for name in ("exact_match", "f1", "recall_1", *pointing):
        assert ours[name] == scored[name]
    assert (ours["n_context"], ours["target_exact_match"]) == (None, 1.0)

    one = figures_of(*flags, "--batch-size", 1, "--n-context", 1)
    asked = keys_and_values(7)
    unread = sum(0 not in evidence_of(example) for example in asked)
    assert (one["n_context"], one["without_evidence"]) == (1, unread)
    assert one["recall_all"] == 1  # of what was retrieved, whatever was read
    steps = one["generated_tokens"] / 7
    assert one["cache_self_attention_bytes_per_question"] == pytest.approx(2 * 64 * steps)
    # The line, the symbol that names the passage, and the end.
    read = sum(len(line_of(question, passages[:1]).split()) + 2 for question, passages, _ in asked)
    assert one["cache_cross_attention_bytes_per_question"] == pytest.approx((64 + 1) * read / 7)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], ["--path", "--predictions-from"]),
        (["--path", "{model}", "--predictions-from", "{answers}"], ["--path"]),
        (["--path", "{model}", "--n-context", 2], ["--n-context", 2, "--task fid"]),
        (["--path", "{model}", "--split", "dev"], ["dev.fid.jsonl"]),
        (["--path", "{model}", "--split", "valid2"], ["--split", "valid2"]),
        (["--path", "{model}", "--beam", 0], ["--beam", 0]),
        (["--path", "{model}", "--beam", 999], ["--beam", 999]),
        (["--path", "{model}", "--lenpen", "nan"], ["--lenpen", "nan"]),
        (["--path", "{model}", "--language", "kr"], ["--language", "kr"]),
        (["--path", "{model}", "--references", "{two}"], ["{two}", 5, 2]),
        (["--path", "{model}", "--baseline", "{four}"], ["{four}", 4]),
        (["--predictions-from", "{four}"], ["{four}", 5]),
        (["--predictions-from", "{six}"], ["{six}", 5]),
        (["--predictions-from", "{gap}"], ["{gap}", 2]),
        (["--predictions-from", "{ids}"], ["{ids}", "q1"]),
        (["--predictions-from", "{few}"], ["{few}", 3, 5, "q1"]),
        (["--predictions-from", "{many}"], ["{many}", 2, "x8"]),
        (["--predictions-from", "{odd}"], ["{odd}", "q0"]),
        (["--predictions-from", "{few}", "--references", "{noqas}"], ["{noqas}", "data[0]"]),
        (["--predictions-from", "{few}", "--references", "{noid}"], ["{noid}", "data[0]"]),
        (["--predictions-from", "{few}", "--references", "{twice}"], ["{twice}", "q0"]),
        (["--predictions-from", "{few}", "--references", "{notexts}"], ["{notexts}", "data[0]"]),
        (["--predictions-from", "{few}", "--references", "{nodata}"], ["{nodata}"]),
        (["--predictions-from", "{few}", "--references", "{listed}"], ["{listed}", "data"]),
        (["--predictions-from", "{four}", "--keep-order"], ["--keep-order", "--references"]),
        (["--predictions-from", "{answers}", "--beam", 2], ["--beam", 2, "--path"]),
        (["--predictions-from", "{answers}", "--limit", 2], ["--limit", 2, "--path"]),
        (["--predictions-from", "{answers}", "--references", "{unsaid}"], ["{unsaid}", 0]),
        (["--predictions-from", "{unnamed}"], ["{unnamed}", 1]),
        (["--predictions-from", "{pointing}"], ["{pointing}", "pointer", -1]),
    ],
)
def test_what_does_not_fit(data, checkpoint, flags, named, tmp_path):
    """Nothing is written, not even where that was asked for."""
    files = {
        "answers.txt": "x\n" * 5,
        "four.txt": "x\n" * 4,
        "six.txt": "x\n" * 6,
        "gap.txt": "".join(f"D-{number}\t-1\tx\n" for number in (0, 2, 4)),
        "ids.jsonl": "".join(
            f'{{"id": "q{5 - n}", "prediction": "x"}}\n' for n in range(4, -1, -1)
        ),
        "two.jsonl": '{"question": "?", "answers": ["x"], "ctxs": []}\n' * 2,
        "unnamed.jsonl": '{"prediction": "x"}\n{"answer": "x"}\n',
        "pointing.json": '[{"prediction": "x", "pointer": -1}]',
        "few.json": json.dumps({"q0": "x", "q4": "y"}),
        "many.json": json.dumps({f"q{n}": "x" for n in range(5)} | {"x8": "", "x9": ""}),
        "odd.json": json.dumps({"q0": ["x"]}),
        "noqas.json": json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": ""}]}]}),
        "noid.json": json.dumps(squad(("q0", ["x"]), (None, ["x"]))),
        "twice.json": json.dumps(squad(("q0", ["x"]), ("q0", ["x"]))),
        "notexts.json": json.dumps(squad(("q0", [None]))),
        "nodata.json": json.dumps({"version": "1.1", "data": []}),
        "listed.json": json.dumps({"version": "1.1", "data": {"title": ""}}),
        "unsaid.fid.jsonl": '{"question": "?", "answers": ["x"], "ctxs": [{"title": ""}]}\n',
    }
    names = {"model": checkpoint}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        names[name.split(".")[0]] = tmp_path / name
    if "valid2" in flags:  # right answers without binarized text
        data = shutil.copytree(data, tmp_path / "data")
        shutil.copy(data / "valid.fid.jsonl", data / "valid2.fid.jsonl")
    words = [str(flag).format(**names) for flag in flags]
    target = tmp_path / "out" / "figures.json"
    done = genft_process(
        *("evaluate-qa", data, *words, "--output", target, "--predictions", f"{target}l")
    )
    named = [str(word).format(**names) for word in named]
    assert_refused(done, *named, unwritten=target.parent)


def test_without_a_data_folder(checkpoint, tmp_path):
    answers = tmp_path / "answers.txt"
    answers.write_text("x\n")
    flags = ("--predictions-from", answers, "--references", answers)
    for given, named in (
        (("--path", checkpoint), ["--path", "DATA"]),
        (flags[:2], ["DATA", "--references"]),
        ((*flags, "--split", "test"), ["--split", "test", "DATA"]),
        (flags, [answers, 0]),
        ((*flags, "--output", "f", "--predictions", "f"), ["--output", "--predictions", "f"]),
    ):
        assert_refused(genft_process("evaluate-qa", *given), *named)


def test_a_folder_that_was_not_prepared(data, checkpoint, tmp_path):
    """The error names the splits that have right answers, or the flag that gives them."""
    bare = shutil.copytree(data, tmp_path / "bare")
    (bare / "test.fid.jsonl").unlink()
    asked = ("evaluate-qa", bare, "--path", checkpoint)
    assert_refused(genft_process(*asked), "test.fid.jsonl", "--split", "train", "valid")
    for split in ("train", "valid"):
        (bare / f"{split}.fid.jsonl").unlink()
    assert_refused(genft_process(*asked), "test.fid.jsonl", "--references")
    metrics = figures_of(
        *(bare, "--path", checkpoint, "--cpu", "--references", data / "test.fid.jsonl")
    )
    assert metrics["exact_match"] == EXACT
    (bare / "dict.answer.txt").unlink()
    done = genft_process(*asked, "--references", data / "test.fid.jsonl")
    assert_refused(done, "dict.answer.txt")


def test_questions_that_are_too_long(data, tmp_path):
    train(
        *(data, tmp_path, MODEL, "--criterion", "label_smoothed_cross_entropy"),
        *("--max-update", 1, "--disable-validation", "--max-source-positions", 30),
        *("--skip-invalid-size-inputs-valid-test", "--max-tokens", 1000),
    )
    done = genft_process("evaluate-qa", data, "--path", tmp_path / "checkpoint_last.pt", "--cpu")
    assert_refused(done, 1, 5, 30, 2)


def test_other_checkpoints(data, checkpoint, tmp_path):
    """One of another dictionary, one that is broken, and one of a task that reads nothing."""
    other = shutil.copytree(data, tmp_path / "other")
    for name in ("question", "answer"):
        with (other / f"dict.{name}.txt").open("a") as file:
            file.write("another 1\n")
    assert_refused(genft_process("evaluate-qa", other, "--path", checkpoint), "dictionary")
    state = torch.load(checkpoint, weights_only=False)
    broken = tmp_path / "broken.pt"
    state["model"]["encoder.layers.0.fc1.weight"][0, 0] = float("nan")
    torch.save(state, broken)
    asked = ("evaluate-qa", data, "--path", broken)
    assert_refused(genft_process(*asked), broken, "encoder.layers.0.fc1.weight")
    state["cfg"]["task"]["source_lang"] = None
    torch.save(state, broken)
    assert_refused(genft_process(*asked), broken)

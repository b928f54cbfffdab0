"""``genft evaluate-summaries`` on a checkpoint that the real commands made, and on files.

A plain Transformer has learned to write always the same, so that every figure is known.
"""

import gzip
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from fairseq_commands import TINY_TRANSLATION, USER_DIR, run, train
from genft_process import genft as genft_process
from refusals import assert_refused
from rich.cells import cell_len
from rouge_score.rouge_scorer import RougeScorer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from genft_fairseq.cli import genft
from genft_fairseq.evaluation import summarization
from genft_fairseq.evaluation.decoding import build_generator, decode
from genft_fairseq.evaluation.loading import load_encoder_decoder, open_split
from genft_fairseq.evaluation.summarization import SummaryDecoding

SAID = "the lon@@ don sat . the lon@@ don sat &amp; ran ."
SUMMARY = "the london sat. the london sat & ran."  # seven words, of which three come again
# Sources that a model can tell apart by nothing, and references.
TEST = [
    ("The London sat. Then it ran.", "The London sat. <q> The London sat & ran."),
    ("Rome fell, and London sat and ran.", "The London sat & ran. The London sat."),
    ("No word of it.", "nothing"),
    ("The end.", "the london"),
    ("London", "ran"),
]
MODEL = [*TINY_TRANSLATION[:2], "-s", "source", "-t", "target", *TINY_TRANSLATION[6:]]


def source_line(number):
    return " ".join(f"w{(number + place) % 7}" for place in range(3 + 6 * number % 8))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries")
    prepared = folder / "bin"
    raw = prepared / "raw"
    raw.mkdir(parents=True)
    for split, number in (("train", 24), ("valid", 8), ("test", len(TEST))):
        (folder / f"{split}.source").write_text(
            "".join(f"{source_line(n)} lon@@ don sat ran & .\n" for n in range(number))
        )
        (folder / f"{split}.target").write_text(f"{SAID}\n" * number)
    (raw / "valid.source").write_text("The London sat.\n" * 8)
    (raw / "valid.target").write_text(f"{SUMMARY}\n" * 8)
    for side, texts in zip(("source", "target"), zip(*TEST, strict=True), strict=True):
        (raw / f"test.{side}").write_text("".join(f"{text}\n" for text in texts))
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    run(
        "fairseq-preprocess",
        *("-s", "source", "-t", "target", "--joined-dictionary", "--destdir", prepared),
        *prefixes,
    )
    (prepared / "bpe.codes").write_text("#version: 0.2\nl o\n")
    return prepared


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train(
        *(data, folder, MODEL, "--criterion", "label_smoothed_cross_entropy"),
        *("--max-update", 100, "--disable-validation", "--max-tokens", 1000),
    )
    return folder / "checkpoint_last.pt"


def evaluate(*arguments):
    return CliRunner().invoke(genft, ["evaluate-summaries", *map(str, arguments)])


def figures_of(*arguments):
    shown = evaluate(*arguments, "--json")
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def predictions(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def decoded(data, checkpoint, tmp_path_factory):
    """Figures and summaries of the whole test set."""
    written = tmp_path_factory.mktemp("decoded") / "summaries.jsonl"
    flags = ("--cpu", "--beam", 1, "--batch-size", 2, "--predictions", written)
    return figures_of(data, "--path", checkpoint, *flags), written


# --- with a model --------------------------------------------------------------------------------


def test_summaries_and_figures(data, decoded):
    metrics, written = decoded
    rows = predictions(written)
    assert [row["prediction"] for row in rows] == [SUMMARY] * 5
    assert [row["reference"] for row in rows] == [reference for _, reference in TEST]
    # All words of the first two; of one sentence the other is the beginning.
    assert [row["rouge_1"] for row in rows] == [1, 1, 0, pytest.approx(4 / 9), 2 / 8]
    assert [row["rouge_lsum"] for row in rows] == [row["rouge_1"] for row in rows]
    assert rows[1]["rouge_l"] == pytest.approx(6 / 7)  # the london sat, the london sat
    assert (rows[3]["rouge_1_precision"], rows[3]["rouge_1_recall"]) == (2 / 7, 1)
    assert rows[4]["rouge_2"] == 0
    assert metrics["rouge_1"] == pytest.approx((1 + 1 + 0 + 4 / 9 + 1 / 4) / 5)
    low, high = metrics["rouge_1_interval"]
    assert low < metrics["rouge_1"] < high
    # Five trigrams, one of which is "the london sat" again.
    assert metrics["rep_3"] == pytest.approx(1 / 5) and metrics["repeats_trigram"] == 1
    assert (metrics["rep_1"], metrics["rep_4"]) == (pytest.approx(3 / 7), 0)
    assert (metrics["words"], metrics["of_references"]["words"]) == (7, (7 + 7 + 1 + 2 + 1) / 5)
    assert metrics["length_ratio"] == pytest.approx(35 / 18)
    assert (metrics["summaries"], metrics["empty_summaries"]) == (5, 0)
    assert metrics["of_references"]["rep_2_too_short"] == 2
    # Of the, london, sat, ran the sources have all, three, none, one and one.
    novel = (0 + 1 / 4 + 1 + 3 / 4 + 3 / 4) / 5
    assert metrics["novel_1"] == pytest.approx(novel)
    assert rows[0]["density"] == pytest.approx((9 + 9 + 1) / 7)


def test_settings_and_cost(data, decoded):
    metrics, _ = decoded
    assert metrics["references"] == str(data / "raw" / "test.target")
    assert metrics["sources"] == str(data / "raw" / "test.source")
    assert (metrics["beam"], metrics["max_len_b"], metrics["min_len"]) == (1, 200, 1)
    assert metrics["generated_tokens"] == 5 * (len(SAID.split()) + 1)
    total = metrics["seconds_per_summary"]
    assert total > metrics["encoder_seconds_per_summary"] > 0
    tokens = metrics["generated_tokens"] / (5 * total)
    assert metrics["tokens_per_second"] == pytest.approx(tokens)
    assert (metrics["clock"], metrics["device"], metrics["split"]) == ("wall", "cpu", "test")


def test_the_figures_of_fairseq_generate(data, checkpoint, tmp_path):
    """Its output, text and figures, in whatever batches, and as lines alone."""
    search = ("--max-len-b", 9, "--lenpen", 0.5, "--no-repeat-ngram-size", 4, "--min-len", 3)
    run(
        "fairseq-generate",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--beam", 3),
        *("--task", "translation", "-s", "source", "-t", "target", "--results-path", tmp_path),
        *("--tokenizer", "moses", "--bpe", "subword_nmt", "--bpe-codes", data / "bpe.codes"),
        *("--max-tokens", 100, *search),
    )
    generated, written = tmp_path / "generate-test.txt", tmp_path / "summaries.jsonl"
    ours = figures_of(
        *(data, "--path", checkpoint, "--cpu", "--beam", 3, *search, "--predictions", written)
    )
    texts = [row["prediction"] for row in predictions(written)]
    said = [line.split("\t")[2] for line in generated.read_text().splitlines() if line[0] == "D"]
    assert sorted(texts) == sorted(said) and len(texts) == 5
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for text in texts))
    raw = data / "raw"
    files = ("--references", raw / "test.target", "--sources", raw / "test.source")
    for arguments in (
        [data, "--predictions-from", generated],
        [*files, "--predictions-from", generated],
        [*files, "--predictions-from", written],
        [*files, "--predictions-from", tmp_path / "lines.txt"],
    ):
        scored = figures_of(*arguments)
        differ = {"path", "predictions_from", "data", "split"}
        shared = scored.keys() & ours.keys() - differ
        assert {"rouge_lsum", "rep_4", "novel_2", "density", "of_references"} <= shared
        assert {name: scored[name] for name in shared} == {name: ours[name] for name in shared}


def test_the_search_is_the_one_asked_for(data, checkpoint):
    loaded = load_encoder_decoder(str(data), str(checkpoint), cpu=True)
    asked = SummaryDecoding(beam=3, max_len_a=0.5, max_len_b=7, min_len=2, lenpen=0.5)
    generator = build_generator(loaded, asked)
    assert (generator.beam_size, generator.max_len_a, generator.max_len_b) == (3, 0.5, 7)
    assert (generator.min_len, generator.len_penalty) == (2, 0.5)


def test_summaries_come_in_the_order_of_their_sources(data, checkpoint, monkeypatch):
    """Of a search that finds the source itself; batches hold sources of a length together."""
    loaded = load_encoder_decoder(str(data), str(checkpoint), cpu=True)
    dataset = open_split(loaded, str(data), "test")
    padding = loaded.task.source_dictionary.pad()

    def echo(generator, models, sample):
        return [[{"tokens": row[row != padding]}] for row in sample["net_input"]["src_tokens"]]

    monkeypatch.setattr(loaded.task, "inference_step", echo)
    done = []
    asked = SummaryDecoding(batch_size=2)
    found, cost = decode(loaded, dataset, 5, asked, done.append)
    lines = [f"{source_line(number)} lon@@ don sat ran & ." for number in range(5)]
    assert [" ".join(symbols) for symbols in found] == lines
    assert (done, cost.questions) == ([2, 2, 1], 5)


def test_lengths(data, checkpoint):
    """With the end symbol a summary has no more than b and a times the source, and no fewer."""
    flags = (data, "--path", checkpoint, "--cpu", "--limit", 1, "--beam", 1)
    source = len(source_line(0).split()) + 7  # lon@@ don sat ran & . and the end
    tokens = {
        ("--max-len-b", 2): 3,
        ("--max-len-b", 2, "--max-len-a", 0.5): 3 + source // 2,
        ("--min-len", 15, "--max-len-b", 15): 16,
    }
    for asked, generated in tokens.items():
        assert figures_of(*flags, *asked)["generated_tokens"] == generated
    short = ("--min-len", 9, "--max-len-b", 2, "--max-len-a", 0.6)
    done = genft_process("evaluate-summaries", *flags, *short)
    assert_refused(done, "--min-len", 9, int(0.6 * source + 2), "--max-len-a", "--max-len-b")


def test_table_and_files(data, checkpoint, tmp_path):
    output, texts = tmp_path / "new" / "figures.json", tmp_path / "texts.txt"
    summaries = tmp_path / "summaries.jsonl"
    other = tmp_path / "other.txt"
    other.write_text("the london 京都\n" * 5, encoding="utf-8")
    shown = evaluate(
        *(data, "--path", checkpoint, "--cpu", "--beam", 1, "--limit", 2, "--show", 1),
        *("--output", output, "--predictions", summaries, "--side-by-side", texts),
        *("--baseline", other),
    )
    assert shown.exit_code == 0, shown.output
    assert "ROUGE-L" in shown.stdout and str(texts) in shown.stdout
    assert "The London sat. Then it ran." in shown.stdout  # the first text alone
    assert "Rome fell" not in shown.stdout
    metrics = json.loads(output.read_text())
    assert (metrics["summaries"], metrics["sources"]) == (2, str(data / "raw" / "test.source"))
    assert len(predictions(summaries)) == 2
    written = texts.read_text(encoding="utf-8")
    for text in (
        *("The London sat. Then it ran.", "The London sat. The London sat & ran."),
        *("the london 京都", "the london sat. ⟦the london sat⟧ & ran.", "Rome fell"),
    ):
        assert text in written
    assert all(cell_len(line) <= 100 for line in written.splitlines())
    assert "⟦" in shown.stdout


# --- summaries in files --------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Flags of two summaries with their references."""
    (tmp_path / "summaries.txt").write_text("the dogs ran home\nthe end\n")
    with gzip.open(tmp_path / "references.gz", "wt") as file:
        file.write("a dog ran home\nthe end\n")
    return (
        *("--predictions-from", tmp_path / "summaries.txt"),
        *("--references", tmp_path / "references.gz"),
    )


def test_files_without_sources(files):
    metrics = figures_of(*files)
    assert metrics["rouge_1"] == pytest.approx((3 / 4 + 1) / 2)
    assert figures_of(*files, "--no-stemming")["rouge_1"] == pytest.approx((2 / 4 + 1) / 2)
    assert metrics["sources"] is None and "novel_1" not in metrics
    assert (metrics["split"], metrics["data"]) == (None, None)
    assert evaluate(*files).exit_code == 0


def test_two_systems(files, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"prediction": "no no no no"}\n{"prediction": "<q> "}\n')
    metrics = figures_of(*files, "--baseline", other)
    baseline = metrics["baseline"]
    assert (baseline["predictions"], baseline["rouge_1"]) == (str(other), 0)
    assert (baseline["rep_1"], baseline["rep_1_too_short"]) == (3 / 4, 1)
    assert (baseline["empty_summaries"], baseline["length_ratio"]) == (1, 4 / 6)
    assert 0 < baseline["rouge_1_p_value"] <= 1
    assert baseline["rep_1_p_value"] is None  # one pair of texts that are long enough
    assert evaluate(*files, "--baseline", other).exit_code == 0


def test_marks_of_sentences_are_kept_and_seen_by_one_figure(tmp_path):
    """What is written can be scored again."""
    (tmp_path / "summaries.txt").write_text("cc dd<q>aa bb\n")
    (tmp_path / "references.txt").write_text("aa bb <q> cc dd\n")
    flags = ("--references", tmp_path / "references.txt", "--sources", tmp_path / "references.txt")
    written = tmp_path / "written.jsonl"
    metrics = figures_of(
        *flags, "--predictions-from", tmp_path / "summaries.txt", "--predictions", written
    )
    assert (metrics["rouge_lsum"], metrics["rouge_l"], metrics["words"]) == (1, 0.5, 4)
    assert (metrics["novel_1"], metrics["novel_2"]) == (0, pytest.approx(1 / 3))
    again = figures_of(*flags, "--predictions-from", written)
    assert again | {"predictions_from": None} == metrics | {"predictions_from": None}


def test_text_of_an_imported_models_tokeniser(tmp_path):
    """The data folder tells how ids make up text."""
    data = tmp_path / "data"
    (data / "raw").mkdir(parents=True)
    for name in ("test.source-target.source.idx", "test.source-target.target.idx"):
        (data / name).touch()
    (data / "raw" / "test.source").write_text("now the cat sat\n")
    (data / "raw" / "test.target").write_text("the cats\n")
    subwords = ["<pad>", "</s>", "<unk>", "▁the", "▁cat", "s"]
    tokenizer = Tokenizer(models.WordLevel(dict(zip(subwords, range(6), strict=True)), "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(data / "tokenizer.json"))
    side = {"size": 6, "bos": None, "pad": 0, "eos": 1, "unk": 2, "prefix": []}
    (data / "hugging_face.json").write_text(json.dumps({"source": side, "target": side}))
    generated, written = tmp_path / "generate.txt", tmp_path / "summaries.jsonl"
    generated.write_text("H-0\t-1\t<s> 3 4 5\nD-0\t-1\t3 4 5\n")
    flags = (data, "--predictions-from", generated, "--predictions", written)
    for how in ([], ["--bpe", "hugging_face"]):
        assert figures_of(*flags, *how)["rouge_1"] == 1
        assert predictions(written)[0]["prediction"] == "the cats"
    assert figures_of(*flags, "--bpe", "none")["rouge_1"] == 0
    (data / "hugging_face.json").unlink()
    done = genft_process("evaluate-summaries", *flags, "--bpe", "hugging_face")
    assert_refused(done, "--bpe hugging_face", "hugging_face.json", data)


@pytest.mark.realdata
def test_news(realdata, tmp_path):
    """The beginnings of articles against the references, as rouge-score itself scores them."""
    folder = realdata / "cnndm"
    texts = {}
    for side in ("source", "target"):
        with gzip.open(folder / f"test.{side}.gz", "rt", encoding="utf-8") as file:
            texts[side] = file.read().splitlines()
    beginnings = [" ".join(source.split()[:50]) for source in texts["source"]]
    (tmp_path / "lead.txt").write_text("".join(f"{text}\n" for text in beginnings))
    metrics = figures_of(
        *("--predictions-from", tmp_path / "lead.txt", "--references", folder / "test.target.gz"),
        *("--sources", folder / "test.source.gz"),
    )
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    pairs = list(zip(texts["target"], beginnings, strict=True))
    for key, name in (("rouge1", "rouge_1"), ("rouge2", "rouge_2"), ("rougeL", "rouge_l")):
        mean = sum(scorer.score(*pair)[key].fmeasure for pair in pairs) / len(pairs)
        assert metrics[name] == pytest.approx(mean)
    # Sentences in another order cost ROUGE-L alone.
    assert metrics["rouge_l"] < metrics["rouge_lsum"] < metrics["rouge_1"]
    # But for the ends of words that were cut off, all is taken from the source.
    assert metrics["novel_4"] < 0.02 and metrics["coverage"] > 0.99
    assert metrics["of_references"]["novel_2"] > 0.4


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--path", "{model}", "--split", "dev"], ["--split", "dev", "test", "valid"]),
        (
            ["--path", "{model}", "--split", "dev", "--references", "{five}"],
            ["--split", "dev", "{data}", "test", "train", "valid"],
        ),
        (["--path", "{model}", "--max-len-a", "inf"], ["--max-len-a", "inf"]),
        (["--path", "{model}", "--max-len-a", -1], ["--max-len-a", -1]),
        (["--path", "{model}", "--min-len", 201], ["--min-len", 201, 200]),
        (["--path", "{model}", "--references", "{four}"], ["{four}", 5, 4]),
        (["--path", "{model}", "--baseline", "{four}"], ["{four}", 4]),
        (["--path", "{model}", "--limit", 3, "--baseline", "{four}"], ["{four}", 3]),
        (["--predictions-from", "{four}"], ["{four}", 4, "{data}/raw/test.target", 5]),
        (["--predictions-from", "{empty}"], ["{empty}", 0]),
        (["--predictions-from", "{five}", "--references", "{empty}"], ["{empty}"]),
        (["--predictions-from", "{five}", "--sources", "{empty}"], ["{empty}"]),
        (
            ["--predictions-from", "{five}", "--sources", "{four}"],
            ["{four}", 4, "{data}/raw/test.target", 5],
        ),
        (["--predictions-from", "{gap}"], ["{gap}", 2]),
        (["--predictions-from", "{unnamed}"], ["{unnamed}", 1]),
        (["--predictions-from", "{five}", "--references", "{latin}"], ["{latin}", "line 1"]),
        (["--predictions-from", "{five}", "--max-len-a", 1], ["--max-len-a", "--path"]),
        (["--predictions-from", "{five}", "--min-len", 1], ["--min-len", 1, "--path"]),
        (["--predictions-from", "{five}", "--cpu"], ["--cpu", "--path"]),
        (
            ["--predictions-from", "{five}", "--language", "ko", "--no-stemming"],
            ["--no-stemming", "--language"],
        ),
        (["--predictions-from", "{five}", "--json", "--show", 1], ["--show", 1]),
    ],
)
def test_what_does_not_fit(data, checkpoint, flags, named, tmp_path):
    """Nothing is written, not even where that was asked for."""
    texts = {
        "five.txt": "x\n" * 5,
        "four.txt": "x\n" * 4,
        "empty.txt": "",
        "gap.txt": "".join(f"D-{number}\t-1\tx\n" for number in (0, 2, 4)),
        "unnamed.jsonl": '{"prediction": "x"}\n{"summary": "x"}\n',
    }
    names = {"data": data, "model": checkpoint, "latin": tmp_path / "latin.txt"}
    names["latin"].write_bytes(b"caf\xe9\n" * 5)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        names[name.split(".")[0]] = tmp_path / name
    words = [str(flag).format(**names) for flag in flags]
    target = tmp_path / "out" / "figures.json"
    outputs = ["--output", target, "--predictions", f"{target}l"]
    outputs += ["--side-by-side", f"{target}.txt"]
    done = genft_process("evaluate-summaries", data, *words, *outputs)
    named = [str(word).format(**names) for word in named]
    assert_refused(done, *named, unwritten=target.parent)


def test_without_a_data_folder(files):
    for given, named in (
        (files[:2], ["DATA", "--references"]),
        ((*files, "--bpe", "auto"), ["--bpe", "auto", "DATA"]),
    ):
        assert_refused(genft_process("evaluate-summaries", *given), *named)


def test_a_folder_without_untouched_text(data, checkpoint, tmp_path):
    """The error names the flags that give it."""
    bare = shutil.copytree(data, tmp_path / "bare")
    (bare / "raw" / "test.source").unlink()
    flags = (bare, "--path", checkpoint, "--cpu", "--beam", 1, "--limit", 1)
    assert figures_of(*flags)["sources"] is None
    shutil.rmtree(bare / "raw")
    assert_refused(
        *(genft_process("evaluate-summaries", *flags), bare, "raw/test.target"),
        *("--split test", "--references", "--sources"),
    )
    given = (
        "--references",
        data / "raw" / "test.target",
        "--sources",
        data / "raw" / "test.source",
    )
    assert figures_of(*flags, *given)["rouge_1"] == 1
    for path in bare.glob("*.source.idx"):
        shutil.copy(path, str(path).replace("source-target.source", "target-source.target"))
    done = genft_process("evaluate-summaries", *flags)
    assert_refused(done, bare, "source-target", "target-source")
    for path in bare.glob("*.idx"):
        path.unlink()
    assert_refused(genft_process("evaluate-summaries", *flags), bare)


def test_sources_that_are_too_long(data, tmp_path):
    train(
        *(data, tmp_path, MODEL, "--criterion", "label_smoothed_cross_entropy"),
        *("--max-update", 1, "--disable-validation", "--max-source-positions", 15),
        *("--skip-invalid-size-inputs-valid-test", "--max-tokens", 1000),
    )
    flags = (data, "--path", tmp_path / "checkpoint_last.pt", "--cpu")
    assert_refused(genft_process("evaluate-summaries", *flags), 1, 5, 15)


def test_a_checkpoint_of_another_task(data, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=False)
    state["cfg"]["task"]["source_lang"] = None
    torch.save(state, tmp_path / "other.pt")
    done = genft_process("evaluate-summaries", data, "--path", tmp_path / "other.pt")
    assert_refused(done, tmp_path / "other.pt")


def test_a_file_is_never_found_half_written(files, tmp_path, monkeypatch):
    """Where writing fails, what was there before is there still, and nothing else."""
    texts, output = tmp_path / "out" / "texts.txt", tmp_path / "out" / "figures.json"
    texts.parent.mkdir()
    texts.write_text("before\n")

    def fail(*_):
        yield "== 1\n"
        raise RuntimeError("no room")

    monkeypatch.setattr(summarization, "side_by_side", fail)
    shown = evaluate(*files, "--side-by-side", texts, "--output", output)
    assert isinstance(shown.exception, RuntimeError)
    assert texts.read_text() == "before\n"
    assert set(texts.parent.iterdir()) <= {texts, output}
    assert not output.exists() or json.loads(output.read_text())["summaries"] == 2

"""A miniature of each recipe, from training to the table, and BLEU as the papers report it."""

import atexit
import functools
import json
import random
import shutil
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fairseq_commands import REPOSITORY, USER_DIR, parameters, run
from refusals import assert_script_refused
from test_examples import shell
from test_recipes import EXAMPLES, LANGUAGE, TRANSLATION, loaded
from tiny_gpt2 import VOCABULARY, call, hugging_face_folder

TINY = [
    *("--decoder-layers", "1", "--decoder-embed-dim", "16", "--decoder-ffn-embed-dim", "16"),
    *("--decoder-attention-heads", "2", "--update-freq", "1", "--max-update", "3"),
]
TINY_TRANSLATION = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--max-tokens", "64", "--save-interval-updates", "1"),
    *TINY,
]
CPU = {"GPUS": "0", "OMP_NUM_THREADS": "1", "AVERAGE": "2"}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(5)
    words = [f"w{i}" for i in range(20)]
    for split, size in (("train", 80), ("valid", 40), ("test", 12)):
        lines = [draw.choices(words, k=draw.randint(3, 9)) for _ in range(size)]
        (folder / f"{split}.en").write_text("".join(" ".join(w) + "\n" for w in lines))
        (folder / f"{split}.de").write_text("".join(" ".join(w[::-1]) + "\n" for w in lines))
    return folder


def prepared(text: Path, data: Path, ending: str, *languages: str) -> Path:
    """A folder as the preparations in data-prep leave it."""
    prefixes = [f"--{split}pref={text / split}{ending}" for split in ("train", "valid", "test")]
    run("fairseq-preprocess", "--user-dir", USER_DIR, "--destdir", data, *prefixes, *languages)
    (data / "raw").mkdir()
    for language in ("en", "de"):
        shutil.copy(text / f"test.{language}", data / "raw")
    (data / "bpe.codes").write_text("#version: 0.2\nw 1\n")
    (data / "MANIFEST.json").write_text('{"recipe": {"command": "prepare-a-toy.sh"}}')
    return data


@pytest.fixture
def pairs(text, tmp_path) -> Path:
    return prepared(text, tmp_path / "data", "", "-s", "en", "-t", "de", "--joined-dictionary")


@functools.cache
def checkout() -> Path:
    """The repository without its .venv: the scripts take what is on the PATH, which starts warm."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for name in ("benchmarks", "data-prep", "examples", "genft_fairseq"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def begun(script: Path, *arguments: object, **environment: str) -> CompletedProcess:
    here = checkout() / script.relative_to(REPOSITORY)
    return shell("bash", here, *arguments, **{**CPU, **environment})


def step(script: Path, *arguments: object, **environment: str) -> str:
    done = begun(script, *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(folder: Path) -> dict[Path, int]:
    """When each file below a folder was written, but for the note that a run is finished."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "finished")
    return {path: path.stat().st_mtime_ns for path in found}


def pages() -> dict[Path, bytes]:
    """What RECORD=1 would write, in the repository."""
    found = [path for end in ("json", "md") for path in REPOSITORY.glob(f"examples/**/*.{end}")]
    return {path: path.read_bytes() for path in found}


def test_wmt14_in_miniature(pairs, tmp_path):
    """Train, average, fine-tune from the average, translate, score; a second call does nothing."""
    folder, runs, before = TRANSLATION / "wmt14_en_de", tmp_path / "runs", pages()
    step(folder / "train.sh", "base", pairs, runs, "--", *TINY_TRANSLATION)
    method = {"METHODS": "first-token-0.3"}
    tuning = (folder / "finetune.sh", "base", pairs, runs, "--", *TINY_TRANSLATION, "--lr", 0)
    step(*tuning, **method)
    # With a rate of 0, the fine-tuned model is what it began from: the mean of the last two.
    two, three = (parameters(runs / f"baseline/checkpoint_1_{i}.pt") for i in (2, 3))
    for name, value in parameters(runs / "first-token-0.3" / "checkpoint_last.pt").items():
        assert value.allclose((two[name] + three[name]) / 2, atol=1e-7), name
    average = {"BASELINE": str(runs / "baseline" / "averaged.pt")}  # leaves the baseline out
    shown = step(folder / "generate.sh", "base", pairs, runs, **method, **average)
    assert "| first-token-0.3 |" in shown
    results = json.loads((runs / "results.json").read_text())
    assert list(results["runs"]) == ["first-token-0.3"]
    assert results["runs"]["first-token-0.3"]["updates"] == 3
    assert results["commands"]["prepare"] == "prepare-a-toy.sh"
    made = written(runs)
    step(*tuning, **method)
    assert written(runs) == made
    assert pages() == before


@pytest.mark.slow  # twelve processes
def test_iwslt14_in_miniature(pairs, tmp_path):
    """From German to English, without regard to case."""
    folder, runs, before = TRANSLATION / "iwslt14_de_en", tmp_path / "runs", pages()
    method = {"METHODS": "scalegrad-0.5"}
    step(folder / "train.sh", pairs, runs, "--", *TINY_TRANSLATION, **method)
    step(folder / "generate.sh", pairs, runs, "--", "--beam", 1, **method)
    results = json.loads((runs / "results.json").read_text())
    assert "case:lc" in results["runs"]["baseline"]["bleu_signature"]
    source = (pairs / "raw" / "test.de").read_text().splitlines()[0]
    assert f"S-0\t{source}\n" in (runs / "baseline" / "generate-test.txt").read_text()
    assert pages() == before


def test_wikitext103_in_miniature(text, tmp_path):
    """Train from scratch, fine-tune, continue, compare."""
    folder, runs, before = LANGUAGE / "wikitext103", tmp_path / "runs", pages()
    data = prepared(text, tmp_path / "data", ".en", "--only-source")
    method = {"METHODS": "unlikelihood"}
    short = ("--tokens-per-sample", 30, "--max-tokens", 60)
    step(folder / "train.sh", "small", data, runs, "--", *TINY, *short, **method)
    flags = ("--", "--prefix-length", 5, "--length", 10)
    baseline = {"BASELINE": str(runs / "baseline" / "checkpoint_best.pt")}
    shown = step(folder / "generate.sh", "small", data, runs, *flags, **method, **baseline)
    assert "| unlikelihood |" in shown
    results = json.loads((runs / "results.json").read_text())
    assert results["runs"]["unlikelihood"]["prefix_length"] == 5
    assert pages() == before


def test_a_book_in_miniature(text, tmp_path):
    """Two epochs from scratch with a sample after each; what was made is not made again."""
    data, runs = prepared(text, tmp_path / "data", ".en", "--only-source"), tmp_path / "runs"
    tiny = ("--decoder-layers", 1, "--decoder-embed-dim", 16, "--decoder-attention-heads", 2)
    train = (EXAMPLES / "book" / "train.sh", data, runs, "--", *tiny)
    shown = step(*train, EPOCHS="2")
    run = runs / "small-scalegrad-0.5"
    samples = [(run / f"sample-epoch-{epoch}.txt").read_text() for epoch in (1, 2)]
    assert all(sample in shown for sample in samples) and samples[0] != samples[1]
    log = (run / "train.log").read_text()
    assert log.count("| epoch 001 | valid ") == log.count("| epoch 002 | valid ") == 1
    before = {path: path.stat().st_mtime_ns for path in run.iterdir() if path.name != "finished"}
    step(*train, EPOCHS="2")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert_script_refused(begun(*train, EPOCHS="3"), run)  # its rate falls more slowly
    generate = (EXAMPLES / "book" / "generate.sh", data, runs)
    (data / "bpe.codes").write_text("#version: 0.2\nw 1</w>\n")  # w1 is a piece
    assert step(*generate, "--", "--min-len", 8, PROMPT="w1 w1").startswith("w1 w1 w")
    assert "w" in step(*generate, "--", "--min-len", 8, PROMPT="x")  # which the book does not have
    assert "w" in step(*generate, "--", "--limit", 1)


@pytest.mark.slow  # ten processes
def test_gpt2_in_miniature(tmp_path):
    """Import, fine-tune, continue by every search, compare."""
    draw, runs, before = random.Random(5), tmp_path / "runs", pages()
    hugging_face_folder(tmp_path / "gpt2", n_positions=1024)  # what is measured has so many
    call("import-hf", tmp_path / "gpt2", tmp_path / "dictionary")
    for split, size in (("train", 40), ("valid", 40), ("test", 40)):
        lines = [draw.choices(range(VOCABULARY), k=20) for _ in range(size)]
        (tmp_path / f"{split}.en").write_text("".join(f"{' '.join(map(str, w))}\n" for w in lines))
        shutil.copy(tmp_path / f"{split}.en", tmp_path / f"{split}.de")
    given = ("--only-source", "--srcdict", tmp_path / "dictionary" / "dict.txt")
    data = prepared(tmp_path, tmp_path / "data", ".en", *given)
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(tmp_path / "dictionary" / name, data)
    (data / "bpe.codes").unlink()
    sizes = ("--decoder-layers", 2, "--decoder-embed-dim", 32, "--decoder-attention-heads", 4)
    short = ("--tokens-per-sample", 60, "--max-tokens", 60)
    environment = {"METHODS": "mle", "HF_DIR": str(tmp_path / "gpt2")}
    folder = EXAMPLES / "open_ended_generation"
    flags = ("--", *sizes, *short, "--max-update", 3)
    step(folder / "train.sh", "small", data, runs, *flags, **environment)
    step(folder / "generate.sh", "small", data, runs, "--", "--limit", 3, **environment)
    results = json.loads((runs / "results.json").read_text())
    assert list(results["runs"]["mle"]["searches"]) == ["greedy", "nucleus", "top-k", "beam"]
    assert (runs / "mle" / "completions-nucleus.txt").exists()
    assert pages() == before


tokenised_bleu = loaded(TRANSLATION / "tokenised_bleu.py").tokenised_bleu


def test_tokenised_bleu_by_hand():
    """One word of eight differs: 7/8, 5/7, 3/6, 1/5 of the n-grams, no brevity."""
    reference, translation = "Der Hund sah das rote Haus gestern .", "Der Hund sah den roten Haus"
    assert tokenised_bleu([reference], [reference], "de") == pytest.approx(100)
    reference, translation = "a b c d e f g h", "a b c d X f g h"
    by_hand = (7 / 8 * 5 / 7 * 3 / 6 * 1 / 5) ** 0.25 * 100
    assert tokenised_bleu([translation], [reference], "de") == pytest.approx(by_hand)
    upper = tokenised_bleu([translation.upper()], [reference], "de", lowercase=True)
    assert upper == pytest.approx(by_hand)


def test_compounds_are_split_at_hyphens():
    """Of six words five agree; of eight, when rot-blau is three, seven."""
    reference, translation = ["Das ist (rot-grün)."], ["Das ist (rot-blau)."]
    whole = tokenised_bleu(translation, reference, "de")
    split = tokenised_bleu(translation, reference, "de", split_compounds=True)
    # No 4-gram of the six words agrees: sacreBLEU counts half a one.
    assert whole == pytest.approx((5 / 6 * 3 / 5 * 1 / 4 * 0.5 / 3) ** 0.25 * 100)
    assert split == pytest.approx((7 / 8 * 5 / 7 * 3 / 6 * 2 / 5) ** 0.25 * 100)

"""The recipe of summarisation: its tables, and a miniature of it."""

import gzip
import json
import pydoc_data.topics
import re
import shlex
import shutil
from pathlib import Path

import pytest
from encoder_decoder_folder import binarized, import_model, sentences
from fairseq_commands import REPOSITORY, USER_DIR, moved, parameters, run
from test_examples import parse
from test_recipe_runs import pages, step, written
from test_recipes import loaded
from test_summarization_recipe import (
    FULL,
    SMALL,
    STUDY,
    SYSTEMS,
    invoke,
    printed,
    score,
    trained,
)
from tiny_gpt2 import call

from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

# --- tables --------------------------------------------------------------------------------------


def made_up(name: str) -> dict:
    """A run's figures: the second seed's ROUGE-1 is greater, its p less."""
    metrics = {**dict.fromkeys([*score.ROUGE, *score.TEXT], 0.25), "words": 50.0}
    metrics |= {"length_ratio": 0.9, "seconds_per_summary": 0.125}
    seeds = [{**metrics, "rouge_1": 0.3}, {**metrics, "rouge_1": 0.4}]
    if name != "mle":
        for seed, p in zip(seeds, (0.25, 0.001), strict=True):
            seed |= {f"{n}_p_value": p for n in score.COMPARED}
    return score.over_seeds(seeds)


def test_tables_of_made_up_figures():
    run = {"updates": 150, "train_seconds": 60.0, "valid_ppl": 9.5, "parameters": 2_000_000}
    run |= {"train_clock": "processor"}
    files = score.measured(["mle", "unlikelihood"])
    systems = {
        name: {search: made_up(name) for search in by_search} for name, by_search in files.items()
    }
    score.count_significant(systems)
    results = {
        "seeds": [1, 2],
        "hardware": {"processor": "a processor", "cores": 2},
        "versions": {"python": "3"},
        "pretraining": {"base": run},
        "training": {name: score.over_seeds([run, run]) for name in ("mle", "unlikelihood")},
        "systems": systems,
        "summaries": 1000,
        "decoding": {"beam": 4, "max_len_b": 130, "min_len": 1, "lenpen": 1.0},
        "references": {"words": 55.0, "novel_3": 0.75, "rep_3": 0.0},
    }
    page = score.tables(json.loads(json.dumps(results)))
    beam, greedy = page.split("**Greedy**")
    rows = {row.split(" | ")[0][2:]: row[:-2].split(" | ") for row in beam.splitlines()}
    # Means of 30 and 40, which lie 7.07 apart by n - 1; no deviation where there is none.
    mle = ["35.0 ± 7.1", *["25.0"] * 5, "25", "50.0", "0.90", "25.0", "0.125"]
    assert rows["mle"][1:] == [*mle, "", ""] and rows["mle-no-repeat-3"][1:12] == mle
    for name in ("mle-no-repeat-3", "unlikelihood", "lead-3"):
        assert rows[name][12:] == ["0.250, 0.001 (1 of 2)"] * 2
    assert rows["the references"][1:11] == ["", "", "", "", "0.0", "", "", "55.0", "", "75.0"]
    assert "lead-3" not in greedy and "| mle-no-repeat-3 | 35.0" in greedy
    assert "| base | 150 | 60 | 2.00 | 9.50 |\n| mle | 150 | 60 |" in greedy


def test_what_was_recorded_is_what_the_page_shows():
    """And what the scripts say today; only the commands' places may be others."""
    results = json.loads((STUDY / "results.json").read_text())
    assert score.tables(results) in (STUDY / "README.md").read_text()
    assert set(results["training"]) == set(SYSTEMS)
    places = {"data", "save_dir", "finetune_from_model", "hugging_face"}
    runs = trained(SMALL / "train.sh", SEEDS=str(results["seeds"][0]))
    now = {name.split("/")[-1]: vars(run) for name, run in runs.items()}
    assert list(now) == list(results["commands"]["train"])
    for name, command in results["commands"]["train"].items():
        then = vars(parse(shlex.split(command)[1:]))
        assert {k: now[name][k] for k in now[name].keys() - places} == {
            k: then[k] for k in then.keys() - places
        }
    for by_search in results["systems"].values():
        for found in by_search.values():
            assert len(found["rouge_1"]["seeds"]) == len(results["seeds"])


# --- a miniature ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """What prepare.sh leaves, of a tiny T5 and a few lines."""
    folder = tmp_path_factory.mktemp("summarization")
    import_model(folder, "t5")
    sizes = {"train": 24, "valid": 6, "test": 4}
    pairs = binarized(folder / "fairseq", folder / "prepared", sizes)
    (pairs / "MANIFEST.json").write_text('{"recipe": {"command": "prepare-a-toy.sh"}}')
    for file in ("hugging_face.json", "tokenizer.json"):
        shutil.copy(folder / "fairseq" / file, pairs)
    (pairs / "raw").mkdir()
    for side, most in (("source", 100), ("target", 9)):
        lines = (f"{text[:most]}\n" for text in sentences(sizes["test"]))
        (pairs / "raw" / f"test.{side}").write_text("".join(lines))
    data = folder / "data"
    data.mkdir()
    (data / "start").symlink_to(folder / "fairseq")
    for name in ("sentences", "passages", "pairs"):
        (data / name).symlink_to(pairs)
    return data


def executed(script: Path, *arguments: object, **environment: str) -> str:
    """Do here what a script prints, without starting a process each; return what came last."""
    said = ""
    for words in printed(script, *arguments, **environment):
        words = [w if w != "genft_fairseq" else USER_DIR for w in words]
        left = None
        if words[0] == "fairseq-train":
            folder = Path(words[words.index("--save-dir") + 1])
            log = run(*words).output
            # Lines as a process of its own logs them.
            log = re.sub(r"^INFO:(\w+):", r"| INFO | \1 | ", log, flags=re.MULTILINE)
            (folder / "train.log").write_text(log)
            left = folder / "command"
        elif words[0] == "genft":
            output = Path(words[words.index("--output") + 1])
            output.parent.mkdir(parents=True, exist_ok=True)
            call(*words[1:])
            left = Path(f"{output}.command")
        else:
            said = invoke(loaded(REPOSITORY / words[1]), *words[2:])
        if left:
            left.write_text(shlex.join(words) + "\n")
    return said


def look_at(shown: str, runs: Path, names: list[str]) -> None:
    """Compare what a miniature has printed and recorded with what it must be."""
    results = json.loads((runs / "results.json").read_text())
    assert shown.endswith(score.tables(results) + "\n")
    assert list(results["systems"]) == names
    assert results["training"]["mle"]["updates"]["mean"] == 2
    assert results["commands"]["prepare"] == dict.fromkeys(
        ["sentences", "passages", "pairs"], "prepare-a-toy.sh"
    )
    found = results["systems"]["lead-3"]["beam"]
    assert found["rouge_1"]["mean"] > 0 and found["novel_1"]["mean"] == 0  # of the source itself
    # What does not repeat is pieces, and a word may be spelled by others.
    repeated = {name: results["systems"][name]["beam"]["rep_3"]["mean"] for name in names}
    assert repeated["mle-no-repeat-3"] < repeated["mle"] / 2
    summaries = (runs / "seed-1" / "mle" / "summaries.jsonl").read_text().splitlines()
    assert len(summaries) == results["summaries"] == 4


def test_the_small_size_in_miniature(data, tmp_path):
    """Train, fine-tune, summarise, compare."""
    runs, before = tmp_path / "runs", pages()
    some = {"METHODS": "mle", "SEEDS": "1"}
    executed(SMALL / "train.sh", data, runs, "--", "--max-update", 2, "--warmup-updates", 1, **some)
    base, mle = (parameters(runs / name / "checkpoint_last.pt") for name in ("base", "seed-1/mle"))
    assert moved(base, mle)
    shown = executed(SMALL / "evaluate.sh", data, runs, **some)
    look_at(shown, runs, ["mle", "mle-no-repeat-3", "lead-3"])
    assert pages() == before


@pytest.mark.slow  # fourteen processes
def test_the_small_size_by_its_scripts(data, tmp_path):
    """The same; a second call does nothing."""
    runs, before = tmp_path / "runs", pages()
    some = {"METHODS": "mle", "SEEDS": "1"}
    train = (SMALL / "train.sh", data, runs, "--", "--max-update", 2, "--warmup-updates", 1)
    step(*train, **some)
    shown = step(SMALL / "evaluate.sh", data, runs, **some)
    look_at(shown, runs, ["mle", "mle-no-repeat-3", "lead-3"])
    made = written(runs)
    assert step(SMALL / "evaluate.sh", data, runs, **some) in shown
    step(*train, **some)
    assert {path: when for path, when in written(runs).items() if path.suffix == ".pt"} == {
        path: when for path, when in made.items() if path.suffix == ".pt"
    }
    assert pages() == before


def test_t5_as_published_in_miniature(data, tmp_path):
    """Two updates by Adafactor."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "start").symlink_to(data / "start")
    flags = ("--", "--max-update", 2, "--max-tokens", 64, "--update-freq", 1)
    some = {"START": "t5-small", "METHODS": "scalegrad-0.5"}
    executed(FULL / "train.sh", data / "pairs", runs, *flags, **some)
    tuned = parameters(runs / "seed-42" / "scalegrad-0.5" / "checkpoint_best.pt")
    assert moved(parameters(data / "start" / "model.pt"), tuned)


@pytest.mark.slow
def test_preparing_the_small_size(tmp_path):
    """From pairs and any text to a start and the three data folders, once."""
    pairs, data = tmp_path / "pairs", tmp_path / "data"
    pairs.mkdir()
    topics = [" ".join(text.split()) for text in pydoc_data.topics.topics.values()]
    (tmp_path / "text").write_text("\n\n".join(topics))
    for split in ("train", "val", "test"):
        for side, most in (("source", 2000), ("target", 200)):
            lines = "".join(f"{text[:most]}\n" for text in topics[:6])
            (pairs / f"{split}.{side}.gz").write_bytes(gzip.compress(lines.encode()))
    text = [tmp_path / "text"] * 3  # for enough passages
    command = (SMALL / "prepare.sh", pairs, *text, "--", data)
    step(*command)
    for name in ("sentences", "passages", "pairs"):
        ModelTokeniser.read(data / name)  # it is itself such a folder
        assert (data / name / "train.source-target.source.idx").exists()
    assert (data / "pairs" / "raw" / "test.target").read_text().count("\n") == 6
    made = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    step(*command)
    assert made == {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}

"""The arithmetic of a comparison, on runs made up by hand: nothing is trained here."""

import json
import statistics
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from genft_fairseq.experiments import comparison as study
from genft_fairseq.experiments.configuration import read_comparison
from genft_fairseq.experiments.decoding_run import EQUAL_TIME, equal_time_checkpoint
from genft_fairseq.experiments.results import comparison_results, half_width, spread
from genft_fairseq.experiments.table import comparison_table, curve, write_curves
from genft_fairseq.experiments.training_run import Usage

REFERENCES = [f"der Hund Nummer {n} läuft über die Wiese" for n in range(30)]
GOOD = [line.replace("Wiese", "Weide") if n < 6 else line for n, line in enumerate(REFERENCES)]
BAD = [line.replace("läuft über die", "geht um eine") for line in REFERENCES]
LOOP = [f"{line} die Wiese die Wiese" for line in REFERENCES]


def test_interval():
    """1, 2, 3: deviation 1, two degrees of freedom: 4.303 / sqrt(3)."""
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / 3**0.5)
    assert half_width([10.0, 12.0]) == pytest.approx(12.706)
    assert half_width([5.0]) is None
    many = [float(i % 2) for i in range(100)]
    assert half_width(many) == pytest.approx(2.042 * statistics.stdev(many) / 10)


def test_spread():
    assert spread({"1": 2.0, "2": None, "3": 4.0}) == {
        **{"mean": 3.0, "deviation": pytest.approx(2**0.5)},
        **{"half_width": pytest.approx(12.706), "seeds": {"1": 2.0, "2": None, "3": 4.0}},
    }
    assert spread({"1": None})["mean"] is None


def finished(folder, seconds, updates=300, per_epoch=280, memory=(100.0, 200.0)):
    """A finished run with a checkpoint every tenth of its updates."""
    folder.mkdir(parents=True)
    checkpoints = [
        {"file": f"checkpoint_1_{n}.pt", "updates": n, "train_seconds": seconds * n / updates}
        for n in range(updates // 10, updates, updates // 10)
    ]
    last = {"file": "checkpoint_last.pt", "updates": updates, "train_seconds": seconds}
    metrics = {
        **{"updates": updates, "updates_per_epoch": per_epoch, "train_seconds": seconds},
        **{"seconds": seconds + 20, "memory": "resident", "average_memory_mib": memory[0]},
        **{"peak_memory_mib": memory[1], "checkpoints": [*checkpoints, last]},
    }
    (folder / "finished").write_text(json.dumps(metrics))


def test_equal_time(tmp_path):
    """Standard takes 100 s; at 160 s for 300 updates, 180 take 96 s and 210 112 s."""
    finished(tmp_path / "standard", 100.0)
    finished(tmp_path / "slow", 160.0)
    finished(tmp_path / "fast", 60.0)
    finished(tmp_path / "hopeless", 2100.0)
    chosen = {
        name: equal_time_checkpoint(tmp_path / name, tmp_path / "standard")
        for name in ("standard", "slow", "fast", "hopeless")
    }
    assert chosen["slow"]["file"] == "checkpoint_1_180.pt"
    assert chosen["slow"]["train_seconds"] == pytest.approx(96.0)
    assert chosen["standard"]["file"] == chosen["fast"]["file"] == "checkpoint_last.pt"
    assert chosen["hopeless"] == {"file": None, "updates": 0, "train_seconds": 0.0}


@pytest.fixture
def comparison(tmp_path):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "test.de").write_text("\n".join(REFERENCES) + "\n")
    (tmp_path / "baseline.pt").touch()
    (tmp_path / "compare.yaml").write_text(
        "{data: data, source_lang: en, target_lang: de, baseline: baseline.pt, output: runs, "
        "updates: 300, seeds: [1, 1001], train: --lr 1, decodings: [{name: blocked}], "
        "strategies: [auxiliary, standard, {name: gentle, strategy: scalegrad}]}"
    )
    return read_comparison(tmp_path / "compare.yaml")


def decode(folder, name, texts):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"D-{n}\t-0.1\t{text}" for n, text in enumerate(texts)]
    (folder / name).write_text("\n".join(rows) + "\n")


LOG = """\
| INFO | train_inner | epoch 001:  150 / 280 loss=4, nll_loss={0}, num_updates=150
| INFO | valid | epoch 001 | valid on 'valid' subset | loss 9 | nll_loss {0} | num_updates 150
| INFO | train_inner | epoch 002:  20 / 280 loss=4, nll_loss={1}, num_updates=300
| INFO | valid | epoch 002 | valid on 'valid' subset | loss 9 | nll_loss {1} | num_updates 300
"""


@pytest.fixture
def results(comparison):
    """Auxiliary takes 1.25 times as long as standard, and half as much more memory; of seed 1001
    `gentle` failed."""
    output = comparison.output
    decode(output / "baseline", "generate-test.txt", BAD)
    for seed, standard, auxiliary in ((1, GOOD, BAD), (1001, BAD, GOOD)):
        folder = output / f"seed-{seed}"
        finished(folder / "standard", 100.0)
        finished(folder / "auxiliary", 125.0, memory=(150.0, 300.0))
        decode(folder / "standard", "generate-test.txt", standard)
        decode(folder / "standard", "generate-test-blocked.txt", standard)
        decode(folder / "auxiliary", "generate-test.txt", auxiliary)
        decode(folder / "auxiliary", "generate-test-equal-time.txt", LOOP)
        for name in ("standard", "auxiliary"):
            (folder / name / "train.log").write_text(LOG.format(3.0 + seed, 2.0 + seed))
    finished(output / "seed-1" / "gentle", 90.0)
    decode(output / "seed-1" / "gentle", "generate-test.txt", GOOD)
    jobs = study.plan(comparison)
    for job in jobs:
        job.state = "finished"
        if (job.row, job.seed) == ("gentle", 1001):
            job.state = "failed" if job.kind == "train" else "skipped"
            job.error = "RuntimeError: a | b" if job.kind == "train" else ""
    return comparison_results(comparison, jobs)


def test_equal_updates(results):
    systems = results["systems"]
    assert set(systems) == {"baseline", "auxiliary", "standard", "gentle", "blocked"}
    standard = systems["standard"]["equal_updates"]
    bleu = standard["bleu"]
    assert bleu["seeds"]["1"] > bleu["seeds"]["1001"]
    assert bleu["mean"] == pytest.approx(statistics.mean(bleu["seeds"].values()))
    assert bleu["half_width"] == pytest.approx(half_width([*bleu["seeds"].values()]))
    assert "p_value" not in standard
    assert standard["epoch_seconds"]["mean"] == pytest.approx(100 / 300 * 280)
    assert standard["valid_nll_loss"]["seeds"] == {"1": 3.0, "1001": 1003.0}
    auxiliary = systems["auxiliary"]["equal_updates"]
    assert auxiliary["bleu"]["seeds"] == {"1": bleu["seeds"]["1001"], "1001": bleu["seeds"]["1"]}
    assert auxiliary["p_value"]["seeds"]["1"] < 0.05
    assert auxiliary["time_ratio"]["mean"] == pytest.approx(1.25)
    assert auxiliary["average_memory_mib"]["mean"] == 150.0
    assert auxiliary["peak_memory_mib"]["mean"] == 300.0
    blocked = systems["blocked"]["equal_updates"]
    assert blocked["p_value"]["seeds"] == {"1": 1.0, "1001": 1.0}  # the same output
    baseline = systems["baseline"]["equal_updates"]
    assert baseline["bleu"]["seeds"] == {} and baseline["bleu"]["half_width"] is None
    assert set(baseline["p_value"]["seeds"]) == {"1", "1001"}
    assert baseline["p_value"]["seeds"]["1001"] == 1.0  # standard is as bad there


def test_equal_wall_clock(results):
    """In standard's 100 s, auxiliary makes 240 of its 300 updates, and decodes in loops."""
    systems = results["systems"]
    auxiliary = systems["auxiliary"]["equal_time"]
    assert auxiliary["updates"]["seeds"] == {"1": 240, "1001": 240}
    assert auxiliary["train_seconds"]["mean"] == pytest.approx(100.0)
    assert auxiliary["rep_1"]["mean"] > systems["auxiliary"]["equal_updates"]["rep_1"]["mean"]
    standard = systems["standard"]
    assert standard["equal_time"]["bleu"] == standard["equal_updates"]["bleu"]
    assert "equal_time" not in systems["blocked"]


def test_a_failed_run_is_reported_and_the_other_seed_counts(results):
    gentle = results["systems"]["gentle"]
    assert [failure["job"] for failure in gentle["failures"]] == ["train: gentle, seed 1001"]
    assert list(gentle["equal_updates"]["bleu"]["seeds"]) == ["1"]
    assert gentle["equal_time"]["updates"]["seeds"] == {"1": 300}


def test_table(results):
    table = comparison_table(results)
    bleu = results["systems"]["standard"]["equal_updates"]["bleu"]
    assert f"{bleu['mean']:.2f}" in table and f"{bleu['half_width']:.2f}" in table
    assert "240, 240" in table and "100.0" in table and "1.25" in table
    assert "blocked" in table and "1.000, 1.000" in table
    assert r"RuntimeError: a \| b" in table
    lines = table.replace(r"\|", "").splitlines()
    blocks = [list(rows) for is_row, rows in groupby(lines, lambda x: x[:1] == "|") if is_row]
    assert len(blocks) == 2
    assert all(len({row.count("|") for row in rows}) == 1 for rows in blocks)
    json.dumps(results)


def test_curves(results, comparison, tmp_path):
    folders = [comparison.output / f"seed-{seed}" / "auxiliary" for seed in (1, 1001)]
    updates, mean, deviation = curve(folders, "validation", by_seconds=False)
    assert updates.tolist() == [150, 300]
    assert mean.tolist() == [504.0, 503.0]
    assert deviation == pytest.approx(np.array([1000 / 2**0.5] * 2))
    seconds, _, _ = curve(folders, "training", by_seconds=True)
    assert seconds == pytest.approx([62.5, 125.0])
    write_curves({"auxiliary": folders}, tmp_path / "c.svg", tmp_path / "c.png")
    drawn = (tmp_path / "c.svg").read_text()
    assert "<!-- auxiliary -->" in drawn
    assert sorted(path.name for path in tmp_path.glob("c*.*g")) == ["c.png", "c.svg"]
    write_curves({"auxiliary": folders}, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text() == drawn  # no date, no random names: fit to be kept
    write_curves({}, tmp_path / "none.svg")  # everything failed


def test_usage_of_a_resumed_run():
    first, second = Usage(), Usage()
    first.seconds, second.seconds = 10.0, 5.0
    for mib in (100.0, 300.0, 200.0):
        first.add(mib)
    second.add(600.0)
    both = first + second
    assert (both.seconds, both.average_mib, both.peak_mib) == (15.0, 300.0, 600.0)
    assert Usage().average_mib is None


def test_plan(comparison):
    jobs = study.plan(comparison)
    assert [job.title for job in jobs[:9]] == [
        *("decode: baseline", "train: standard, seed 1", "decode: standard, seed 1"),
        *("train: auxiliary, seed 1", "decode: auxiliary, seed 1"),
        *("decode, equal time: auxiliary, seed 1", "train: gentle, seed 1"),
        *("decode: gentle, seed 1", "decode, equal time: gentle, seed 1"),
    ]
    assert len(jobs) == 1 + 2 * (3 * 2 + 2 + 1)
    words = jobs[3].words()
    assert words[words.index("--save-interval-updates") + 1] == "30"
    assert words[words.index("--save-dir") + 1] == str(comparison.output / "seed-1" / "auxiliary")
    equal = next(job for job in jobs if job.kind == EQUAL_TIME)
    assert "checkpoint_EPOCH_UPDATES.pt" in " ".join(equal.planned_words())


def test_one_seed_has_intervals_over_sentences(comparison):
    """Student's needs two; the baseline is one model, too."""
    output = comparison.output
    decode(output / "baseline", "generate-test.txt", BAD[:10] + GOOD[10:])
    finished(output / "seed-1" / "standard", 100.0)
    decode(output / "seed-1" / "standard", "generate-test.txt", GOOD)
    one = replace(comparison, seeds=(1,), decodings=(), strategies=(comparison.standard,))
    jobs = study.plan(one)
    for job in jobs:
        job.state = "finished"
    results = comparison_results(one, jobs)
    for name in ("baseline", "standard"):
        for figure in ("bleu", "chrf"):
            found = results["systems"][name]["equal_updates"][figure]
            low, high = found["interval"]
            assert low < found["mean"] < high and found["half_width"] is None
    low, high = results["systems"]["standard"]["equal_time"]["bleu"]["interval"]
    assert f"[{low:.2f}, {high:.2f}]" in comparison_table(results)
    json.dumps(results)


def test_when_everything_failed(comparison):
    jobs = study.plan(comparison)
    for job in jobs:
        job.state = "failed" if job.kind == "train" else "skipped"
        job.error = "no memory" if job.kind == "train" else ""
    results = comparison_results(comparison, jobs)
    table = comparison_table(results)
    assert "standard" in table and table.count("no memory") == 6
    json.dumps(results)

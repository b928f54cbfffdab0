"""The tables: means over seeds, intervals, p-values, what is best, what is refused."""

import json
import statistics
from pathlib import Path

import pytest
import sacrebleu
from refusals import refuses
from report.run_maker import (
    DONE,
    checkpoint,
    data_folder,
    generated,
    language_model_evaluation,
    make_run,
)

from genft_fairseq.metrics.significance import bleu_p_values, mean_interval, mean_p_value
from genft_fairseq.metrics.translation import translation_metrics
from genft_fairseq.report.gather import Report, gather
from genft_fairseq.report.page import html_page, json_text, markdown_page
from genft_fairseq.report.plots import plots
from genft_fairseq.report.tables import Table, cell, explanation, measure

REFERENCES = [f"the cat number {i} sat on the mat and slept" for i in range(30)]
GOOD = [text.replace("slept", "sleeps") for text in REFERENCES]
BAD = [text.replace("sat on the mat", "mat mat mat mat") for text in GOOD]

MIXED = GOOD[:15] + REFERENCES[15:]


def scores(report: Report) -> Table:
    """The one table of what was written."""
    (found,) = [table for table in report.tables if not table.is_cost]
    return found


def costs(report: Report) -> Table:
    """The one table of the training."""
    (found,) = [table for table in report.tables if table.is_cost]
    return found


def translating(tmp_path: Path) -> Path:
    """Two seeds of two systems."""
    for seed in (1, 2):
        for name, written in (("mle", BAD), ("scalegrad", GOOD[: 10 * seed] + BAD[10 * seed :])):
            run = make_run(tmp_path / f"seed-{seed}" / name, seed=seed)
            (run / "generate-test.txt").write_text(generated(written, REFERENCES))
    return tmp_path


def bleu(written: list[str]) -> float:
    return sacrebleu.BLEU(tokenize="none").corpus_score(written, [REFERENCES]).score


def test_translations_over_seeds(tmp_path: Path) -> None:
    found = scores(gather([str(translating(tmp_path))]))
    assert [row.name for row in found.rows] == ["mle", "scalegrad"]
    assert found.baseline == "mle"
    values = [bleu(GOOD[:10] + BAD[10:]), bleu(GOOD[:20] + BAD[20:])]
    figure = found.rows[1].metrics["tokenised_bleu"]
    assert figure["seeds"] == {"1": pytest.approx(values[0]), "2": pytest.approx(values[1])}
    assert figure["mean"] == pytest.approx(statistics.fmean(values))
    # two seeds: one degree of freedom, 12.706 standard errors
    half_width = 12.706 * statistics.stdev(values) / 2**0.5
    assert figure["half_width"] == pytest.approx(half_width)
    shown = cell(found, found.rows[1], "tokenised_bleu")
    assert f"{statistics.fmean(values):.2f}" in shown.plain and f"{half_width:.2f}" in shown.plain
    assert shown.is_best and not cell(found, found.rows[0], "tokenised_bleu").is_best


def test_repetition_is_compared_text_by_text(tmp_path: Path) -> None:
    found = scores(gather([str(translating(tmp_path))]))
    # of words: 10 in a reference, 7 4-grams; nothing repeats but in the bad ones, where no 4-gram
    # does either; so every text has 0
    assert found.rows[1].p_values["rep_4"] == {"1": 1.0, "2": 1.0}
    assert found.references["rep_1"] == pytest.approx(1 / 10)


def test_bleu_on_raw_references(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (tmp_path / "data" / "dict.de.txt").write_text("a 1\n")
    (raw / "test.de").write_text("".join(f"{line}\n" for line in REFERENCES))
    for name, written in (("one", MIXED), ("two", BAD)):
        run = make_run(tmp_path / name, data=f"{tmp_path / 'data'} --target-lang de")
        tokenised = [text.replace("cat", "c a t") for text in REFERENCES]
        (run / "generate-test.txt").write_text(generated(written, tokenised))
    arguments = [str(tmp_path / name) for name in ("one", "two")]
    found = scores(gather(arguments))
    score = sacrebleu.BLEU().corpus_score(MIXED, [REFERENCES]).score
    assert found.rows[0].mean("bleu") == pytest.approx(score)
    assert found.rows[1].p_values["bleu"]["1"] == bleu_p_values(MIXED, {"x": BAD}, REFERENCES)["x"]
    low, high = found.rows[0].intervals["bleu"]
    assert low < score < high
    other = scores(gather(arguments, baseline="two"))
    assert other.baseline == "two" and not other.rows[1].p_values


def test_translations_in_several_forms_are_one_text(tmp_path: Path) -> None:
    """As subwords, as words, and as fairseq-generate detokenised them, on either side."""
    raw = [f"Der gr\u00fcne Ball, Nummer {i}, rollt." for i in range(6)]
    written = [line.replace("rollt", "fliegt") for line in raw[:4]] + raw[4:]
    data = data_folder(tmp_path / "data")
    (data / "raw").mkdir()
    (data / "raw" / "test.de").write_text("".join(f"{line}\n" for line in raw))
    manifest = {"recipe": {"command": "x"}, "commands": ["moses_tokenise.py"]}
    (data / "MANIFEST.json").write_text(json.dumps(manifest))
    (data / "bpe.codes").touch()

    def words(lines: list[str]) -> list[str]:
        return [line.replace(",", " ,").replace(".", " .") for line in lines]

    def subwords(lines: list[str]) -> list[str]:
        return [line.replace("grüne", "grü@@ ne") for line in words(lines)]

    forms = {"subwords": subwords, "words": words, "text": list}
    for name, form in forms.items():
        run = make_run(tmp_path / "runs" / name, data=f"{data} --target-lang de")
        (run / "generate-test.txt").write_text(generated(form(written), form(raw)))
    # With H- lines of symbols, and no log that names the data.
    text = generated(subwords(written), raw).replace("D-", "X-")
    lines = [f"D-{i}\t-1\t{line}" for i, line in enumerate(written)]
    (tmp_path / "runs" / "alone").mkdir()
    (tmp_path / "runs" / "alone" / "generate-test.txt").write_text("\n".join([text, *lines, ""]))
    found = scores(gather([str(tmp_path / "runs")]))
    expected = translation_metrics(written, raw)
    assert len(found.rows) == 4
    for row in found.rows:
        for figure in ("bleu", "chrf", "length_ratio", "rep_1"):
            assert row.mean(figure) == pytest.approx(expected[figure]), (row.name, figure)
    assert any("tok:13a" in note for note in found.notes)


def test_a_checkpoint_names_the_data_where_no_command_does(tmp_path: Path) -> None:
    """Of a plain fairseq-train: raw references are found there, and other data refused."""
    for name in ("data", "other"):
        data = data_folder(tmp_path / name, content=name.encode())
        (data / "dict.de.txt").write_text("a 1\n")
        (data / "raw").mkdir()
        (data / "raw" / "test.de").write_text("".join(f"{line}\n" for line in REFERENCES))
    for name, data in (("one", "data"), ("two", "data"), ("three", "other")):
        run = checkpoint(tmp_path / name / "checkpoint_last.pt", 9, task__data=data).parent
        (run / "generate-test.txt").write_text(generated(GOOD, REFERENCES))
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    found = scores(gather([one, two]))
    expected = translation_metrics(GOOD, REFERENCES)["bleu"]
    assert [row.mean("bleu") for row in found.rows] == [pytest.approx(expected)] * 2
    with refuses(one, three):
        gather([one, three])


def test_lower_case_is_scored_as_such(tmp_path: Path) -> None:
    """Data without capitals, against untouched text."""
    data = data_folder(tmp_path / "data")
    (data / "raw").mkdir()
    (data / "raw" / "test.de").write_text("".join(f"{t.upper()}\n" for t in REFERENCES))
    manifest = {"recipe": {"command": "x"}, "commands": ["moses_tokenise.py --lowercase"]}
    (data / "MANIFEST.json").write_text(json.dumps(manifest))
    for name, written in (("one", MIXED), ("two", BAD)):
        run = make_run(tmp_path / name, data=f"{data} --target-lang de")
        (run / "generate-test.txt").write_text(generated(written, REFERENCES))
    found = scores(gather([str(tmp_path / "one"), str(tmp_path / "two")]))
    low, high = found.rows[0].intervals["bleu"]
    assert low < bleu(MIXED) < high
    assert found.rows[0].mean("bleu") == pytest.approx(bleu(MIXED))
    assert found.rows[1].p_values["bleu"]["1"] == bleu_p_values(MIXED, {"x": BAD}, REFERENCES)["x"]
    assert any("case:lc" in note for note in found.notes)


def test_without_raw_references_both_sides_are_words(tmp_path: Path) -> None:
    """Whatever the flags did to both; an unknown word matches nothing."""
    run = make_run(tmp_path / "run")
    text = generated([f"the c@@ at <unk> {i}" for i in range(5)], ["the cat <<unk>> sat"] * 5)
    (run / "generate-test.txt").write_text(text)
    (row,) = scores(gather([str(run)])).rows
    expected = translation_metrics([f"the cat X {i}" for i in range(5)], ["the cat Y sat"] * 5)
    assert row.mean("tokenised_bleu") == pytest.approx(expected["bleu"])
    assert row.mean("length_ratio") == 1
    assert row.mean("bleu") is None


def test_language_models(tmp_path: Path) -> None:
    human = ["every word here is another one than before"] * 6
    loops = ["again and again and again and again and again"] * 5 + human[:1]
    for name, texts in (("mle", loops), ("scalegrad", human)):
        run = make_run(tmp_path / name)
        evaluation = language_model_evaluation(texts, human)
        (run / "evaluation.json").write_text(json.dumps(evaluation))
    found = scores(gather([str(tmp_path)]))
    assert found.rows[0].mean("perplexity") == 20.0
    assert found.rows[0].mean("rep_4") == 0.2 and found.references["rep_1"] == 0.1
    # 9 words, 6 4-grams of which 4 occurred before
    shares = [4 / 6] * 5 + [0.0]
    assert found.rows[1].p_values["rep_4"]["1"] == mean_p_value(shares, [0.0] * 6)


def test_cost_and_states(tmp_path: Path) -> None:
    finished = {"updates": 30, "train_seconds": 60.0, "checkpoints": []}
    make_run(tmp_path / "seed-1" / "mle", finished=finished)
    make_run(tmp_path / "seed-2" / "mle", seed=2, end=["Traceback (most recent call last):", "E"])
    (row,) = costs(gather([str(tmp_path)])).rows
    assert "finished" in row.note and "crashed" in row.note  # the states, as in the JSON
    assert row.metrics["seconds_per_update"]["seeds"] == {"1": 2.0, "2": None}
    assert row.mean("valid_ppl") == pytest.approx(2**3.5)


def comparison() -> dict[str, object]:
    def figure(*values: float) -> dict[str, object]:
        seeds = {str(i): value for i, value in enumerate(values)}
        return {"mean": statistics.fmean(values), "half_width": 0.5, "deviation": 1, "seeds": seeds}

    standard = {"bleu": figure(30, 32), "train_seconds": figure(10, 11)}
    scalegrad = {"bleu": figure(31, 33), "p_value": figure(0.01, 0.04)}
    one = {"mean": 20.0, "half_width": None, "seeds": {}, "interval": [19.5, 20.5]}
    baseline = {"bleu": one, "p_value": figure(0.01, 0.01)}
    return {
        "config": {},
        "side_by_side": {},
        "references": {"rep_1": 0.02},
        "bleu_signature": "nrefs:1",
        "systems": {
            "standard": {"equal_updates": standard, "equal_time": standard, "failures": []},
            "scalegrad": {"equal_updates": scalegrad, "failures": [{"error": "it broke"}]},
            "baseline": {"kind": "baseline", "equal_updates": baseline, "failures": []},
        },
    }


def test_a_comparison_as_it_was_found(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(comparison()))
    updates, time = gather([str(path)]).tables
    assert updates.title != time.title
    shown = cell(updates, updates.rows[1], "bleu")
    assert shown.differs
    assert all(number in shown.plain for number in ("32.00", "0.50", "0.010", "0.040"))
    assert updates.rows[1].note == "it broke"
    assert updates.rows[2].p_values and not cell(updates, updates.rows[2], "bleu").differs
    assert updates.rows[2].intervals == {"bleu": (19.5, 20.5)}
    assert any("nrefs:1" in note for note in updates.notes)


@pytest.mark.parametrize("key", ["mean", "half_width", "seeds"])
def test_a_comparison_that_is_not_whole(tmp_path: Path, key: str) -> None:
    results = comparison()
    del results["systems"]["standard"]["equal_updates"]["bleu"][key]  # type: ignore[index]
    (tmp_path / "results.json").write_text(json.dumps(results))
    with refuses(tmp_path / "results.json"):
        gather([str(tmp_path)])


def test_different_test_sets_are_refused_or_apart(tmp_path: Path) -> None:
    for name, references in (("one", REFERENCES), ("two", GOOD)):
        run = make_run(tmp_path / name)
        (run / "generate-test.txt").write_text(generated(GOOD, references))
    with refuses("one/generate-test.txt", "two"):
        gather([str(tmp_path)])
    report = gather([str(tmp_path)], different_data=True)
    scored = [found for found in report.tables if found.rows[0].mean("tokenised_bleu") is not None]
    assert sorted([row.name for row in found.rows] for found in scored) == [["one"], ["two"]]
    assert len({found.title for found in scored}) == 2


def test_a_baseline_that_is_not_there(tmp_path: Path) -> None:
    with refuses("--baseline", "mel", "mle", "scalegrad"):
        gather([str(translating(tmp_path))], baseline="mel")


def test_decoding_that_is_not_whole_is_a_note(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mle")
    text = generated(GOOD, REFERENCES)
    (run / "generate-test.txt").write_text(text.replace("H-3\t", "X-3\t"))
    (run / "generate-valid.txt").write_text("")
    report = gather([str(run)])
    assert all(row.mean("tokenised_bleu") is None for t in report.tables for row in t.rows)
    partial, empty = report.notes
    assert "generate-test.txt" in partial and "29" in partial
    assert "generate-valid.txt" in empty and "0" in empty


def test_a_star_needs_every_seed_in_one_direction(tmp_path: Path) -> None:
    loops = ["one and one and one and one and one and one"] * 30
    plain = ["every word of this long line is another one"] * 30
    texts = {("mle", 1): plain, ("mle", 2): loops, ("other", 1): loops, ("other", 2): plain}
    texts |= {
        ("worse", 1): loops,
        ("worse", 2): [f"{text} and one and one and one" for text in loops],
    }
    for (name, seed), written in texts.items():
        run = make_run(tmp_path / f"seed-{seed}" / name, seed=seed)
        evaluation = language_model_evaluation(written, plain)
        evaluation["model"]["seq_rep_4"] = 0.9 if written is not plain else 0.0
        evaluation["model"]["seq_rep_4"] += 0.05 if name == "worse" else 0.0
        (run / "evaluation.json").write_text(json.dumps(evaluation))
    found = scores(gather([str(tmp_path)]))
    other, worse = (found.row(name) for name in ("other", "worse"))
    assert other and worse
    assert max(other.p_values["rep_4"].values()) < 0.05 and not cell(found, other, "rep_4").differs
    assert cell(found, worse, "rep_4").differs
    del worse.p_values["rep_4"]["2"]
    assert not cell(found, worse, "rep_4").differs


PLAIN = [f"every word of line {i} is another one" for i in range(20)]
LOOPS = [f"{i} and {i} and {i} and {i} and {i} and {i}" for i in range(20)]
LIKELIHOOD = "--criterion label_smoothed_cross_entropy"


def continuing(
    run: Path, texts: list[str], flags: str, updates: int = 30, seed: int | None = 1
) -> Path:
    """A run whose model has continued prefixes, every one without repetition or every one in it."""
    make_run(run, {updates: 3.0}, flags=flags, seed=seed)
    evaluation = language_model_evaluation(texts, PLAIN)
    evaluation["model"]["seq_rep_4"] = 0.0 if texts is PLAIN else 0.5
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    return run


def starred(found: Table) -> list[str]:
    return [row.name for row in found.rows if cell(found, row, "rep_4").differs]


def started(tmp_path: Path, name: str) -> str:
    """The flag of a run that starts from a checkpoint of this name."""
    path = tmp_path / f"{name}.pt"
    path.write_bytes(name.encode())
    return f"--finetune-from-model {path}"


def test_a_method_is_held_against_the_fine_tuned_standard(tmp_path: Path) -> None:
    """It is found by its criterion: here a folder `standard` is of another method."""
    root, start = tmp_path / "runs", started(tmp_path, "base")
    continuing(root / "baseline", LOOPS, LIKELIHOOD)
    continuing(root / "standard", PLAIN, f"--criterion scalegrad {start}")
    continuing(root / "more", LOOPS, f"{LIKELIHOOD} {start}")
    found = scores(gather([str(root)]))
    assert found.baseline == "more" and starred(found) == ["standard"]
    assert [row.name for row in found.rows if row.unlike] == ["baseline"]
    asked = scores(gather([str(root)], baseline="baseline"))
    assert asked.baseline == "baseline" and starred(asked) == []


def test_of_several_it_is_the_one_that_most_rows_are_like(tmp_path: Path) -> None:
    root, start = tmp_path / "runs", started(tmp_path, "base")
    continuing(root / "a", LOOPS, f"{LIKELIHOOD} {start}", updates=10)
    continuing(root / "b", LOOPS, f"{LIKELIHOOD} {start}", updates=30)
    continuing(root / "c", PLAIN, f"--criterion scalegrad {start}", updates=30)
    continuing(root / "d", PLAIN, f"--criterion unlikelihood {start}", updates=30)
    found = scores(gather([str(root)]))
    assert found.baseline == "b" and starred(found) == ["c", "d"]
    # without any fine-tuning, of those trained from the beginning
    scratch = tmp_path / "scratch"
    continuing(scratch / "a", PLAIN, "--criterion scalegrad")
    continuing(scratch / "b", LOOPS, "")
    found = scores(gather([str(scratch)]))
    assert found.baseline == "b" and starred(found) == ["a"]


@pytest.mark.parametrize("difference", ["updates", "start", "from the beginning"])
def test_no_star_where_more_than_the_method_differs(tmp_path: Path, difference: str) -> None:
    root, start = tmp_path / "runs", started(tmp_path, "base")
    other = {"start": started(tmp_path, "other"), "from the beginning": ""}.get(difference, start)
    continuing(root / "x", LOOPS, f"{LIKELIHOOD} {start}")
    updates = 31 if difference == "updates" else 30
    continuing(root / "y", PLAIN, f"--criterion scalegrad {other}", updates)
    report = gather([str(root)])
    found = scores(report)
    assert found.baseline == "x" and starred(found) == []
    (_, row) = found.rows
    assert row.p_values["rep_4"]["1"] < 0.05 and len(row.unlike) == 1
    # every form of the report says so
    for text in (html_page(report), markdown_page(report, [], 0), json_text(report)):
        assert "∗</abbr>" not in text and "0.00∗" not in text
        assert row.unlike[0] in text
    assert str(updates) in " ".join(explanation(found))


def test_nothing_is_starred_that_is_not_known_to_be_alike(tmp_path: Path) -> None:
    for name, texts in (("a", LOOPS), ("b", PLAIN)):
        (continuing(tmp_path / name, texts, "") / "command").unlink()
    found = scores(gather([str(tmp_path)]))
    assert starred(found) == [] and found.rows[1].unlike


def test_every_seed_is_like_that_of_the_baseline(tmp_path: Path) -> None:
    """Seeds may start from baselines of their own."""
    for seed in (1, 2):
        root, start = tmp_path / "runs" / f"seed-{seed}", started(tmp_path, f"base-{seed}")
        continuing(root / "x", LOOPS, f"{LIKELIHOOD} {start}", seed=seed)
        continuing(root / "y", PLAIN, f"--criterion scalegrad {start}", seed=seed)
        updates = 30 + seed // 2
        continuing(root / "z", PLAIN, f"--criterion scalegrad {start}", updates, seed)
    found = scores(gather([str(tmp_path / "runs")]))
    assert found.baseline == "x" and starred(found) == ["y"]


def test_an_evaluation_that_lies_elsewhere_names_its_checkpoint(tmp_path: Path) -> None:
    start, arguments = started(tmp_path, "base"), []
    for name, texts, flags in (("x", LOOPS, LIKELIHOOD), ("y", PLAIN, "--criterion scalegrad")):
        run = continuing(tmp_path / "runs" / name, texts, f"{flags} {start}")
        (run / "checkpoint_best.pt").touch()
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["path"] = f"runs/{name}/checkpoint_best.pt"
        (tmp_path / name).mkdir()
        path = tmp_path / name / "evaluation.json"
        path.write_text(json.dumps(evaluation))
        arguments.append(f"{name}={path}")
    found = scores(gather(arguments))
    assert found.baseline == "x" and starred(found) == ["y"]


def test_intervals_of_one_seed(tmp_path: Path) -> None:
    """Of translations every mean over sentences, and the corpus scores by sacreBLEU's bootstrap."""
    run = make_run(tmp_path / "one")
    loops = [f"{text} and slept and slept {i % 7}" for i, text in enumerate(MIXED)]
    (run / "generate-test.txt").write_text(generated(loops, REFERENCES))
    (row,) = scores(gather([str(run)])).rows
    for name in ("tokenised_bleu", "chrf", "rep_1", "rep_2", "rep_3", "rep_4"):
        low, high = row.intervals[name]
        assert low < (row.mean(name) or 0) < high, name


def test_intervals_of_a_language_model(tmp_path: Path) -> None:
    """The repetition of each continuation is that of its tokens, as the figure is."""
    shares = [i / 20 for i in range(20)]
    evaluation = language_model_evaluation(PLAIN, PLAIN)
    evaluation["perplexity_interval"] = [19.0, 21.5]
    evaluation["accuracy_interval"] = [0.2, 0.3]
    evaluation["model"]["seq_rep_4"] = statistics.fmean(shares)
    for share, one in zip(shares, evaluation["completions"], strict=True):
        one["seq_rep_4"] = share
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    (row,) = scores(gather([str(tmp_path)])).rows
    assert row.intervals == {
        "perplexity": (19.0, 21.5),
        "accuracy": (0.2, 0.3),
        "rep_4": tuple(mean_interval(shares) or ()),
    }


def test_different_tokens_by_the_names_of_their_figures(tmp_path: Path) -> None:
    """Those predicted on gold prefixes are others than those of the continuations."""
    evaluation = language_model_evaluation(PLAIN, PLAIN) | {"uniq": 644, "human_uniq": 900}
    evaluation["model"]["uniq_seq"], evaluation["human"]["uniq_seq"] = 136, 986
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    found = scores(gather([str(tmp_path)]))
    (row,) = found.rows
    assert (row.mean("uniq"), row.mean("uniq_seq")) == (644, 136)
    assert measure("uniq").title != measure("uniq_seq").title
    assert (found.references["uniq"], found.references["uniq_seq"]) == (900, 986)


def test_a_text_that_is_too_short_is_left_out_of_its_pair(tmp_path: Path) -> None:
    human = ["every word here is another one than before"] * 6
    for name, texts in (("mle", ["a b a b a b a b a b"] * 5 + ["x"]), ("scalegrad", human)):
        run = make_run(tmp_path / name)
        (run / "evaluation.json").write_text(json.dumps(language_model_evaluation(texts, human)))
    (_, row) = scores(gather([str(tmp_path)])).rows
    shares = [5 / 7] * 5  # 10 words, 7 4-grams, two of them different
    assert row.p_values["rep_4"]["1"] == mean_p_value(shares, [0.0] * 5)


def test_another_test_set_of_as_many_lines_has_no_raw_references(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (tmp_path / "data" / "dict.de.txt").write_text("a 1\n")
    (raw / "test.de").write_text("".join(f"something else {i}\n" for i in range(30)))
    run = make_run(tmp_path / "one", data=f"{tmp_path / 'data'} --target-lang de")
    (run / "generate-test.txt").write_text(generated(REFERENCES, REFERENCES))
    (row,) = scores(gather([str(run)])).rows
    assert row.mean("bleu") is None and row.mean("tokenised_bleu") == pytest.approx(100)


def test_a_row_says_that_seeds_are_missing(tmp_path: Path) -> None:
    translating(tmp_path)
    (tmp_path / "seed-2" / "scalegrad" / "generate-test.txt").unlink()
    found = scores(gather([str(tmp_path)]))
    complete, partial = (row.note for row in found.rows)
    assert complete == "" and "1" in partial and "2" in partial


def test_what_is_not_finished_is_never_the_best(tmp_path: Path) -> None:
    for name, end, loss in (("done", (DONE,), 4.0), ("crashed", ("ValueError: x",), 3.0)):
        make_run(tmp_path / name, {10: loss}, end=end)
    found = costs(gather([str(tmp_path)]))
    assert [cell(found, row, "valid_ppl").is_best for row in found.rows] == [False, False]


def test_different_data_is_reported_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        data = data_folder(tmp_path / f"data-{name}", name.encode())
        make_run(tmp_path / "runs" / name, data=str(data))
    report = gather([str(tmp_path / "runs")], different_data=True)
    assert [len(t.rows) for t in report.tables] == [1, 1]
    for found, name in zip(report.tables, ("data-one", "data-two"), strict=True):
        assert str(tmp_path / name) in found.title
    titles = {plot.title for plot in plots(report)}
    apart = [sum(name in title for title in titles) for name in ("data-one", "data-two")]
    assert apart[0] == apart[1] > 0


def test_two_comparisons_keep_their_runs_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        make_run(tmp_path / parent / "seed-1" / "scalegrad")
        (tmp_path / parent / "results.json").write_text(json.dumps(comparison()))
    report = gather([str(tmp_path)])  # found below the folder that holds both
    assert len(report.comparisons) == 2
    assert list(report.rows) == [f"{tmp_path / p}/scalegrad" for p in "ab"]


def test_runs_that_share_a_name_and_seed_are_told_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        make_run(tmp_path / parent / "mle")
    report = gather([str(tmp_path / "a" / "mle"), str(tmp_path / "b" / "mle")])
    assert list(report.rows) == [str(tmp_path / p / "mle") for p in "ab"]
    # the seed that only a command knows counts as well
    runs = [make_run(tmp_path / part, seed=1) for part in ("c/seed-1/x", "d/x")]
    assert list(gather([str(run) for run in runs]).rows) == [str(run) for run in runs]
    # and lets runs of one name be its seeds
    runs = [make_run(tmp_path / f"e{seed}", seed=seed) for seed in (1, 2)]
    (both,) = gather([f"scalegrad={run}" for run in runs]).rows.values()
    assert [training.found.seed for training in both] == [1, 2]
    twice = gather([str(tmp_path / "a" / "mle"), str(tmp_path / "a")])
    assert len(twice.trainings) == 1

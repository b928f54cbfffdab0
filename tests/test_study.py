"""The study of token-level methods: its commands parse, its choices and arithmetic are right."""

import json
import shlex
import statistics
import sys

import pytest
from fairseq import options
from fairseq_commands import REPOSITORY
from refusals import assert_script_refused
from test_examples import parse, shell

STUDY = REPOSITORY / "examples" / "token_level_study"
TASKS = ("translation", "language_modeling")
METHODS = {
    "mle": {"criterion": "label_smoothed_cross_entropy"},
    "scalegrad-0.2": {"criterion": "scalegrad", "gamma": 0.2},
    "scalegrad-0.5": {"criterion": "scalegrad", "gamma": 0.5},
    "scalegrad-0.8": {"criterion": "scalegrad", "gamma": 0.8},
    "unlikelihood": {"criterion": "unlikelihood", "unlikelihood_alpha": 1.0},
    "first-token-0.1": {"criterion": "first_token_auxiliary", "first_token_weight": 0.1},
    "first-token-0.3": {"criterion": "first_token_auxiliary", "first_token_weight": 0.3},
}
RATES = ("3e-4", "1e-3")


@pytest.fixture(scope="module")
def study():
    """The modules beside the scripts, imported as they import one another."""
    sys.path.insert(0, str(STUDY))
    try:
        import choose
        import equal_time
        import score
    finally:
        sys.path.remove(str(STUDY))
    return {"choose": choose, "equal_time": equal_time, "score": score}


def dry_run(script: str, task: str) -> list[list[str]]:
    done = shell("bash", STUDY / script, task, "data", "runs", DRY_RUN="1", GPUS="0")
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_training_commands(task):
    runs = {}
    for program, *words in dry_run("train.sh", task):
        if program == "fairseq-train":
            run = parse(words)
            runs[run.save_dir.removeprefix("runs/")] = vars(run)
    first = [f"{method}-lr-{rate}" for method in METHODS for rate in RATES]
    later = [
        f"{method}-lr-{RATES[0]}" for method in METHODS
    ]  # no search: a stand-in for the choice
    assert list(runs) == [
        *(f"seed-1001/{name}" for name in ["baseline", *first]),
        *(f"seed-{seed}/{name}" for seed in (2001, 3001) for name in ["baseline", *later]),
        *(f"seed-{seed}/mle-equal-time" for seed in (1001, 2001, 3001)),
    ]
    # Methods differ by their own flags alone.
    apart = {"criterion", "gamma", "unlikelihood_alpha", "first_token_weight", "save_dir", "lr"}
    shared = runs["seed-1001/mle-lr-3e-4"]
    for method, flags in METHODS.items():
        for rate in RATES:
            run = runs[f"seed-1001/{method}-lr-{rate}"]
            assert {name: run[name] for name in flags} == flags
            assert run["lr"] == [float(rate)]
            both = run.keys() & shared.keys() - apart
            assert {k: run[k] for k in both} == {k: shared[k] for k in both}
    for name, run in runs.items():
        seed = name.split("/")[0]
        assert run["seed"] == int(seed.removeprefix("seed-"))
        if not name.endswith("baseline"):
            assert run["finetune_from_model"] == f"runs/{seed}/baseline/checkpoint_best.pt"


@pytest.mark.parametrize("task", TASKS)
def test_decoding_commands(task, study):
    *decoded, score = dry_run("generate.sh", task)
    assert len(decoded) == 3 * (1 + len(METHODS) + 1 + 2)
    for program, *words in decoded:
        if task == "translation":
            assert program == "fairseq-generate"
            words = [w if w != "genft_fairseq" else str(REPOSITORY / w) for w in words]
            parsed = options.parse_args_and_arch(options.get_generation_parser(), words)
            assert parsed.gen_subset == "test"
        else:
            assert [program, words[0]] == ["genft", "evaluate-lm"]
    flags = [" ".join(words) for words in decoded]
    assert sum("--no-repeat-ngram-size 3" in words for words in flags) == 3
    nucleus = "--sampling-topp 0.9" if task == "translation" else "--top-p 0.9"
    assert sum(nucleus in words for words in flags) == 3
    assert score[0] == "python3" and score[1].endswith("token_level_study/score.py")


def test_arguments():
    done = shell("bash", STUDY / "train.sh", "summarization", DRY_RUN="1", GPUS="0")
    assert_script_refused(done, "summarization")
    done = shell(
        "bash", STUDY / "train.sh", "translation", DRY_RUN="1", GPUS="0", METHODS="unlikelihood"
    )
    assert_script_refused(done, "METHODS", "mle")


# --- what the scripts compute, on runs made up by hand --------------------------------------------

REFERENCES = [f"der Hund Nummer {n} läuft über die Wiese" for n in range(30)]
GOOD = [line.replace("Wiese", "Weide") if n < 6 else line for n, line in enumerate(REFERENCES)]
BAD = [line.replace("läuft über die", "geht um eine") for line in REFERENCES]


def write_run(folder, name, speeds=(), ppl=10.0, **outputs):
    run = folder / name
    run.mkdir(parents=True)
    lines = [f"x | INFO | train_inner | epoch 001:  20 / 99 wps=9, ups={s}, wpb=9" for s in speeds]
    lines += [f"x | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9 | ppl {ppl + 5}"]
    lines += [
        f"x | INFO | valid | epoch 002 | loss 3 | ppl {ppl} | accuracy 50.5 | num_updates 140"
    ]
    (run / "train.log").write_text("\n".join(lines))
    (run / "seconds").write_text("60\n")
    (run / "command").write_text("fairseq-train data\n")
    for output, texts in outputs.items():
        rows = [f"D-{n}\t-0.1\t{text}" for n, text in enumerate(texts)]
        (run / f"generate-{output.replace('_', '-')}.txt").write_text("\n".join(rows) + "\n")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "raw").mkdir(parents=True)
    for split in ("valid", "test"):
        (folder / "raw" / f"{split}.de").write_text("\n".join(REFERENCES) + "\n")
    (folder / "MANIFEST.json").write_text('{"recipe": {"command": "prepare"}}')
    return folder


def test_the_choice_of_a_learning_rate(study, tmp_path, data):
    choose = study["choose"].chosen_rate
    write_run(tmp_path, "mle-lr-3e-4", ppl=9.0, valid=BAD)
    write_run(tmp_path, "mle-lr-1e-3", ppl=9.5, valid=GOOD)
    assert choose("translation", data, tmp_path, "mle", list(RATES)) == "1e-3"  # BLEU
    assert choose("language_modeling", data, tmp_path, "mle", list(RATES)) == "3e-4"  # perplexity


def test_equal_time(tmp_path):
    """MLE makes 2 updates a second undisturbed, the others 2.5: of 140, MLE has time for 112."""
    write_run(tmp_path, "mle-lr-3e-4", speeds=[2.0, 2.0, 1.0])
    write_run(tmp_path, "mle-lr-1e-3", speeds=[2.0, 2.0, 0.5])
    for method in ("scalegrad-0.2", "unlikelihood"):
        write_run(tmp_path, f"{method}-lr-3e-4", speeds=[2.5] * 5)
    methods = ["mle", "scalegrad-0.2", "unlikelihood"]
    done = shell(sys.executable, STUDY / "equal_time.py", tmp_path, "140", *methods)
    assert done.stdout.strip() == "112", done.stderr


def test_results(study, tmp_path, data, capsys):
    """Two seeds: in the second, MLE is the worse system."""
    speeds = [2.0] * 4
    for seed, mle, other in ((1, GOOD, BAD), (2, BAD, GOOD)):
        folder = tmp_path / f"seed-{seed}"
        write_run(folder, "baseline", test=BAD)
        write_run(folder, "mle-equal-time", test=mle)
        decodings = {"test": mle, "no_repeat": mle, "nucleus": BAD}
        write_run(folder, "mle-lr-3e-4", speeds, ppl=8.0 + seed, valid=mle, **decodings)
        write_run(folder, "mle-lr-1e-3", speeds, valid=BAD)
        write_run(folder, "scalegrad-0.5-lr-3e-4", speeds, valid=BAD)
        write_run(folder, "scalegrad-0.5-lr-1e-3", speeds, test=other, valid=other)
    models = "baseline mle-lr-3e-4 scalegrad-0.5-lr-1e-3 mle-equal-time"
    folders = ("--data", str(data), "--runs", str(tmp_path))
    study["score"].main(
        ["translation", "1", "2", *folders, "--models", models], standalone_mode=False
    )
    results = json.loads((tmp_path / "results.json").read_text())
    systems = results["systems"]
    assert len(systems) == 6
    bleu = systems["mle"]["bleu"]
    assert bleu["seeds"][0] > bleu["seeds"][1]
    assert bleu["mean"] == pytest.approx(statistics.mean(bleu["seeds"]))
    assert bleu["deviation"] == pytest.approx(statistics.stdev(bleu["seeds"]))
    assert systems["scalegrad-0.5"]["bleu"]["seeds"] == bleu["seeds"][::-1]
    assert systems["scalegrad-0.5"]["p_value"]["seeds"][0] < 0.05
    assert systems["mle, no 3-gram twice"]["p_value"]["seeds"] == [1.0, 1.0]  # the same output
    assert "p_value" not in systems["mle"]
    assert systems["mle"]["valid_ppl"]["seeds"] == [9.0, 10.0]
    assert results["learning_rate_search"]["mle-lr-3e-4"]["valid_bleu"] == bleu["seeds"][0]
    page = capsys.readouterr().out
    assert f"| mle | {bleu['mean']:.2f} ± {bleu['deviation']:.2f} |" in page


@pytest.mark.parametrize("task", TASKS)
def test_the_page_shows_the_recorded_results(task, study):
    """The tables are made from results-*.json, whose commands are those of the scripts today."""
    recorded = STUDY / f"results-{task}.json"
    results = json.loads(recorded.read_text(encoding="utf-8"))
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    assert study["score"].table(results) in page
    assert len(results["seeds"]) >= 2
    for name, command in results["commands"]["train"].items():
        program, *words = shlex.split(command)
        assert program == "fairseq-train"
        then = vars(parse(words))
        method = name.split("-lr-")[0]
        assert {flag: then[flag] for flag in METHODS.get(method, {})} == METHODS.get(method, {})
        assert then["lr"] == [float(name.split("-lr-")[1])] if "-lr-" in name else True

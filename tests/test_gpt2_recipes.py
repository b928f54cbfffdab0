"""The recipes that start from GPT-2's weights, and a book's: without data, weights or GPU."""

import functools
import math
import shlex

import pytest
from fairseq import options
from fairseq_commands import REPOSITORY
from refusals import assert_script_refused
from test_examples import parse, shell
from test_recipes import EXAMPLES, LANGUAGE, METHOD, accept, loaded

from genft_fairseq.cli import genft

FOLDERS = {
    "open_ended_generation": ("small",),
    "distilgpt2_wikitext": (),
    "book": (),
}


@functools.cache
def printed(recipe: str, script: str, *arguments: str, **environment: str) -> list[list[str]]:
    settings = {"DRY_RUN": "1", "GPUS": "1", **environment}
    words = (*FOLDERS[recipe], *arguments) if recipe == "open_ended_generation" else arguments
    done = shell("bash", EXAMPLES / recipe / script, *words, **settings)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


@functools.cache
def trained(recipe: str, *arguments: str, **environment: str) -> dict:
    commands = printed(recipe, "train.sh", *arguments, **environment)
    runs = [parse(words[1:]) for words in commands if words[0] == "fairseq-train"]
    return {run.save_dir.split("/")[-1]: run for run in runs}


@pytest.mark.parametrize("recipe", FOLDERS)
@pytest.mark.parametrize("environment", [{}, {"HF_DIR": "gpt2"}, {"GPUS": "0"}, {"PROMPT": "a"}])
def test_other_commands(recipe, environment):
    """Each by the parser of the command that it is for; every trained run is measured."""
    commands = printed(recipe, "generate.sh", **environment)
    commands += printed(recipe, "train.sh", **environment)
    for program, *words in commands:
        if program == "genft":
            accept(genft.commands[words[0]], words[1:])
        elif program == "python3":
            accept(loaded(LANGUAGE / "score.py").main, words[1:])
            measured = [w[w.index("--path") + 1].split("/")[-2] for w in commands if "--path" in w]
            assert list(dict.fromkeys(measured)) == list(trained(recipe, **environment))
        elif program == "fairseq-interactive":
            words = [w if w != "genft_fairseq" else str(REPOSITORY / w) for w in words]
            parsed = options.parse_args_and_arch(options.get_interactive_generation_parser(), words)
            assert parsed.task == "language_modeling" and parsed.sampling_topp == 0.9
        else:
            assert program == "fairseq-train"
            assert parse(words).cpu == (environment.get("GPUS") == "0")


def test_one_gpu_as_published():
    """Eight GPUs train the very same commands: an update is one block, or eight."""
    for recipe in ("open_ended_generation", "distilgpt2_wikitext"):
        assert printed(recipe, "train.sh", GPUS="8") == printed(recipe, "train.sh")
        for run in trained(recipe).values():
            assert (run.distributed_world_size, run.fp16, run.update_freq) == (1, False, [1])
        assert all(run.fp16 for run in trained(recipe, PRECISION="fp16").values())


# Of both run_gpt2.py: arguments, their defaults, and what is done with them.
BOTH = {"tokens_per_sample": 300, "max_tokens": 300, "weight_decay": 0.01, "adam_eps": 1e-8}
BOTH |= {"warmup_updates": 0, "clip_norm": 0.0, "dropout": 0.0, "attention_dropout": 0.0}
BOTH |= {"lr_scheduler": "polynomial_decay", "end_learning_rate": 0.0, "power": 1.0}
BOTH |= {"adam_betas": "(0.9, 0.999)", "sample_break_mode": "none", "label_smoothing": 0.0}
SCALEGRAD = {"lr": [2e-5], "max_update": 35_000, "seed": 60}  # ScaleGrad's README
WELLECK = {"lr": [6.25e-5], "seed": 42}  # the defaults
SEQUENCE = WELLECK | {"criterion": "sequence_unlikelihood", "max_update": 10_000}
SEQUENCE |= {"sequence_rate": 0.5, "sequence_prefix_length": 50, "sequence_ngram": 4}
SEQUENCE |= {"sequence_completion_length": 100}
PUBLISHED = {  # run: what is published, and what it starts from
    "mle": (SCALEGRAD, "gpt2/model.pt"),
    "scalegrad-0.2": (SCALEGRAD | {"gamma": 0.2}, "gpt2/model.pt"),
    "scalegrad-0.5": (SCALEGRAD | {"gamma": 0.5}, "gpt2/model.pt"),
    "scalegrad-0.8": (SCALEGRAD | {"gamma": 0.8}, "gpt2/model.pt"),
    "unlikelihood": (SCALEGRAD | {"unlikelihood_alpha": 1.0}, "gpt2/model.pt"),
    "unlikelihood-sequence": (SEQUENCE | {"unlikelihood_alpha": 0.0}, "gpt2/model.pt"),
    "mle-20000": (WELLECK | {"max_update": 20_000}, "gpt2/model.pt"),
    "mle-20000-then-sequence": (SEQUENCE, "mle-20000/checkpoint_best.pt"),
    "unlikelihood-both": (
        SEQUENCE | {"unlikelihood_alpha": 1.0},
        "unlikelihood/checkpoint_best.pt",
    ),
}


def test_the_published_fine_tunings_of_gpt2():
    runs = trained("open_ended_generation")
    assert list(runs) == list(PUBLISHED)
    for name, run in runs.items():
        flags, start = PUBLISHED[name]
        default = {"label_smoothing": 0.0}  # a flag that plain cross entropy need not have
        assert {key: getattr(run, key, default.get(key)) for key in BOTH | flags} == BOTH | flags
        assert run.finetune_from_model.endswith(f"/{start}")
        # The last rate: t_total counts the blocks of 301 tokens in the epoch.
        last = run.lr[0] * (1 - run.max_update / float(run.total_num_update))
        assert math.isclose(last, run.lr[0] * (1 - run.max_update * 301 / 119e6), rel_tol=1e-3)
    same = runs["mle"], runs["scalegrad-0.2"], runs["unlikelihood"]
    common = set.intersection(*(set(vars(run)) for run in same)) - METHOD
    assert all(getattr(run, key) == getattr(same[0], key) for run in same for key in common)


def test_methods_bring_what_they_start_from():
    runs = trained("open_ended_generation", METHODS="unlikelihood-both mle")
    assert list(runs) == ["unlikelihood", "unlikelihood-both", "mle"]
    large = shell(
        "bash", EXAMPLES / "open_ended_generation" / "train.sh", "large", DRY_RUN="1", GPUS="0"
    )
    assert "--arch gpt2_large " in large.stdout


def test_the_published_decoding():
    """Greedy, nucleus 0.9, top-k 50 and beam 10, from 50 tokens to 100 more."""
    commands = printed("open_ended_generation", "generate.sh", METHODS="mle")
    assert all({"--peer-compatible", "50", "100"} <= set(words) for words in commands[:-1])
    searches = [" ".join(words[words.index("100") + 3 :]) for words in commands[:-1]]
    assert searches == [
        "--tokens-per-sample 1024",
        "--mode completions --search sampling --top-p 0.9",
        "--mode completions --search sampling --top-k 50",
        "--mode completions --search beam --beam 10",
    ]


def test_the_reimplementation_of_distilgpt2():
    """One epoch of 18,666 blocks by 8, as their notebook says; the rest are its defaults."""
    runs = trained("distilgpt2_wikitext")
    assert list(runs) == ["mle", "scalegrad-0.2"]
    for run in runs.values():
        assert (run.arch, run.tokens_per_sample, run.batch_size) == ("distilgpt2", 128, 8)
        assert run.max_update == float(run.total_num_update) == math.ceil(18_666 / 8)
        assert (run.lr, run.weight_decay, run.clip_norm, run.seed) == ([2e-5], 0.01, 1.0, 42)
        assert (run.dropout, run.attention_dropout, run.warmup_updates) == (0.1, 0.1, 0)


def test_a_book_from_gpt2_or_from_scratch():
    """A sample after every epoch; what an update sees does not depend on the GPUs."""
    commands = printed("book", "train.sh", "d", "r", EPOCHS="2")
    assert [words[0] for words in commands] == ["fairseq-train", "genft"] * 2
    assert [parse(words[1:]).max_epoch for words in commands[::2]] == [1, 2]
    files = [words[words.index("--completions") + 1] for words in commands[1::2]]
    assert files == [f"r/small-scalegrad-0.5/sample-epoch-{epoch}.txt" for epoch in (1, 2)]
    tuned = trained("book", "d", "r", HF_DIR="gpt2", METHOD="mle", GPUS="4")["gpt2-mle"]
    assert tuned.finetune_from_model == "r/gpt2/model.pt" and tuned.fp16
    assert tuned.max_tokens * tuned.update_freq[0] * tuned.distributed_world_size == 4096
    assert (tuned.lr_scheduler, tuned.weight_decay) == ("polynomial_decay", 0.01)


@pytest.mark.parametrize(
    ("recipe", "wrong", "named"),
    [
        ("book", {"METHOD": "typo"}, ["typo"]),
        ("book", {"EPOCHS": "0"}, ["EPOCHS", "0"]),
        ("book", {"ARCH": "gpt2_medium"}, ["ARCH=gpt2_medium", "HF_DIR"]),
    ],
)
def test_wrong_settings_are_told(recipe, wrong, named):
    done = shell("bash", EXAMPLES / recipe / "train.sh", DRY_RUN="1", GPUS="0", **wrong)
    assert_script_refused(done, *named)


def test_missing_weights_and_unfit_data_are_told(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "dict.txt").touch()
    where = (data, tmp_path / "runs")
    for recipe, arguments, environment, named in (
        ("open_ended_generation", ("small",), {}, "HF_DIR"),
        ("distilgpt2_wikitext", (), {}, "HF_DIR"),
        ("book", (), {"HF_DIR": "gpt2"}, data),
    ):
        script = EXAMPLES / recipe / "train.sh"
        done = shell("bash", script, *arguments, *where, GPUS="0", **environment)
        assert_script_refused(done, named, unwritten=tmp_path / "runs")


def test_tables_of_several_searches():
    """On gold prefixes a row a run; of continuations a row a run and search."""
    score = loaded(LANGUAGE / "score.py")
    part = {f"seq_rep_{n}": n / 10 for n in (1, 2, 3, 4)} | {"uniq_seq": 7, "continuations": 6}
    whole = {"model": part, "human": part, "prefix_length": 50, "length": 100, "split": "test"}
    gold = {"perplexity": 20.0, "accuracy": 0.4, "mean_rank": 9.0, "rep_128": 0.6, "wrep_128": 0.3}
    gold |= {"human_rep_128": 0.5, "uniq": 11, "human_uniq": 12, "train_seconds": 5}
    searches = {"greedy": whole, "beam": whole}
    page = score.tables(
        {
            "runs": {"mle": whole | gold | {"searches": searches}},
            "seeds": [42, 60],
            "hardware": {"processor": "p", "cores": 1},
            "versions": {},
        }
    )
    assert "| mle | 20.00 | 0.400 | 9.0 | 0.600 | 0.300 | 11 | 5 |" in page
    assert "| human text | | | | 0.500 | | 12 | |" in page
    assert "| mle | beam | 0.100 | 0.200 | 0.300 | 0.400 | 7 |" in page


def test_updates_an_epoch_by_hand():
    """1,000 tokens are 10 blocks of 100; 9 rows fit, of which fairseq takes 8: 2 batches."""
    updates = loaded(EXAMPLES / "book" / "updates.py").updates_an_epoch
    assert updates(1000, 100, 900, 1) == 2
    assert updates(1000, 100, 900, 2) == 1
    assert updates(1001, 100, 300, 1) == 4


# --- the study of three books ---------------------------------------------------------------------

BOOKS = EXAMPLES / "open_ended_generation" / "three_books"


@functools.cache
def books(script: str, **environment: str) -> list[list[str]]:
    done = shell("bash", BOOKS / script, DRY_RUN="1", GPUS="0", **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_the_study_trains_every_method_from_one_baseline():
    baseline, *tuned = [parse(words[1:]) for words in books("train.sh")]
    assert len(tuned) == 3 * 7
    assert len({(run.seed, run.save_dir) for run in tuned}) == 21
    allowed = METHOD | {"seed"}
    first, *others = tuned
    for run in others:
        changed = {name for name in vars(first) if getattr(run, name, None) != vars(first)[name]}
        assert changed <= allowed
    assert baseline.criterion == "label_smoothed_cross_entropy"
    both = tuned[6]
    assert (both.criterion, both.unlikelihood_alpha) == ("sequence_unlikelihood", 1.0)
    assert (both.sequence_rate, both.sequence_prefix_length) == (0.5, 50)


def test_the_study_evaluates_what_it_trained():
    *evaluated, scored = books("generate.sh", SEEDS="1001 2001")
    for words in evaluated:
        accept(genft.commands[words[1]], words[2:])
    paths = {words[words.index("--path") + 1] for words in evaluated}
    runs = [parse(words[1:]).save_dir for words in books("train.sh", SEEDS="1001 2001")]
    assert {path.rsplit("/", 1)[0] for path in paths} == set(runs)
    # Two texts, greedily and from the nucleus; each MLE model once more.
    assert len(evaluated) == 2 * 2 * 15 + 2 * 2
    accept(loaded(BOOKS / "table.py").main, scored[2:])


def test_cells_of_the_study():
    table = loaded(BOOKS / "table.py")
    assert table.cell([{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], "x", 1) == "2.0 ± 1.0"
    assert table.cell([{"x": 1234.5}], "x", 1) == "1,234.5"
    assert table.cell([{}, {"x": None}], "x", 1) == ""
    assert table.in_cell("a|b <c> ⟦_d_⟧") == "a&#124;b &lt;c&gt; <b>\\_d\\_</b>"

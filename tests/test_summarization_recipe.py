"""The recipe of summarisation: commands that say what was published, its texts and its start."""

import gzip
import math
import pydoc_data.topics
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from refusals import assert_script_refused
from test_examples import parse, shell
from test_recipes import EXAMPLES, METHOD, accept, loaded, tokens_an_update
from transformers import T5ForConditionalGeneration

from genft_fairseq.cli import genft

STUDY = EXAMPLES / "summarization"
SMALL, FULL = STUDY / "small", STUDY / "cnn_dailymail"
SYSTEMS = ["mle", "scalegrad-0.5", "scalegrad-0.8", "unlikelihood"]
STARTS = ["bert-small2bert-small", "bert2bert", "t5-small", "bart-base"]
score, lead = loaded(STUDY / "score.py"), loaded(STUDY / "lead.py")
gap_sentences, first_model = loaded(SMALL / "gap_sentences.py"), loaded(SMALL / "start.py")


def printed(script: Path, *arguments: object, **environment: str) -> list[list[str]]:
    done = shell("bash", script, *arguments, **{"DRY_RUN": "1", "GPUS": "0", **environment})
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def invoke(module, *arguments: object) -> str:
    done = CliRunner().invoke(module.main, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def trained(script: Path, **environment: str) -> dict:
    runs = [parse(words[1:]) for words in printed(script, "d", "r", **environment)]
    return {run.save_dir.removeprefix("r/"): run for run in runs}


def test_every_method_starts_from_the_same():
    """At both sizes, and is otherwise trained by the same flags."""
    sentences_run, base, *small = trained(SMALL / "train.sh", SEEDS="1 2").values()
    assert base.finetune_from_model == "r/sentences/checkpoint_last.pt"
    assert (sentences_run.data, base.data) == ("d/sentences", "d/passages")
    assert {run.finetune_from_model for run in small} == {"r/base/checkpoint_last.pt"}
    assert [run.seed for run in small] == [1] * 4 + [2] * 4
    for start in STARTS:
        full = trained(FULL / "train.sh", START=start, GPUS="1")
        assert list(full) == [f"seed-42/{system}" for system in SYSTEMS]
        assert {run.finetune_from_model for run in full.values()} == {"r/start/model.pt"}
        for runs in (small[:4], list(full.values())):
            # Plain cross entropy of fairseq's need not say what the others' flags are.
            common = set.intersection(*(set(vars(run)) for run in runs)) - METHOD
            for run in runs:
                assert {k: getattr(run, k) for k in common} == {
                    k: getattr(runs[0], k) for k in common
                }
                assert run.label_smoothing == runs[0].label_smoothing
            assert [getattr(run, "gamma", 1.0) for run in runs[:3]] == [1.0, 0.5, 0.8]
            assert (runs[3].criterion, runs[3].unlikelihood_alpha) == ("unlikelihood", 1.0)


ADAM = {"optimizer": "adam", "adam_betas": "(0.9, 0.999)", "adam_eps": 1e-8}
ADAM |= {"lr_scheduler": "polynomial_decay", "end_learning_rate": 0.0, "power": 1.0}
# The defaults of transformers' TrainingArguments, and warm-up and batch of Hugging Face's blog.
TRAINER = ADAM | {"lr": [5e-5], "weight_decay": 0.0, "clip_norm": 1.0, "warmup_updates": 2000}
TRAINER |= {
    "max_update": math.ceil(3 * 287_113 / 16),
    "label_smoothing": 0.0,
    "fp16": True,
    "bf16": False,
}
PUBLISHED = {  # articles or sequences an update times their tokens, and flags; not from the scripts
    "bert-small2bert-small": (16 * 512, TRAINER),
    "bert2bert": (16 * 512, TRAINER),
    "t5-small": (
        2**16,
        {"optimizer": "adafactor", "lr": [1e-3], "lr_scheduler": "fixed", "max_update": 2**18}
        | {"scale_parameter": True, "relative_step": False, "warmup_init": False, "beta1": None}
        | {"clip_threshold": 1.0, "decay_rate": -0.8, "weight_decay": 0.0, "bf16": True}
        | {"save_interval_updates": 5000, "warmup_updates": 0, "clip_norm": 0.0, "fp16": False},
    ),
    "bart-base": (
        2048 * 4 * 8,
        ADAM
        | {"lr": [3e-5], "weight_decay": 0.01, "clip_norm": 0.1, "warmup_updates": 500}
        | {"max_update": 20_000, "label_smoothing": 0.1, "dropout": 0.1, "attention_dropout": 0.1},
    ),
}


@pytest.mark.parametrize("start", STARTS)
def test_the_published_fine_tunings(start):
    tokens, flags = PUBLISHED[start]
    for gpus in ("1", "8"):
        run = trained(FULL / "train.sh", START=start, GPUS=gpus, METHODS="mle")["seed-42/mle"]
        assert tokens_an_update(run) == tokens
        assert {name: getattr(run, name) for name in flags} == flags
    if run.lr_scheduler == "polynomial_decay":
        assert run.max_update == float(run.total_num_update)
    on_cpu = trained(FULL / "train.sh", START=start, METHODS="mle")["seed-42/mle"]
    assert on_cpu.cpu and not on_cpu.fp16 and not on_cpu.bf16


@pytest.mark.parametrize("start", STARTS)
def test_importing_and_preparing(start):
    command, preparation = printed(
        FULL / "prepare.sh", "d", "r", "--", "--limit", 9, START=start, HF_DIR="hf"
    )
    accept(genft.commands[command[1]], command[2:])
    assert command[1:4] == ["import-hf", "hf", "r/start"]
    twice = start.startswith("bert")
    assert (command[4:] == ["--decoder", "hf", "--seed", "1"]) == twice
    assert preparation[0] == "data-prep/prepare-cnn-dailymail.sh"
    given = dict(zip(preparation[1::2], preparation[2::2], strict=True))
    length = "1024" if start == "bart-base" else "512"
    assert given == {
        **{"--model": "r/start", "--max-source-tokens": length, "--max-target-tokens": "128"},
        **({"--prefix": "summarize: "} if start == "t5-small" else {}),
        **{"--out": "d", "--limit": "9"},
    }


@pytest.mark.parametrize("script", [SMALL / "evaluate.sh", FULL / "generate.sh"])
def test_measuring_commands(script):
    """Each run by a beam and greedily, mle first and compared with by all others."""
    *commands, last = printed(script, "d", "r", SEEDS="1 2", METHODS="unlikelihood mle")
    measured = [words for words in commands if words[0] == "genft"]
    for words in measured:
        accept(genft.commands["evaluate-summaries"], words[2:])
    outputs = [words[words.index("--output") + 1] for words in measured]
    found = [path.removeprefix("r/seed-1/").removesuffix(".json") for path in outputs[:7]]
    assert found == [
        *("mle/summaries-greedy", "mle/summaries-greedy-no-repeat-3"),
        *("unlikelihood/summaries-greedy", "mle/summaries", "mle/summaries-no-repeat-3"),
        *("unlikelihood/summaries", "lead-3/summaries"),
    ]
    assert [path.replace("seed-1", "seed-2") for path in outputs[:7]] == outputs[7:]
    against = [dict(pairwise(words)).get("--baseline") for words in measured]
    greedy, beam = (f"r/seed-1/mle/summaries{s}.jsonl" for s in ("-greedy", ""))
    assert against[:7] == [None, greedy, greedy, None, beam, beam, beam]
    beams = [words[words.index("--beam") + 1] for words in measured[:6]]
    assert beams == ["1"] * 3 + ["4"] * 3
    blocked = ["--no-repeat-ngram-size" in words for words in measured[:6]]
    assert blocked == [False, True, False] * 2
    assert all("checkpoint_best.pt" in " ".join(words) for words in measured[:6])
    # The tables look for just these.
    names = score.measured(["unlikelihood", "mle"])
    assert {f for by in names.values() for f in by.values()} == set(found)
    accept(score.main, last[2:])
    alone = printed(script, "d", "r", METHODS="unlikelihood")
    assert not any("--baseline" in words for words in alone)


def test_the_published_decoding():
    """Of BART's summarize.py, min-len without the first symbol; of T5's paper."""
    for start in STARTS:
        beam = [w for w in printed(FULL / "generate.sh", START=start, METHODS="mle") if "4" in w]
        given = dict(pairwise(beam[0]))
        lengths = [given.get(flag) for flag in ("--min-len", "--max-len-b", "--lenpen")]
        t5 = start == "t5-small"
        assert lengths == ([None, "200", "0.6"] if t5 else ["55", "140", "2.0"])


@pytest.mark.parametrize(
    ("script", "wrong", "named"),
    [
        (SMALL / "train.sh", {"METHODS": "mle typo"}, ["typo"]),
        (SMALL / "evaluate.sh", {"SEEDS": "x"}, ["SEEDS", "x"]),
        (FULL / "train.sh", {"START": "gpt2"}, ["START"]),
        (FULL / "train.sh", {"GPUS": "3"}, ["8192", "3"]),
        (FULL / "generate.sh", {"SEEDS": "1 08"}, ["SEEDS", "08"]),
    ],
)
def test_wrong_settings_are_told(script, wrong, named):
    done = shell("bash", script, **{"DRY_RUN": "1", "GPUS": "0", **wrong})
    assert_script_refused(done, *named)


def test_what_is_missing_is_told(tmp_path):
    where = (tmp_path / "data", tmp_path / "runs")
    (tmp_path / "pairs").mkdir()
    for script, arguments, named in (
        (SMALL / "prepare.sh", ("pairs",), "prepare.sh"),
        (SMALL / "prepare.sh", (tmp_path / "pairs", "x"), "pairs/train.source.gz"),
        (SMALL / "train.sh", where, "prepare.sh"),
        (SMALL / "evaluate.sh", where, "examples/summarization/small/train.sh"),
        (FULL / "prepare.sh", where, "HF_DIR"),
        (FULL / "train.sh", where, "START=bert-small2bert-small"),
        (FULL / "generate.sh", where, "START=bert-small2bert-small"),
    ):
        done = shell("bash", script, *arguments, GPUS="0", HF_DIR="")
        assert_script_refused(done, named)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs"}


# --- texts and a start ---------------------------------------------------------------------------


def test_principal_sentences_by_hand():
    """Twice the words in common with the rest, over all words of both."""
    passage = ["a b c .", "a b d e .", "x y .", "A b z w v ."]
    # Of 5 words 3 are elsewhere, of 3 the full stop; of 4: 3 of 4 + 14, of 5 3 of 5 + 13, of 3 1
    # of 3 + 15, of 6 3 of 6 + 12.  All have 18 words together, so that the most shared come first.
    assert gap_sentences.principal(passage, 2) == ["a b c .", "a b d e ."]
    assert gap_sentences.principal(passage, 3) == ["a b c .", "a b d e .", "A b z w v ."]
    # A word counts as often as the others have it.
    assert gap_sentences.principal(["a a a", "b b", "a b b"], 1) == ["a b b"]


def test_passages_of_so_many_words():
    text = [
        "One two three four. Five six.",  # six words, then
        "Seven eight nine. Very " + "long " * 23 + "end. Ten.",  # a sentence of 25 is left out
        "Too short to be one.",
    ]
    pairs = list(gap_sentences.pairs_of(iter(text), words=8, number=1))
    assert pairs == [("One two three four. Five six. Seven eight nine.", pairs[0][1])]
    assert pairs[0][1] in pairs[0][0]
    # No passage of as many sentences as stand for it.
    assert list(gap_sentences.pairs_of(iter(["a " * 20 + "b."]), 8, number=1)) == []


def test_pairs_are_held_out_evenly(tmp_path):
    """Of ten passages every fifth; gzipped text is read as any other."""
    one, other = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    lines = [f"A{i} bb cc dd ee ff gg. The {i} and the last." for i in range(10)]
    one.write_text("\n\n".join(lines[:5]))
    other.write_bytes(gzip.compress("\n \n".join(lines[5:]).encode()))
    flags = ("--words", 8, "--hold-out", 2, "--output", tmp_path / "p.q")
    invoke(gap_sentences, one, other, *flags)
    valid = (tmp_path / "p.q.valid.source").read_text().splitlines()
    assert valid == [lines[0], lines[5]]
    train = (tmp_path / "p.q.train.source").read_text().splitlines()
    assert train == [*lines[1:5], *lines[6:]]
    for split, sources in (("train", train), ("valid", valid)):
        targets = (tmp_path / f"p.q.{split}.target").read_text().splitlines()
        assert all(t in s and t != s for s, t in zip(sources, targets, strict=True))
    given = [str(one), "--words", "8", "--hold-out", "3", "--output", str(tmp_path / "r")]
    refused = CliRunner().invoke(gap_sentences.main, given)
    assert refused.exit_code == 1 and "--hold-out 3" in refused.output
    assert not list(tmp_path.glob("r.*"))


def test_a_start_is_a_t5(tmp_path):
    """The same seed, the same model; of the sizes asked for; its tokeniser knows the text."""
    text = tmp_path / "text"
    words = re.findall(r"\S+", pydoc_data.topics.topics["types"])
    text.write_text("\n".join(" ".join(words[i : i + 20]) for i in range(0, len(words), 20)))
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        flags = ("--vocabulary", 400, "--width", 64, "--layers", 2, "--seed", seed)
        invoke(first_model, text, *flags, "--output", tmp_path / name)
    one, same, other = (
        T5ForConditionalGeneration.from_pretrained(tmp_path / name)
        for name in ("one", "same", "other")
    )
    assert one.config.d_ff == 4 * 64 and one.config.num_heads * one.config.d_kv == 64
    assert len(one.encoder.block) == len(one.decoder.block) == 2
    assert torch.equal(one.shared.weight, same.shared.weight)
    assert not torch.equal(one.shared.weight, other.shared.weight)
    tokenizer = first_model.Tokenizer.from_file(str(tmp_path / "one" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == one.config.vocab_size <= 400
    ids = tokenizer.encode("the value of the type").ids
    assert (ids[-1], tokenizer.decode(ids)) == (1, "the value of the type")  # </s> ends it
    assert [tokenizer.token_to_id(symbol) for symbol in first_model.SPECIAL] == [0, 1, 2]


def test_the_first_sentences(tmp_path):
    (tmp_path / "articles").write_text("Aa bb. Cc dd! Ee ff? Gg hh.\nOnly one.\n")
    invoke(lead, tmp_path / "articles", "--output", tmp_path / "lead")
    assert (tmp_path / "lead").read_text() == "Aa bb. <q> Cc dd! <q> Ee ff?\nOnly one.\n"

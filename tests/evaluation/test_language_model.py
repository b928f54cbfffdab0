"""``genft evaluate-lm`` on a checkpoint that the real commands made, against plain computation."""

import json
import math
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner
from fairseq_commands import TINY_LANGUAGE_MODEL, USER_DIR, run, train

from genft_fairseq.cli import genft
from genft_fairseq.evaluation import language_model as lm
from genft_fairseq.generation.token_choice import Search


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Lines of a cycle of words, so that the text has order to learn."""
    folder = tmp_path_factory.mktemp("text")
    line = " ".join(f"w{i}" for i in range(12))
    for split, size in (("train", 100), ("valid", 20), ("test", 11)):
        (folder / split).write_text(f"{line}\n" * size)
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid", "test")]
    run("fairseq-preprocess", "--only-source", "--destdir", folder / "bin", *prefixes)
    return folder / "bin"


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train(
        *(data, folder, TINY_LANGUAGE_MODEL, "--criterion", "scalegrad", "--max-update", 6),
        *("--tokens-per-sample", 24),
    )
    return str(folder / "checkpoint_last.pt")


@pytest.fixture(scope="module")
def loaded(data, checkpoint):
    return lm.load_language_model(str(data), checkpoint, cpu=True)


@torch.no_grad()
def test_token_figures_by_hand(loaded, data):
    """143 tokens in blocks of 24: the last, shorter block counts too."""
    stream = lm._stream(loaded, str(data), "test").tolist()
    assert len(stream) == 11 * 13
    eos, nll, correct = 2, 0.0, 0
    for start in range(0, len(stream), 24):
        block = stream[start : start + 24]
        inputs = [stream[start - 1] if start else eos, *block[:-1]]
        lprobs = loaded.model(torch.tensor([inputs]))[0][0].double().log_softmax(-1)
        nll -= sum(float(lprobs[t, y]) for t, y in enumerate(block))
        correct += int((lprobs.argmax(-1) == torch.tensor(block)).sum())
    for max_tokens in (24, 100):
        figures = lm.token_figures(loaded, "test", max_tokens=max_tokens)
        assert figures["tokens"] == len(stream)
        assert figures["perplexity"] == pytest.approx(math.exp(nll / len(stream)), rel=1e-5)
        assert figures["accuracy"] == pytest.approx(correct / len(stream))


def test_agrees_with_fairseqs_own_perplexity(loaded, data, checkpoint):
    done = run(
        "fairseq-eval-lm",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--gen-subset", "test"),
        *("--tokens-per-sample", 24, "--max-tokens", 96),
    )
    theirs = float(done.output.split("Perplexity: ")[1].split()[0])
    assert lm.token_figures(loaded, "test")["perplexity"] == pytest.approx(theirs, abs=0.01)


def test_texts_too_short_are_left_out_and_counted():
    figures = lm.completion_figures([[5, 5, 5], [5, 6]])
    assert figures["seq_rep_3"] == 0.0 and figures["too_short_3"] == 1
    assert figures["seq_rep_4"] is None and figures["too_short_4"] == 2
    assert "too_short_2" not in figures


def test_adaptive_softmax(data, tmp_path):
    """Its output is no logits: perplexity and completions go by the distribution."""
    train(
        *(data, tmp_path, TINY_LANGUAGE_MODEL, "--criterion", "scalegrad", "--max-update", 2),
        *("--tokens-per-sample", 24, "--adaptive-softmax-cutoff", "6,10"),
    )
    checkpoint = str(tmp_path / "checkpoint_last.pt")
    done = run(
        "fairseq-eval-lm",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--gen-subset", "test"),
        *("--tokens-per-sample", 24, "--max-tokens", 96),
    )
    theirs = float(done.output.split("Perplexity: ")[1].split()[0])
    adaptive = lm.load_language_model(str(data), checkpoint, cpu=True)
    assert lm.token_figures(adaptive, "test")["perplexity"] == pytest.approx(theirs, abs=0.01)
    completions = lm.complete(adaptive, str(data), "test", 5, 10)
    assert all(0 <= token < 16 for c in completions for token in c.continuation)


def test_completions_do_not_depend_on_the_batch(loaded, data):
    arguments = (loaded, str(data), "test", 5, 10)
    one = lm.complete(*arguments, batch_size=1)
    many = lm.complete(*arguments, batch_size=32)
    assert one == many
    assert len(one) == 143 // 15
    stream = lm._stream(loaded, str(data), "test").tolist()
    assert one[1].prefix + one[1].human == stream[15:30]
    assert all(len(c.continuation) == 10 for c in one)
    assert len(lm.complete(*arguments, limit=3)) == 3


def test_command(data, checkpoint, tmp_path):
    output = tmp_path / "deep" / "figures.json"
    arguments = [str(data), "--path", checkpoint, "--prefix-length", "5", "--length", "10"]
    shown = CliRunner().invoke(
        genft, ["evaluate-lm", *arguments, "--cpu", "--json", "--output", str(output)]
    )
    assert shown.exit_code == 0, shown.output
    figures = json.loads(shown.stdout)
    assert figures["completions"] == json.loads(output.read_text())["completions"]
    human = [completion["human"] for completion in figures["completions"]]
    assert human[0] == "w5 w6 w7 w8 w9 w10 w11 ¶ w0 w1"
    assert figures["human"]["seq_rep_1"] == 0.0  # ten different words, or nine and an end of line
    assert figures["human"]["continuations"] == len(human) == 9
    assert 0 <= figures["model"]["seq_rep_4"] < 1
    table = CliRunner().invoke(genft, ["evaluate-lm", *arguments, "--cpu"])
    assert f"{figures['perplexity']:.2f}" in table.stdout


def test_command_with_other_searches(data, checkpoint):
    arguments = ["evaluate-lm", str(data), "--path", checkpoint, "--cpu", "--json"]
    arguments += ["--prefix-length", "5", "--length", "10"]

    def texts(*flags):
        done = CliRunner().invoke(genft, [*arguments, *flags])
        assert done.exit_code == 0, done.output
        figures = json.loads(done.stdout)
        return figures["search"], [c["continuation"] for c in figures["completions"]]

    # The model has learned the cycle of words: only a flat distribution leaves it.
    nucleus = ("--search", "sampling", "--top-p", "0.9", "--temperature", "5")
    search, sampled = texts(*nucleus)
    assert search == {
        **{"search": "sampling", "top_p": 0.9, "temperature": 5.0, "seed": 1},
        **{"top_k": 0, "no_repeat_ngram_size": 0},
    }
    assert sampled == texts(*nucleus, "--batch-size", "2")[1]
    assert sampled != texts(*nucleus, "--seed", "2")[1]
    greedy = texts()[1]
    assert sampled != greedy
    assert texts("--search", "sampling", "--top-k", "1", "--temperature", "5")[1] == greedy


def test_no_bigram_is_repeated(loaded, data):
    search = Search(no_repeat_ngram_size=2)
    for completion in lm.complete(loaded, str(data), "test", 5, 20, search=search):
        bigrams = list(pairwise(completion.prefix + completion.continuation))
        assert len(set(bigrams)) == len(bigrams)


def test_sampling_flags_need_sampling(data, checkpoint):
    arguments = ["evaluate-lm", str(data), "--path", checkpoint, "--cpu", "--top-p", "0.9"]
    done = CliRunner().invoke(genft, arguments)
    assert done.exit_code == 2
    assert "--top-p 0.9 needs --search sampling" in done.output

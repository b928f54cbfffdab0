"""``genft evaluate-lm`` on a checkpoint that the real commands made, against plain computation."""

import json
import math
import statistics
from dataclasses import replace
from itertools import chain, pairwise

import pytest
import reference
import torch
from click.testing import CliRunner
from fairseq_commands import TINY_LANGUAGE_MODEL, USER_DIR, run, train
from refusals import assert_names, refuses

from genft_fairseq.cli import genft
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.completions import Plan, complete, number_of_prefixes
from genft_fairseq.evaluation.language_modeling import token_metrics
from genft_fairseq.evaluation.loading import load_language_model, token_rows
from genft_fairseq.generation.sampling import Search

SHORT = Plan(prefix_length=5, length=10)


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
    return load_language_model(str(data), checkpoint, cpu=True)


@pytest.fixture(scope="module")
def rows(loaded, data):
    return token_rows(loaded, str(data), "test")


@pytest.fixture(scope="module")
def stream(rows):
    return [token for row in rows.cut(1) for token in row.tolist()]


def completions(loaded, rows, plan):
    return list(chain.from_iterable(complete(loaded, rows, plan)))


def test_rows(rows, stream):
    """Rows of any length are the text in order, whatever the lengths of its lines."""
    assert len(stream) == rows.tokens == 11 * 13
    for size in (2, 13, 26, 30, 143, 144):
        found = [row.tolist() for row in rows.cut(size)]
        assert [len(row) for row in found] == [size] * (143 // size)
        assert list(chain.from_iterable(found)) == stream[: 143 // size * size]


@torch.no_grad()
def test_token_figures_by_hand(loaded, stream):
    """143 tokens in blocks of 24: the last, shorter block counts too."""
    eos, nll, correct, repeated = 2, 0.0, 0, 0
    for start in range(0, len(stream), 24):
        block = stream[start : start + 24]
        inputs = [stream[start - 1] if start else eos, *block[:-1]]
        lprobs = loaded.model(torch.tensor([inputs]))[0][0].double().log_softmax(-1)
        nll -= sum(float(lprobs[t, y]) for t, y in enumerate(block))
        best = lprobs.argmax(-1).tolist()
        correct += sum(x == y for x, y in zip(best, block, strict=True))
        repeated += sum(token in block[max(0, t - 16) : t] for t, token in enumerate(best))
    for max_tokens in (24, 100, None):
        metrics = token_metrics(loaded, "test", max_tokens=max_tokens).metrics()
        assert metrics["tokens"] == len(stream)
        assert metrics["perplexity"] == pytest.approx(math.exp(nll / len(stream)), rel=1e-5)
        assert metrics["accuracy"] == pytest.approx(correct / len(stream))
        assert metrics["rep_16"] == pytest.approx(repeated / len(stream))


@pytest.mark.parametrize("block", [5, 10, 12, 24, 142 // 6 - 1])
def test_token_figures_of_the_peers(loaded, rows, stream, block):
    """Rows of one token more than are predicted, whatever the batch; the rest is dropped."""

    def scores(tokens):
        return loaded.model(torch.tensor([tokens]))[0][0].detach()

    want = reference.peer_token_figures(scores, stream, block)
    assert want["tokens"] == 143 // (block + 1) * block
    for max_tokens in (block, 100, None):
        found = token_metrics(
            loaded, "test", max_tokens=max_tokens, block=block, peer_rows=rows
        ).metrics(peer_compatible=True)
        assert {name: found[name] for name in want} == pytest.approx(want, rel=1e-5)
        assert set(found) - set(want) == {"unknown", "perplexity_interval", "accuracy_interval"}
    ours = token_metrics(loaded, "test", block=block).metrics()
    assert ours["tokens"] == 143 and ours["perplexity"] != pytest.approx(want["perplexity"])


def test_rows_of_the_peers_that_do_not_fit(data, checkpoint, tmp_path):
    output = tmp_path / "new" / "figures.json"
    flags = ["--path", checkpoint, "--mode", "tokens", "--peer-compatible"]
    metrics = json.loads(evaluate(data, *flags, "--json").stdout)
    assert (metrics["tokens_per_sample"], metrics["tokens"]) == (24, 143 // 25 * 24)
    (tmp_path / "text").write_text("w1 w2 w3\n")
    run(
        *("fairseq-preprocess", "--only-source", "--destdir", tmp_path / "bin"),
        *("--testpref", tmp_path / "text", "--srcdict", data / "dict.txt"),
    )
    done = evaluate(tmp_path / "bin", *flags, "--tokens-per-sample", 4, "--output", output)
    assert_refuses(done, "--tokens-per-sample", "test", 4)
    assert not output.parent.exists()
    fits = evaluate(tmp_path / "bin", *flags, "--tokens-per-sample", 3, "--json")
    assert json.loads(fits.stdout)["tokens"] == 3


def fairseqs_perplexity(data, checkpoint):
    done = run(
        "fairseq-eval-lm",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--gen-subset", "test"),
        *("--tokens-per-sample", 24, "--max-tokens", 96),
    )
    return pytest.approx(float(done.output.split("Perplexity: ")[1].split()[0]), abs=0.01)


def test_agrees_with_fairseqs_own_perplexity(loaded, data, checkpoint):
    ours = token_metrics(loaded, "test").metrics()["perplexity"]
    assert ours == fairseqs_perplexity(data, checkpoint)


def test_adaptive_softmax(data, tmp_path):
    """Its output is no logits: perplexity and completions go by the distribution."""
    train(
        *(data, tmp_path, TINY_LANGUAGE_MODEL, "--criterion", "scalegrad", "--max-update", 2),
        *("--tokens-per-sample", 24, "--adaptive-softmax-cutoff", "6,10"),
    )
    checkpoint = str(tmp_path / "checkpoint_last.pt")
    adaptive = load_language_model(str(data), checkpoint, cpu=True)
    ours = token_metrics(adaptive, "test").metrics()["perplexity"]
    assert ours == fairseqs_perplexity(data, checkpoint)
    rows = token_rows(adaptive, str(data), "test")
    found = completions(adaptive, rows, SHORT)
    assert all(0 <= token < 16 for c in found for token in c.continuation)


@pytest.mark.parametrize("beam", [0, 3])
def test_completions_do_not_depend_on_the_batch(loaded, rows, stream, beam):
    plan = replace(SHORT, beam=beam)
    one = completions(loaded, rows, replace(plan, batch_size=1))
    many = completions(loaded, rows, plan)
    assert one == many
    assert len(one) == number_of_prefixes(plan, rows.tokens) == 143 // 15
    assert one[1].prefix + one[1].human == stream[15:30]
    assert all(len(c.continuation) == 10 for c in one)
    assert len(completions(loaded, rows, replace(plan, limit=3))) == 3


def test_prefixes_of_the_peers(loaded, data, stream):
    """Six in succession from every 301 tokens; humans go on in the text, as long as it lasts."""
    rows = token_rows(loaded, str(data), "train")
    text = [token for row in rows.cut(1) for token in row.tolist()]
    plan = replace(SHORT, prefix_length=50, length=100, peer_compatible=True)
    loaded = replace(loaded, model=OneToken())
    found = completions(loaded, rows, plan)
    assert len(found) == number_of_prefixes(plan, rows.tokens) == 1300 // 301 * 6
    for number, completion in enumerate(found):
        row, place = divmod(number, 6)
        start = row * 301 + place * 50
        assert completion.prefix == text[start : start + 50]
        assert completion.human == text[: 4 * 301][start + 50 : start + 150]
    assert [len(c.human) for c in found] == [100] * 22 + [51, 1]
    other = replace(plan, prefix_length=43)  # which 301 holds seven times, and 300 six times
    assert len(completions(loaded, rows, other)) == number_of_prefixes(other, rows.tokens) == 28


class OneToken(torch.nn.Module):
    """A model that always says the same, and has read as much as one likes."""

    def __init__(self):
        super().__init__()
        self.decoder = self

    def max_positions(self):
        return 1000

    def forward(self, tokens, incremental_state=None):
        logits = torch.zeros(len(tokens), 1, 20)
        logits[:, :, 7] = 1.0
        return logits, None

    def get_normalized_probs(self, net_output, log_probs, sample=None):
        return net_output[0].log_softmax(-1)


def test_no_bigram_is_repeated(loaded, rows):
    plan = replace(SHORT, length=15, search=Search(no_repeat_ngram_size=2))
    for completion in completions(loaded, rows, plan):
        bigrams = list(pairwise(completion.prefix + completion.continuation))
        assert len(set(bigrams)) == len(bigrams)


def test_another_dictionary(data, checkpoint, tmp_path):
    text = tmp_path / "text"
    text.write_text("some other words\n")
    run("fairseq-preprocess", "--only-source", "--destdir", tmp_path, "--trainpref", text)
    with refuses(16, tmp_path / "dict.txt", 8):
        load_language_model(str(tmp_path), checkpoint, cpu=True)


def test_empty_split(data, checkpoint, tmp_path):
    (tmp_path / "empty").touch()
    run(
        *("fairseq-preprocess", "--only-source", "--destdir", tmp_path / "bin"),
        *("--testpref", tmp_path / "empty", "--srcdict", data / "dict.txt"),
    )
    done = evaluate(tmp_path / "bin", "--path", checkpoint)
    assert_refuses(done, "--split", tmp_path / "bin" / "test")


# --- the command ----------------------------------------------------------------------------------


def assert_refuses(done, *named):
    assert isinstance(done.exception, UserError), done.exception
    assert "\n" not in str(done.exception)
    assert_names(str(done.exception), *named)


def evaluate(data, *arguments):
    return CliRunner().invoke(genft, ["evaluate-lm", str(data), "--cpu", *map(str, arguments)])


@pytest.fixture
def shown(data, checkpoint):
    def run(*arguments):
        short = ["--path", checkpoint, "--prefix-length", 5, "--length", 10]
        done = evaluate(data, *short, *arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_command(shown, tmp_path):
    output = tmp_path / "deep" / "figures.json"
    metrics = json.loads(shown("--json", "--output", output))
    assert metrics == {**json.loads(output.read_text()), "seconds": metrics["seconds"]}
    human = [completion["human"] for completion in metrics["completions"]]
    assert human[0] == "w5 w6 w7 w8 w9 w10 w11 ¶ w0 w1"
    assert metrics["human"]["seq_rep_1"] == 0.0  # ten different words, or nine and an end of line
    assert metrics["human"]["continuations"] == len(human) == 9
    assert metrics["human"]["uniq_seq"] == 13
    assert 0 <= metrics["model"]["seq_rep_4"] < 1
    table = shown()
    assert f"{metrics['perplexity']:.2f}" in table and "w5 w6 w7" in table


def test_modes(data, checkpoint, shown):
    tokens = evaluate(data, "--path", checkpoint, "--mode", "tokens", "--json")
    tokens = json.loads(tokens.stdout)
    both = json.loads(shown("--json"))
    completed = json.loads(shown("--mode", "completions", "--json"))
    for metrics in (tokens, both, completed):
        del metrics["seconds"]
    assert {**completed, **tokens} == both
    assert "model" not in tokens and "perplexity" not in completed
    for n in (1, 2, 3, 4):  # each continuation's own, of which the figure is the mean
        own = [completion[f"seq_rep_{n}"] for completion in completed["completions"]]
        assert statistics.fmean(own) == pytest.approx(completed["model"][f"seq_rep_{n}"])
    low, high = tokens["perplexity_interval"]
    assert low <= tokens["perplexity"] <= high


def test_texts_with_marks(shown, tmp_path):
    """The model goes round its cycle: after thirteen tokens everything is a repetition."""
    texts, lines = tmp_path / "texts.txt", tmp_path / "texts.jsonl"
    longer = ("--length", 19, "--show", 0)
    shown(*longer, "--completions", texts)
    shown(*longer, "--completions", lines)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(records) == 143 // 24
    blocks = texts.read_text().split("== ")[1:]
    for number, (block, record) in enumerate(zip(blocks, records, strict=True), start=1):
        head, prefix, model, continuation, human, text, *_ = block.split("\n")
        assert [head, model, human] == [str(number), "-- model", "-- human"]
        assert [prefix, continuation] == [record["prefix"], record["continuation_marked"]]
        assert text == record["human_marked"]
        plain = record["human"].split()
        assert text.split("⟦")[1] == " ".join(plain[13:]) + "⟧"


def test_other_searches(shown):
    def texts(*flags):
        metrics = json.loads(shown("--json", *flags))
        return metrics["search"], [c["continuation"] for c in metrics["completions"]]

    # The model has learned the cycle of words: only a flat distribution leaves it.
    nucleus = ("--search", "sampling", "--top-p", "0.9", "--temperature", "5")
    search, sampled = texts(*nucleus)
    assert search == {
        **{"search": "sampling", "top_p": 0.9, "temperature": 5.0, "seed": 1, "beam": 0},
        **{"top_k": 0, "no_repeat_ngram_size": 0},
    }
    assert sampled == texts(*nucleus, "--batch-size", "2")[1]
    assert sampled != texts(*nucleus, "--seed", "2")[1]
    greedy = texts()[1]
    assert sampled != greedy
    assert texts("--search", "sampling", "--top-k", "1", "--temperature", "5")[1] == greedy
    search, wide = texts("--search", "beam", "--beam", "3")
    assert search["beam"] == 3 and len(wide) == len(greedy)
    assert texts("--search", "beam", "--beam", "1")[1] == greedy


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--top-p", "0.9"], ("--top-p", 0.9, "--search")),
        (["--seed", "1"], ("--seed", 1, "--search")),
        (["--beam", "3"], ("--beam", 3, "--search")),
        (["--mode", "tokens", "--limit", "3"], ("--limit", 3, "--mode")),
        (["--mode", "completions", "--max-tokens", "9"], ("--max-tokens", 9, "--mode")),
        (["--top-p", "0", "--search", "sampling"], ("--top-p", 0.0)),
        (["--top-p", "nan", "--search", "sampling"], ("--top-p", "nan")),
        (["--temperature", "nan", "--search", "sampling"], ("--temperature", "nan")),
        (["--output", "a", "--completions", "./a"], ("--output", "--completions")),
        (["--mode", "all"], ("--mode", "all")),
    ],
)
def test_flags_without_effect_or_out_of_range(data, checkpoint, flags, named):
    done = evaluate(data, "--path", checkpoint, *flags)
    assert done.exit_code == 2
    assert_names(" ".join(done.output.split()), *named)


def test_other_blocks(loaded, data, checkpoint):
    """Shorter ones are predicted with less to go by."""
    flags = ["--path", checkpoint, "--mode", "tokens", "--json"]
    shorter = json.loads(evaluate(data, *flags, "--tokens-per-sample", 2).stdout)
    as_trained = json.loads(evaluate(data, *flags).stdout)
    assert (shorter["tokens_per_sample"], as_trained["tokens_per_sample"]) == (2, 24)
    assert shorter["rep_16"] == 0 < as_trained["rep_16"]
    assert shorter["perplexity"] != pytest.approx(as_trained["perplexity"], rel=1e-3)
    assert_refuses(evaluate(data, *flags, "--tokens-per-sample", 25), "--tokens-per-sample", 25, 24)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--search", "beam", "--beam", 16], ("--beam", 16)),
        (["--max-tokens", 23], ("--max-tokens", 23, 24)),
        (["--split", ""], ("--split",)),
        (["--split", "dev"], ("--split", "dev", "valid")),
        (["--path", "/"], ("--path", "/")),
    ],
)
def test_what_does_not_fit_the_model_or_the_data(data, checkpoint, flags, named, tmp_path):
    output = tmp_path / "new" / "figures.json"
    short = ["--path", checkpoint, "--prefix-length", 5, "--length", 10, "--output", output]
    done = evaluate(data, *short, *flags)
    assert_refuses(done, *named)
    assert not output.parent.exists()


def broken(checkpoint, path, value):
    state = torch.load(checkpoint, weights_only=False)
    state["model"]["decoder.layers.0.fc1.weight"][0, 0] = value
    torch.save(state, path)
    return str(path)


def test_a_model_that_is_broken(data, checkpoint, tmp_path):
    for value in (math.nan, math.inf):
        path = broken(checkpoint, tmp_path / "broken.pt", value)
        with refuses(path, "decoder.layers.0.fc1.weight"):
            load_language_model(str(data), path, cpu=True)


def test_text_that_the_dictionary_does_not_know(data, checkpoint, tmp_path):
    """Such as words where it has pieces."""
    (tmp_path / "text").write_text("never seen before\n" * 50 + "w1 w2\n")
    run(
        *("fairseq-preprocess", "--only-source", "--destdir", tmp_path / "bin"),
        *("--testpref", tmp_path / "text", "--srcdict", data / "dict.txt"),
    )
    assert_refuses(evaluate(tmp_path / "bin", "--path", checkpoint), "--split test", 150, 203)


def test_other_ways_of_training(data, tmp_path):
    """Blocks that begin with <s>, and lines instead of blocks."""
    train(
        *(data, tmp_path / "bos", TINY_LANGUAGE_MODEL, "--criterion", "scalegrad"),
        *("--max-update", 2, "--tokens-per-sample", 24, "--add-bos-token"),
    )
    short = ["--prefix-length", 5, "--length", 10, "--json"]
    path = tmp_path / "bos" / "checkpoint_last.pt"
    metrics = json.loads(evaluate(data, "--path", path, *short).stdout)
    assert metrics["tokens"] == 143 and metrics["human_uniq"] == 13
    theirs = ["--mode", "tokens", "--peer-compatible", "--json"]
    metrics = json.loads(evaluate(data, "--path", path, *theirs).stdout)
    # Of 24 positions one is for <s>.
    assert (metrics["tokens_per_sample"], metrics["tokens"]) == (23, 143 // 24 * 23)
    loaded = load_language_model(str(data), str(path), cpu=True)
    read = []
    loaded.model.decoder.register_forward_hook(lambda m, args, out: read.append(args[0]))
    list(complete(loaded, token_rows(loaded, str(data), "test"), replace(SHORT, limit=2)))
    assert all(tokens[:, 0].eq(loaded.dictionary.bos()).all() for tokens in read)
    train(
        *(data, tmp_path / "eos", TINY_LANGUAGE_MODEL, "--criterion", "scalegrad"),
        *("--max-update", 2, "--tokens-per-sample", 24, "--sample-break-mode", "eos"),
    )
    path = tmp_path / "eos" / "checkpoint_last.pt"
    metrics = json.loads(evaluate(data, "--path", path, *short).stdout)
    assert metrics["tokens_per_sample"] is None
    metrics = json.loads(evaluate(data, "--path", path, *theirs).stdout)
    assert (metrics["tokens_per_sample"], metrics["tokens"]) == (24, 143 // 25 * 24)
    done = evaluate(data, "--path", path, *short, "--tokens-per-sample", 9)
    assert_refuses(done, "--tokens-per-sample", 9)

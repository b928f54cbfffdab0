"""Sequence-level unlikelihood against the loop of its definition."""

import math

import pytest
import torch
from criterions.tiny_fairseq import (
    EOS,
    PAD,
    SENTENCES,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from refusals import refuses


def naive_repeats(text, n):
    """Which places of a list lie inside an n-gram that occurred before."""
    seen, inside = set(), set()
    for i in range(len(text) - n + 1):
        ngram = tuple(text[i : i + n])
        if ngram in seen:
            inside.update(range(i, i + n))
        seen.add(ngram)
    return inside


def naive_loss(model, decode, first, length, ends, n):
    """Continue one row greedily and sum its penalties; also the number of tokens."""
    tokens, loss, text = first, 0.0, []
    for _ in range(length):
        logits = decode(tokens)[0][:, -1]
        allowed = logits.detach().clone()
        allowed[:, PAD] = -torch.inf
        if ends and not text:
            allowed[:, EOS] = -torch.inf  # as fairseq's generator: one word at least
        chosen = allowed.argmax(dim=-1)
        others = logits[0].scatter(0, chosen, -torch.inf).logsumexp(-1)
        text.append((int(chosen), others - logits[0].logsumexp(-1)))  # log(1 - p)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        if ends and int(chosen) == EOS:
            break
    for place in naive_repeats([token for token, _ in text], n):
        loss = loss - torch.clamp(text[place][1], min=math.log(1e-20))
    return loss, len(text)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_language_model(n):
    task = tiny_task("language")
    model = tiny_model(task)
    rows = [[5, 6, 5, 7, 6, 9, 9, 4, 10, 11, 12, 13], SENTENCES[0], SENTENCES[1], SENTENCES[3]]
    sample = tiny_sample(task, rows)
    P, L = 3, 7  # the first row has a second stretch, which is too short for no more than a prefix
    criterion = tiny_criterion(
        "sequence_unlikelihood",
        task,
        sequence_rate=1.0,
        sequence_prefix_length=P,
        sequence_completion_length=L,
        sequence_ngram=n,
    )
    loss, sample_size, logged = criterion(model, sample)
    want, prefixes = 0.0, 0
    for row in sample["net_input"]["src_tokens"]:
        for start in range(0, len(row) - P + 1, P + L):
            prefix = row[start : start + P]
            if PAD not in prefix:
                want = want + naive_loss(model, model.decoder, prefix[None], L, False, n)[0]
                prefixes += 1
    assert prefixes == 3  # </s> alone is no prefix
    assert sample_size == logged["generated_tokens"] == prefixes * L
    assert float(loss) > 0
    assert_same(loss, want)
    assert_same(gradients(loss, model), gradients(want, model))
    assert_same(logged["sequence_unlikelihood"], loss.detach())


@pytest.mark.parametrize("chunk", [0, 3])
@pytest.mark.parametrize("reduce", [True, False])
def test_a_loop_that_the_model_is_sure_of(chunk, reduce):
    """In float32, where 1 - p would round to 0: the loss and the gradient of float64."""
    task = tiny_task("language")
    sample = tiny_sample(task, [SENTENCES[0]])
    flags = {"sequence_prefix_length": 3, "sequence_completion_length": 8, "sequence_ngram": 1}
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(1)
        model = tiny_model(task).to(dtype)
        with torch.no_grad():
            model.decoder.output_projection.weight.mul_(6)
        criterion = tiny_criterion(
            "sequence_unlikelihood", task, sequence_rate=1.0, loss_chunk_size=chunk, **flags
        )
        loss, size, _ = criterion(model, sample, reduce=reduce)
        found.append((loss.sum().detach().double(), gradients(loss.sum(), model)))
    assert found[0][0] / size > 16  # p is above 1 - 1e-7 on average
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    largest = max(gradient.norm() for gradient in found[1][1].values())
    for name, gradient in found[1][1].items():
        assert (found[0][1][name] - gradient).norm() <= 1e-5 * largest, name


def model_of_varied_lengths(task, sample, most):
    """One whose translations end here at the end of sentence, there at the limit."""
    for seed in range(100):
        torch.manual_seed(seed)
        model = tiny_model(task)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        flags = {"sequence_max_len_b": most, "sequence_rate": 1.0}
        criterion = tiny_criterion("sequence_unlikelihood", task, **flags)
        _, text = criterion._translate(model, sample)
        lengths = text.ne(PAD).sum(dim=1).tolist()
        if max(lengths) == most and any(5 < length < most for length in lengths):
            return model
    raise AssertionError("no such model")


@pytest.mark.parametrize("limits", [(0.0, 30), (1.5, 20)])
def test_translation(limits):
    task = tiny_task("translation")
    sample = tiny_sample(task)
    model = model_of_varied_lengths(task, sample, 30)
    a, b = limits
    criterion = tiny_criterion(
        "sequence_unlikelihood",
        task,
        sequence_rate=1.0,
        sequence_ngram=2,
        sequence_max_len_a=a,
        sequence_max_len_b=b,
    )
    loss, sample_size, _ = criterion(model, sample)
    want, count, lengths = 0.0, 0, []
    net_input = sample["net_input"]
    for i, length in enumerate(net_input["src_lengths"].tolist()):
        # With its padding: fairseq's attention rounds to float32, differently without.
        source = net_input["src_tokens"][i : i + 1]
        encoded = model.encoder(source, torch.tensor([length]))

        def decode(tokens, encoded=encoded):
            return model.decoder(tokens, encoder_out=encoded)

        most = int(a * length + b)
        penalty, number = naive_loss(model, decode, torch.tensor([[EOS]]), most, True, 2)
        want, count = want + penalty, count + number
        lengths.append((number, most))
    assert any(number < most for number, most in lengths)
    assert any(number == most for number, most in lengths)
    assert sample_size == count
    assert_same(loss, want, rtol=1e-9)
    assert_same(gradients(loss, model), gradients(want, model), rtol=1e-8)


def test_no_row_is_long_enough():
    """A zero that is connected to the model, and the keys of other updates on own text."""
    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task)
    flags = {"sequence_prefix_length": 20, "sequence_completion_length": 4}
    criterion = tiny_criterion("sequence_unlikelihood", task, sequence_rate=1.0, **flags)
    loss, sample_size, logged = criterion(model, sample)
    assert float(loss) == 0 and sample_size == 0
    assert all(float(g.abs().sum()) == 0 for g in gradients(loss, model).values())
    criterion(model, sample)[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    flags["sequence_prefix_length"] = 2
    other = tiny_criterion("sequence_unlikelihood", task, sequence_rate=1.0, **flags)
    assert other(model, sample)[2].keys() == logged.keys()
    type(criterion).reduce_metrics([logged])  # divides by nothing


def test_rows_padded_to_the_length_of_a_prefix():
    """``--pad-to-fixed-length``: wide enough, but of padding."""
    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task, SENTENCES[:2])
    for tensors, name in ((sample["net_input"], "src_tokens"), (sample, "target")):
        tensors[name] = torch.nn.functional.pad(tensors[name], (0, 20), value=PAD)
    flags = {"sequence_prefix_length": 20, "sequence_completion_length": 4}
    criterion = tiny_criterion("sequence_unlikelihood", task, sequence_rate=1.0, **flags)
    loss, sample_size, _ = criterion(model, sample)
    assert float(loss) == 0 and sample_size == 0
    loss.backward()


def test_other_updates_are_the_token_loss():
    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task)
    knobs = {"gamma": 0.4, "label_smoothing": 0.1}
    criterion = tiny_criterion("sequence_unlikelihood", task, sequence_rate=0.0, **knobs)
    want = tiny_criterion("scalegrad", task, **knobs)(model, sample)
    got = criterion(model, sample)
    assert torch.equal(got[0], want[0]) and got[1] == want[1]


def test_what_is_logged():
    from fairseq.logging import metrics

    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task)
    flags = {"sequence_prefix_length": 2, "sequence_completion_length": 9, "sequence_ngram": 1}
    criterion = tiny_criterion("sequence_unlikelihood", task, sequence_rate=1.0, **flags)
    loss, size, logged = criterion(model, sample)
    with metrics.aggregate() as figures:
        type(criterion).reduce_metrics([logged, logged])
    values = figures.get_smoothed_values()
    per_token = float(loss) / int(size) / math.log(2)
    assert values["sequence_unlikelihood"] == pytest.approx(per_token, abs=1e-4)
    assert values["loss"] == pytest.approx(per_token, abs=1e-3)
    assert values["repeated_tokens"] == pytest.approx(
        int(logged["repeated_tokens"]) / int(size), abs=1e-4
    )
    assert "nll_loss" not in values  # it is of gold text, which this update did not read


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"sequence_rate": -0.1}, ("--sequence-rate", -0.1)),
        ({"sequence_ngram": 0}, ("--sequence-ngram", 0)),
        ({"sequence_completion_length": 0}, ("--sequence-completion-length", 0)),
        ({"sequence_prefix_length": 0}, ("--sequence-prefix-length", 0)),
        ({"sequence_max_len_a": -1.0}, ("--sequence-max-len-a", -1.0)),
        ({"sequence_max_len_b": 0}, ("--sequence-max-len-b", 0)),
        ({"sequence_prefix_length": 32}, ("--sequence-prefix-length", "--tokens-per-sample", 32)),
        ({"sequence_prefix_length": 20}, (119, 32)),
    ],
)
def test_values_out_of_range(flags, named):
    task = tiny_task("language")
    task.args.tokens_per_sample = 32
    with refuses(*named, error=ValueError):
        tiny_criterion("sequence_unlikelihood", task, **flags)

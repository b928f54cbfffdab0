"""Minimum risk against the loop of its definition."""

import math

import pytest
import torch
from criterions.tiny_fairseq import (
    EOS,
    PAD,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from refusals import refuses

from genft_fairseq.generation import candidates as candidates_module
from genft_fairseq.generation.rewards import REWARDS, rewards

SHORT = {"risk_max_len_a": 1.0, "risk_max_len_b": 3}


@pytest.fixture
def parts():
    task = tiny_task("translation")
    return task, tiny_model(task), tiny_sample(task)


@pytest.fixture
def seen_candidates(monkeypatch):
    """The (B, K, L) candidates that a criterion drew."""
    found = []
    original = candidates_module.sample_candidates

    def spy(*args, **kwargs):
        found.append(original(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr("genft_fairseq.criterions.minimum_risk.sample_candidates", spy)
    return found


def naive_risk(model, sample, drawn, alpha, reward, task, gold=False):
    """The sum of risks over the sources, one candidate at a time."""
    net_input, total = sample["net_input"], 0.0
    for i, length in enumerate(net_input["src_lengths"].tolist()):
        source = net_input["src_tokens"][i : i + 1, -length:]
        texts = [[t for t in row.tolist() if t != PAD] for row in drawn[i]]
        target = [t for t in sample["target"][i].tolist() if t != PAD]
        texts += [target] if gold else []
        texts = [text for k, text in enumerate(texts) if text not in texts[:k]]
        scores, costs = [], []
        for text in texts:
            tokens = torch.tensor([[EOS, *text[:-1]]])
            encoded = model.encoder(source, torch.tensor([length]))
            lprobs = model.decoder(tokens, encoder_out=encoded)[0][0].log_softmax(-1)
            scores.append(alpha * sum(lprobs[t, token] for t, token in enumerate(text)))
            row = (torch.tensor([text]), torch.tensor([target]), torch.tensor([0]))
            costs.append(1 - float(rewards(reward, *row, task.target_dictionary, "@@ ")))
        q = torch.stack(scores).softmax(0)
        total = total + (q * torch.tensor(costs, dtype=torch.float64)).sum()
    return total


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("flags", [{}, {"risk_include_gold": True, "risk_chunk_size": 3}])
def test_equals_the_loop(parts, seen_candidates, reward, flags):
    task, model, sample = parts
    settings = {
        "risk_temperature": 9.0,
        "risk_alpha": 0.3,
        "risk_weight": 0.6,
        "risk_reward": reward,
        **SHORT,
        **flags,
    }
    knobs = {"label_smoothing": 0.1, "gamma": 0.5}
    criterion = tiny_criterion("minimum_risk", task, **settings, **knobs)
    torch.manual_seed(3)
    loss, sample_size, logged = criterion(model, sample)
    gold = "risk_include_gold" in flags
    risk = naive_risk(model, sample, seen_candidates[0], 0.3, reward, task, gold)
    token_loss = tiny_criterion("scalegrad", task, **knobs)(model, sample)[0]
    ratio = sample["ntokens"] / len(sample["target"])
    want = 0.4 * token_loss + 0.6 * ratio * risk
    assert sample_size == sample["ntokens"]
    assert_same(loss, want)
    assert_same(gradients(loss, model), gradients(want, model), rtol=1e-8)
    assert_same(logged["risk"], risk.detach())
    assert logged["candidates"] > 3 * len(sample["target"])


def test_per_sentence(parts, seen_candidates):
    task, model, sample = parts
    criterion = tiny_criterion("minimum_risk", task, True, risk_weight=1.0, risk_alpha=0.2, **SHORT)
    loss, sample_size, _ = criterion(model, sample)
    assert sample_size == len(sample["target"])
    assert_same(loss, naive_risk(model, sample, seen_candidates[0], 0.2, "bleu", task))


def test_candidates_hang_on_the_sentence_not_on_the_batch(parts, seen_candidates):
    task, model, sample = parts
    flags = {"risk_candidates": 4, "risk_temperature": 9.0}
    criterion = tiny_criterion("minimum_risk", task, **flags, **SHORT)
    torch.manual_seed(3)
    criterion(model, sample)
    alone = tiny_sample(task, [[4, 4, 4, EOS]])
    alone["id"] = torch.tensor([2])  # its place in the whole
    criterion(model, alone)
    together, one = (
        [[t for t in row.tolist() if t != PAD] for row in rows]
        for rows in (seen_candidates[0][2], seen_candidates[1][0])
    )
    assert together == one
    assert len({tuple(row) for row in one}) > 1


def test_beam_candidates_are_fairseqs(parts):
    task, model, sample = parts
    from fairseq.sequence_generator import SequenceGenerator

    model.train()
    modes = [part.training for part in model.modules()]
    found = candidates_module.beam_candidates(model, sample, 3, task.target_dictionary, 1.0, 3)
    assert [part.training for part in model.modules()] == modes
    generator = SequenceGenerator(
        [model], task.target_dictionary, beam_size=3, max_len_a=1.0, max_len_b=3
    )
    for row, hypotheses in zip(found, generator.generate([model], sample), strict=True):
        texts = [text[text != PAD].tolist() for text in row]
        assert texts == [hypothesis["tokens"].tolist() for hypothesis in hypotheses]
    criterion = tiny_criterion("minimum_risk", task, risk_search="beam", **SHORT)
    model.train()
    assert math.isfinite(float(criterion(model, sample)[0]))
    assert [part.training for part in model.modules()] == modes


def test_validation_and_weight_0_are_the_token_loss(parts):
    task, model, sample = parts
    want = tiny_criterion("scalegrad", task, gamma=0.5)(model, sample)[0]
    without = tiny_criterion("minimum_risk", task, gamma=0.5, risk_weight=0.0)
    assert torch.equal(without(model, sample)[0], want)
    criterion = tiny_criterion("minimum_risk", task, gamma=0.5).eval()
    model.eval()
    assert torch.equal(criterion(model, sample)[0], want)


def test_nothing_of_the_model_is_kept_in_the_criterion(parts):
    """What a criterion holds lands in every checkpoint."""
    task, model, sample = parts
    for search in ("sampling", "beam"):
        criterion = tiny_criterion("minimum_risk", task, risk_search=search, **SHORT)
        criterion(model, sample)
        assert criterion.state_dict() == {}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"risk_candidates": 0}, ("--risk-candidates", 0)),
        ({"risk_alpha": 0.0}, ("--risk-alpha", 0.0)),
        ({"risk_weight": 1.1}, ("--risk-weight", 1.1)),
        ({"risk_chunk_size": -1}, ("--risk-chunk-size", -1)),
        ({"risk_max_len_a": math.inf}, ("--risk-max-len-a", "inf")),
        ({"risk_max_len_b": 0}, ("--risk-max-len-b", 0)),
        ({"risk_temperature": 0.0}, ("--risk-temperature", 0.0)),
        ({"risk_search": "beam", "risk_top_k": 4}, ("--risk-top-k", 4, "--risk-search", "beam")),
    ],
)
def test_values_out_of_range(flags, named):
    with refuses(*named, error=ValueError):
        tiny_criterion("minimum_risk", tiny_task("translation"), **flags)


def test_a_language_model_has_no_source():
    with refuses("--criterion minimum_risk", "--task", error=ValueError):
        tiny_criterion("minimum_risk", tiny_task("language"))

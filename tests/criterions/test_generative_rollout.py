"""Rollout and parallel replay against unrolling the decoder under autograd."""

import pytest
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    SENTENCES,
    assert_same,
    gradients,
    reference_loss,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from refusals import refuses

from genft_fairseq.generation.sampling import Search, choose_tokens
from genft_fairseq.generation.stateless_rng import uniform

SAMPLING = {
    "rollout_search": "sampling",
    "rollout_temperature": 1.5,
    "rollout_top_k": 9,
    "rollout_top_p": 0.95,
}


def unrolled_logits(model, sample, prefix_length, search):
    """(B, T, V): one call of the decoder a token, everything with gradient."""
    net_input = sample["net_input"]
    keywords = {}
    if "prev_output_tokens" in net_input:
        gold = net_input["prev_output_tokens"]
        keywords["encoder_out"] = model.encoder(net_input["src_tokens"], net_input["src_lengths"])
    else:
        gold = net_input["src_tokens"]
    tokens, steps = gold[:, :prefix_length], []
    for position in range(prefix_length, gold.size(1) + 1):
        logits = model.decoder(tokens, **keywords)[0]
        steps.append(logits if not steps else logits[:, -1:])
        last = logits[:, -1].detach().clone()
        last[:, PAD] = -torch.inf
        draws = uniform(torch.initial_seed(), sample["id"], torch.zeros(len(gold)).long(), position)
        chosen = choose_tokens(last, search, draws)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
    assert not torch.equal(tokens[:, :-1], gold)
    return torch.cat(steps, dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("search", [{}, SAMPLING], ids=["greedy", "sampling"])
@pytest.mark.parametrize("prefix", [1, 3])
@pytest.mark.parametrize(
    "knobs", [{}, {"label_smoothing": 0.1, "gamma": 0.3, "unlikelihood_alpha": 0.7}]
)
def test_equals_unrolling_under_autograd(kind, search, prefix, knobs):
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    flags = {"rollout_rate": 1.0, "rollout_prefix_length": prefix, **search, **knobs}
    criterion = tiny_criterion("generative_rollout", task, **flags)
    torch.manual_seed(11)
    loss, sample_size, logged = criterion(model, sample)

    chosen_by = Search()
    if search:
        chosen_by = Search(sampling=True, temperature=1.5, top_k=9, top_p=0.95)
    logits = unrolled_logits(model, sample, prefix, chosen_by)
    reference = {"alpha" if k.startswith("unl") else k: v for k, v in knobs.items()}
    want = reference_loss(logits, sample["target"], **reference).sum()
    assert_same(loss, want)
    assert_same(gradients(loss, model), gradients(want, model))
    assert sample_size == sample["ntokens"] == logged["rollout_tokens"]
    plain = reference_loss(logits, sample["target"]).sum()
    assert_same(logged["rollout_nll_loss"], plain.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_other_updates_and_validation_are_the_token_loss(kind):
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    token_loss = tiny_criterion("scalegrad", task, gamma=0.3)
    want = token_loss(model, sample)[0]
    never = tiny_criterion("generative_rollout", task, gamma=0.3, rollout_rate=0.0)
    assert torch.equal(never(model, sample)[0], want)
    always = tiny_criterion("generative_rollout", task, gamma=0.3, rollout_rate=1.0)
    assert not torch.equal(always(model, sample)[0], want)
    model.eval()
    always.eval()
    assert torch.equal(always(model, sample)[0], want)


def test_the_kind_of_an_update_hangs_on_the_seed_alone():
    task = tiny_task("translation")
    model = tiny_model(task)
    criterion = tiny_criterion("generative_rollout", task, rollout_rate=0.3)

    def kind(seed, sentences, moved):
        torch.manual_seed(seed)
        torch.rand(moved)  # what dropout does to the stream
        return criterion(model, tiny_sample(task, sentences))[2].get("own_text", 0)

    kinds = [kind(seed, SENTENCES[:1], 5) for seed in range(100)]
    assert 0.2 < sum(kinds) / 100 < 0.4
    assert kinds[:20] == [kind(seed, SENTENCES, 0) for seed in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_hangs_on_the_sentence_not_on_the_batch(kind):
    """Each sentence alone costs what it costs in a batch of longer and shorter ones."""
    task = tiny_task(kind)
    model = tiny_model(task)
    criterion = tiny_criterion("generative_rollout", task, rollout_rate=1.0, **SAMPLING)
    torch.manual_seed(5)
    together = criterion(model, tiny_sample(task))[0]
    alone = 0.0
    for number, sentence in enumerate(SENTENCES):
        sample = tiny_sample(task, [sentence])
        sample["id"] = torch.tensor([number])
        alone = alone + criterion(model, sample)[0]
    assert_same(together, alone)


def test_the_encoder_runs_once_and_every_mode_is_restored():
    task = tiny_task("translation")
    model, sample = tiny_model(task, dropout=0.1), tiny_sample(task)
    model.train()
    model.decoder.layers[0].eval()  # as one freezes a part
    modes = [part.training for part in model.modules()]
    calls, rolled = [], []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    model.decoder.register_forward_hook(lambda part, *_: rolled.append(part.training))
    criterion = tiny_criterion("generative_rollout", task, rollout_rate=1.0)
    criterion(model, sample)
    assert calls == [1]
    # Free running without dropout; the replay, which is the call outside all others, with it.
    assert rolled == [False] * (sample["target"].size(1) - 1) + [True]
    assert [part.training for part in model.modules()] == modes

    def broken(*_):
        raise KeyError("on the way")

    handle = model.decoder.output_projection.register_forward_hook(broken)
    with pytest.raises(KeyError):
        criterion(model, sample)
    handle.remove()
    assert [part.training for part in model.modules()] == modes
    criterion(model, sample)  # nothing was left behind


def test_a_first_end_of_sentence_goes_on():
    """A model that always says </s>: it is read again, and every position is scored."""
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    read = []
    model.decoder.embed_tokens.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    criterion = tiny_criterion("generative_rollout", task, rollout_rate=1.0)
    model.decoder.output_layer = lambda x: (
        torch.nn.functional.one_hot(torch.full(x.shape[:2], 2), 15).double() + 0 * x.sum()
    )
    loss, _, _ = criterion(model, sample)
    replayed = read[-1]
    gold = sample["net_input"]["prev_output_tokens"]
    assert torch.equal(replayed, torch.where(gold == PAD, gold, 2))
    per_token = -torch.nn.functional.one_hot(torch.tensor(2), 15).double().log_softmax(-1)
    assert_same(loss, per_token[sample["target"][sample["target"] != PAD]].sum())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"rollout_rate": 1.5}, ("--rollout-rate", 1.5)),
        ({"rollout_rate": float("nan")}, ("--rollout-rate", "nan")),
        ({"rollout_prefix_length": 0}, ("--rollout-prefix-length", 0)),
        ({"rollout_top_k": 3}, ("--rollout-top-k", 3, "--rollout-search")),
        ({"rollout_search": "sampling", "rollout_top_p": 0.0}, ("--rollout-top-p", 0.0)),
        ({"gamma": 0.0}, ("--gamma", 0.0)),
    ],
)
def test_values_out_of_range(flags, named):
    with refuses(*named, error=ValueError):
        tiny_criterion("generative_rollout", tiny_task("translation"), **flags)


def test_a_prefix_as_long_as_the_block():
    task = tiny_task("language")
    task.args.tokens_per_sample = 16
    tiny_criterion("generative_rollout", task, rollout_prefix_length=15)
    with refuses("--rollout-prefix-length", "--tokens-per-sample 16", error=ValueError):
        tiny_criterion("generative_rollout", task, rollout_prefix_length=16)


def test_targets_padded_on_the_left():
    task = tiny_task("translation")
    task.cfg.left_pad_target = True
    with refuses("--left-pad-target", error=ValueError):
        tiny_criterion("generative_rollout", task)

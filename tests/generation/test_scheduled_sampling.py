"""Mixed inputs against passes built by hand: tokens, loss and gradient, in float64."""

import math
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from criterions.tiny_fairseq import (
    EOS,
    KINDS,
    PAD,
    SENTENCES,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from torch import nn

from genft_fairseq.functional.token_mixing import GoldSchedule
from genft_fairseq.generation.decoder_input import replaced_decoder_input
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.scheduled_sampling import MIXES, Mixing, input_replacement
from genft_fairseq.generation.stateless_rng import Purpose, sentence_ids, uniform

KNOBS = {"label_smoothing": 0.1, "gamma": 0.3, "unlikelihood_alpha": 0.5}
ALL = GoldSchedule("constant", 0.0)  # every input is the model's own
HALF = GoldSchedule("constant", 0.5)
LOW, HIGH = 0.04, 0.12  # bounds of the schedule confidence
INPUT = {"translation": "prev_output_tokens", "language": "src_tokens"}


def moderate_model(task):
    """Probabilities between a hundredth and a third, so that every choice and bound has cases."""
    model = tiny_model(task)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(3)
    return model


@pytest.fixture(params=KINDS)
def world(request):
    torch.manual_seed(3)
    task = tiny_task(request.param)
    sample = tiny_sample(task)
    return SimpleNamespace(
        task=task,
        model=moderate_model(task),
        sample=sample,
        name=INPUT[request.param],
        gold=sample["net_input"][INPUT[request.param]],
        criterion=tiny_criterion("scalegrad", task, **KNOBS),
    )


# --- by hand -------------------------------------------------------------------------------------


def on(world, tokens):
    """The sample with other tokens for the decoder to read."""
    return {**world.sample, "net_input": {**world.sample["net_input"], world.name: tokens}}


def pass_by_hand(world, tokens):
    with torch.no_grad():
        return world.model(**on(world, tokens)["net_input"])[0]


def kept_by_hand(world, eps):
    """Gold where the token's own draw is below eps, at the row's first token and at padding."""
    B, T = world.gold.shape
    kept = torch.ones(B, T, dtype=torch.bool)
    for b in range(B):
        started = False
        for t in range(T):
            if world.gold[b, t] == PAD:
                continue
            place = (world.sample["id"][b], t, int(Purpose.GOLD_OR_MODEL))
            kept[b, t] = not started or bool(uniform(torch.initial_seed(), *place) < eps)
            started = True
    return kept


def mixed_by_hand(gold, logits, kept):
    """What is most probable at t, padding apart, is read at t + 1."""
    mixed = gold.clone()
    for b in range(gold.size(0)):
        for t in range(1, gold.size(1)):
            if not kept[b, t]:
                row = logits[b, t - 1].tolist()
                mixed[b, t] = max((p, -v) for v, p in enumerate(row) if v != PAD)[1] * -1
    return mixed


@contextmanager
def recorded(model):
    """What the decoder reads in each of its passes, and whether that pass is differentiated."""
    decoder, passes = model.decoder, []
    forward = decoder.forward

    def recording(prev_output_tokens, *args, **kwargs):
        passes.append((prev_output_tokens, torch.is_grad_enabled()))
        return forward(prev_output_tokens, *args, **kwargs)

    decoder.forward = recording
    try:
        yield passes
    finally:
        del decoder.forward


def replacement(mixing, world, update=0):
    return input_replacement(mixing, world.sample["id"], update, world.sample["target"])


def trained(world, mixing, update=0):
    """The criterion's loss on mixed inputs, and what the decoder read."""
    with (
        replaced_decoder_input(world.model, replacement(mixing, world, update)),
        recorded(world.model) as passes,
    ):
        loss = world.criterion(world.model, world.sample)[0]
    return loss, passes


def assert_same_training(world, loss, tokens):
    """The loss and every gradient are those of ordinary training on these tokens."""
    want = world.criterion(world.model, on(world, tokens))[0]
    assert_same(loss, want)
    assert_same(gradients(loss, world.model), gradients(want, world.model))


def fake_call(tokens, logits):
    """A decoder that says the same of whatever it reads."""
    model = SimpleNamespace(get_normalized_probs=lambda net_output, log_probs: net_output)
    return SimpleNamespace(
        tokens=tokens, model=model, reading=lambda given: nullcontext(logits.clone)
    )


# --- the equalities ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_memorised_sequence_comes_back_unshifted(kind):
    """Prediction t is read at t + 1: shifted otherwise, gold would not come back."""
    torch.manual_seed(1)
    task = tiny_task(kind)
    model = moderate_model(task)
    # Of a language model one sentence only: nothing tells it with which token another begins.
    sentences = SENTENCES if kind == "translation" else SENTENCES[-1:]
    sample = tiny_sample(task, sentences)
    criterion = tiny_criterion("cross_entropy", task)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = criterion(model, sample)[0]
        loss.backward()
        optimizer.step()
    assert loss < 1
    gold = sample["net_input"][INPUT[kind]]
    for passes in (1, 3):
        mixing = Mixing(PAD, ALL, passes=passes)
        replace = input_replacement(mixing, sample["id"], 0, sample["target"])
        with replaced_decoder_input(model, replace), recorded(model) as read:
            criterion(model, sample)
        assert len(read) == passes + 1
        assert all(torch.equal(tokens, gold) for tokens, _ in read)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(
    ("schedule", "update"),
    [
        (GoldSchedule("constant", 1.0), 0),
        (GoldSchedule("linear", k=2.0, c=0.1), 10),
        (GoldSchedule("exponential", k=0.5), 0),
        (GoldSchedule("decoding_step", 0.3), 5),  # of a single position, which is the first
        (GoldSchedule("composite", 0.3, k=0.5), 0),
        (GoldSchedule("inverse_composite", 0.3, k=0.5), 0),
    ],
)
def test_all_gold_is_ordinary_training(schedule, update, mix):
    """Nothing is put in the decoder's way: no pass, no draw, no hook."""
    target = torch.full((3, 1 if schedule.name == "decoding_step" else 6), 5)
    mixing = Mixing(PAD, schedule, mix, passes=2)
    assert input_replacement(mixing, torch.arange(3), update, target) is None


@pytest.mark.parametrize(
    ("schedule", "update"),
    [
        (GoldSchedule("constant", 1 - 1e-12), 0),
        (GoldSchedule("linear", k=2.0, c=0.1), 11),
        (GoldSchedule("exponential", k=0.5), 1),
        (GoldSchedule("decoding_step", 0.3), 0),
        (GoldSchedule("composite", 0.3, k=0.5), 1),
        (GoldSchedule("inverse_composite", 0.3, k=0.5), 1),
        (GoldSchedule("confidence"), 0),
    ],
)
def test_any_chance_of_something_else_is_taken(schedule, update):
    target = torch.full((3, 6), 5)
    assert input_replacement(Mixing(PAD, schedule), torch.arange(3), update, target) is not None


def test_one_pass_equals_a_second_pass_by_hand(world):
    """eps = 0: every input but the first is the argmax of the pass on gold."""
    nothing = kept_by_hand(world, 0.0)
    mixed = mixed_by_hand(world.gold, pass_by_hand(world, world.gold), nothing)
    loss, passes = trained(world, Mixing(PAD, ALL))
    assert [grad for _, grad in passes] == [False, True]
    assert torch.equal(passes[0][0], world.gold)
    assert torch.equal(passes[1][0], mixed)
    assert (mixed != world.gold)[~nothing].any()
    assert_same_training(world, loss, mixed)


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("schedule", [ALL, HALF, GoldSchedule("decoding_step", 0.7)])
def test_passes_equal_passes_by_hand(schedule, number, world):
    """Each reads what the one before wrote; the gold tokens are the same in all of them."""
    eps = schedule.at(0, world.gold.size(1))
    kept = kept_by_hand(world, 0.0) | (draws_of(world) < eps)
    want = [world.gold]
    for _ in range(number):
        want.append(mixed_by_hand(world.gold, pass_by_hand(world, want[-1]), kept))
    loss, passes = trained(world, Mixing(PAD, schedule, passes=number))
    assert len(passes) == len(want)
    for (tokens, _), by_hand in zip(passes, want, strict=True):
        assert torch.equal(tokens, by_hand)
    assert [grad for _, grad in passes] == [False] * number + [True]
    assert_same_training(world, loss, want[-1])


def draws_of(world):
    positions = torch.arange(world.gold.size(1))
    place = (world.sample["id"][:, None], positions, int(Purpose.GOLD_OR_MODEL))
    return uniform(torch.initial_seed(), *place)


def test_half_the_tokens_are_gold_and_stay_so(world):
    kept = kept_by_hand(world, 0.5)
    free = ~kept_by_hand(world, 0.0)
    assert kept[free].any() and not kept[free].all()
    _, passes = trained(world, Mixing(PAD, HALF, passes=4))
    for tokens, _ in passes:
        assert torch.equal(tokens[kept], world.gold[kept])
    changed = torch.stack([tokens != world.gold for tokens, _ in passes[1:]]).any(dim=0)
    assert changed[~kept].any()


def test_the_encoder_runs_once():
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    replace = input_replacement(Mixing(PAD, ALL, passes=3), sample["id"], 0, sample["target"])
    with replaced_decoder_input(model, replace), recorded(model) as passes:
        tiny_criterion("scalegrad", task)(model, sample)
    assert len(calls) == 1 and len(passes) == 4


@pytest.mark.parametrize("mix", MIXES)
def test_padding_and_the_first_token_are_never_replaced_nor_predicted(mix, world):
    """By a model that would write padding everywhere."""
    mixing = Mixing(PAD, ALL, mix, passes=2)
    logits = torch.full((*world.gold.shape, 15), -1e3, dtype=torch.float64)
    logits[..., PAD], logits[..., 7] = 1e3, 5e2
    weight = torch.eye(15, dtype=torch.float64)
    call = fake_call(world.gold, logits)
    call.model.decoder = SimpleNamespace(embed_tokens=nn.Embedding(15, 15))
    call.model.decoder.embed_tokens.weight.data = weight
    given = replacement(mixing, world)(call)
    free = torch.zeros_like(world.gold, dtype=torch.bool)
    free[:, 1:] = world.gold[:, 1:] != PAD
    if mix == "expected_embedding":
        assert torch.equal(given.tokens, world.gold)
        assert torch.equal(given.kept, ~free)
        assert (given.embeddings[free] == weight[7]).all()
    else:
        assert torch.equal(given.tokens, torch.where(free, 7, world.gold))


# --- draws ---------------------------------------------------------------------------------------


def mixings():
    for schedule in (HALF, GoldSchedule("confidence")):
        for mix in ("argmax", "sample"):
            yield pytest.param(
                Mixing(PAD, schedule, mix, 2, gold_below=LOW, random_above=HIGH),
                id=f"{schedule.name}-{mix}",
            )


@pytest.mark.parametrize("mixing", mixings())
@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_reads_the_same_alone_and_in_a_batch(kind, mixing):
    """Whatever stands beside it, and on whichever process: the seed is the same on all of them."""
    torch.manual_seed(5)
    task = tiny_task(kind)
    model = moderate_model(task)
    criterion = tiny_criterion("scalegrad", task)

    def read(rows):
        sample = tiny_sample(task, [SENTENCES[row] for row in rows])
        # The collater sorts translations by length, and numbers them by their place.
        ids = sample["id"] if kind == "translation" else torch.arange(len(rows))
        sample["id"] = torch.tensor([100 + rows[i] for i in ids])
        replace = input_replacement(mixing, sample["id"], 9, sample["target"])
        with replaced_decoder_input(model, replace), recorded(model) as passes:
            criterion(model, sample)
        by_row = zip(sample["id"].tolist(), passes[-1][0].tolist(), strict=True)
        return {name: [token for token in row if token != PAD] for name, row in by_row}

    together = read([0, 1, 2, 3])
    assert len(together) == 4
    assert {**read([3, 1]), **read([2]), **read([0])} == together
    assert read([2, 0, 3]) == {name: together[name] for name in (102, 100, 103)}
    gold = {100 + i: [EOS, *row[:-1]] for i, row in enumerate(SENTENCES)}
    assert together != gold
    torch.manual_seed(6)  # of another update
    assert read([0, 1, 2, 3]) != together


@pytest.mark.parametrize(
    "schedule", [HALF, GoldSchedule("decoding_step", 0.8), GoldSchedule("confidence")]
)
def test_padding_on_the_left_moves_no_draw(schedule):
    """The same sentence with padding on its left, on its right and without."""
    text = torch.tensor([2, *range(4, 14)])
    logits = 3 * torch.randn(11, 15, generator=torch.Generator().manual_seed(1))
    read = []
    for left, right in ((0, 0), (3, 0), (0, 3), (2, 1)):
        tokens = nn.functional.pad(text, (left, right), value=PAD)[None]
        padded = nn.functional.pad(logits, (0, 0, left, right))[None]
        mixing = Mixing(PAD, schedule, gold_below=0.02, random_above=0.2)
        target = nn.functional.pad(torch.tensor([*range(4, 14), 2]), (left, right), value=PAD)
        replace = input_replacement(mixing, torch.tensor([7]), 5, target[None])
        given = replace(fake_call(tokens, padded)).tokens
        read.append(given[0, left : left + 11].tolist())
    assert all(row == read[0] for row in read)
    assert read[0] != text.tolist()


def test_rows_without_an_id_get_one():
    """``--pad-to-fixed-bsz`` adds empty rows to a batch, but no ids."""
    sample = {"id": torch.tensor([5, 9]), "target": torch.ones(4, 3)}
    assert sentence_ids(sample).tolist() == [5, 9, -1, -1]


@pytest.mark.parametrize("mixing", mixings())
def test_draws_are_of_the_seed_and_not_of_the_stream(mixing, world):
    """As after a resume: the seed is set again, but dropout has advanced the stream or not."""
    torch.manual_seed(11)
    first = trained(world, mixing)[1][-1][0]
    state = torch.get_rng_state()
    torch.rand(17)
    assert torch.equal(trained(world, mixing)[1][-1][0], first)
    torch.manual_seed(11)
    assert torch.equal(torch.get_rng_state(), state)  # and they do not advance it
    torch.manual_seed(12)
    assert not torch.equal(trained(world, mixing)[1][-1][0], first)


def test_one_draw_a_token_whatever_the_probability(world):
    """What is gold at a low eps is gold at every higher one."""
    before = kept_by_hand(world, 0.0)
    for eps in (0.2, 0.5, 0.8):
        _, passes = trained(world, Mixing(PAD, GoldSchedule("constant", eps)))
        kept = kept_by_hand(world, eps)
        assert (kept | ~before).all()
        assert torch.equal(passes[-1][0][kept], world.gold[kept])
        before = kept


BIG = torch.cat([torch.full((3000, 1), EOS), torch.full((3000, 7), 5)], dim=1)


def big_read(mixing, logits=None, update=0):
    """Of 3000 sentences: what they read, if every prediction is 3 unless told otherwise."""
    if logits is None:
        logits = torch.zeros(15)
        logits[3] = 50.0
    replace = input_replacement(mixing, torch.arange(3000), update, BIG)
    return replace(fake_call(BIG, logits.expand(*BIG.shape, 15))).tokens


@pytest.mark.parametrize(
    ("schedule", "update"),
    [
        (GoldSchedule("constant", 0.3), 0),
        (GoldSchedule("linear", k=1.0, c=0.01), 40),
        (GoldSchedule("inverse_sigmoid", k=5.0), 9),
        (GoldSchedule("decoding_step", 0.8), 0),
        (GoldSchedule("composite", 0.8, k=0.9), 10),
    ],
)
def test_the_share_of_gold_follows_the_schedule(schedule, update):
    gold = big_read(Mixing(PAD, schedule), update=update).eq(5).double().mean(dim=0)
    want = schedule.at(update, 8)
    assert (gold[1:] - want[1:]).abs().max() < 0.04


def test_samples_have_the_models_distribution_without_padding():
    logits = torch.randn(15)
    logits[PAD] = 3.0
    mixing = Mixing(PAD, ALL, "sample", search=Search(True, temperature=0.7))
    tokens = big_read(mixing, logits)[:, 1:]
    logits[PAD] = -torch.inf
    shares = torch.bincount(tokens.flatten(), minlength=15) / tokens.numel()
    assert (shares - (logits / 0.7).softmax(-1)).abs().max() < 0.015
    narrow = big_read(Mixing(PAD, ALL, "sample", search=Search(True, top_k=2)), logits)[:, 1:]
    assert set(narrow.flatten().tolist()) == set(logits.topk(2).indices.tolist())


def test_whether_and_what_are_drawn_apart():
    """Else the tokens that replace gold would come from one half of the distribution."""
    logits = torch.full((15,), -torch.inf)
    logits[[7, 8]] = 0.0
    tokens = big_read(Mixing(PAD, HALF, "sample"), logits)[:, 1:]
    replaced = tokens[tokens != 5]
    assert abs(len(replaced) / tokens.numel() - 0.5) < 0.02
    assert abs(replaced.eq(7).double().mean() - 0.5) < 0.02
    # And each pass draws anew.
    again = big_read(Mixing(PAD, HALF, "sample", passes=2), logits)[:, 1:]
    assert torch.equal(again != 5, tokens != 5)
    agree = (again == tokens)[tokens != 5].double().mean()
    assert abs(agree - 0.5) < 0.02


# --- what replaces gold --------------------------------------------------------------------------


def test_samples_train_as_tokens_do(world):
    """The gradient does not pass through the choice."""
    loss, passes = trained(world, Mixing(PAD, HALF, "sample"))
    mixed = passes[-1][0]
    argmax = trained(world, Mixing(PAD, HALF))[1][-1][0]
    assert not torch.equal(mixed, argmax)
    assert [grad for _, grad in passes] == [False, True]
    assert_same_training(world, loss, mixed)


def test_cold_samples_are_the_argmax(world):
    cold = Mixing(PAD, HALF, "sample", 2, Search(True, temperature=1e-6))
    want = trained(world, Mixing(PAD, HALF, passes=2))[1]
    for (got, _), (tokens, _) in zip(trained(world, cold)[1], want, strict=True):
        assert torch.equal(got, tokens)


class Embedded(nn.Module):
    """Stands in for the embedding matrix: these vectors, but gold's own where that is kept."""

    def __init__(self, own, vectors, kept):
        super().__init__()
        self.own, self.vectors, self.kept = own, vectors, kept

    def forward(self, tokens):
        return torch.where(self.kept[..., None], self.own(tokens), self.vectors)


def expected_by_hand(world, mixing, kept):
    """The loss after passes that each read the average embedding of the one before."""
    decoder = world.model.decoder
    own = decoder.embed_tokens
    net_input = world.sample["net_input"]
    try:
        for _ in range(mixing.passes):
            logits = world.model(**net_input)[0]
            rows = []
            for b in range(logits.size(0)):
                row = [torch.zeros(8, dtype=torch.float64)]
                for t in range(logits.size(1) - 1):
                    weights = [
                        (logits[b, t, v] / mixing.search.temperature).exp() * (v != PAD)
                        for v in range(15)
                    ]
                    probs = torch.stack(weights) / sum(weights)
                    probs = probs if mixing.gradient else probs.detach()
                    row.append((probs[:, None] * own.weight).sum(dim=0))
                rows.append(torch.stack(row))
            decoder.embed_tokens = Embedded(own, torch.stack(rows), kept)
        return world.criterion(world.model, world.sample)[0]
    finally:
        decoder.embed_tokens = own


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("passes", [1, 2])
def test_expected_embeddings_equal_a_slow_loop(passes, gradient, world):
    search = Search(True, temperature=0.8)
    mixing = Mixing(PAD, HALF, "expected_embedding", passes, search, gradient)
    loss, read = trained(world, mixing)
    assert [grad for _, grad in read] == [gradient] * passes + [True]
    want = expected_by_hand(world, mixing, kept_by_hand(world, 0.5))
    assert_same(loss, want)
    parameters = dict(world.model.named_parameters())
    got = gradients(loss, world.model)
    by_hand = torch.autograd.grad(want, list(parameters.values()), allow_unused=True)
    for name, theirs in zip(parameters, by_hand, strict=True):
        assert_same(got[name], 0 * got[name] if theirs is None else theirs)


def test_the_whole_gradient_of_expected_embeddings_is_the_derivative(world):
    """Against finite differences; the shorter gradient is another one."""
    parameters = list(world.model.parameters())
    whole = Mixing(PAD, HALF, "expected_embedding", gradient=True)

    def gradient(mixing):
        return list(gradients(trained(world, mixing)[0], world.model).values())

    # Along what the gradient has more than the detached one: it is there that they differ most.
    mine, detached = gradient(whole), gradient(Mixing(PAD, HALF, "expected_embedding"))
    direction = [g - d for g, d in zip(mine, detached, strict=True)]
    length = math.sqrt(sum(float((d * d).sum()) for d in direction))
    direction = [d / length for d in direction]

    def slope(gradient):
        return sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))

    def loss_at(step):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(d, alpha=step)
            loss = trained(world, whole)[0].item()
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.sub_(d, alpha=step)
        return loss

    h = 1e-3  # fairseq's attention softmax is computed in float32, whatever the model
    derivative = (loss_at(h) - loss_at(-h)) / (2 * h)
    assert math.isclose(slope(mine), derivative, rel_tol=1e-3)
    assert not math.isclose(slope(detached), derivative, rel_tol=0.05)


def test_cold_expected_embeddings_are_the_argmax(world):
    cold = Mixing(PAD, HALF, "expected_embedding", search=Search(True, temperature=1e-4))
    assert_same(trained(world, cold)[0], trained(world, Mixing(PAD, HALF))[0])


# --- by confidence -------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["next", "own"])
@pytest.mark.parametrize("passes", [1, 2])
def test_confidence_by_hand(passes, of, world):
    """Gold where it is improbable, noise where it is nearly certain, else the prediction.

    What is improbable: the token that is predicted after the input, or the one in its place.
    """
    logits = pass_by_hand(world, world.gold)
    B, T = world.gold.shape
    kept, noise = torch.ones(B, T, dtype=torch.bool), torch.zeros(B, T, dtype=torch.bool)
    noisy = world.gold.clone()
    for b in range(B):
        text = [int(v) for v in world.gold[b] if v != PAD]
        for t in range(1, len(text)):
            place, token = (t, world.sample["target"][b, t]) if of == "next" else (t - 1, text[t])
            gold_prob = logits[b, place].softmax(-1)[token]
            kept[b, t], noise[b, t] = gold_prob <= LOW, gold_prob > HIGH
            place = (world.sample["id"][b], t, int(Purpose.RANDOM_TOKEN))
            draw = float(uniform(torch.initial_seed(), *place))
            noisy[b, t] = text[1:][int(draw * (len(text) - 1))]
    assert noise.any() and (~kept & ~noise).any() and kept[:, 1:][world.gold[:, 1:] != PAD].any()
    mixed = world.gold
    for _ in range(passes):
        mixed = mixed_by_hand(world.gold, pass_by_hand(world, mixed), kept)
    mixed = torch.where(noise, noisy, mixed)

    schedule = GoldSchedule("confidence")
    mixing = Mixing(
        *(PAD, schedule), passes=passes, gold_below=LOW, random_above=HIGH, confidence_of=of
    )
    loss, read = trained(world, mixing)
    assert len(read) == passes + 1
    assert torch.equal(read[-1][0], mixed)
    assert_same_training(world, loss, mixed)


def test_noise_among_expected_embeddings(world):
    """A random token is read as a token: cold embeddings and the argmax agree again."""
    bounds = {"gold_below": LOW, "random_above": HIGH}
    schedule, search = GoldSchedule("confidence"), Search(True, temperature=1e-4)
    cold = Mixing(PAD, schedule, "expected_embedding", search=search, **bounds)
    want = trained(world, Mixing(PAD, schedule, **bounds))[0]
    assert_same(trained(world, cold)[0], want)
    quiet = {"gold_below": LOW, "random_above": 1.0}
    assert trained(world, Mixing(PAD, schedule, **quiet))[0] != want

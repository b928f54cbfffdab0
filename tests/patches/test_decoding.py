"""Each search of fairseq writes for a sentence what it writes for that sentence alone."""

import math

import pytest
import torch
from criterions.tiny_fairseq import EOS, PAD, tiny_model, tiny_task
from fairseq.data import LanguagePairDataset
from fairseq.dataclass.configs import GenerationConfig
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import SequenceGenerator
from fairseq.token_generation_constraints import pack_constraints
from refusals import refuses

from genft_fairseq.errors import UserError

V = 15
UNK = 3
SOURCES = [
    [5, 6, 5, 7, 6, EOS],
    [4, EOS],
    [4, 8, 4, EOS],
    [9, 12, 14, 9, 12, 13, 9, 10, EOS],
    [7, 7, EOS],
    [10, 11, 12, 13, EOS],
]
ALONE = [[number] for number in range(len(SOURCES))]
BATCHES = [[[0, 1, 2, 3], [4, 5]], [[5, 3, 1, 0], [4, 2]]]
CONSTRAINTS = [[[5], [6, 7]], [], [[9]], [[4, 4]], [[8], [8]], []]


@pytest.fixture(scope="module")
def decode():
    """Return what decodes sentences in batches: tokens and scores of the n-best by number."""
    torch.manual_seed(0)
    task = tiny_task("translation")
    model = tiny_model(task).eval()
    dictionary = task.target_dictionary
    sources = [torch.tensor(source) for source in SOURCES]
    sizes = [len(source) for source in sources]

    def decode(
        batches,
        *,
        prefixes=None,
        constrained=None,
        allowed=None,
        numbers=None,
        model=model,
        **flags,
    ):
        words = [[torch.tensor(words) for words in row] for row in constrained or ()]
        dataset = LanguagePairDataset(
            *(sources, sizes, dictionary),
            left_pad_source=True,
            shuffle=False,
            constraints=pack_constraints(words) if constrained else None,
        )
        flags = {"beam": 4, "max_len_b": 8, **flags}
        generator = task.build_generator(
            [model], GenerationConfig(**flags), prefix_allowed_tokens_fn=allowed
        )
        found = {}
        for batch in batches:
            sample = dataset.collater([dataset[number] for number in batch])
            order = sample["id"].tolist()
            rest = {"constraints": sample.get("constraints")}
            if prefixes:
                rows = [torch.tensor(prefixes[number], dtype=torch.long) for number in order]
                rest["prefix_tokens"] = torch.nn.utils.rnn.pad_sequence(rows, True, PAD)
            if numbers:
                sample["id"] = torch.tensor([numbers[number] for number in order])
            for number, row in zip(
                order, task.inference_step(generator, [model], sample, **rest), strict=True
            ):
                found[number] = [(h["tokens"].tolist(), float(h["score"])) for h in row]
        return found

    return decode


def assert_same(got, want):
    assert got.keys() == want.keys()
    for number, hypotheses in want.items():
        texts, scores = zip(*hypotheses, strict=True)
        assert tuple(text for text, _ in got[number]) == texts
        assert [score for _, score in got[number]] == pytest.approx(scores, abs=1e-5)


GROWING = {"max_len_a": 0.5, "max_len_b": 1}
PREFIXES = [[5, 6, 5, 7, 6], [8], [4, 4, EOS], [9, 12, 14, 9, 12, 13, 9], [], [7, 7]]
ORDERED = {"constrained": CONSTRAINTS, "constraints": "ordered"}
UNORDERED = {"constrained": CONSTRAINTS, "constraints": "unordered"}


def by_number(number, text):
    """Tokens that a sentence may go on with, which differ from sentence to sentence."""
    return [4 + number, 5, 6, EOS] if len(text) % 2 else [4, 5, 6, 7, 8, 9 + number % 3]


SEARCHES = {
    "beam": {},
    "greedy": {"beam": 1},
    "lengths": GROWING,
    "shortest over longest": {**GROWING, "min_len": 3},
    "source length": {"match_source_len": True},
    "source length, shortest": {"match_source_len": True, "min_len": 3},
    "length penalty": {"lenpen": 0.2, **GROWING},
    "unknown words": {"unkpen": -3.0},
    "no unknown words": {"unkpen": math.inf},
    "prefixes, no unknown words": {
        "prefixes": [[5, UNK], [], [UNK], [], [], [4]],
        "unkpen": math.inf,
    },
    "n-grams": {"no_repeat_ngram_size": 2, "min_len": 6},
    "groups": {"diverse_beam_groups": 2},
    "groups, lengths": {"diverse_beam_groups": 2, **GROWING},
    "groups, n-grams": {"diverse_beam_groups": 4, "no_repeat_ngram_size": 1},
    "siblings": {"diversity_rate": 0.5},
    "siblings, lengths": {"diversity_rate": 0.5, **GROWING},
    "prefixes": {"prefixes": PREFIXES},
    "prefixes, shortest": {"prefixes": PREFIXES, "min_len": 6},
    "prefixes, lengths": {"prefixes": PREFIXES, **GROWING},
    "prefixes, n-grams": {"prefixes": PREFIXES, "no_repeat_ngram_size": 1},
    "prefixes, groups": {"prefixes": PREFIXES, "diverse_beam_groups": 2},
    "ordered": ORDERED,
    "unordered": UNORDERED,
    "unordered, lengths": {**UNORDERED, "max_len_a": 1.0, "max_len_b": 0},
    "unordered, n-grams": {**UNORDERED, "no_repeat_ngram_size": 1, "beam": 2},
    "allowed": {"allowed": by_number},
    "allowed, lengths": {"allowed": by_number, **GROWING},
    "allowed, n-grams": {"allowed": by_number, "no_repeat_ngram_size": 1},
    # Of a filter that leaves one token to draw, every draw is the same.
    "sampling, top-k": {"sampling": True, "sampling_topk": 1},
    "sampling, top-p": {"sampling": True, "sampling_topp": 1e-6, **GROWING},
}


@pytest.mark.parametrize("flags", SEARCHES.values(), ids=SEARCHES.keys())
def test_the_batch_does_not_matter(flags, decode):
    """Alone, four at a time, and four others at a time, which end at different steps."""
    alone = decode(ALONE, **flags)
    for batches in BATCHES:
        assert_same(decode(batches, **flags), alone)
    for hypotheses in alone.values():
        for text, score in hypotheses:
            assert text.index(EOS) == len(text) - 1 and PAD not in text
            assert math.isfinite(score)


@pytest.mark.parametrize(
    "name", [name for name, flags in SEARCHES.items() if "allowed" not in flags]
)
def test_numbers_of_the_data_set_do_not_matter(name, decode):
    numbers = [7, 100, 3, 0, 2, 5]
    want = decode(BATCHES[0], **SEARCHES[name])
    assert_same(decode(BATCHES[0], numbers=numbers, **SEARCHES[name]), want)


def test_allowed_tokens_are_asked_for_by_number(decode):
    """The number of the data set, which does not depend on the batch."""
    asked = set()
    decode(BATCHES[0], allowed=lambda number, text: asked.add(number) or [4, EOS])
    assert asked == set(range(6))


def test_limits_are_those_of_the_source(decode):
    """a * x + b tokens before the end, x with the end of the source; the minimum yields."""
    for number, source in enumerate(SOURCES):
        most = int(0.5 * len(source) + 1)
        for text, _ in decode(BATCHES[0], **GROWING, min_len=3, unkpen=0)[number]:
            assert min(3, most) <= len(text) - 1 <= most


def test_groups_are_diverse_by_the_past_of_their_own_sentence(decode):
    """By hand: of two groups of one, the second avoids what the first writes at the same place."""
    flags = {"beam": 2, "diverse_beam_groups": 2, "diverse_beam_strength": 1e3, "min_len": 8}
    for (one, _), (other, _) in decode(BATCHES[1], **flags).values():
        assert all(a != b for a, b in zip(one[:-1], other[:-1], strict=True))


def repeats(text, n, before=0):
    """n-grams that end after ``before`` tokens and occurred earlier."""
    ngrams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    return [g for i, g in enumerate(ngrams) if i + n > before and g in ngrams[:i]]


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_prefix_stands_and_is_not_repeated(n, beam, decode):
    prefix = [5, 6, 7, 5, 6, 7, 5, 6, 8]
    flags = {"beam": beam, "min_len": 12, "max_len_b": 14}
    prefixes = [prefix, [], [], [4, 4, 4], [], []]
    found = decode(BATCHES[0], prefixes=prefixes, no_repeat_ngram_size=n, **flags)
    assert found[0]
    for number, hypotheses in found.items():
        given = prefixes[number]
        for text, _ in hypotheses:
            assert text[: len(given)] == given and 13 <= len(text) <= 15
            # One token twice cannot be helped: there are 15 of them, with padding.
            if n > 1:
                assert not repeats(text[:-1], n, before=len(given))
    free = decode(BATCHES[0], prefixes=prefixes, **flags)
    assert n == 3 or found[0] != free[0]


def test_a_row_with_nothing_left_keeps_its_scores(decode):
    """A prefix of all tokens but padding and the end; the others are as when decoded alone."""
    spent = [token for token in range(V) if token not in (PAD, EOS)]
    prefixes = [spent, [], [], [4], [], []]
    flags = {"no_repeat_ngram_size": 1, "min_len": 15, "max_len_b": 15, "beam": 2}
    found = decode([[0, 1, 2, 3]], prefixes=prefixes, **flags)
    free = decode([[0]], prefixes=prefixes, **{**flags, "no_repeat_ngram_size": 0})
    assert_same({0: found[0]}, free)
    for number in (1, 2, 3):
        assert_same({number: found[number]}, decode([[number]], prefixes=prefixes, **flags))


@pytest.mark.parametrize("beam", [1, 4])
def test_an_unknown_word_of_the_prefix_stands(beam, decode):
    """--unkpen inf is about the words that follow it, and about the other sentences."""
    prefixes = [[5, UNK, 6], [UNK], [], [], [], []]
    flags = {"beam": beam, "unkpen": math.inf, "prefixes": prefixes}
    found = decode(BATCHES[0], **flags)
    for number, hypotheses in found.items():
        for text, score in hypotheses:
            given = prefixes[number]
            assert text[: len(given)] == given and UNK not in text[len(given) :]
            assert math.isfinite(score)


def test_an_end_in_the_prefix_ends(decode):
    """Also as its first token, beside sentences that go on."""
    prefixes = [[EOS], [4, EOS], [], [9, 9, EOS], [], []]
    found = decode(BATCHES[0], prefixes=prefixes, no_repeat_ngram_size=1)
    assert [{tuple(text) for text, _ in found[n]} for n in (0, 1, 3)] == [
        {(EOS,)},
        {(4, EOS)},
        {(9, 9, EOS)},
    ]
    assert_same({2: found[2]}, decode([[2]], no_repeat_ngram_size=1))


@pytest.mark.parametrize("order", ["ordered", "unordered"])
def test_constraints_that_fit_are_met(order, decode):
    found = decode(BATCHES[0], constrained=CONSTRAINTS, constraints=order, max_len_b=12)
    for number, words in enumerate(CONSTRAINTS):
        text = " ".join(map(str, found[number][0][0]))
        assert all(" ".join(map(str, word)) in text for word in words)
    assert found[4][0][0].count(8) >= 2  # named twice
    assert_same({1: found[1]}, decode([[1]], max_len_b=12))  # without a constraint: beam search


@pytest.mark.parametrize("beam", [1, 4])
def test_constraints_that_do_not_fit_end_no_other_sentence(beam, decode):
    """Two words in a text of one, and a word twice where none may come twice."""
    short = decode(BATCHES[0], **UNORDERED, beam=beam, max_len_b=1)
    assert all(row and all(len(text) <= 2 for text, _ in row) for row in short.values())
    once = decode(BATCHES[0], **ORDERED, beam=beam, no_repeat_ngram_size=1)
    assert all(not repeats(text[:-1], 1) for row in once.values() for text, _ in row)


def test_an_empty_constraint_is_none(decode):
    given = [[[], [9]], [], [], [], [], []]
    want = [[[9]], [], [], [], [], []]
    for order in ("ordered", "unordered"):
        found = decode(BATCHES[0], constrained=given, constraints=order)
        assert_same(found, decode(BATCHES[0], constrained=want, constraints=order))


def test_no_constraints_to_follow(decode):
    with refuses("--constraints"):
        decode(BATCHES[0], constraints="ordered")


def test_the_only_allowed_token_may_repeat(decode):
    """A rule against repetition yields to what alone is allowed."""
    written = [5, 6, 5, 6, 5, EOS]
    found = decode(
        BATCHES[0],
        allowed=lambda number, text: [written[min(len(text) - 1, 5)]],
        no_repeat_ngram_size=2,
    )
    assert all([text for text, _ in row] == [written] for row in found.values())


def test_where_nothing_is_allowed_the_text_goes_on(decode):
    """Sentence 2 may write nothing, or no text may end; the others are as they would be."""

    def stuck(number, text):
        return [] if number == 2 else by_number(number, text)

    found = decode(BATCHES[0], allowed=stuck)
    assert found[2] and all(text[-1] == EOS for text, _ in found[2])
    want = decode(ALONE, allowed=by_number)
    for number in (0, 1, 3, 4, 5):
        assert_same({number: found[number]}, {number: want[number]})
    endless = decode(BATCHES[0], allowed=lambda number, text: [4, 5])
    assert all(len(row[0][0]) == 9 and set(row[0][0][:-1]) <= {4, 5} for row in endless.values())


@pytest.mark.parametrize(
    "flags",
    [
        {"beam": 14},
        {"beam": 12, "diverse_beam_groups": 3},
        {"beam": 12, "diversity_rate": 0.5},
        {"beam": 12, "constrained": CONSTRAINTS, "constraints": "ordered"},
        {"beam": 2, "sampling": True, "sampling_topk": 99},
    ],
    ids=["beam", "groups", "siblings", "constraints", "top-k"],
)
def test_a_vocabulary_of_few_tokens(flags, decode):
    found = decode(BATCHES[0], **flags)
    for row in found.values():
        assert row and all(0 <= token < V for text, _ in row for token in text)


def test_one_stream_of_random_numbers(decode):
    """What is drawn depends on the batch, as the documentation says; a seed repeats it."""
    flags = {"sampling": True, "beam": 2}
    drawn = []
    for batches in (ALONE, ALONE, BATCHES[0]):
        torch.manual_seed(1)
        drawn.append(decode(batches, **flags))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_minimum_above_the_maximum(decode):
    with refuses("--min-len 9", "8"):
        decode(BATCHES[0], min_len=9)


def test_scores_that_are_no_numbers(decode):
    task = tiny_task("translation")
    broken = tiny_model(task).eval()
    with torch.no_grad():
        broken.decoder.output_projection.weight.fill_(math.nan)
    with pytest.raises(UserError):
        decode(BATCHES[0], model=broken)


def test_the_generator_is_left_as_it_was(decode):
    task = tiny_task("translation")
    model = tiny_model(task).eval()
    generator = SequenceGenerator(
        [model], task.target_dictionary, beam_size=2, min_len=3, no_repeat_ngram_size=2
    )
    before = (generator.search, generator.repeat_ngram_blocker, generator.min_len)
    sources = torch.tensor([[4, 5, EOS]])
    sample = {"net_input": {"src_tokens": sources, "src_lengths": torch.tensor([3])}}
    generator.generate([model], sample)
    after = (generator.search, generator.repeat_ngram_blocker, generator.min_len)
    assert all(one is other for one, other in zip(before, after, strict=True))
    # Without the lengths, which fairseq's interfaces may leave out.
    want = generator.generate([model], sample)[0][0]["tokens"]
    del sample["net_input"]["src_lengths"]
    assert torch.equal(generator.generate([model], sample)[0][0]["tokens"], want)


def test_repeated_ngrams_are_forbidden_behind_which_there_is_padding():
    """As fairseq's generators call it: rows padded to the maximum length, step their last token."""
    tokens = torch.tensor([[2, 5, 6, 5, 1, 1, 1], [2, 5, 6, 7, 1, 1, 1]])
    lprobs = torch.zeros(2, 9)
    NGramRepeatBlock(2)(tokens, lprobs, bsz=2, beam_size=1, step=3)
    assert lprobs.isinf().nonzero().tolist() == [[0, 6]]
    # The </s> (2) in front is not text: a sentence may end even where no word may come twice.
    lprobs = torch.zeros(1, 9)
    NGramRepeatBlock(1)(tokens[:1], lprobs, bsz=1, beam_size=1, step=3)
    assert lprobs.isinf().nonzero().tolist() == [[0, 5], [0, 6]]
    # What a prefix has decided stands: 6 is the only candidate after 5 6 5.
    lprobs = torch.full((1, 9), -math.inf)
    lprobs[0, 6] = -3.0
    NGramRepeatBlock(2)(tokens[:1], lprobs, bsz=1, beam_size=1, step=3)
    assert lprobs[0, 6] == -3.0

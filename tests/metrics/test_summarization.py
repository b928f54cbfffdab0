"""Figures of summaries by hand, against their definitions, and against rouge-score's own."""

import random
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import assert_names
from rich.cells import cell_len
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator

from genft_fairseq.evaluation.summarization import example_text
from genft_fairseq.metrics.language_modeling import repeated_tokens
from genft_fairseq.metrics.repetition import inside_repeated, repetition
from genft_fairseq.metrics.summarization import (
    COMPARED,
    Example,
    Source,
    SummaryScorer,
    fragment_metrics,
    fragments,
    length_ratio,
    novel_ngrams,
    p_values,
    plain,
    sentences,
    summary_metrics,
)
from genft_fairseq.metrics.words import mark_repeated, words_of

WORDS = st.lists(st.sampled_from("abcd"), max_size=14)
ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l", "rougeLsum": "rouge_lsum"}


# --- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("The cat sat. The dog ran!  Why?", ["The cat sat.", "The dog ran!", "Why?"]),
        ('"Stop." He left. (So did I.) End', ['"Stop."', "He left.", "(So did I.)", "End"]),
        ("Mr. J. R. Smith of the U.S. Army. He", ["Mr. J. R. Smith of the U.S. Army.", "He"]),
        ("No. 5 won. No. He did not.", ["No. 5 won.", "No.", "He did not."]),
        ("It cost 3.5 dollars in 1990. Now 4. 20 came", ["It cost 3.5 dollars in 1990.", "Now 4."]),
        ("he said ... and left. then nothing", ["he said ... and left. then nothing"]),
        ("the cat sat . the dog ran .", ["the cat sat .", "the dog ran ."]),
        ("Wer? „Ich“, sagte er… „Nein.“ Gut.", ["Wer?", "„Ich“, sagte er…", "„Nein.“", "Gut."]),
        ("北京。「上海！」 东京", ["北京。", "「上海！」", "东京"]),
        ("यह है। वह था।", ["यह है।", "वह था।"]),
        ("", []),
        (" . ", ["."]),
    ],
)
def test_sentences(text, parts):
    assert sentences(text)[: len(parts)] == parts


def test_marked_sentences_are_those():
    assert sentences("a. B <q>c<q> <q>d. E") == ["a. B", "c", "d. E"]
    assert sentences("a. B\nc") == ["a. B", "c"]
    assert plain("a. B <q>c<q> <q>d\ne") == "a. B c d e"


@given(st.text("ab.!? \"'”。<q>\nAU1", max_size=30))
def test_sentences_hold_the_whole_text(text):
    """But for spaces and marks; and no word is cut, so that figures of words do not change."""
    found = sentences(text)
    assert all(part and part == part.strip() for part in found)
    kept = text.replace("<q>", " ")
    assert "".join("".join(found).split()) == "".join(kept.split())
    assert words_of(" ".join(found)) == words_of(plain(text)) == words_of(kept)


# --- ROUGE ---------------------------------------------------------------------------------------


def longest_common(left, right):
    """The length of the longest common subsequence, by its recursion."""
    table = Counter()
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            longer = max(table[i - 1, j], table[i, j - 1])
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else longer
    return table[len(left) - 1, len(right) - 1]


def harmonic(shared, given, right):
    if not shared:
        return 0.0, 0.0, 0.0
    precision, recall = shared / given, shared / right
    return 2 * precision * recall / (precision + recall), precision, recall


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


@given(WORDS, WORDS)
def test_rouge_is_lins(given_words, right):
    """The definitions of Lin (2004), of one sentence; words of a letter are not stemmed."""
    scores = SummaryScorer().score(Example(" ".join(given_words), " ".join(right))).summary
    defined = {"rouge_l": (longest_common(given_words, right), len(given_words), len(right))}
    defined["rouge_lsum"] = defined["rouge_l"]
    for n in (1, 2):
        left, other = grams(given_words, n), grams(right, n)
        defined[f"rouge_{n}"] = ((left & other).total(), left.total(), other.total())
    for name, counts in defined.items():
        f1, precision, recall = harmonic(*counts)
        assert scores[name] == pytest.approx(f1)
        assert scores[f"{name}_precision"] == pytest.approx(precision)
        assert scores[f"{name}_recall"] == pytest.approx(recall)


def test_sentences_are_compared_one_by_one_in_lsum_alone():
    """In another order of sentences all words are found, but only half of them in a row."""
    marked = Example("c d<q>a b", "a b <q> c d")
    scores = SummaryScorer().score(marked).summary
    assert (scores["rouge_lsum"], scores["rouge_l"], scores["rouge_1"]) == (1, 0.5, 1)
    # Bigrams do cross sentences: of "cd da ab" and "ab bc cd" two are shared.
    assert scores["rouge_2"] == pytest.approx(2 / 3)
    assert scores["words"] == 4 and scores["rep_1"] == 0
    ruled = SummaryScorer().score(Example("Cc dd. Aa bb.", "Aa bb. Cc dd.")).summary
    assert (ruled["rouge_lsum"], ruled["rouge_l"]) == (1, 0.5)
    # One side marked, the other not.
    assert (
        SummaryScorer().score(Example("cc dd<q>aa bb", "Aa bb. Cc dd.")).summary["rouge_lsum"] == 1
    )


def test_stemming():
    texts = Example("He was running quickly", "he runs quick")
    stemmed = SummaryScorer().score(texts).summary["rouge_1"]
    assert stemmed == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))  # he, run
    plain_words = SummaryScorer(stemming=False)
    assert plain_words.score(texts).summary["rouge_1"] == pytest.approx(2 / 7)
    assert plain_words.rouge_tokeniser == "rouge-score's, without stemming"


@pytest.mark.parametrize("language", ["en", "other", "zh"])
@pytest.mark.parametrize("symbol", ["<unk>", "<<unk>>", "⁇"])
def test_an_unknown_word_matches_nothing_and_is_a_word(language, symbol):
    """In summary and reference, alone and beside unk, which is a word like others."""
    scorer = SummaryScorer(language, stemming=False)
    summary, reference = f"a {symbol} b {symbol}.", f"a {symbol} c unk"
    found = scorer.score(Example(summary, reference)).summary
    assert found["rouge_1_precision"] == 1 / 4  # of a, two unknown ones, b
    assert found["rouge_2"] == 0
    same = scorer.score(Example(f"{symbol} unk", f"{symbol} unk")).summary
    assert same["rouge_l_recall"] == (3 / 4 if language == "zh" else 1 / 2)


def test_other_languages():
    """German letters count; Chinese is compared letter by letter."""
    german = SummaryScorer("other")
    assert german.score(Example("Ärzte", "ärzte!")).summary["rouge_1"] == 1
    assert german.rouge_tokeniser == "Unicode words"
    chinese = SummaryScorer("zh").score(Example("北京。北京", "北京市")).summary
    assert chinese["rouge_1"] == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))
    assert chinese["words"] == 4 and chinese["rep_1"] == 0.5


def sample_texts(number, seed=3):
    draw = random.Random(seed)
    vocabulary = "the cat cats sat sitting on mats mat runs ran. Dogs dog. It was".split()
    return [" ".join(draw.choices(vocabulary, k=draw.randint(1, 25))) for _ in range(number)]


def test_a_test_set_as_rouge_score_aggregates_it():
    """Its means are medians of a bootstrap; its sentences are lines."""
    given_texts, right = sample_texts(150), sample_texts(150, 4)
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    aggregator = BootstrapAggregator()
    np.random.seed(1)  # which rouge-score draws from
    for text, reference in zip(given_texts, right, strict=True):
        lines = ["\n".join(sentences(part)) for part in (reference, text)]
        aggregator.add_scores(scorer.score(*lines))
    theirs = aggregator.aggregate()
    ours = SummaryScorer()
    pairs = zip(given_texts, right, strict=True)
    metrics = summary_metrics([ours.score(Example(*pair)).summary for pair in pairs])
    for key, name in ROUGE.items():
        for part in ("fmeasure", "precision", "recall"):
            full = name if part == "fmeasure" else f"{name}_{part}"
            low, middle, high = (getattr(bound, part) for bound in theirs[key])
            assert metrics[full] == pytest.approx(middle, abs=0.004)
            assert metrics[f"{full}_interval"] == pytest.approx([low, high], abs=0.008)


# --- repetition ----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3), max_size=12))
def test_what_is_marked_in_completions_is_marked_here(ids):
    assert inside_repeated(ids, 4) == repeated_tokens(ids)


def test_marks():
    assert mark_repeated("A b c, and a B c d. a b") == "A b c, and ⟦a B c⟧ d. a b"
    assert mark_repeated("a b c a b c x b c a") == "a b c ⟦a b c⟧ x ⟦b c a⟧"
    assert mark_repeated("a b c a b c b c a") == "a b c ⟦a b c b c a⟧"
    assert mark_repeated("a a a a a") == "a ⟦a a a a⟧"
    assert mark_repeated("⟦x⟧ y") == "[x] y"
    assert mark_repeated("北京市。北京市长", 3, by_character=True) == "北京市。⟦北京市⟧长"
    assert mark_repeated("") == ""


@given(st.text("ab ,.é́京", max_size=40), st.booleans())
def test_marks_leave_the_text_and_say_what_the_figure_says(text, by_character):
    marked = mark_repeated(text, 3, by_character)
    composed = mark_repeated(text, 100, by_character)
    assert regex.sub("[⟦⟧]", "", marked) == composed
    assert ("⟦" in marked) == bool(repetition(words_of(text, by_character), 3))


def test_words():
    assert words_of("It's the U.S.' 3rd—“Été” x_y") == "it s the u s 3rd été x y".split()
    assert words_of("e\u0301té") == ["été"]
    assert words_of("Ａ1 한글", by_character=True) == ["a", "1", "한", "글"]


# --- what is taken from the source ---------------------------------------------------------------


def test_novel_ngrams_by_hand():
    """Distinct bigrams ab, bx, xa of a text: the source has one of them."""
    source = Source("a b c".split())
    assert novel_ngrams("a b x a b".split(), source, 2) == pytest.approx(2 / 3)
    assert novel_ngrams("a b x a b".split(), source, 1) == pytest.approx(1 / 3)
    assert novel_ngrams(["a"], source, 2) is None
    assert novel_ngrams(["a", "b", "c", "a"], source, 4) == 1


def newsroom_fragments(summary, article):
    """Figure 3 of Grusky et al. (2018), indices from 0."""
    found, i, j = [], 0, 0
    while i < len(summary):
        best = 0
        while j < len(article):
            if summary[i] == article[j]:
                i2, j2 = i, j
                while i2 < len(summary) and j2 < len(article) and summary[i2] == article[j2]:
                    i2, j2 = i2 + 1, j2 + 1
                best = max(best, i2 - i)
                j = j2
            else:
                j += 1
        i, j = i + max(best, 1), 0
        if best:
            found.append(best)
    return found


@given(WORDS, WORDS)
@example(summary=list("aab"), article=list("aaab"))  # "aab" itself overlaps with "aa"
def test_fragments_are_newsrooms(summary, article):
    found = fragments(summary, Source(article))
    assert found == newsroom_fragments(summary, article)
    metrics = fragment_metrics(summary, Source(article))
    if summary:
        size = len(summary)
        assert metrics["coverage"] == pytest.approx(sum(found) / size)
        assert metrics["density"] == pytest.approx(sum(f * f for f in found) / size)
        # A word is covered where the source has it at all.
        known = sum(word in article for word in summary) / size
        assert metrics["coverage"] == pytest.approx(known)
        assert metrics["compression"] == len(article) / size


def test_fragments_by_hand():
    """Of "the cat x sat": a fragment of two words, one of one, and a word of its own."""
    metrics = fragment_metrics("the cat x sat".split(), Source("now the cat sat on it".split()))
    assert metrics == {"coverage": 3 / 4, "density": (4 + 1) / 4, "compression": 6 / 4}
    assert set(fragment_metrics([], Source(["a"])).values()) == {None}


# --- a test set ----------------------------------------------------------------------------------


def scored(rows, **how):
    scorer = SummaryScorer(**how)
    return [scorer.score(Example(*row)) for row in rows]


def test_figures_by_hand():
    rows = [
        ("A b c a b c!", "a b<q>c", "a b z"),
        ("x", "y z", "x y z"),
        ("", "y", "y"),
    ]
    found = scored(rows)
    metrics = summary_metrics([one.summary for one in found])
    references = summary_metrics([one.reference for one in found])
    # Trigrams abc bca cab abc, one of which comes again; the other texts have none.
    assert (metrics["rep_3"], metrics["rep_3_too_short"]) == (1 / 4, 2)
    assert (metrics["rep_1"], metrics["rep_1_too_short"]) == ((3 / 6 + 0) / 2, 1)
    assert metrics["repeats_trigram"] == 1 / 3
    assert (metrics["words"], references["words"]) == (7 / 3, 6 / 3)
    assert length_ratio(metrics, references) == pytest.approx(7 / 6)
    assert length_ratio(metrics, {"words": 0}) is None
    # Distinct words a, b, c without c; x without any.
    assert metrics["novel_1"] == pytest.approx((1 / 3 + 0) / 2)
    assert references["novel_1"] == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert metrics["rouge_1"] == pytest.approx((2 * (3 / 6) * 1 / 1.5 + 0 + 0) / 3)
    low, high = metrics["rouge_1_recall_interval"]
    assert 0 == low < metrics["rouge_1_recall"] < high == 1
    assert not any(name.startswith("rouge") for name in references)
    low, high = metrics["words_interval"]
    assert 0 <= low < 7 / 3 < high <= 6
    assert (metrics["empty_summaries"], references["empty_summaries"]) == (1, 0)


def test_nothing_is_said_of_nothing():
    (only,) = scored([("", "")])
    metrics = summary_metrics([only.summary])
    assert (metrics["rep_1"], metrics["words"], metrics["rouge_1"]) == (None, 0, 0)
    assert metrics["rouge_1_interval"] is None
    assert "novel_1" not in metrics and only.baseline is None


@pytest.mark.parametrize("summary", ["", " ", "...", "- !", "<q>"])
def test_a_summary_without_a_word_is_empty(summary):
    metrics = summary_metrics([one.summary for one in scored([(summary, "a"), ("a .", "a")])])
    assert (metrics["empty_summaries"], metrics["words"]) == (1, 0.5)


def test_two_systems():
    """One copies the reference, the other repeats a word; the third text is too short for two."""
    reference = "one two three four five six"
    rows = [(reference, reference, None, "one one one one")] * 20 + [("one", "one", None, "one")]
    found = scored(rows)
    before, after = [one.baseline for one in found], [one.summary for one in found]
    values = p_values(before, after)
    assert set(values) == {f"{name}_p_value" for name in COMPARED}
    assert values["rouge_l_p_value"] < 0.01 and values["rep_3_p_value"] == pytest.approx(1 / 1001)
    assert values["words_p_value"] < 0.01
    assert set(p_values(after, after).values()) == {1.0}
    assert set(p_values(before[:1], after[:1]).values()) == {None}
    assert p_values(before[19:], after[19:])["rep_2_p_value"] is None  # a single pair
    assert p_values(before[18:], after[18:])["rep_2_p_value"] is not None


# --- for people to read --------------------------------------------------------------------------


def shown(*row, language="en", **how):
    scorer = SummaryScorer(language)
    texts = Example(*row)
    return example_text(7, texts, scorer.score(texts), scorer.by_character, **how)


def test_an_example():
    text = shown("A b c a b c", "a b<q>c", "a b c d " * 200, "a b")
    assert_names(text, 7)
    lines = [line.partition(" ")[2].strip() for line in text.splitlines()]
    assert lines[1].startswith("a b c d a b") and "…" in text
    order = [lines.index(part) for part in ("a b c", "a b", "A b c ⟦a b c⟧")]
    assert order == sorted(order)
    # Of two words both are right, of three two are found.
    assert_names(lines[lines.index("a b") + 1], 80.0, 66.7)
    assert_names(lines[-2], 3, 2, 6)
    assert sum(map(bool, shown("x", "y").splitlines())) == 5  # neither source nor baseline


@pytest.mark.parametrize("width", [40, 100])
def test_lines_are_no_wider_than_asked(width):
    for source, language in (("word " * 300, "en"), ("北京" * 300, "zh"), ("x" * 900, "en")):
        text = shown(source, source, source, source, language=language, width=width)
        widths = [cell_len(line) for line in text.splitlines()]
        assert max(widths) <= width and sum(w > width - 12 for w in widths) > 5

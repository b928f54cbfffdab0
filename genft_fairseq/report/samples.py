"""What systems wrote, side by side: repeated n-grams and errors marked."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genft_fairseq.metrics.repetition import inside_repeated
from genft_fairseq.report.evaluation_files import Evaluation, Text
from genft_fairseq.report.run_folders import LANGUAGE_MODEL, SUMMARIES

SAMPLES = 12
# Repeated in a sentence or an answer: any word pair is; in longer texts, phrases.
_NGRAM = {LANGUAGE_MODEL: 4, SUMMARIES: 3}
_SHORT_NGRAM = 2
_LONGEST = 1200
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Part:
    """A stretch of text.

    Attributes:
        text: as it was written.
        repeated: it lies in an n-gram that occurred before in the same text.
        error: the reference does not have it there.
    """

    text: str
    repeated: bool = False
    error: bool = False


@dataclass(frozen=True)
class Sample:
    """One text of the test set, and what each system made of it.

    Attributes:
        number: its place in the test set, from 1.
        source: what the systems read.
        reference: what should have been written; of several references the first.
        written: of each system, in parts.
    """

    number: int
    source: str
    reference: list[Part]
    written: dict[str, list[Part]]


@dataclass(frozen=True)
class SampleGroup:
    """Samples of one test set.

    Attributes:
        title: which.
        ngram: the length of the n-grams whose repetition is marked.
        marks_errors: whether departures from the reference are marked: where the reference is the
            only right answer, or nearly.
        samples: in the order of the test set.
    """

    title: str
    ngram: int
    marks_errors: bool
    samples: list[Sample]


def sample_groups(
    decoded: Mapping[str, Mapping[str, Evaluation]], count: int = SAMPLES
) -> list[SampleGroup]:
    """Choose samples evenly from each test set, the same for every system, not the best ones.

    Args:
        decoded: of each test set, each system's evaluation.
        count: how many, of each.
    """
    return [_group(title, systems, count) for title, systems in decoded.items() if count]


def _group(title: str, systems: Mapping[str, Evaluation], count: int) -> SampleGroup:
    first = next(iter(systems.values()))
    ngram = _NGRAM.get(first.kind, _SHORT_NGRAM)
    marks_errors = first.kind not in (LANGUAGE_MODEL, SUMMARIES)
    number = min(len(evaluation.texts) for evaluation in systems.values())
    samples = [
        Sample(
            index + 1,
            _cut(first.texts[index].source),
            marked(_reference(first.texts[index]), (), ngram),
            {
                name: marked(
                    evaluation.texts[index].written,
                    first.texts[index].references if marks_errors else (),
                    ngram,
                )
                for name, evaluation in systems.items()
            },
        )
        for index in spaced(number, count)
    ]
    return SampleGroup(title.rpartition(",")[0], ngram, marks_errors, samples)


def _reference(text: Text) -> str:
    return text.references[0] if text.references else ""


def spaced(number: int, count: int) -> list[int]:
    """Return ``count`` places evenly spread over ``number`` texts, or all where there are fewer."""
    if number <= count:
        return list(range(number))
    return [int((i + 0.5) * number / count) for i in range(count)]


def marked(text: str, references: Sequence[str], n: int) -> list[Part]:
    """Mark the words of a text that repeat, and those that no reference has there.

    Args:
        text: what was written; what is much too long to show is cut.
        references: right answers; none: nothing is an error.
        n: words of an n-gram that counts as repeated; case does not count.

    Returns:
        the text in parts, neighbours of one kind joined.
    """
    subwords = _WORD.findall(_cut(text))
    places = [i for i, subword in enumerate(subwords) if not subword.isspace()]
    words = [subwords[i].lower() for i in places]
    repeated = dict(zip(places, inside_repeated(words, n), strict=True))
    wrong = dict(zip(places, _errors(words, references), strict=True))
    parts: list[Part] = []
    for i, subword in enumerate(subwords):
        flags = repeated.get(i), wrong.get(i)
        if flags == (None, None):  # space has the mark of both its neighbours
            around = [(repeated.get(j, False), wrong.get(j, False)) for j in (i - 1, i + 1)]
            flags = (all(a[0] for a in around), all(a[1] for a in around))
        part = Part(subword, bool(flags[0]), bool(flags[1]))
        if parts and (parts[-1].repeated, parts[-1].error) == (part.repeated, part.error):
            part = Part(parts.pop().text + subword, part.repeated, part.error)
        parts.append(part)
    return parts


def _errors(words: Sequence[str], references: Sequence[str]) -> list[bool]:
    """Which words are not where the nearest reference has them."""
    best = [False] * len(words)
    for number, reference in enumerate(references):
        expected = [word.lower() for word in _WORD.findall(reference) if not word.isspace()]
        found = [True] * len(words)
        blocks = difflib.SequenceMatcher(None, words, expected, autojunk=False)
        for block in blocks.get_matching_blocks():
            found[block.a : block.a + block.size] = [False] * block.size
        if number == 0 or sum(found) < sum(best):
            best = found
    return best


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST].rsplit(" ", 1)[0] + " …"

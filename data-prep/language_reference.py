"""English prose from the Python language reference, split into train, valid and test by topic.

Every Python carries the text of its own language reference in ``pydoc_data.topics`` (it is what
``help("with")`` prints), so this corpus needs no download. The exact text, and hence every count,
follows the Python that runs this; the corpus is a stand-in, not a benchmark.
"""

import hashlib
import re
from pydoc_data import topics as pydoc_topics

TOPICS: dict[str, str] = pydoc_topics.topics
HELD_OUT_SHARE = 0.05
HELD_OUT_MIN_WORDS = 4000
# Below this a topic is too short to draw 50-token prefixes with 100-token continuations from it.
HELD_OUT_TOPIC_MIN_WORDS = 300

_ITEM = re.compile(r"(?:[*\-•]|\d+\.|\[\d+\])\s+")
_UNDERLINE = re.compile(r"\s*([*=\-~^\"'#+.])\1{2,}\s*$")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([A-Za-z_][\w .:’\-]*?)\*{1,2}(?![\w*])")
_QUOTED = re.compile(r'"[^"]*"')
_CODE_LINE = re.compile(
    r"""\s*(?:>>>|\.\.\.(?:\s|$)|->|\#|\||\+[-=]|\(Pdb\)|::=|@\w+$  # prompts, comments, tables
    |(?:async\s+)?def\s+\w+[(\[]|class\s+\w+[^.]*:\s|class\s+\w+[^.]*:$|import\s+\w+(?:\s*$|;|\s+[\#\[])
    |from\s+[\w.]+\s+import\s|(?:try|else|finally|except)\b[^.]*:$|return\s*$
    |(?:if|elif|while|for|with|match|case)\b.*:\s*(?:\#.*)?$|print\(|raise\s+\w+\()""",
    re.VERBOSE,
)
_CODE_ANYWHERE = re.compile(
    r"::=|\s[-+*/%&|^@]?=\s|\s\#\s|\w\s{4,}\w|<\w+>\)|\"{3}|\(Pdb\)|^\w+\($|\w+\(\)$"
)
_WORD = re.compile(r"[A-Za-z][a-z]*(?:[-'’][a-z]+)*$")
_FUNCTION_WORDS = frozenset(
    "a all also an and any are as at be been by can do does each for from has have if in into is it"
    " its may must no not of on only or so some such than that the then there these they this to"
    " used was when where which will with without you".split()
)


def _is_code(lines: list[str]) -> bool:
    """Whether a block holds a program, a console session, a grammar rule or a table.

    Code within double quotes is the reference's inline code, which belongs to its sentences.
    """
    outside = _QUOTED.sub("Q", "\n".join(lines)).split("\n")
    return any(map(_CODE_LINE.match, outside)) or any(map(_CODE_ANYWHERE.search, outside))


def _is_sentence(text: str) -> bool:
    """Whether a paragraph reads as English: mostly words, some of them the glue between others."""
    words = _QUOTED.sub("Q", text).split()
    plain = [word.strip(".,;:!?()[]“”‘’\"'") for word in words]
    ended = re.search(r"[.:;,!?)\]”’\"—]$", text) is not None
    if len(words) < (4 if ended else 8):  # list items need not end as sentences do
        return False
    if text.endswith(":") and len(words) < 6:  # "For example:", whose code is gone
        return False
    english = sum(bool(_WORD.match(word)) for word in plain)
    glue = sum(word.lower() in _FUNCTION_WORDS for word in plain)
    version_note = re.match(r"(?:New|Added|Changed|Deprecated) (?:in|since) version", text)
    return english >= 0.6 * len(words) and glue > 0 and not (version_note and len(words) < 6)


def _unwrapped(lines: list[str]) -> list[str]:
    """Undo hard wrapping: one string for each paragraph, list item and definition of a block.

    A new one starts at a list marker, where a definition's body is indented under its term, and
    where the indentation falls back.
    """
    pieces: list[list[str]] = []
    expected = -1
    for line in lines:
        body = line.lstrip()
        indent = len(line) - len(body)
        marker = _ITEM.match(body)
        if marker:
            body = body[marker.end() :]
        if not pieces or marker or indent != expected:
            pieces.append([])
            expected = indent + (marker.end() if marker else 0)
        pieces[-1].append(body)
    return [" ".join(" ".join(piece).split()) for piece in pieces]


def prose_paragraphs(text: str) -> list[str]:
    """Return the paragraphs and list items of one topic that are English sentences.

    Headings, separators, signatures, tables, grammar and code blocks go; inline code stays, and so
    do the quotation marks around it. Emphasis marks (``*name*``) go.
    """
    paragraphs = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.rstrip() for line in block.split("\n") if line.strip()]
        underlines = [_UNDERLINE.match(line) is not None for line in lines]
        lines = [
            line
            for line, here, below in zip(lines, underlines, [*underlines[1:], False], strict=True)
            if not here and not below
        ]
        if lines and not _is_code(lines):
            for piece in _unwrapped(lines):
                plain = _EMPHASIS.sub(r"\1", piece)
                # A word hyphenated across two lines ("post- mortem") comes back together.
                plain = re.sub(r"(?<=[a-z])- (?!and |or |to )(?=[a-z])", "-", plain)
                if _is_sentence(plain):
                    paragraphs.append(plain)
    return paragraphs


def _word_count(paragraphs: list[str]) -> int:
    return sum(len(paragraph.split()) for paragraph in paragraphs)


def _held_out_topics(topics: dict[str, list[str]], seed: int) -> dict[str, str]:
    """Choose whole topics for valid and test: ``{topic: split}``.

    Topics are tried in the order of a hash of seed and name, so that a topic's place depends on no
    stream of random numbers. One is passed over when it is too short, is more than half of the
    share (held-out text should not be about one thing), or repeats paragraphs of a topic already
    held out (which would have to be cut from it).
    """
    unique_words = _word_count(list({p for paragraphs in topics.values() for p in paragraphs}))
    target = max(HELD_OUT_MIN_WORDS, round(HELD_OUT_SHARE * unique_words))
    order = sorted(topics, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for split in ("valid", "test"):
        words = 0
        for name in order:
            distinct = list(dict.fromkeys(topics[name]))
            size = _word_count(distinct)
            fits = HELD_OUT_TOPIC_MIN_WORDS <= size <= target / 2
            if words < target and name not in chosen and fits and taken.isdisjoint(distinct):
                chosen[name] = split
                taken.update(distinct)
                words += size
    return chosen


def language_reference_splits(
    seed: int, topics: dict[str, str] | None = None
) -> dict[str, dict[str, list[str]]]:
    """Return ``{split: {topic: paragraphs}}`` for train, valid and test, without duplicates.

    Topics stay whole and in the reference's order. The reference repeats sections in several
    topics; a paragraph is kept once. Where a held-out topic shares one with training, training
    gives it up, so that held-out text stays contiguous.
    """
    prose = {name: prose_paragraphs(text) for name, text in (topics or TOPICS).items()}
    held_out = _held_out_topics(prose, seed)
    splits: dict[str, dict[str, list[str]]] = {"train": {}, "valid": {}, "test": {}}
    seen: set[str] = set()
    for split in ("test", "valid", "train"):
        for name, paragraphs in prose.items():
            if held_out.get(name, "train") == split:
                fresh = [p for p in dict.fromkeys(paragraphs) if p not in seen]
                seen.update(fresh)
                if fresh:
                    splits[split][name] = fresh
    return splits

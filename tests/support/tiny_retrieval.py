"""Questions that name their passage: a folder for ``--task retrieval``, and how to train on it.

Question i has one word of its own, which the title of one passage shares; the other passages are
those of other questions.  Every seventh question has no passage with its answer.
"""

from pathlib import Path

from fairseq_commands import USER_DIR, run

TINY = [
    *("--task", "retrieval", "--criterion", "in_batch_negatives", "--arch", "bi_encoder"),
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--dropout", "0", "--share-encoders"),
]
SYMBOLS = ["<question>", "<title>", "<context>", *(f"<passage:{n}>" for n in range(4))]
QUESTIONS = {"train": 28, "valid": 9}


def example(number: int) -> tuple[str, str, str]:
    """A source line, its answer, and its alignment."""
    own = number % 3
    passages = [
        f"<title> k{number if place == own else number + place + 1} <context> text x{place}"
        for place in range(3)
    ]
    unanswered = number % 7 == 6
    evidence = "" if unanswered else f"0-{own}"
    if number == 0:
        evidence = "0-0 0-2"
    return f"<question> who is k{number} {' '.join(passages)}", f"k{number}", evidence


def make_folder(folder: Path) -> Path:
    """Binarize the examples as the recipe does."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for split, number in QUESTIONS.items():
        for place, suffix in enumerate(("question", "answer", "align")):
            text = "".join(example(n)[place] + "\n" for n in range(number))
            (raw / f"{split}.{suffix}").write_text(text, encoding="utf-8")
    words = [*SYMBOLS, "who", "is", "text", "x0", "x1", "x2", *(f"k{n}" for n in range(40))]
    (raw / "dict.txt").write_text("".join(f"{word} 1\n" for word in words))
    run(
        "fairseq-preprocess",
        *("--user-dir", USER_DIR, "-s", "question", "-t", "answer", "--joined-dictionary"),
        *("--trainpref", raw / "train", "--validpref", raw / "valid", "--align-suffix", "align"),
        *("--srcdict", raw / "dict.txt", "--destdir", folder / "bin"),
    )
    return folder / "bin"

"""Binarise the lines of Fusion-in-Decoder by fairseq-preprocess, and check what came of it.

With them the alignments, which say where the evidence of an answer is: pairs `0-I`, I the number
of a passage. fairseq-preprocess takes those of one test set only, so they are written here.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fid_dictionary import count_passages, read_dictionary
from fid_texts import CONTEXT, FRAMES, QUESTION, TITLE
from manifest import count_lines
from one_line_errors import PrepareError, report_errors

LANGUAGES = ("question", "answer")
PAIR = "question-answer"


def preprocess(args: argparse.Namespace) -> None:
    """Run fairseq-preprocess in this process."""
    from fairseq import options
    from fairseq_cli import preprocess as fairseq_preprocess

    lines = {split: str(args.lines / split) for split in args.splits}
    tests = [path for split, path in lines.items() if split.startswith("test")]
    arguments = ["--source-lang", "question", "--target-lang", "answer", "--joined-dictionary"]
    arguments += ["--srcdict", str(args.dictionary), "--destdir", str(args.data)]
    arguments += ["--trainpref", lines["train"], "--validpref", lines["valid"]]
    arguments += ["--testpref", ",".join(tests)] if tests else []
    arguments += ["--workers", str(args.workers)]
    fairseq_preprocess.main(options.get_preprocessing_parser().parse_args(arguments))
    (args.data / "preprocess.log").unlink()  # it has times and paths of the machine


def binarise_evidence(args: argparse.Namespace) -> None:
    """Write SPLIT.align.question-answer of every split."""
    from fairseq.binarizer import AlignmentDatasetBinarizer, FileBinarizer
    from fairseq.utils import parse_alignment

    for split in args.splits:
        FileBinarizer.multiprocess_dataset(
            str(args.examples / f"{split}.align"),
            "mmap",
            AlignmentDatasetBinarizer(parse_alignment),
            str(args.data / f"{split}.align.{PAIR}"),
            vocab_size=None,
            num_workers=1,
        )
        content = args.data / f"{split}.align.{PAIR}.bin"
        if content.stat().st_size == 0:
            # No passage holds an answer. fairseq cannot map a file of no bytes: four that no
            # example has.
            content.write_bytes(bytes(4))


def check_dictionary(args: argparse.Namespace) -> Any:
    """Raise unless both dictionaries are the one that was made, and return it."""
    from fairseq.data import Dictionary

    expected = args.dictionary.read_bytes()
    for language in LANGUAGES:
        path = args.data / f"dict.{language}.txt"
        if path.read_bytes() != expected:
            raise PrepareError(f"{path.name} is not the dictionary that was made")
    if args.frame == "symbols":
        count_passages(read_dictionary(args.dictionary), args.dictionary)
    return Dictionary.load(str(args.data / "dict.question.txt"))


def check_split(args: argparse.Namespace, split: str, dictionary: Any) -> str:
    """Raise unless all files of a split agree, and return a line about it."""
    from fairseq.data import data_utils

    found = {
        name: data_utils.load_indexed_dataset(str(args.data / f"{split}.{name}"))
        for name in (f"{PAIR}.question", f"{PAIR}.answer", f"align.{PAIR}")
    }
    sources, targets, evidence = found.values()
    counts = {name: len(items) for name, items in found.items()}
    counts["fid.jsonl"] = count_lines(args.data / f"{split}.fid.jsonl")
    if len(set(counts.values())) != 1:
        raise PrepareError(f"the files of {split} do not agree: {counts}")
    text = args.frame == "text"
    title, context = map(dictionary.index, (TITLE, CONTEXT))
    passages = pieces = unknown = 0
    for number in range(len(sources)):
        source, target = sources[number].numpy(), targets[number].numpy()
        pairs = evidence[number].numpy().reshape(-1, 2)
        if text:  # each passage is one </s> further
            titles = int(np.count_nonzero(source == dictionary.eos())) - 1
            framed = titles > 0 and source[0] != dictionary.eos()
        else:
            titles = int(np.count_nonzero(source == title))
            framed = source[0] == dictionary.index(QUESTION)
            framed = framed and titles == np.count_nonzero(source == context)
        if not framed or pairs[:, 0].any() or (pairs[:, 1] >= titles).any():
            raise PrepareError(f"{split}: example {number} is not what was prepared")
        passages += titles
        pieces += len(source) + len(target) - 2  # but </s>
        unknown += int(np.count_nonzero(source == dictionary.unk()))
        unknown += int(np.count_nonzero(target == dictionary.unk()))
    return (
        f"    {split}: {len(sources)} examples, {passages} passages, {pieces} pieces, "
        f"{unknown} of them unknown ({100 * unknown / pieces:.3f} %)"
    )


def main() -> None:
    """Read the command line, binarise and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, help="folder of SPLIT.question and SPLIT.answer")
    parser.add_argument("examples", type=Path, help="folder of SPLIT.align")
    parser.add_argument("data", type=Path, help="the folder to fill")
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--dictionary", type=Path, required=True)
    parser.add_argument("--frame", choices=FRAMES, default="symbols")
    parser.add_argument("--counts", type=Path, required=True, help="file for numbers of lines")
    parser.add_argument("--log", type=Path, required=True, help="of fairseq-preprocess")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    # Before fairseq is imported, which would log to where errors are told.
    logging.basicConfig(filename=args.log, filemode="w", level=logging.INFO)
    preprocess(args)
    binarise_evidence(args)
    dictionary = check_dictionary(args)
    for split in args.splits:
        print(check_split(args, split, dictionary), flush=True)
    counts = {
        f"{split}.{kind}": count_lines(folder / f"{split}.{kind}")
        for split in args.splits
        for kind, folder in (
            ("question", args.lines),
            ("answer", args.lines),
            ("align", args.examples),
        )
    }
    args.counts.write_text(json.dumps({"lines": counts}), encoding="utf-8")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)

"""Patches of fairseq-preprocess and fairseq-interactive: line ends and alignments.

Raw text whose lines other programs would count otherwise is named before it is read.

``fairseq-preprocess`` and ``fairseq-interactive`` read text with Python's universal newlines: a
line feed, CR LF, and a carriage return alone end a line.  Tokenisers, aligners and ``wc`` end a
line at a line feed only, so that one carriage return within a sentence shifts all that follows
against the other side.  Other separators of Unicode (vertical tab, form feed, U+0085, U+2028, ...)
end no line here; a program that splits there leaves files of different lengths.

Remedies for fairseq's alignments, and for ``--replace-unk``, which needs them.
"""

import io
import itertools
import re
import sys
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO

from fairseq import utils
from fairseq.data.data_utils import post_process
from fairseq.models.transformer_align import TransformerAlignModel
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks import FairseqTask
from fairseq_cli import interactive
from fairseq_cli import preprocess as preprocessing
from torch import Tensor

from genft_fairseq.errors import UserError, require_regular

_BLOCK = 1 << 22  # bytes read at a time

_ALONE = re.compile(rb"\r(?!\n)")

# What Python's str.splitlines ends a line at, besides line feed and carriage return, in UTF-8.
_OTHERS = re.compile(rb"[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


def apply() -> None:
    """Have all raw text checked; a second call changes nothing."""
    if getattr(preprocessing.main, "genft", False):
        return
    binarize = preprocessing.main

    @wraps(binarize)
    def main(args: Any) -> Any:
        check_raw_text(args)
        return binarize(args)

    main.genft = True  # type: ignore[attr-defined]
    preprocessing.main = main
    interactive.buffered_read = buffered_read


def check_raw_text(args: Any) -> None:
    """Look through the files that ``fairseq-preprocess`` is about to read, before it writes any.

    Raises:
        UserError: one is missing, has a carriage return within a line, or has other lines than
            the side that it belongs to.
    """
    source, target = args.source_lang, args.target_lang
    languages = [source] if args.only_source else [source, target]
    prefixes = [("--trainpref", args.trainpref)]
    if not args.dict_only:
        named = {"--validpref": args.validpref, "--testpref": args.testpref}
        prefixes += [(flag, prefix) for flag in named for prefix in (named[flag] or "").split(",")]
    aligned = 0
    for flag, prefix in prefixes:
        if not prefix:
            continue
        files = [f"{prefix}.{language}" if language else prefix for language in languages]
        for file in files:
            if not Path(file).is_file():
                raise UserError(f"{flag} {prefix}: {file} does not exist")
        if args.align_suffix and Path(f"{prefix}.{args.align_suffix}").exists():
            files.append(f"{prefix}.{args.align_suffix}")
            aligned += 1
        if args.alignfile and flag == "--trainpref":
            if not Path(args.alignfile).is_file():
                raise UserError(f"--alignfile {args.alignfile} does not exist")
            files.append(args.alignfile)
        _require_same_lines(files)
    if args.align_suffix and not args.dict_only and not aligned:
        raise UserError(f"--align-suffix {args.align_suffix}: no prefix has a file of that ending")


def _require_same_lines(files: list[str]) -> None:
    numbers = [number_of_lines(file) for file in files]
    for file, number in zip(files, numbers, strict=True):
        if number != numbers[0]:
            raise UserError(
                f"{files[0]} has {numbers[0]} lines, but {file} has {number}"
                + (_other_separator(files[0]) or _other_separator(file))
            )


def number_of_lines(path: str) -> int:
    """Count lines as fairseq does, which is as everyone does unless it raises.

    A file without any line feed may end all its lines with a carriage return.

    Raises:
        UserError: a carriage return stands within a line; the message names the line.
    """
    require_regular(path)
    feeds = returns = 0
    first = 0  # line of the first carriage return that is alone
    last = b""
    with open(path, "rb") as stream:
        for block in _blocks(stream):
            for found in _ALONE.finditer(block):
                if found.end() == len(block):
                    continue  # the end of the last line
                returns += 1
                first = first or feeds + block.count(b"\n", 0, found.start()) + 1
            feeds += block.count(b"\n")
            last = block[-1:]
    if feeds and returns:
        raise UserError(_within(path, first))
    return feeds + returns + (last not in (b"", b"\n"))


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Read in parts, none of which separates a carriage return from its line feed."""
    while block := stream.read(_BLOCK):
        while block.endswith(b"\r") and (following := stream.read(1)):
            block += following
        yield block


def _other_separator(path: str) -> str:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if found := _OTHERS.search(line):
                character = ord(found[0].decode())
                return (
                    f": line {number} of {path} holds U+{character:04X}, at which some programs "
                    "end a line"
                )
    return ""


def _within(name: str, line: int) -> str:
    return (
        f"{name}: line {line} holds a carriage return (U+000D), at which fairseq ends a line and "
        "other programs do not: remove it, or replace it by a space"
    )


def buffered_read(input: str, buffer_size: int) -> Iterator[list[str]]:
    """Read lines for ``fairseq-interactive``, so many at a time, without white space around them.

    Raises:
        UserError: a carriage return stands within a line; the message names the line.
    """
    stream: Any
    if input == "-":
        stream = sys.stdin
        if isinstance(stream, io.TextIOWrapper):
            # Where no language is set, Python would read other bytes than UTF-8 as unknown words.
            stream.reconfigure(newline="\n", errors="strict")
    elif Path(input).is_file():
        number_of_lines(input)
        stream = open(input, encoding="utf-8")  # noqa: SIM115
    else:
        require_regular(input)
        stream = open(input, encoding="utf-8", newline="\n")  # noqa: SIM115
    lines = enumerate(stream, start=1)
    while buffer := [*itertools.islice(lines, buffer_size)]:
        for number, line in buffer:
            if "\r" in line.rstrip("\r\n"):
                raise UserError(_within("standard input" if input == "-" else input, number))
        yield [line.strip() for _, line in buffer]


_NO_ATTENTION = (
    "--print-alignment and --replace-unk need the attention over the source, which this model does "
    "not return"
)


def apply_fairseq_alignments() -> None:
    """Apply every remedy; a second call changes nothing."""
    if utils.load_align_dict is load_align_dict:
        return
    _align_what_there_is()
    _replace_unknown_words()


def _align_what_there_is() -> None:
    """``--print-alignment`` expected a full beam of hypotheses, and attention of the layer named.

    ``--alignment-layer`` is 4 unless it is given, however few layers there are; and
    ``--score-reference`` printed hard alignments for soft ones, or stopped.
    """
    align, prepare = (
        SequenceGeneratorWithAlignment.generate,
        SequenceGeneratorWithAlignment._prepare_batch_for_alignment,
    )
    score, build = SequenceScorer.generate, TransformerAlignModel.__init__

    @wraps(align)
    def generate(self: Any, models: Any, sample: Any, **rest: Any) -> list[list[dict[str, Any]]]:
        return [
            [hypothesis for hypothesis in row if not hypothesis.pop("filler", False)]
            for row in align(self, models, sample, **rest)
        ]

    @wraps(prepare)
    def filled(self: Any, sample: Any, hypothesis: list[list[dict[str, Any]]]) -> Any:
        for row in hypothesis:
            if row[0]["attention"].numel() == 0:
                raise UserError(_NO_ATTENTION)
            row.extend({**row[0], "filler": True} for _ in range(self.beam_size - len(row)))
        return prepare(self, sample, hypothesis)

    @wraps(score)
    def score_reference(self: Any, models: Any, sample: Any, **rest: Any) -> Any:
        found = score(self, models, sample, **rest)
        if not self.compute_alignment:
            return found
        for row, (hypothesis,) in enumerate(found):
            if hypothesis["alignment"] is None:
                raise UserError(_NO_ATTENTION)
            if self.compute_alignment == "soft":
                texts = (sample["net_input"]["src_tokens"][row], sample["target"][row])
                hypothesis["alignment"] = utils.extract_soft_alignment(
                    hypothesis["attention"], *texts, self.pad, self.eos
                )
        return found

    @wraps(build)
    def init(self: Any, encoder: Any, decoder: Any, args: Any) -> None:
        build(self, encoder, decoder, args)
        self.alignment_layer = min(self.alignment_layer, len(decoder.layers) - 1)

    SequenceGeneratorWithAlignment.generate = generate
    SequenceGeneratorWithAlignment._prepare_batch_for_alignment = filled
    SequenceScorer.generate = score_reference
    TransformerAlignModel.__init__ = init


def _replace_unknown_words() -> None:
    """``--replace-unk`` opened a file named "@@ " where none was given, and found no alignment."""
    build, join = FairseqTask.build_generator, utils.post_process_prediction

    @wraps(build)
    def build_generator(
        self: Any, models: Any, args: Any, seq_gen_cls: Any = None, *rest: Any, **kw: Any
    ) -> Any:
        replacing = getattr(args, "replace_unk", None) is not None
        if replacing and seq_gen_cls is None and not getattr(args, "print_alignment", None):
            seq_gen_cls = SequenceGeneratorWithAlignment
        return build(self, models, args, seq_gen_cls, *rest, **kw)

    @wraps(join)
    def post_process_prediction(
        hypo_tokens: Tensor,
        src_str: str,
        alignment: Any,
        align_dict: dict[str, str] | None,
        tgt_dict: Any,
        remove_bpe: str | None = None,
        extra_symbols_to_ignore: Any = None,
    ) -> tuple[Tensor, str, Any]:
        if align_dict is None:
            rest = (tgt_dict, remove_bpe, extra_symbols_to_ignore)
            return join(hypo_tokens, src_str, alignment, align_dict, *rest)
        source, sources = dict(enumerate(src_str.split())), _source_of_each_token(alignment)
        unseen = {tgt_dict.bos(), *(extra_symbols_to_ignore or ())}
        aligned = [t for t in hypo_tokens.tolist() if t not in (tgt_dict.eos(), tgt_dict.pad())]
        words = []
        for place, token in enumerate(aligned):
            word = tgt_dict[token]
            if token == tgt_dict.unk():
                copied = source.get(sources.get(place, -1), word)
                word = align_dict.get(copied, copied)
            words += [] if token in unseen else [word]
        text = post_process(" ".join(words), remove_bpe)
        return tgt_dict.encode_line(text, add_if_not_exist=True), text, alignment

    FairseqTask.build_generator = build_generator
    utils.load_align_dict = load_align_dict
    utils.post_process_prediction = post_process_prediction


def load_align_dict(replace_unk: str | None) -> dict[str, str] | None:
    """Read the dictionary of ``--replace-unk``: a word and its translation a line.

    Returns:
        None without the flag, an empty dictionary where it has no file: words are copied.

    Raises:
        UserError: a line without two words.
    """
    if replace_unk is None:
        return None
    if not replace_unk.strip("@ "):  # what fairseq makes of the flag alone
        return {}
    found = {}
    with open(replace_unk, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            word, *translation = line.split() or [""]
            if not translation:
                raise UserError(
                    f"--replace-unk {replace_unk}: line {number} must hold a word and its "
                    f"translation, but is {line.strip()!r}"
                )
            found[word] = translation[0]
    return found


def _source_of_each_token(alignment: Any) -> dict[int, int]:
    """Return the place of the source word that each token of a hypothesis looks at most."""
    if not isinstance(alignment, list):
        return {}
    if alignment and isinstance(alignment[0], tuple):  # hard: (source, target)
        return {target: source for source, target in alignment}
    # Soft: the weights of all source tokens, the last of which is the end.
    return {
        target: max(range(len(weights) - 1), key=lambda place: float(weights[place]))
        for target, weights in enumerate(alignment)
        if len(weights) > 1
    }

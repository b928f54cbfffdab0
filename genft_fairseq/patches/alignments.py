"""Changes to the alignments of decoding, and to ``--replace-unk``, which needs them."""

from typing import Any

from fairseq import utils
from fairseq.data.data_utils import post_process
from fairseq.models.transformer_align import TransformerAlignModel
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks import FairseqTask
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.patches.registry import extends, replaces

_NO_ATTENTION = (
    "--print-alignment and --replace-unk need the attention over the source, which this model does "
    "not return"
)


@extends(SequenceGeneratorWithAlignment, "generate")
def generate(
    original: Any, self: Any, models: Any, sample: Any, **rest: Any
) -> list[list[dict[str, Any]]]:
    """The copies that fill the beam are removed again."""
    return [
        [hypothesis for hypothesis in row if not hypothesis.pop("filler", False)]
        for row in original(self, models, sample, **rest)
    ]


@extends(SequenceGeneratorWithAlignment, "_prepare_batch_for_alignment")
def fill_beam(original: Any, self: Any, sample: Any, hypothesis: list[list[dict[str, Any]]]) -> Any:
    """``--print-alignment`` failed where a sentence has fewer hypotheses than the beam.

    The beam is filled with copies.  A model that returns no attention is refused.
    """
    for row in hypothesis:
        if row[0]["attention"].numel() == 0:
            raise UserError(_NO_ATTENTION)
        row.extend({**row[0], "filler": True} for _ in range(self.beam_size - len(row)))
    return original(self, sample, hypothesis)


@extends(SequenceScorer, "generate")
def score_reference(original: Any, self: Any, models: Any, sample: Any, **rest: Any) -> Any:
    """``--score-reference`` printed hard alignments for soft ones, or stopped."""
    found = original(self, models, sample, **rest)
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


@extends(TransformerAlignModel, "__init__")
def init(original: Any, self: Any, encoder: Any, decoder: Any, args: Any) -> None:
    """``--alignment-layer`` is 4 unless it is given, however few layers there are."""
    original(self, encoder, decoder, args)
    self.alignment_layer = min(self.alignment_layer, len(decoder.layers) - 1)


@extends(FairseqTask, "build_generator", issue=3533)
def build_generator(
    original: Any,
    self: Any,
    models: Any,
    args: Any,
    seq_gen_cls: Any = None,
    *rest: Any,
    **kw: Any,
) -> Any:
    """``--replace-unk`` without ``--print-alignment`` had no alignment."""
    replacing = getattr(args, "replace_unk", None) is not None
    if replacing and seq_gen_cls is None and not getattr(args, "print_alignment", None):
        seq_gen_cls = SequenceGeneratorWithAlignment
    return original(self, models, args, seq_gen_cls, *rest, **kw)


@extends(utils, "post_process_prediction", issue=3533)
def post_process_prediction(
    original: Any,
    hypo_tokens: Tensor,
    src_str: str,
    alignment: Any,
    align_dict: dict[str, str] | None,
    tgt_dict: Any,
    remove_bpe: str | None = None,
    extra_symbols_to_ignore: Any = None,
) -> tuple[Tensor, str, Any]:
    """``--replace-unk`` took pairs of places, or weights, for places of source words."""
    if align_dict is None:
        rest = (tgt_dict, remove_bpe, extra_symbols_to_ignore)
        return original(hypo_tokens, src_str, alignment, align_dict, *rest)
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


@replaces(
    utils,
    "load_align_dict",
    why='``--replace-unk`` opened a file named "@@ " where none was given.',
    issue=3533,
)
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

"""``--task fid``: answering a question from many passages (Fusion-in-Decoder).

fairseq's translation task on a data folder of ``data-prep/prepare-fid.sh``, whose source lines hold
a question and its passages: ``data/fid_lines.py``.  With ``--source-pointing`` the answer begins by
naming the passage that it was found in (Hofstätter et al., 2022, *FiD-Light*, arXiv:2209.14290).
"""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fairseq.data import ConcatDataset, Dictionary, data_utils
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.utils import split_paths
from torch import Tensor

from genft_fairseq.data.fid_dataset import FiDDataset, Reading
from genft_fairseq.data.fid_json import Example, PassageOrder, parse_example
from genft_fairseq.data.fid_lines import Markers, has_text_frame, passage_symbol, require_pairs
from genft_fairseq.errors import UnsuitableModel, UserError, check_range

logger = logging.getLogger(__name__)


@dataclass
class FiDConfig(TranslationConfig):
    n_context: int = field(
        default=0, metadata={"help": "passages read of each question, the first ones; 0: all"}
    )
    max_passage_tokens: int = field(
        default=0, metadata={"help": "tokens kept of each passage, its title included; 0: all"}
    )
    source_pointing: bool = field(
        default=False,
        metadata={"help": "the answer names, as its first token, the passage it was found in"},
    )
    keep_order: bool = field(
        default=False,
        metadata={"help": "interactive: passages in the order of the input, not by score"},
    )


@register_task("fid", dataclass=FiDConfig)
class FiDTask(TranslationTask):
    """Translation of a question and its passages into an answer."""

    cfg: FiDConfig

    def __init__(self, cfg: FiDConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        check_range("--n-context", cfg.n_context, cfg.n_context >= 0, "[0, inf)")
        longest = cfg.max_passage_tokens
        check_range("--max-passage-tokens", longest, longest >= 0, "[0, inf)")
        for flag in ("num_batch_buckets", "load_alignments", "truncate_source"):
            if getattr(cfg, flag):
                raise UserError(
                    f"--{flag.replace('_', '-')} is for one source text, but --task fid reads "
                    "several passages"
                    + (": use --max-passage-tokens" if flag == "truncate_source" else "")
                )
        super().__init__(cfg, src_dict, tgt_dict)
        frame = has_text_frame(split_paths(cfg.data)[0])
        markers = Markers.of(src_dict, f"dict.{cfg.source_lang}.txt", frame)
        if cfg.source_pointing:
            _require_pointers(cfg, markers, tgt_dict)
        self.reading = Reading(markers, cfg.n_context, longest, cfg.source_pointing)
        self._order = PassageOrder(cfg.keep_order)

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any
    ) -> None:
        """Load a part of the data; see fairseq's own."""
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        pairs = self.datasets[split]
        evidence = None
        if self.cfg.source_pointing and pairs.tgt is not None:
            evidence = self._load_evidence(split, epoch, combine, len(pairs))
        dataset = FiDDataset(
            pairs.src,
            self.src_dict,
            self.reading,
            evidence,
            tgt=pairs.tgt,
            tgt_sizes=pairs.tgt_sizes,
            tgt_dict=self.tgt_dict,
            left_pad_source=pairs.left_pad_source,
            left_pad_target=pairs.left_pad_target,
            shuffle=pairs.shuffle,
            pad_to_multiple=pairs.pad_to_multiple,
        )
        self._require_room(split, dataset)
        self.datasets[split] = dataset

    def _require_room(self, split: str, dataset: FiDDataset) -> None:
        """Refuse pairs that the encoder has no positions for: fairseq would drop the example."""
        allowed = self.cfg.max_source_positions
        if len(dataset) and dataset.src_sizes.max() > allowed:
            worst = int(dataset.src_sizes.argmax())
            raise UserError(
                f"example {worst} of the split {split} has a question and passage of "
                f"{dataset.src_sizes[worst]} tokens, but --max-source-positions is {allowed}: keep "
                "less of each passage with --max-passage-tokens"
            )

    def _load_evidence(
        self, split: str, epoch: int, combine: bool, examples: int
    ) -> Sequence[Tensor]:
        paths = split_paths(self.cfg.data)
        folder = paths[(epoch - 1) % len(paths) if split == self.cfg.train_subset else 0]
        pair = f"{self.cfg.source_lang}-{self.cfg.target_lang}"
        found: list[Any] = []
        while combine or not found:
            name = f"{split}{len(found) or ''}.align.{pair}"
            part = data_utils.load_indexed_dataset(
                os.path.join(folder, name), None, self.cfg.dataset_impl
            )
            if part is None:
                break
            require_pairs(part, os.path.join(folder, name))
            found.append(part)
        whole = sum(map(len, found))
        if len(found) > 1 and self.cfg.upsample_primary > 1:
            whole += (self.cfg.upsample_primary - 1) * len(found[0])
        if not found or whole != examples:
            raise UserError(
                f"--source-pointing needs {folder}/{split}.align.{pair}.bin, which says where the "
                f"answers stand, for {examples} examples, but it "
                + (f"has {whole}" if found else "is not there")
                + ": make the data folder with data-prep/prepare-fid.sh"
            )
        if len(found) == 1:
            return found[0]
        return ConcatDataset(found, [max(self.cfg.upsample_primary, 1)] + [1] * (len(found) - 1))

    def build_dataset_for_inference(
        self, src_tokens: list[Tensor], src_lengths: list[int], constraints: Any = None
    ) -> FiDDataset:
        """Make a dataset of lines that ``get_interactive_tokens_and_lengths`` returned."""
        dataset = FiDDataset(
            src_tokens,
            self.src_dict,
            self.reading,
            tgt_dict=self.tgt_dict,
            left_pad_source=self.cfg.left_pad_source,
            constraints=constraints,
        )
        self._require_room("input", dataset)
        return dataset

    def get_interactive_tokens_and_lengths(
        self, lines: list[str], encode_fn: Callable[[str], str]
    ) -> tuple[list[Tensor], list[int]]:
        """Encode examples of Fusion-in-Decoder's public JSON, one a line, passages by score.

        Args:
            lines: of ``{"question": ..., "ctxs": [{"title": ..., "text": ...}, ...]}``.
            encode_fn: splits text into pieces.

        Returns:
            (L,) source lines, and their lengths.

        Raises:
            UserError: a line is no such example.
        """
        tokens, order = [], self._order
        before = bool(order.changed), bool(order.unscored)
        for number, line in enumerate(lines, start=1):
            where = f"input line {number}"
            try:
                given = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f'{where} is no JSON ({error}): give {{"question": ..., "ctxs": '
                    '[{"title": ..., "text": ...}]} in one line'
                ) from None
            example = parse_example(given, where, need_answers=False, order=order)
            tokens.append(self._encoded(example, encode_fn))
        if (bool(order.changed), bool(order.unscored)) != before:  # once of each kind
            logger.info("%s", order)
        return tokens, [line.numel() for line in tokens]

    def _encoded(self, example: Example, encode_fn: Callable[[str], str]) -> Tensor:
        markers, dictionary = self.reading.markers, self.src_dict
        end = torch.tensor([dictionary.eos()])
        found = [markers.encode("question", example.question, encode_fn, dictionary)]
        for passage in example.passages[: self.reading.n_context or None]:
            if markers.text:
                found.append(end)
            found.append(markers.encode("title", passage.title, encode_fn, dictionary))
            found.append(markers.encode("context", passage.text, encode_fn, dictionary))
        return torch.cat([*found, end])

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build a model that reads several passages.

        Raises:
            UnsuitableModel: it reads one source text.
        """
        model = super().build_model(cfg, from_checkpoint)
        if not hasattr(getattr(model, "encoder", None), "fusion"):
            raise UnsuitableModel(
                "--task fid trains models that read several passages, --arch fid_transformer or "
                f"fid_t5, but the model is {type(model).__name__}"
            )
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the criterion.

        Raises:
            UserError: it would write texts of a length that the source decides.
        """
        for name in ("risk_max_len_a", "sequence_max_len_a"):
            if getattr(cfg, name, 0):
                flag = "--" + name.replace("_", "-")
                raise UserError(
                    f"{flag} {getattr(cfg, name)} is about one source text, but --task fid reads "
                    f"several passages: give {flag} 0, and {flag[:-1]}b for the longest answer"
                )
        return super().build_criterion(cfg, from_checkpoint)

    def get_batch_iterator(
        self, dataset: Any, max_tokens: Any = None, *rest: Any, **kw: Any
    ) -> Any:
        """Make batches; see fairseq's own.

        Raises:
            UserError: an example alone has more tokens than a batch may have.
        """
        if max_tokens is not None and isinstance(dataset, FiDDataset) and len(dataset):
            tokens = dataset.num_tokens_vec(np.arange(len(dataset)))
            worst = int(tokens.argmax())
            if tokens[worst] > max_tokens:
                raise UserError(
                    f"--max-tokens is {max_tokens}, but example {worst} alone has {tokens[worst]} "
                    f"({dataset.numbers[worst]} passages of up to {dataset.src_sizes[worst]} "
                    "tokens): raise it, or read less with --n-context or --max-passage-tokens"
                )
        return super().get_batch_iterator(dataset, max_tokens, *rest, **kw)

    def build_generator(self, models: Any, args: Any, *given: Any, **keywords: Any) -> Any:
        """Build fairseq's generator.

        Raises:
            UserError: an option that needs one source text.
        """
        for name, unset, instead in (
            ("print_alignment", None, "--source-pointing tells where an answer was found"),
            ("replace_unk", None, "subwords leave nothing unknown"),
            ("match_source_len", False, "limit answers with --max-len-b"),
            ("max_len_a", 0, "limit answers with --max-len-b"),
        ):
            value = getattr(args, name, unset)
            if value != unset and value is not None:
                raise UserError(
                    f"--{name.replace('_', '-')} is about one source text, but --task fid reads "
                    f"several passages: {instead}"
                )
        return super().build_generator(models, args, *given, **keywords)


def _require_pointers(cfg: FiDConfig, markers: Markers, tgt_dict: Dictionary) -> None:
    """Refuse dictionaries that cannot name the passages, in the same way on both sides."""
    known = len(markers.passages)
    ids = tuple(tgt_dict.index(passage_symbol(number)) for number in range(known))
    if known <= max(cfg.n_context, 1) or ids != markers.passages:
        raise UserError(
            f"--source-pointing with --n-context {cfg.n_context} needs the symbols <passage:0> to "
            f"<passage:{max(cfg.n_context, 1)}> in both dictionaries, with the same ids, but "
            f"dict.{cfg.source_lang}.txt has "
            + (f"<passage:0> to <passage:{known - 1}>" if known else "none")
            + ("" if ids == markers.passages else f" and dict.{cfg.target_lang}.txt others")
        )

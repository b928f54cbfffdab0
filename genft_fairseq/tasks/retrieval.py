"""``--task retrieval``: train a bi-encoder to find the passages that answer a question.

It reads the folder that ``--task fid`` reads: each example is a question and the passages that some
first retriever (BM25, say) has found, aligned with those that hold an answer.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fairseq import utils
from fairseq.data import Dictionary, data_utils, indexed_dataset
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from genft_fairseq.data import encoder_texts
from genft_fairseq.data.fid_lines import Markers
from genft_fairseq.data.huggingface_tokeniser import read_description
from genft_fairseq.data.retrieval_dataset import RetrievalDataset
from genft_fairseq.errors import UnsuitableModel, UserError, check_range


@dataclass
class RetrievalConfig(FairseqDataclass):
    data: str = field(
        default=MISSING, metadata={"help": "folder of questions with passages, as for --task fid"}
    )
    source_lang: str = field(
        default="question", metadata={"help": "of the folder's files", "argparse_alias": "-s"}
    )
    target_lang: str = field(
        default="answer", metadata={"help": "of the folder's files", "argparse_alias": "-t"}
    )
    max_question_positions: int = field(
        default=64, metadata={"help": "longest question in tokens, </s> included; cut beyond"}
    )
    max_passage_positions: int = field(
        default=256, metadata={"help": "longest passage with its title; cut beyond"}
    )
    hard_negatives: int = field(
        default=1,
        metadata={"help": "how many of the best passages without the answer join each question"},
    )
    positives: ChoiceEnum(("first", "random")) = field(  # type: ignore[valid-type]
        default="first",
        metadata={"help": "of the passages with the answer: the best, or another in each epoch"},
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    dataset_impl: Optional[str] = II("dataset.dataset_impl")  # noqa: UP045 (fairseq reads this type)


@register_task("retrieval", dataclass=RetrievalConfig)
class RetrievalTask(FairseqTask):
    """Questions whose own passage is to be told from all others of the batch."""

    ranks_passages = True  # what the criterion and the model ask for

    def __init__(self, cfg: RetrievalConfig, dictionary: Any):
        super().__init__(cfg)
        for name in ("max_question_positions", "max_passage_positions"):
            value = getattr(cfg, name)
            check_range("--" + name.replace("_", "-"), value, value >= 2, "[2, inf)")
        check_range("--hard-negatives", cfg.hard_negatives, cfg.hard_negatives >= 0, "[0, inf)")
        self.dictionary = dictionary
        self.markers = Markers.of(dictionary, f"dict.{cfg.source_lang}.txt")
        # Of a folder whose texts are in the pieces of a pretrained encoder.
        self.encoder_texts = encoder_texts.read(Path(_folder(cfg)))
        self.frame: encoder_texts.Framing = lambda tokens: tokens
        if self.encoder_texts is not None:
            self.frame = self.encoder_texts.framing(self.markers, dictionary)
        self.max_question_positions = cfg.max_question_positions
        self.max_passage_positions = cfg.max_passage_positions

    @classmethod
    def setup_task(cls, cfg: RetrievalConfig, **kwargs: Any) -> "RetrievalTask":
        """Load the dictionary of the folder."""
        path = os.path.join(_folder(cfg), f"dict.{cfg.source_lang}.txt")
        alone = os.path.join(_folder(cfg), "dict.txt")  # of an imported encoder
        if not os.path.exists(path) and os.path.exists(alone):
            path = alone
        if not os.path.exists(path):
            raise UserError(f"{path} does not exist: is {cfg.data} a folder for --task fid?")
        return cls(cfg, cls.load_dictionary(path))

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Load a part of the data."""
        languages = f"{self.cfg.source_lang}-{self.cfg.target_lang}"
        folder = _folder(self.cfg)
        questions = f"{folder}/{split}.{languages}.{self.cfg.source_lang}"
        self.datasets[split] = RetrievalDataset(
            self._load(questions, self.dictionary),
            self._load(f"{folder}/{split}.align.{languages}", None),
            self.markers,
            self.dictionary,
            self.frame,
            max_question_positions=self.max_question_positions,
            max_passage_positions=self.max_passage_positions,
            hard_negatives=self.cfg.hard_negatives,
            random_positive=self.cfg.positives == "random",
            shuffle=split == self.cfg.train_subset,
            seed=self.cfg.seed,
            name=f"{folder}: {split}",
        )

    def _load(self, path: str, dictionary: Dictionary | None) -> Any:
        impl = self.cfg.dataset_impl
        if not indexed_dataset.dataset_exists(path, impl):
            raise FileNotFoundError(f"Dataset not found: {path} (.idx and .bin)")
        return data_utils.load_indexed_dataset(path, dictionary, impl)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build a model that gives vectors to questions and passages.

        Raises:
            UnsuitableModel: it gives none.
        """
        given = getattr(cfg, "hugging_face", None)
        if given and not given.startswith("{"):
            # A checkpoint is loaded without the folder.
            description = read_description(Path(given))
            cfg.hugging_face = json.dumps(description, sort_keys=True)
        model = super().build_model(cfg, from_checkpoint)
        if not hasattr(model, "embed_questions"):
            raise UnsuitableModel(
                f"--task retrieval trains --arch bi_encoder, but the model is "
                f"{type(model).__name__}"
            )
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the criterion.

        Raises:
            UserError: it is another than the one that ranks passages.
        """
        name = getattr(cfg, "_name", None) or getattr(cfg, "criterion", None)
        if name != "in_batch_negatives":
            raise UserError(f"--task retrieval needs --criterion in_batch_negatives, not {name}")
        return super().build_criterion(cfg, from_checkpoint)

    def max_positions(self) -> None:
        """Return nothing: the data set cuts what is too long."""
        return None

    @property
    def source_dictionary(self) -> Any:
        """Return the dictionary of questions and passages."""
        return self.dictionary

    @property
    def target_dictionary(self) -> None:
        """Return nothing: no text is predicted."""
        return None


def _folder(cfg: RetrievalConfig) -> str:
    return utils.split_paths(cfg.data)[0]

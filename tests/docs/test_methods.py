"""docs/methods/: every flag has its true default."""

import dataclasses
import re
from pathlib import Path

import pytest

from genft_fairseq.criterions.first_token_auxiliary import FirstTokenAuxiliaryCriterionConfig
from genft_fairseq.criterions.generative_rollout import GenerativeRolloutCriterionConfig
from genft_fairseq.criterions.minimum_risk import MinimumRiskCriterionConfig
from genft_fairseq.criterions.scalegrad import ScaleGradCriterionConfig
from genft_fairseq.criterions.sequence_unlikelihood import SequenceUnlikelihoodCriterionConfig
from genft_fairseq.criterions.token_criterion import TokenCriterionConfig
from genft_fairseq.criterions.unlikelihood import UnlikelihoodCriterionConfig
from genft_fairseq.models.bi_encoder import BiEncoderConfig
from genft_fairseq.models.fid.transformer import FID_OPTIONS
from genft_fairseq.tasks.fid import FiDConfig
from genft_fairseq.tasks.retrieval import RetrievalConfig
from genft_fairseq.tasks.scheduled_sampling import ScheduledSamplingConfig

FOLDER = Path(__file__).parents[2] / "docs" / "methods"


def defaults(config: type) -> dict[str, object]:
    return {field.name: field.default for field in dataclasses.fields(config)}


SHARED = {**defaults(TokenCriterionConfig), "sentence_avg": False}  # fairseq's optimization has it
BI_ENCODER = {
    name: defaults(BiEncoderConfig)[name]
    for name in ("share_encoders", "pooling", "l2_normalize", "score_scale")
}
RETRIEVAL = ("max_question_positions", "max_passage_positions", "hard_negatives", "positives")
FID = ("n_context", "max_passage_tokens", "source_pointing", "keep_order")


def own(config: type) -> dict[str, object]:
    """What a criterion adds to the flags that all share, or has another default for."""
    return {k: v for k, v in defaults(config).items() if defaults(TokenCriterionConfig).get(k) != v}


FLAGS: dict[str, dict[str, object]] = {
    "index": {name: value for name, value in SHARED.items() if name != "_name"},
    "scalegrad": own(ScaleGradCriterionConfig),
    "unlikelihood": own(UnlikelihoodCriterionConfig),
    "sequence-unlikelihood": own(SequenceUnlikelihoodCriterionConfig),
    "first-token-auxiliary": own(FirstTokenAuxiliaryCriterionConfig),
    "generative-rollout": own(GenerativeRolloutCriterionConfig),
    "minimum-risk": own(MinimumRiskCriterionConfig),
    "scheduled-sampling": defaults(ScheduledSamplingConfig),
    "fusion-in-decoder": {
        **{name: defaults(FiDConfig)[name] for name in FID},
        **{name: default for name, (default, _) in FID_OPTIONS.items()},
    },
    "dense-retrieval": {
        **{name: defaults(RetrievalConfig)[name] for name in RETRIEVAL},
        **BI_ENCODER,
    },
    "loss-chunks": {"loss_chunk_size": SHARED["loss_chunk_size"]},
}


def written(default: object) -> str:
    if default is None or default is False:
        return "none" if default is None else "off"
    return f"`{default}`" if str(default) != str(default).strip() else str(default)


def test_there_is_a_page_for_each():
    assert {page.stem for page in FOLDER.glob("*.md")} == FLAGS.keys()


@pytest.mark.parametrize("page", FLAGS)
def test_flags(page):
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \| ([^|]+?) \|", text, re.MULTILINE)
    wanted = {name.replace("_", "-"): written(default) for name, default in FLAGS[page].items()}
    assert dict(rows) == wanted

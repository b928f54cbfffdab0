"""The real commands on a GPU: every precision trains, resumes and generates."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PRECISIONS = ["fp16", "memory-efficient-fp16", "bf16", "memory-efficient-bf16", "amp"]
MODEL = [
    *("--task", "translation", "-s", "en", "-t", "de", "--arch", "transformer"),
    *("--encoder-layers", "1", "--decoder-layers", "1", "--share-all-embeddings"),
    *("--encoder-embed-dim", "16", "--decoder-embed-dim", "16"),
    *("--encoder-ffn-embed-dim", "32", "--decoder-ffn-embed-dim", "32"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2"),
    *("--optimizer", "adam", "--lr", "5e-3", "--max-tokens", "128", "--seed", "3"),
    *("--no-epoch-checkpoints", "--log-format", "simple", "--log-interval", "1"),
]
CHUNKS: list[tuple[list[str], str]] = [([], "whole"), (["--loss-chunk-size", "32"], "chunks")]
SCHEDULED = [*MODEL]
SCHEDULED[1] = "scheduled_sampling_translation"
# What else a run on a GPU does than the token loss.
OWN_TEXT = {
    "scheduled_sampling": [*SCHEDULED, "--criterion", "scalegrad"],
    "scheduled_embeddings": [
        *(*SCHEDULED, "--criterion", "label_smoothed_cross_entropy"),
        *("--mix", "expected_embedding"),
    ],
    "generative_rollout": [
        *(*MODEL, "--criterion", "generative_rollout"),
        *("--rollout-rate", "1", "--rollout-search", "sampling", "--loss-chunk-size", "32"),
    ],
    "sequence_unlikelihood": [
        *(*MODEL, "--criterion", "sequence_unlikelihood"),
        *("--sequence-rate", "1", "--sequence-ngram", "1", "--sequence-max-len-b", "9"),
    ],
    "minimum_risk": [
        *(*MODEL, "--criterion", "minimum_risk"),
        *("--risk-candidates", "3", "--risk-max-len-b", "5", "--risk-alpha", "0.1"),
    ],
}


def train(data: Path, save_dir: Path, device: str, *flags: object) -> list[object]:
    where = ["--cpu"] if device == "cpu" else []
    user_dir = REPOSITORY / "genft_fairseq"
    return ["fairseq-train", data, "--user-dir", user_dir, *where, "--save-dir", save_dir, *flags]


def losses(printed: str) -> list[float]:
    return [float(x) for x in re.findall(r"train_inner.*? loss=([-\w.]+)", printed)]


def updates(checkpoint: Path) -> int:
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    return int(state["optimizer_history"][-1]["num_updates"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_trains_resumes_and_generates(
    precision: str, device: str, data: Path, tmp_path: Path, commands: Any
) -> None:
    flags = [*MODEL, "--criterion", "scalegrad", "--label-smoothing", "0.1", f"--{precision}"]
    where = ["--cpu"] if device == "cpu" else ["--fp16"]
    runs: list[list[object]] = []
    for chunk, name in CHUNKS:
        begin = train(data, tmp_path / name, device, *flags, *chunk)
        path = ["--path", tmp_path / name / "checkpoint_last.pt", "--gen-subset", "valid"]
        runs += [[*begin, "--max-update", 20], [*begin, "--max-update", 30]]
        generate = ["fairseq-generate", data, "--user-dir", REPOSITORY / "genft_fairseq"]
        runs.append([*generate, *where, *path, "--beam", 2])
    printed = commands(*runs)
    found = losses(printed)
    assert len(found) == 2 * 30
    assert len(re.findall(r"^H-\d+\t", printed, flags=re.M)) == 2 * 11
    for index, (_, name) in enumerate(CHUNKS):
        checkpoint = tmp_path / name / "checkpoint_last.pt"
        assert sum(found[30 * index + 25 : 30 * index + 30]) < 0.9 * sum(found[:5])
        assert updates(checkpoint) == 30
    # The same training, but for rounding.
    assert found[:5] == pytest.approx(found[30:35], rel=0.02)


@pytest.mark.parametrize("precision", ["fp16", "memory-efficient-fp16", "amp"])
def test_a_loss_scale_that_overflows_recovers(
    precision: str, device: str, data: Path, tmp_path: Path, commands: Any
) -> None:
    flags = [*MODEL, "--criterion", "unlikelihood", f"--{precision}", "--max-update", 20]
    scale = ["--fp16-init-scale", 2**24]
    printed = commands(
        *(train(data, tmp_path / name, device, *flags, *chunk, *scale) for chunk, name in CHUNKS)
    )
    if precision != "amp":  # which says nothing
        assert printed.count("gradient overflow detected") >= 2
    found = losses(printed)
    assert len(found) == 2 * 20
    for index, (_, name) in enumerate(CHUNKS):
        begun = 20 * index
        assert sum(found[begun + 15 : begun + 20]) < sum(found[begun : begun + 5])
        assert updates(tmp_path / name / "checkpoint_last.pt") == 20


@pytest.mark.parametrize("precision", ["fp16", "bf16", "amp"])
def test_every_strategy_trains(
    precision: str, device: str, data: Path, tmp_path: Path, commands: Any
) -> None:
    runs = [
        train(data, tmp_path / name, device, *flags, f"--{precision}", "--max-update", 5)
        for name, flags in OWN_TEXT.items()
    ]
    printed = commands(*runs)
    assert len(losses(printed)) == 5 * len(OWN_TEXT)
    for name in OWN_TEXT:
        state = torch.load(
            tmp_path / name / "checkpoint_last.pt", map_location="cpu", weights_only=False
        )
        assert all(value.isfinite().all() for value in state["model"].values()), name

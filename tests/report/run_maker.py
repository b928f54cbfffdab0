"""Folders such as training and decoding leave, without the training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

BEGIN = "2026-01-01 00:00:00 | INFO | fairseq.trainer | Start iterating over samples"
DONE = "2026-01-01 00:09:00 | INFO | fairseq_cli.train | done training in 540.0 seconds"
VERSIONS = "2026-01-01 00:00:00 | INFO | genft_fairseq | versions: python 3.11.7, torch 2.13.0"


def log_lines(losses: Mapping[int, float], own: str = "seen_mass", bleu: bool = False) -> list[str]:
    """A log with a ``train_inner`` and a ``valid`` line for each update; the loss in bits."""
    lines = [VERSIONS, BEGIN]
    for update, loss in losses.items():
        lines.append(
            f"2026-01-01 00:00:01 | INFO | train_inner | epoch 001: {update:6d} / 100 "
            f"loss={loss + 1}, nll_loss={loss}, ppl={2**loss:.2f}, {own}={update / 1000}, "
            f"wps=100, ups=2, num_updates={update}, lr=0.001, wall={update / 2:.0f}"
        )
        score = f"bleu {update / 10} | " if bleu else ""
        lines.append(
            "2026-01-01 00:00:02 | INFO | valid | epoch 001 | valid on 'valid' subset | "
            f"loss {loss + 1.5} | nll_loss {loss + 0.5} | ppl 9.9 | {score}num_updates {update}"
        )
    return lines


def make_run(
    folder: Path,
    losses: Mapping[int, float] | None = None,
    *,
    data: str = "data-bin/x",
    seed: int | None = 1,
    end: Sequence[str] = (DONE,),
    own: str = "seen_mass",
    bleu: bool = False,
    finished: Mapping[str, Any] | None = None,
    flags: str = "--criterion scalegrad",
) -> Path:
    """A run's folder with ``command``, ``train.log`` and, where it is given, ``finished``."""
    folder.mkdir(parents=True)
    words = f"fairseq-train {data} --user-dir genft_fairseq {flags}"
    words += "" if seed is None else f" --seed {seed}"
    (folder / "command").write_text(f"{words}\n")
    lines = log_lines(losses or {10: 5.0, 20: 4.0, 30: 3.0}, own, bleu)
    (folder / "train.log").write_text("\n".join([*lines, *end]) + "\n")
    if finished is not None:
        (folder / "finished").write_text(json.dumps(finished))
    return folder


def checkpoint(path: Path, updates: int, **settings: Any) -> Path:
    """What ``fairseq-train`` saves, as far as a report looks at it; ``group__name=value``."""
    cfg: dict[str, dict[str, Any]] = {"common": {"cpu": True}}
    for name, value in settings.items():
        group, _, key = name.partition("__")
        cfg.setdefault(group, {})[key] = value
    epoch = cfg.pop("train_iterator", {"epoch": 1})
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "model": {},
            "cfg": cfg,
            "optimizer_history": [{"num_updates": updates}],
            "extra_state": {"train_iterator": epoch},
        },
        path,
    )
    return path


def data_folder(folder: Path, content: bytes = b"1 2 3") -> Path:
    """What ``fairseq-preprocess`` writes, as far as a fingerprint looks at it."""
    folder.mkdir(parents=True)
    (folder / "dict.en.txt").write_text("a 1\n")
    (folder / "train.en-de.en.bin").write_bytes(content)
    (folder / "train.en-de.en.idx").write_bytes(b"idx")
    return folder


def generated(
    written: Sequence[str], references: Sequence[str], sources: Sequence[str] | None = None
) -> str:
    """What ``fairseq-generate`` writes, the last sentence first."""
    lines = []
    for i in reversed(range(len(written))):
        lines += [
            f"S-{i}\t{sources[i] if sources else f'source {i}'}",
            f"T-{i}\t{references[i]}",
            f"H-{i}\t-0.5\t{written[i]}",
            f"D-{i}\t-0.5\t{written[i]}",
            f"P-{i}\t-0.1 -0.2",
        ]
    return "\n".join([*lines, "Generate test with beam=5: BLEU4 = 1.00"]) + "\n"


def language_model_evaluation(
    continuations: Sequence[str], humans: Sequence[str], perplexity: float = 20.0
) -> dict[str, Any]:
    """What ``genft evaluate-lm --output`` writes."""
    texts = [
        {"prefix": f"prefix {i}", "continuation": c, "human": h}
        for i, (c, h) in enumerate(zip(continuations, humans, strict=True))
    ]
    return {
        "path": "checkpoint_best.pt",
        "split": "test",
        "tokens_per_sample": 100,
        "perplexity": perplexity,
        "accuracy": 0.25,
        "model": {"seq_rep_1": 0.5, "seq_rep_2": 0.4, "seq_rep_3": 0.3, "seq_rep_4": 0.2},
        "human": {"seq_rep_1": 0.1, "seq_rep_2": 0.05, "seq_rep_3": 0.0, "seq_rep_4": 0.0},
        "completions": texts,
    }

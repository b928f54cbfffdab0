"""The ``fairseq-train`` commands that ``training.py`` compares: models, and criterions as rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BASELINE = "label_smoothed_cross_entropy"
SMOOTHING = 0.1  # of every criterion alike
ROWS = {
    BASELINE: "fairseq `label_smoothed_cross_entropy`",
    "scalegrad": "`scalegrad`",
    "scalegrad_chunked": "`scalegrad --loss-chunk-size 512`",
    "unlikelihood": "`unlikelihood`",
    "unlikelihood_chunked": "`unlikelihood --loss-chunk-size 512`",
    "first_token_auxiliary": "`first_token_auxiliary`",
}
CHUNK = 512
PRECISIONS: dict[str, list[str]] = {
    "fp32": [],
    "fp16": ["--fp16"],
    "bf16": ["--bf16"],
    "amp": ["--amp"],
}
BACKENDS = ("pytorch_ddp", "legacy_ddp")
BLOCK = 256  # tokens that a language model reads at a time
KINDS = {"translation": "translation", "language": "language model"}
DROPOUT = 0.1


@dataclass(frozen=True)
class Size:
    """A model and its batch.

    Attributes:
        vocabulary: of translation, and of language models.
        tokens: of an update, of all processes together.
    """

    width: int
    ffn: int
    layers: int
    heads: int
    vocabulary: Mapping[str, int]
    tokens: int


def _vocabulary(translation: int, language: int) -> dict[str, int]:
    return {"translation": translation, "language": language}


SIZES = {
    "tiny": Size(16, 16, 1, 2, _vocabulary(120, 200), 512),  # for tests
    "small": Size(256, 1024, 3, 4, _vocabulary(10_000, 32_000), 2048),
    "base": Size(512, 2048, 6, 8, _vocabulary(32_000, 50_257), 8192),
}


@dataclass(frozen=True)
class Model:
    """What is trained: a kind and a size, with what the command line changes.

    Attributes:
        kind: one of ``KINDS``.
        size: one of ``SIZES``.
        vocabulary: entries of the dictionary, of data that is made.
        tokens: of an update.
    """

    kind: str
    size: str
    vocabulary: int
    tokens: int

    def facts(self) -> dict[str, int]:
        """Return its sizes as the JSON holds them."""
        size = SIZES[self.size]
        facts = {name: getattr(size, name) for name in ("width", "ffn", "layers", "heads")}
        return {**facts, "vocabulary": self.vocabulary}

    def flags(self) -> list[str]:
        """Return what ``fairseq-train`` is told about it."""
        decoder = self._side("decoder")
        if self.kind == "language":
            return [
                *("--task", "language_modeling", "--arch", "transformer_lm", *decoder),
                *("--share-decoder-input-output-embed", "--tokens-per-sample", str(BLOCK)),
            ]
        architecture = ["--task", "translation", "--arch", "transformer"]
        shared = "--share-decoder-input-output-embed"  # whatever the two dictionaries are
        return [*architecture, *self._side("encoder"), *decoder, shared]

    def _side(self, side: str) -> list[str]:
        size = SIZES[self.size]
        return [
            *(f"--{side}-layers", str(size.layers)),
            *(f"--{side}-embed-dim", str(size.width)),
            *(f"--{side}-ffn-embed-dim", str(size.ffn)),
            *(f"--{side}-attention-heads", str(size.heads)),
        ]


def row_flags(name: str) -> list[str]:
    """Return the criterion of a row, with its flags."""
    criterion = name.removesuffix("_chunked")
    chunk = ["--loss-chunk-size", str(CHUNK)] if criterion != name else []
    return ["--criterion", criterion, "--label-smoothing", str(SMOOTHING), *chunk]


def train_arguments(
    data: Path,
    user_dir: Path,
    model: Model,
    row: str,
    updates: int,
    precision: str,
    device: str,
    processes: int,
    backend: str | None,
) -> list[str]:
    """Return the arguments of ``fairseq-train``; those of the process group are not among them."""
    # One process reads what it trains on: another one would take turns with it.
    alone = ["--cpu", "--num-workers", "0"] if device == "cpu" else []
    return [
        *(str(data), "--user-dir", str(user_dir), *model.flags(), "--dropout", str(DROPOUT)),
        *(*row_flags(row), *PRECISIONS[precision], *alone),
        *(["--ddp-backend", backend] if backend else []),
        *("--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--clip-norm", "1.0"),
        *("--lr", "5e-4", "--lr-scheduler", "inverse_sqrt", "--warmup-updates", "4000"),
        *("--max-tokens", str(model.tokens // processes), "--max-update", str(updates)),
        *("--seed", "1", "--no-save", "--disable-validation"),
        *("--log-format", "json", "--log-interval", "10"),
    ]

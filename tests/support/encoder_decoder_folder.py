"""Tiny encoder-decoders of transformers' in fairseq's commands: imported, and data for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq_commands import USER_DIR, run
from models.tiny_hugging_face import TEXT, save
from tiny_gpt2 import call

from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser


def import_model(folder: Path, kind: str, *flags: object, **config: Any) -> Any:
    """Write ``folder/hf`` and what import-hf makes of it, ``folder/fairseq``; return the model."""
    model = save(folder / "hf", kind, **config)
    if (folder / "hf" / "target").is_dir():
        flags = (*flags, "--tokeniser", folder / "hf" / "source")
        flags = (*flags, "--target-tokeniser", folder / "hf" / "target")
    call("import-hf", folder / "hf", folder / "fairseq", *flags)
    return model


def dictionaries(imported: Path) -> list[Path]:
    """Return the dictionary of what is read, and that of what is written."""
    tokeniser = ModelTokeniser.read(imported)
    return [tokeniser.source_dictionary, tokeniser.target_dictionary]


def fine_tuned(imported: Path, arch: str = "hugging_face", task: str = "translation") -> list[str]:
    """The flags of ``fairseq-train`` for an imported model."""
    return [
        *("--task", task, "-s", "source", "-t", "target", "--arch", arch),
        *("--hugging-face", str(imported), "--finetune-from-model", str(imported / "model.pt")),
    ]


def preprocessed(imported: Path, folder: Path, lines: dict[str, list[list[str]]]) -> Path:
    """Binarize lines of symbols, ``{"train.source": ..., "train.target": ...}``."""
    folder.mkdir(parents=True)
    for name, symbols in lines.items():
        (folder / name).write_text("".join(" ".join(line) + "\n" for line in symbols))
    splits = dict.fromkeys(name.split(".")[0] for name in lines)
    source, target = dictionaries(imported)
    run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, "-s", "source", "-t", "target"),
        *(f"--{split}pref={folder / split}" for split in splits),
        *("--srcdict", source, "--tgtdict", target, "--destdir", folder / "bin"),
    )
    return folder / "bin"


def sentences(number: int) -> list[str]:
    """Beginnings of what the tokenisers know, each with a number."""
    return [f"{TEXT[i % 4][: 12 + i % 9]} {i % 7}" for i in range(number)]


def binarized(
    imported: Path, folder: Path, sizes: dict[str, int], more: Sequence[str] = ()
) -> Path:
    """Sentences in a model's pieces, and the words that they begin with, by its dictionaries.

    Args:
        imported: what import-hf wrote.
        folder: is made.
        sizes: how many examples each split has.
        more: sources of the training data besides.
    """
    tokeniser = ModelTokeniser.read(imported)
    lines = {}
    for split, size in sizes.items():
        texts = [*sentences(size), *(more if split == "train" else [])]
        lines[f"{split}.source"] = tokeniser.encode_sources(texts)
        lines[f"{split}.target"] = tokeniser.encode_targets([text[:9] for text in texts])
    return preprocessed(imported, folder, lines)

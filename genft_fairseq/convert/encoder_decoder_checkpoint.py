"""Encoder-decoders and encoders of transformers as checkpoints of fairseq, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from genft_fairseq.convert import sentence_encoder
from genft_fairseq.convert.checkpoints import (
    Trained,
    training_configuration,
    write_fresh_checkpoint,
)
from genft_fairseq.convert.encoder_decoder import FramingTokeniser
from genft_fairseq.convert.huggingface_folder import require_transformers
from genft_fairseq.data.fid_lines import marker_symbols
from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION
from genft_fairseq.errors import UserError
from genft_fairseq.models.bi_encoder import BiEncoderModel, imported_tower
from genft_fairseq.models.huggingface import architectures, description
from genft_fairseq.models.huggingface.description import Description, Side
from genft_fairseq.models.huggingface.model import HuggingFaceModel

ARCHITECTURES = ("hugging_face", "fid_t5")


def write_folder(
    model: Any,
    described: Description,
    source: FramingTokeniser,
    target: FramingTokeniser,
    folder: Path,
    data: Path,
) -> int:
    """Write an imported model for fairseq: checkpoint, dictionaries, tokenisers, description.

    Args:
        model: of transformers.
        described: its description.
        source: tokeniser of the source.
        target: tokeniser of the target.
        folder: to write to.
        data: final path of the folder.

    Returns:
        the number of parameters.

    Raises:
        UserError: it cannot be written.
    """
    joined = described.joined and source.content == target.content
    for name, side, tokeniser in (
        ("source", described.source, source),
        ("target", described.target, target),
    ):
        if joined and name == "target":
            continue
        lines = "".join(f"{symbol} 1\n" for symbol in side.symbols)
        (folder / ("dict.txt" if joined else f"dict.{name}.txt")).write_text(lines)
        file = "tokenizer.json" if joined else f"tokenizer.{name}.json"
        (folder / file).write_text(tokeniser.content, encoding="utf-8")
    (folder / DESCRIPTION).write_text(described.dumps() + "\n", encoding="utf-8")
    ours = architectures.build(described)
    architectures.renumber(model, ours, described, "fairseq")
    _begin_added(ours, described, {"source": source, "target": target})
    dictionaries = [dictionary_of(side) for side in (described.source, described.target)]
    fairseq_model: Any
    if described.texts:
        cfg = _bi_encoder_configuration(folder, described.texts.longest)
        tower = imported_tower(ours, described, dictionaries[0])
        fairseq_model = BiEncoderModel(cfg.model, tower, tower, described)
        cfg.model.hugging_face = described.flat()
    else:
        cfg = _configuration(folder)
        fairseq_model = HuggingFaceModel.of(ours, described, *dictionaries)
        cfg.model.hugging_face_description = described.flat()
        cfg.model.hugging_face = str(data)
    cfg.task.data = str(data)
    write_fresh_checkpoint(cfg, fairseq_model.state_dict(), folder / "model.pt")
    return sum(parameter.numel() for parameter in model.parameters())


def write_encoder(
    given: Path,
    folder: Path,
    data: Path,
    tokeniser: Path | None,
    pooling: str | None,
    passages: int,
) -> tuple[Description, int]:
    """Write an imported encoder for fairseq, as ``write_folder`` does.

    Args:
        given: folder of transformers or of sentence-transformers.
        folder: to write to.
        data: final path of the folder.
        tokeniser: folder of the tokeniser, if ``given`` has none.
        pooling: ``mean`` or ``first``, if ``given`` does not say.
        passages: number of passages a question for which symbols are added.

    Returns:
        the description, and the number of parameters.

    Raises:
        UserError: the folder holds no supported encoder, or cannot be written.
    """
    require_transformers()
    added = tuple(marker_symbols(passages))
    model, described, framing = sentence_encoder.load(given, tokeniser, pooling, added)
    return described, write_folder(model, described, framing, framing, folder, data)


def dictionary_of(side: Side) -> Dictionary:
    """Return fairseq's dictionary of a side."""
    dictionary = Dictionary()
    for symbol in side.symbols:
        dictionary.add_symbol(symbol)
    return dictionary


def _configuration(folder: Path) -> Any:
    words = [str(folder), "--arch", "hugging_face", "--hugging-face", str(folder)]
    words += ["--task", "translation", "--source-lang", "source", "--target-lang", "target"]
    return training_configuration(words)


def _bi_encoder_configuration(folder: Path, longest: int) -> Any:
    words = [str(folder), "--arch", "bi_encoder", "--hugging-face", str(folder), "--share-encoders"]
    words += ["--task", "retrieval", "--criterion", "in_batch_negatives"]
    for text in ("question", "passage"):
        words += [f"--max-{text}-positions", str(longest)]
    return training_configuration(words)


@torch.no_grad()
def _begin_added(
    model: Any, described: Description, tokenisers: Mapping[str, FramingTokeniser]
) -> None:
    """Initialise the row of an added symbol, ``<title>``, as the mean of its name's subwords."""
    rows = dict(architectures.vocabulary_parameters(model))
    values = model.state_dict()
    for name, side_name in rows.items():
        side: Side = getattr(described, side_name)
        tokenizer, first = tokenisers[side_name].tokenizer, len(side) - len(side.added)
        numbers = {row: at for at, row in enumerate(side.rows) if row >= 0}
        value = values[name][0] if name == "final_logits_bias" else values[name]
        for at, symbol in enumerate(side.added, start=first):
            spelled = symbol.strip("<>").replace(":", " ") + ":"
            ids = tokenizer.encode(spelled, add_special_tokens=False).ids
            value[at] = value[[numbers[i] for i in ids]].mean(dim=0)


def read_description(trained: Trained) -> Description:
    """Return the description in a checkpoint of ``--arch hugging_face`` or ``fid_t5``.

    Raises:
        UserError: transformers has no such model.
    """
    path, model = trained.path, trained.settings
    heads = getattr(model, "decoder_kv_heads", None)
    if (heads is not None) or getattr(model, "cross_attention_interval", 1) > 1:
        raise UserError(
            f"{path} has grouped heads or sparse cross-attention, for which transformers has no T5"
        )
    described = description.loads(getattr(model, "hugging_face_description", None), str(path))
    if described.source.added or described.target.added:
        added = " ".join((described.source.added or described.target.added)[:3])
        raise UserError(
            f"{path} has symbols that its tokeniser does not know ({added}, ...): transformers "
            "has no Fusion-in-Decoder"
        )
    return described


def to_hugging_face(trained: Trained, described: Description) -> Any:
    """Return the model of transformers with the parameters of a checkpoint, in their dtype.

    Raises:
        UserError: they are not those of the description.
    """
    ours = architectures.build(described)
    dictionaries = [dictionary_of(side) for side in (described.source, described.target)]
    model = HuggingFaceModel.of(ours, described, *dictionaries)
    dtype = next(iter(trained.weights.values())).dtype
    model.to(dtype)
    try:
        model.load_state_dict(trained.weights, strict=True)
    except (RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{trained.path} has other parameters than it describes: {reason}"
        ) from error
    if model.encoder.unused is not None:
        ours.encoder.pooler = model.encoder.unused
    if described.model_type == "bart":
        ours.final_logits_bias.copy_(model.decoder.output_projection.bias[None])
    theirs = architectures.build(described, numbered_as="transformers").to(dtype)
    architectures.renumber(ours, theirs, described, "transformers")
    for name, value in described.generation.items():
        setattr(theirs.generation_config, name, value)
    return theirs

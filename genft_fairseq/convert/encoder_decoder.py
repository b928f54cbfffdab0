"""Encoder-decoders in folders of transformers: their tokenisers, settings and parameters.

``read_tokeniser`` reads a tokeniser and the tokens that it puts around a text; ``load`` and
``compose`` make a model of one or two folders; ``describe`` makes its description, which fairseq's
model is built from (``models.huggingface.description``); ``write_tokenisers`` writes the tokenisers
of an exported model.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from genft_fairseq.convert.huggingface_folder import (
    first_line,
    load_model,
    read_config,
    read_json,
    require_transformers,
)
from genft_fairseq.data.huggingface_tokeniser import SYMBOLS
from genft_fairseq.errors import UserError
from genft_fairseq.models.huggingface import architectures
from genft_fairseq.models.huggingface.description import Description, Side

ONE_FILE = "tokenizer.json"
# Other files that transformers reads a tokeniser from; without any, it makes an empty one.
OTHER_FILES = (
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("vocab.txt", "vocab.json", "merges.txt"),
)
_CONFIGURATIONS = ("config.json", "tokenizer_config.json")
# Ids that transformers' own decoding needs.
_GENERATION = (*architectures.IDS, "forced_bos_token_id", "forced_eos_token_id")
# Parameters of the pretraining of encoders and language models, which an encoder-decoder lacks.
_PRETRAINING = ("pooler.", "cls.seq_relationship.", "cls.predictions.", "lm_head.", "position_ids")


@dataclass(frozen=True)
class FramingTokeniser:
    """A tokeniser of the ``tokenizers`` library.

    Attributes:
        tokenizer: the library's own.
        frame: ids that it puts around every text.
        pad: id of padding; None: it has none.
        unk: id of unknown text; None: it has none.
        source: path that it was read from, for messages.
    """

    tokenizer: Any
    frame: tuple[int, ...]
    pad: int | None
    unk: int | None
    source: str

    @property
    def size(self) -> int:
        """The greatest id plus one."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def content(self) -> str:
        """The content of its ``tokenizer.json``."""
        text: str = self.tokenizer.to_str()
        return text


def read_tokeniser(folder: Path, flag: str) -> FramingTokeniser:
    """Read the tokeniser of a folder: ``tokenizer.json``, or files that transformers converts.

    Args:
        folder: of transformers.
        flag: that names another folder, for messages.

    Raises:
        UserError: it is missing, broken, or cannot be converted to ``tokenizer.json``.
    """
    path = folder / ONE_FILE
    if path.is_file():
        tokenizer, source = _opened(path), str(path)
    else:
        tokenizer, source = _converted(folder, flag), str(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if not vocabulary.keys() - {t.content for t in tokenizer.get_added_tokens_decoder().values()}:
        raise UserError(f"{source} is an empty tokeniser")
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model.get("unk_token")
    unk = model.get("unk_id") if unknown is None else vocabulary.get(unknown)
    if unk is None and vocabulary.get("<unk>") is not None:
        unk = vocabulary["<unk>"]
    pads = [vocabulary[name] for name in ("<pad>", "[PAD]") if name in vocabulary]
    frame = tuple(tokenizer.encode("", add_special_tokens=True).ids)
    return FramingTokeniser(tokenizer, frame, pads[0] if pads else None, unk, source)


def _opened(path: Path) -> Any:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"{path} is no tokeniser ({first_line(error)})") from error


def _converted(folder: Path, flag: str) -> Any:
    if not any((folder / name).is_file() for name in OTHER_FILES):
        raise UserError(
            f"{folder} holds no tokeniser: none of {', '.join((ONE_FILE, *OTHER_FILES))}; add "
            f"{flag} DIR"
        )
    transformers = require_transformers()
    kind, settings = transformers.AutoTokenizer, {}
    said = [read_json(f) for name in _CONFIGURATIONS if (f := folder / name).is_file()]
    classes = {str(one["tokenizer_class"]) for one in said if one.get("tokenizer_class")}
    alone = [name for name in OTHER_FILES if (folder / name).is_file()] == ["vocab.txt"]
    if alone and classes <= {"BertTokenizer", "BertTokenizerFast"}:
        # A vocab.txt alone is of an early BERT, whose configuration may say neither that, nor
        # whether it is cased: the subwords tell.
        kind = transformers.BertTokenizer
        if not any("do_lower_case" in one for one in said):
            settings["do_lower_case"] = not _has_capitals(folder / "vocab.txt")
    try:
        fast = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **settings
        )
        return fast.backend_tokenizer
    except Exception as error:  # transformers has no common class of errors
        raise UserError(
            f"{folder} holds no tokeniser: no {ONE_FILE}, nor files that transformers makes one of "
            f"({first_line(error)}); add {flag} DIR"
        ) from error


def _has_capitals(vocabulary: Path) -> bool:
    """Tell whether a subword, other than symbols such as ``[CLS]``, has a capital letter."""
    subwords = vocabulary.read_text(encoding="utf-8", errors="replace").split("\n")
    return any(subword != subword.lower() for subword in subwords if not subword.startswith("["))


def write_tokenisers(found: Path, described: Description, folder: Path) -> None:
    """Write tokenisers that ``AutoTokenizer.from_pretrained`` reads.

    Args:
        found: folder with the tokenisers of an imported model.
        described: the model.
        folder: to write to; two tokenisers go into its ``source`` and ``target``.

    Raises:
        UserError: a tokeniser is missing or broken.
    """
    joined = (found / ONE_FILE).is_file()
    for name, side in (("source", described.source), ("target", described.target)):
        if joined and name == "target":
            continue
        file = found / (ONE_FILE if joined else f"tokenizer.{name}.json")
        tokenizer = _opened(file)
        special = {
            f"{symbol}_token": tokenizer.id_to_token(number)
            for symbol in SYMBOLS
            if (number := getattr(side, symbol)) is not None
        }
        known = {key: token for key, token in special.items() if token is not None}
        fast = require_transformers().PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)
        fast.save_pretrained(folder if joined else folder / name)


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Load an encoder-decoder.

    Returns:
        the model of transformers in float32, and the content of its ``config.json``.

    Raises:
        UserError: the folder holds another or an unsupported model; the message names the field.
    """
    transformers = require_transformers()
    content = read_config(folder)
    model_type = content.get("model_type")
    if model_type == architectures.COMPOSED:
        config = transformers.EncoderDecoderConfig(
            encoder=_half(content, folder, "encoder", tuple(architectures.ENCODERS)),
            decoder=_half(content, folder, "decoder", architectures.DECODERS),
            **{name: content[name] for name in architectures.IDS if name in content},
        )
        kind: Any = transformers.EncoderDecoderModel
    elif model_type in architectures.ENCODER_DECODERS:
        config = _configured(content, model_type, folder)
        kind = getattr(transformers, architectures.ARCHITECTURES[model_type].model)
    else:
        names = (*architectures.ENCODER_DECODERS, architectures.COMPOSED, *architectures.ENCODERS)
        raise UserError(
            f"{folder / 'config.json'}: model_type must be one of {', '.join(names)} (or gpt2), "
            f"but is {model_type}"
        )
    if content.get("tie_encoder_decoder"):
        raise UserError(
            f"{folder / 'config.json'}: tie_encoder_decoder must be false: fairseq's encoder and "
            "decoder have parameters of their own"
        )
    model, _ = load_model(
        kind, folder, config, str(model_type), unexpected=lambda name: name.endswith("position_ids")
    )
    return model, content


def _half(content: dict[str, Any], folder: Path, name: str, allowed: tuple[str, ...]) -> Any:
    half = content.get(name)
    model_type = half.get("model_type") if isinstance(half, dict) else None
    if model_type not in allowed:
        raise UserError(
            f"{folder / 'config.json'}: the {name}'s model_type must be one of "
            f"{', '.join(allowed)}, but is {model_type}"
        )
    decodes = name == "decoder"
    assert isinstance(half, dict)
    return _configured(
        {**half, "is_decoder": decodes, "add_cross_attention": decodes}, model_type, folder
    ).to_dict()


def _configured(content: dict[str, Any], model_type: str, folder: Path) -> Any:
    """The configuration of transformers, made of the fields that are read."""
    path, kind = folder / "config.json", architectures.ARCHITECTURES[model_type]
    for name, value in kind.must_be.items():
        if content.get(name, value) != value:
            raise UserError(f"{path}: {name} must be {value}, but is {content[name]}")
    known = {k: v for k, v in content.items() if k in architectures.fields(model_type)}
    try:
        config = getattr(require_transformers(), kind.config)(**known)
    except Exception as error:  # transformers checks types with its own exceptions
        raise UserError(
            f"{path} is no configuration of a {model_type} ({first_line(error)})"
        ) from error
    return config


def compose(encoder: Path, decoder: Path, seed: int) -> tuple[Any, list[str]]:
    """Compose an encoder-decoder of a pretrained encoder and a pretrained language model.

    Rothe et al. (2020), *Leveraging Pre-trained Checkpoints for Sequence Generation Tasks*,
    arXiv:1907.12461.

    Args:
        encoder: a folder of BERT or RoBERTa.
        decoder: a folder of BERT, RoBERTa or GPT-2; the same one for BERT2BERT.
        seed: of the random initialisation.

    Returns:
        the model, and its parameters that are initialised at random: those of cross-attention, and
        of an output layer that the decoder's folder lacks.

    Raises:
        UserError: a folder holds another model.
    """
    transformers = require_transformers()
    names = {"bert": "BertLMHeadModel", "roberta": "RobertaForCausalLM", "gpt2": "GPT2LMHeadModel"}
    torch.manual_seed(seed)
    reads, _ = _load_half(encoder, architectures.ENCODERS, False)
    writes, fresh = _load_half(decoder, names, True)
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        reads.config, writes.config
    )
    return transformers.EncoderDecoderModel(encoder=reads, decoder=writes, config=config), fresh


def load_encoder(folder: Path) -> Any:
    """Load a pretrained BERT or RoBERTa, without its pretraining heads.

    Raises:
        UserError: the folder holds another model.
    """
    model, _ = _load_half(folder, architectures.ENCODERS, False)
    model.pooler = None
    return model


def _load_half(folder: Path, classes: dict[str, str], decodes: bool) -> tuple[Any, list[str]]:
    """Load an encoder or a decoder; also return the parameters initialised at random."""
    content = read_config(folder)
    model_type = content.get("model_type")
    if model_type not in classes:
        half = "a decoder" if decodes else "an encoder"
        raise UserError(
            f"{folder / 'config.json'}: model_type of {half} must be one of "
            f"{', '.join(classes)}, but is {model_type}"
        )
    as_half = {**content, "is_decoder": decodes, "add_cross_attention": decodes}
    return load_model(
        getattr(require_transformers(), classes[model_type]),
        folder,
        _configured(as_half, model_type, folder),
        model_type,
        missing=_begins_at_random if decodes else _is_pooler,
        unexpected=_is_pretraining,
    )


def _begins_at_random(name: str) -> bool:
    """Cross-attention, and the output layer of a model without one."""
    new = ("crossattention.", "ln_cross_attn.", "cls.predictions.", "lm_head.")
    return any(part in name for part in new)


def _is_pooler(name: str) -> bool:
    return "pooler." in name


def _is_pretraining(name: str) -> bool:
    masks = (".attn.bias", ".attn.masked_bias")
    return any(part in name for part in _PRETRAINING) or name.endswith(masks)


def describe(
    model: Any,
    content: dict[str, Any],
    source: FramingTokeniser,
    target: FramingTokeniser,
    added: tuple[str, ...],
    where: str,
) -> Description:
    """Describe a loaded model.

    Args:
        model: of transformers.
        content: of its ``config.json``; empty for a composed model.
        source: tokeniser of the source.
        target: tokeniser of the target.
        added: symbols to add to both vocabularies.
        where: the folder, for messages.

    Raises:
        UserError: an id is missing, or a tokeniser does not fit; the message names the field.
    """
    config = model.config
    pair = config.model_type == architectures.COMPOSED
    encoder = config.encoder if pair else config
    decoder = config.decoder if pair else config
    embedding = model.get_decoder().get_input_embeddings().weight
    if not pair and model.get_encoder().get_input_embeddings().weight is not embedding:
        raise UserError(f"{where}: encoder.embed_tokens and decoder.embed_tokens are not tied")
    for tokeniser, half, name in ((source, encoder, "encoder"), (target, decoder, "decoder")):
        require_vocabulary(tokeniser, half, name, where)
    eos = _first(
        content.get("eos_token_id"),
        *(target.frame[-1:] or ()),
        getattr(decoder, "eos_token_id", None),
    )
    start = _first(
        content.get("decoder_start_token_id"),
        getattr(config, "decoder_start_token_id", None),
        config.pad_token_id if config.model_type == "t5" else None,
        *(() if content else (*target.frame[:1], getattr(decoder, "bos_token_id", None))),
    )
    for name, found in (("eos_token_id", eos), ("decoder_start_token_id", start)):
        if not isinstance(found, int) or not 0 <= found < decoder.vocab_size:
            raise UserError(
                f"{where}: {name} must be an id below {decoder.vocab_size}, but is {found}"
            )
    ends = _first(
        *(source.frame[-1:] or ()),
        getattr(encoder, "eos_token_id", None),
        eos if not pair else None,
    )
    sides = []
    for tokeniser, half, end in ((source, encoder, ends), (target, decoder, eos)):
        sides.append(described_side(tokeniser, half, end, added, where))
    told = {name: getattr(model.generation_config, name, None) for name in _GENERATION}
    ids = {"decoder_start_token_id": start, "eos_token_id": eos, "pad_token_id": sides[1].pad}
    ids |= {name: value for name, value in told.items() if isinstance(value, int)}
    if pair:
        fields = {"encoder": described_fields(encoder), "decoder": described_fields(decoder)}
        fields["ids"] = {k: v for k, v in ids.items() if k in ("decoder_start_token_id", *content)}
    return Description(
        model_type=config.model_type,
        config=fields if pair else described_fields(config),
        tied=model.get_output_embeddings().weight is embedding,
        source=sides[0],
        target=sides[1],
        start=sides[1].symbol(int(start)),
        source_positions=most_positions(encoder),
        target_positions=most_positions(decoder),
        generation=ids,
    )


def require_vocabulary(tokeniser: FramingTokeniser, config: Any, name: str, where: str) -> None:
    """Refuse a tokeniser with ids beyond the model's vocabulary.

    Raises:
        UserError: naming both.
    """
    if tokeniser.size > config.vocab_size:
        raise UserError(
            f"{tokeniser.source} has ids up to {tokeniser.size - 1}, but {where}: vocab_size "
            f"of the {name} is {config.vocab_size}: they do not belong together"
        )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def described_side(
    tokeniser: FramingTokeniser, config: Any, eos: Any, added: tuple[str, ...], where: str
) -> Side:
    """Describe the vocabulary of one side, whose texts end with the id ``eos``.

    Raises:
        UserError: the tokeniser ends texts with another id.
    """
    frame = tokeniser.frame
    if frame and frame[-1] != eos:
        raise UserError(
            f"{tokeniser.source} ends texts with the id {frame[-1]}, but {where}: eos_token_id is "
            f"{eos}"
        )
    pad = _first(getattr(config, "pad_token_id", None), tokeniser.pad)
    bos = frame[0] if len(frame) > 1 else getattr(config, "bos_token_id", None)
    found: dict[str, int | None] = {}
    # GPT-2 has one id for all of them: fairseq's other symbols become rows of their own.
    for name, number in (("eos", eos), ("pad", pad), ("bos", bos), ("unk", tokeniser.unk)):
        fits = isinstance(number, int) and 0 <= number < config.vocab_size
        found[name] = number if fits and number not in found.values() else None
    side = Side(config.vocab_size, found["bos"], found["pad"], found["eos"], found["unk"])
    prefix = tuple(side.symbol(number) for number in frame[:-1])
    return replace(side, prefix=prefix, added=added)


def described_fields(config: Any) -> dict[str, Any]:
    """The fields that are needed to build it again; no other field of a file is kept."""
    whole = config.to_dict()
    kept = {
        name: value
        for name, value in whole.items()
        if name in architectures.fields(config.model_type)
        and (value is None or isinstance(value, str | int | float | bool))
    }
    return {"model_type": config.model_type, **kept}


def most_positions(config: Any) -> int | None:
    """Return the maximum length of a text in tokens; None: no maximum."""
    field = architectures.ARCHITECTURES[config.model_type].positions
    if not field:
        return None
    # RoBERTa's positions start behind the id of padding.
    before = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return int(getattr(config, field)) - before

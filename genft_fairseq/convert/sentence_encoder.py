"""Pretrained encoders in folders of transformers or of sentence-transformers.

sentence-transformers (Reimers & Gurevych, 2019, arXiv:1908.10084) keeps how a text is embedded
beside the model: ``modules.json`` lists the modules and their folders, ``1_Pooling`` has the
pooling, ``sentence_bert_config.json`` the maximum length of a text in tokens, and
``config_sentence_transformers.json`` the prompts that are put before texts.  A folder without
``modules.json`` holds a model alone; its texts are embedded by mean pooling, as in
sentence-transformers.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from genft_fairseq.convert import encoder_decoder
from genft_fairseq.convert.encoder_decoder import FramingTokeniser, read_tokeniser
from genft_fairseq.convert.huggingface_folder import read_json
from genft_fairseq.data.encoder_texts import POOLING, EncoderTexts
from genft_fairseq.errors import UserError
from genft_fairseq.models.huggingface.description import Description, Side

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"

# Names of sentence-transformers and the ones of ``data.encoder_texts``.
_POOLING = {"mean": "mean", "mean_tokens": "mean", "cls": "first", "cls_token": "first"}

# Names that the prompt of each kind of text may have.
_PROMPTS = {"question": ("query",), "passage": ("document", "passage", "corpus")}

_FEWEST = 4  # tokens of a truncated text: the first, two of its own, the last


def encoder_folder(folder: Path) -> Path:
    """Return the folder of the encoder itself: this one, or the one that its modules name.

    Raises:
        UserError: it has unsupported modules.
    """
    return _modules(folder).get("Transformer", folder)


def load(
    folder: Path, tokeniser: Path | None, pooling: str | None, added: tuple[str, ...]
) -> tuple[Any, Description, FramingTokeniser]:
    """Load an encoder, and describe how it embeds texts.

    Args:
        folder: of sentence-transformers or of transformers.
        tokeniser: folder of ``tokenizer.json``, if ``folder`` has none.
        pooling: ``mean`` or ``first``, if ``folder`` does not say.
        added: symbols to add to the vocabulary.

    Returns:
        the model of transformers, its description, and its tokeniser.

    Raises:
        UserError: the folder holds another model, or unsupported settings.
    """
    place = encoder_folder(folder)
    pooling, normalize = _vectors(folder, pooling)
    model = encoder_decoder.load_encoder(place)
    config, where = model.config, str(place / "config.json")
    positions = encoder_decoder.most_positions(config)
    assert positions is not None  # a BERT or RoBERTa has so many
    longest, lower_case = _limits(place, positions)
    framing = read_tokeniser(tokeniser or place, "--tokeniser")
    encoder_decoder.require_vocabulary(framing, config, "encoder", where)
    if len(framing.frame) != 2:
        raise UserError(
            f"{framing.source} must put a token before and one behind every text, but puts "
            f"{len(framing.frame)} around it"
        )
    if lower_case:
        _read_small_letters(framing.tokenizer)
    side = encoder_decoder.described_side(framing, config, framing.frame[-1], added, where)
    side = replace(side, prefix=())  # the task puts it there
    symbols = _symbols(folder, framing, side)
    described = Description(
        model_type=config.model_type,
        config=encoder_decoder.described_fields(config),
        tied=True,
        source=side,
        target=side,
        start=side.symbol(framing.frame[0]),
        source_positions=positions,
        target_positions=positions,
        generation={},
        texts=EncoderTexts(pooling, normalize, longest, **symbols),
    )
    return model, described, framing


def _modules(folder: Path) -> dict[str, Path]:
    """The modules of sentence-transformers with their folders; empty for a model alone."""
    path = folder / MODULES
    if not path.is_file():
        return {}
    found: dict[str, Path] = {}
    for module in read_json(path, list):
        said = module if isinstance(module, dict) else {}
        kind, place = str(said.get("type")).split(".")[-1], PurePosixPath(str(said.get("path", "")))
        if place.is_absolute() or ".." in place.parts:
            raise UserError(f"{path}: {place} is not a folder beside it")
        found[kind] = folder / place
    if [*found] not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UserError(
            f"{path}: the modules must be Transformer, Pooling and perhaps Normalize, but are "
            f"{', '.join(found)}"
        )
    return found


def _vectors(folder: Path, pooling: str | None) -> tuple[str, bool]:
    """The pooling, and whether vectors are normalised to length 1."""
    modules = _modules(folder)
    if not modules:
        return pooling or POOLING[0], False
    path = modules["Pooling"] / "config.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist, but {folder / MODULES} names its folder")
    content = read_json(path)
    begin = "pooling_mode_"
    chosen = {f"{begin}mean_tokens": True, **content}  # true where it is not said
    modes = [name.removeprefix(begin) for name, on in chosen.items() if on and begin in name]
    if content.get("pooling_mode") is not None:  # newer versions name it instead
        modes = [str(content["pooling_mode"])]
    found = _POOLING.get(modes[0]) if len(modes) == 1 else None
    if found is None:
        raise UserError(
            f"{path}: the pooling must be the mean over the tokens (mean_tokens) or the vector of "
            f"the first one (cls_token), but is {' and '.join(modes) or 'none'}"
        )
    if pooling not in (None, found):
        raise UserError(f"--pooling {pooling}: {path} says {found}; leave the flag out")
    if (
        found == "mean"
        and content.get("include_prompt") is False
        and any(_prompts(folder).values())
    ):
        raise UserError(
            f"{path}: include_prompt is false, but a mean that leaves out the prompts of {PROMPTS} "
            "is not possible here"
        )
    return found, "Normalize" in modules


def _limits(place: Path, positions: int) -> tuple[int, bool]:
    """The maximum length of a text in tokens, and whether text is lowercased."""
    longest: Any
    own = next(iter(sorted(place.glob("sentence_*_config.json"))), None)
    said = read_json(own) if own else {}
    path, longest = own, said.get("max_seq_length")
    if longest is None:
        path = place / "tokenizer_config.json"
        longest = read_json(path).get("model_max_length") if path.is_file() else None
    if longest is None:
        path, longest = place / "config.json", positions
    number = isinstance(longest, int | float) and not isinstance(longest, bool)
    if not number or not longest >= _FEWEST:  # nor nan
        raise UserError(
            f"{path}: the most tokens of a text must be a number from {_FEWEST} on, but is "
            f"{longest!r:.40}"
        )
    return int(min(longest, positions)), bool(said.get("do_lower_case"))


def _read_small_letters(tokenizer: Any) -> None:
    from tokenizers import normalizers

    after = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *after])


def _symbols(folder: Path, framing: FramingTokeniser, side: Side) -> dict[str, tuple[str, ...]]:
    """Symbols before a question and a passage, and between a title and its text."""

    def ids(text: str) -> list[int]:
        found: list[int] = framing.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    begin, end = map(side.symbol, framing.frame)
    found: dict[str, tuple[str, ...]] = {}
    for kind, prompt in _prompts(folder).items():
        # Texts come in subwords already, which must be those that they have behind the prompt.
        if ids(f"{prompt}a b") != ids(prompt) + ids("a b"):
            raise UserError(
                f"{folder / PROMPTS}: the prompt {prompt!r} changes the pieces of the text behind "
                "it, which is not possible here"
            )
        found[kind] = (begin, *map(side.symbol, ids(prompt)))
    # Title and text are read as one text, unless a subword depends on the space before it.
    found["between"] = () if ids("a b") == ids("a") + ids("b") else (end,)
    return found


def _prompts(folder: Path) -> dict[str, str]:
    path = folder / PROMPTS
    content = read_json(path) if path.is_file() else {}
    prompts = content.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(map(_is_text, prompts.values())):
        raise UserError(f"{path}: prompts must be texts by their names")
    default = prompts.get(str(content.get("default_prompt_name")), "")
    return {
        kind: next((prompts[name] for name in names if prompts.get(name)), default)
        for kind, names in _PROMPTS.items()
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value

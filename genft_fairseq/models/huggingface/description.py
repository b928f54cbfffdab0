"""The description of an imported encoder-decoder or encoder: its configuration and vocabularies.

``genft import-hf`` writes it as ``hugging_face.json``.  A checkpoint carries it as JSON, too, so
that it loads without the folder it came from.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genft_fairseq.data import encoder_texts
from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION, SYMBOLS, read_description
from genft_fairseq.errors import UserError

MOST_SYMBOLS = 10_000_000  # of a vocabulary; a larger one would exhaust memory


@dataclass(frozen=True)
class Side:
    """The vocabulary of one side, numbered as in transformers and as in fairseq.

    fairseq's dictionary holds its four symbols, the other ids of transformers in ascending order,
    written as numbers, and the symbols that were added.

    Attributes:
        size: V, of transformers' vocabulary.
        bos, pad, eos, unk: ids of fairseq's four symbols; None: the model lacks it, and a row is
            added.
        prefix: symbols before every text.
        added: symbols that the model lacks; a row is added for each.
    """

    size: int
    bos: int | None
    pad: int | None
    eos: int | None
    unk: int | None
    prefix: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @cached_property
    def symbols(self) -> list[str]:
        """The symbols of the dictionary after fairseq's four."""
        own = {self.bos, self.pad, self.eos, self.unk}
        return [str(number) for number in range(self.size) if number not in own] + [*self.added]

    @cached_property
    def rows(self) -> list[int]:
        """The id in transformers of every symbol in fairseq; -1 where there is none."""
        special = [getattr(self, name) for name in SYMBOLS]
        others = [int(symbol) for symbol in self.symbols[: len(self.symbols) - len(self.added)]]
        return [-1 if i is None else i for i in special] + others + [-1] * len(self.added)

    def __len__(self) -> int:
        """The number of symbols in fairseq."""
        return len(self.rows)

    def symbol(self, number: int) -> str:
        """Return the symbol in fairseq of an id."""
        four = dict(zip((getattr(self, n) for n in SYMBOLS), SYMBOLS.values(), strict=True))
        return four.get(number, str(number))

    def index(self, symbol: str) -> int:
        """Return the index in fairseq of a symbol."""
        return [*SYMBOLS.values(), *self.symbols].index(symbol)

    def require_dictionary(self, dictionary: Any, name: str) -> None:
        """Refuse a dictionary with other symbols.

        Raises:
            UserError: naming the first that differs.
        """
        wanted = [*SYMBOLS.values(), *self.symbols]
        found = dictionary.symbols
        if found == wanted:
            return
        both = zip(found, wanted, strict=False)
        at = next((i for i, (a, b) in enumerate(both) if a != b), min(len(found), len(wanted)))
        there = repr(found[at]) if at < len(found) else "nothing"
        here = repr(wanted[at]) if at < len(wanted) else "nothing"
        raise UserError(
            f"the data's dictionary of {name} is not the imported model's: symbol {at} is {there} "
            f"of {len(found):,}, but must be {here} of {len(wanted):,}; make the data with the "
            "dictionaries that genft import-hf wrote"
        )


@dataclass(frozen=True)
class Description:
    """An encoder-decoder of transformers, or an encoder, whose target side is its source side.

    Attributes:
        model_type: name of its architecture in transformers.
        config: fields of its configuration that are read.
        tied: whether the output layer is the decoder's embedding.
        source, target: the vocabularies.
        start: the symbol that the decoder reads first, where fairseq has ``</s>``.
        source_positions, target_positions: maximum lengths in tokens; None: no maximum.
        generation: settings of transformers' own decoding, for export.
        texts: of an encoder: how it embeds texts; None: it is an encoder-decoder.
    """

    model_type: str
    config: dict[str, Any]
    tied: bool
    source: Side
    target: Side
    start: str
    source_positions: int | None
    target_positions: int | None
    generation: dict[str, Any]
    texts: encoder_texts.EncoderTexts | None = None

    @property
    def joined(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source == self.target

    def dumps(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=1)

    def flat(self) -> str:
        """Write as JSON in one line."""
        return json.dumps(asdict(self), sort_keys=True)


def parse(content: Any, where: str) -> Description:
    """Make a description of parsed JSON.

    Raises:
        UserError: a field is missing or invalid.
    """
    try:
        sides = {
            name: Side(
                **{
                    **content[name],
                    **{k: tuple(content[name].get(k, ())) for k in ("prefix", "added")},
                }
            )
            for name in ("source", "target")
        }
        texts = content.get("texts")
        texts = None if texts is None else encoder_texts.parse(texts, where)
        found = Description(**{**content, **sides, "texts": texts})
        positions = (found.source_positions, found.target_positions)
        whole = (
            all(map(_is_valid, sides.values()))
            and all(p is None or (type(p) is int and p > 0) for p in positions)
            and isinstance(found.model_type, str)
            and isinstance(found.config, dict)
            and isinstance(found.tied, bool)
            and isinstance(found.generation, dict)
            and found.start in (*SYMBOLS.values(), *found.target.symbols)
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{where} does not describe a model ({error})") from error
    if not whole:
        raise UserError(f"{where} does not describe a model: a field is not what it must be")
    return found


def _is_valid(side: Side) -> bool:
    ids = [i for i in (side.bos, side.pad, side.eos, side.unk) if i is not None]
    return (
        type(side.size) is int
        and 0 < side.size <= MOST_SYMBOLS
        and all(type(i) is int and 0 <= i < side.size for i in ids)
        and len(set(ids)) == len(ids)
        and all(isinstance(symbol, str) for symbol in (*side.prefix, *side.added))
    )


def loads(text: Any, where: str) -> Description:
    """Make a description of JSON.

    Raises:
        UserError: it is not JSON, or does not describe a model.
    """
    try:
        content = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{where} does not describe a model ({error})") from error
    return parse(content, where)


def read(folder: Path) -> Description:
    """Read ``hugging_face.json`` of a folder that ``genft import-hf`` made.

    Raises:
        UserError: it is missing or broken.
    """
    return parse(read_description(folder), str(folder / DESCRIPTION))

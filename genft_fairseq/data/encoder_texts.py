"""How a pretrained encoder reads questions and passages, and makes a vector of each.

``genft import-hf`` writes this into ``hugging_face.json`` as ``texts``.  A data folder separates
the parts of a line by symbols, ``<question> q`` and ``<title> t <context> p``, which no pretrained
encoder knows: it reads ``<s> q </s>`` and ``<s> t p </s>``, with tokens of its own for the first
and the last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genft_fairseq.data.fid_lines import Markers
from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION, read_description
from genft_fairseq.errors import UserError

POOLING = ("mean", "first")
Framing = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EncoderTexts:
    """What a pretrained encoder's configuration says of texts.

    Attributes:
        pooling: ``mean`` over a text's tokens, or the vector of the ``first``.
        normalize: whether vectors have length 1.
        longest: most tokens of a text, the first and the last included.
        question: symbols before a question, in the place of ``<question>``.
        passage: symbols before a passage, in the place of ``<title>``.
        between: symbols between title and text, in the place of ``<context>``.
    """

    pooling: str
    normalize: bool
    longest: int
    question: tuple[str, ...]
    passage: tuple[str, ...]
    between: tuple[str, ...]

    def framing(self, markers: Markers, dictionary: Any) -> Framing:
        """Return what puts these symbols in the place of the markers.

        It takes ``<question> q`` or ``<title> t <context> p``, (L,), without the end of sentence.
        """
        ids = {
            marker: [dictionary.index(symbol) for symbol in symbols]
            for marker, symbols in (
                (markers.question, self.question),
                (markers.title, self.passage),
                (markers.context, self.between),
            )
        }

        def frame(tokens: Tensor) -> Tensor:
            return tokens.new_tensor([i for t in tokens.tolist() for i in ids.get(t, (t,))])

        return frame


def parse(content: Any, where: str) -> EncoderTexts:
    """Make one of parsed JSON.

    Raises:
        UserError: a field is missing, or not what it must be.
    """
    try:
        sides = {name: tuple(content[name]) for name in ("question", "passage", "between")}
        found = EncoderTexts(**{**content, **sides})
        whole = (
            found.pooling in POOLING
            and isinstance(found.normalize, bool)
            and type(found.longest) is int
            and found.longest > 2
            and all(isinstance(symbol, str) for side in sides.values() for symbol in side)
        )
    except (TypeError, KeyError) as error:
        raise UserError(f"{where} does not describe a model: texts is broken ({error})") from error
    if not whole:
        raise UserError(f"{where} does not describe a model: texts is broken")
    return found


def read(folder: Path) -> EncoderTexts | None:
    """Read what the data folder, or the imported model, of an encoder says; None: it is of none.

    Raises:
        UserError: the description is broken.
    """
    if not (folder / DESCRIPTION).is_file():
        return None
    content = read_description(folder).get("texts")
    return None if content is None else parse(content, str(folder / DESCRIPTION))

"""A folder as `genft import-hf --passages N` leaves it of a T5, but for the weights, by hand."""

from pathlib import Path

import pytest

from genft_fairseq.data.fid_lines import marker_symbols
from genft_fairseq.models.huggingface.description import Description, Side

# A piece's number is its place. Words are split into as few pieces as there can be.
PIECES = [
    *("<pad>", "</s>", "<unk>"),
    *("\u2581", "\u2581wer", "\u2581schrieb", "\u2581Buch", "\u2581ü", "ber", "\u2581책", "은"),
    *("\u2581도", "서관", "\u2581Jörg", "?", ".", "<", ">", "title", "/", "s", "passage", ":"),
    *("1", "3"),
]
ROWS = len(PIECES) + 3  # T5 has rows that no piece has


def write_t5_pieces(folder: Path, passages: int = 3) -> Path:
    """Write `tokenizer.json`, `hugging_face.json` and `dict.txt`.

    Args:
        folder: is made.
        passages: for how many a question there are symbols; 0: no symbol of Fusion-in-Decoder's.
    """
    tokenizers = pytest.importorskip("tokenizers")
    folder.mkdir(parents=True)
    scores = [(subword, 0.0 if subword in PIECES[:3] else -1.0) for subword in PIECES]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=2))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.add_special_tokens(PIECES[:3])
    tokenizer.save(str(folder / "tokenizer.json"))
    added = tuple(marker_symbols(passages)) if passages else ()
    side = Side(size=ROWS, bos=None, pad=0, eos=1, unk=2, added=added)
    description = Description(
        model_type="t5", config={}, tied=True, source=side, target=side, start="<pad>",
        source_positions=None, target_positions=None, generation={},
    )  # fmt: skip
    (folder / "hugging_face.json").write_text(description.dumps(), "utf-8")
    symbols = [*map(str, range(3, ROWS)), *added]
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols))
    return folder

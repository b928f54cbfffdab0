"""What ``MANIFEST.json`` of a prepared data folder says about how its text became words."""

import json
from dataclasses import dataclass
from pathlib import Path

NAME = "MANIFEST.json"
# The steps of data-prep that split text into Moses' tokens.
_MOSES = ("moses_tokenise.py", "fid_words.py")


@dataclass(frozen=True)
class Preparation:
    """How text became words, before these were split into subwords.

    Attributes:
        has_moses_tokens: whether words are Moses' tokens; otherwise they stand between spaces.
        is_normalised: whether punctuation is Moses' normal one.
        is_lowercased: whether capitals are gone.
        is_truecased: whether sentences begin in the case that their first word has elsewhere.
    """

    has_moses_tokens: bool
    is_normalised: bool = False
    is_lowercased: bool = False
    is_truecased: bool = False


def read_recipe(folder: Path) -> tuple[str, list[str]] | None:
    """Return the command that prepared a data folder, and those that it ran.

    None where no manifest says it: a folder of another make, or its files alone.
    """
    if not (folder / NAME).is_file():
        return None
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        ran = [str(command) for command in manifest.get("commands") or []]
        return str(manifest["recipe"]["command"]), ran
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_preparation(folder: Path) -> Preparation | None:
    """Return how the text of a data folder was prepared; None where no manifest says it."""
    found = read_recipe(folder)
    if found is None:
        return None
    recipe, commands = found
    if not commands and "--tokenise none" not in recipe:
        return None
    words = " ".join(command for command in commands if command.startswith(_MOSES))
    return Preparation(
        has_moses_tokens=bool(words),
        is_normalised="punctuation normalised" in words,
        is_lowercased="--lowercase" in words,
        is_truecased="--truecase on" in recipe,
    )

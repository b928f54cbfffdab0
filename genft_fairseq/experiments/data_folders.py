"""Data folders of ``fairseq-preprocess``: which task and languages, and the flags that follow."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genft_fairseq.data.subwords import CODES, GPT2_FILES, text_form
from genft_fairseq.errors import UserError


@dataclass(frozen=True)
class DataFolder:
    """A folder of binarized data.

    Attributes:
        path: as it was typed.
        task: ``translation`` or ``language_modeling``.
        languages: source and target, where the files tell.
    """

    path: str
    task: str
    languages: tuple[str, str] | None = None

    @property
    def language_flags(self) -> list[str]:
        """``-s`` and ``-t``, where the languages are known."""
        return ["-s", self.languages[0], "-t", self.languages[1]] if self.languages else []


def open_data(path: str, task: str | None = None, extra: Sequence[str] = ()) -> DataFolder:
    """Look into a data folder.

    Args:
        path: of the folder.
        task: where it is given, it is not inferred.
        extra: flags of fairseq's; where they name the languages, these are not inferred.

    Raises:
        UserError: no such folder, or it does not tell the task, or it holds several language pairs.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(
            f"{path} is not a folder of fairseq-preprocess"
            if folder.exists()
            else f"{path} does not exist: DATA is the folder fairseq-preprocess made"
        )
    task = task or _task(folder)
    if task != "translation" or has_flag(extra, "-s", "--source-lang"):
        return DataFolder(path, task)
    pairs = _language_pairs(folder)
    if len(pairs) > 1:
        found = ", ".join("-".join(pair) for pair in pairs)
        raise UserError(f"{path} holds several language pairs ({found}): add -- -s SRC -t TGT")
    return DataFolder(path, task, pairs[0] if pairs else None)


def _task(folder: Path) -> str:
    languages = _dictionaries(folder)
    if languages == [""]:
        return "language_modeling"
    if len(languages) == 2 and "" not in languages:
        return "translation"
    found = ", ".join(sorted(path.name for path in folder.glob("dict*.txt"))) or "no dict.txt"
    raise UserError(
        f"{folder} does not tell its task ({found}): "
        f"add --task translation or --task language_modeling"
    )


def _language_pairs(folder: Path) -> list[tuple[str, str]]:
    """The pairs that the index files name: ``train.en-de.en.idx``."""
    named = {path.name.split(".")[1] for path in folder.glob("*.*-*.*.idx")}
    languages = [language for language in _dictionaries(folder) if language]
    return [pair for pair in itertools.permutations(languages, 2) if "-".join(pair) in named]


def _dictionaries(folder: Path) -> list[str]:
    """The languages that have a dictionary; the empty name is a language model's."""
    names = sorted(path.name for path in folder.glob("dict*.txt"))
    return [name.removeprefix("dict").removesuffix(".txt").removeprefix(".") for name in names]


def target_language(words: Sequence[str], folder: Path) -> str | None:
    """Return what a command translates into: by its flags, or by the only pair in its folder."""
    named = [v for flag in ("--target-lang", "-t") for v in flag_values(words, flag)]
    pairs = _language_pairs(folder)
    return named[-1] if named else pairs[0][1] if len(pairs) == 1 else None


def text_flags(data: Path, given: Sequence[str]) -> list[str]:
    """Return the flags by which fairseq's commands read and write text in a data folder's form.

    Where the files are not there that split text as the data's was, they join what a model writes.

    Args:
        data: the folder.
        given: the flags that a user has chosen; where they name a BPE or a tokeniser, there are no
            others.
    """
    if has_flag(given, "--bpe", "--tokenizer"):
        return []
    form = text_form([data])
    kind = form.subwords.kind
    flags: list[str] = []
    if kind == "hugging_face":
        flags = ["--bpe", kind, "--hugging-face-tokeniser", str(data)]
    elif kind == "gpt2":
        encoder, merges = (str(data / name) for name in GPT2_FILES)
        flags = ["--bpe", kind, "--gpt2-encoder-json", encoder, "--gpt2-vocab-bpe", merges]
    elif (data / CODES).exists():
        flags = ["--bpe", kind, "--bpe-codes", str(data / CODES)]
    elif kind != "none":
        return [] if has_flag(given, "--remove-bpe", "--post-process") else ["--remove-bpe", kind]
    if not form.words.has_moses_tokens:
        return flags
    prepared = ["prepared", "--prepared-data", str(data)]
    return [*flags, "--tokenizer", *(prepared if form.is_prepared else ["moses"])]


def has_flag(words: Sequence[str], *names: str) -> bool:
    """Tell whether a command line has one of the flags, as ``--flag VALUE`` or ``--flag=VALUE``."""
    return any(word in names or word.partition("=")[0] in names for word in words)


def flag_values(words: Sequence[str], flag: str) -> list[str]:
    """Return what a flag is given each time, as ``--flag VALUE`` or ``--flag=VALUE``."""
    found = []
    for position, word in enumerate(words):
        name, has_value, value = word.partition("=")
        if name == flag:
            found.append(value if has_value else "".join(words[position + 1 : position + 2]))
    return found

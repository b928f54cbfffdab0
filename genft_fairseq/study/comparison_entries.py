"""The rows of a comparison: strategies and ways of decoding, with their flags."""

import difflib
import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.study.data_folders import flag_values, has_flag
from genft_fairseq.study.strategies import STANDARD, STRATEGIES, strategy_flags

ENTRY_KEYS = {"strategy": ("name", "strategy", "flags"), "decoding": ("name", "flags")}
BASELINE = "baseline"
# What the comparison decides itself, or what would end a run before its last update.
OWN_FLAGS = {
    *("--task", "--criterion", "--seed", "--user-dir", "--max-update", "--max-epoch"),
    *("--finetune-from-model", "--restore-file", "--save-dir", "--save-interval-updates"),
    *("--keep-interval-updates", "--log-format", "--log-interval", "--disable-validation"),
    *("--no-save", "--no-last-checkpoints", "--path", "--gen-subset", "--results-path"),
    *("--patience", "--stop-time-hours", "--source-lang", "--target-lang", "-s", "-t"),
    *("--reset-optimizer", "--reset-meters", "--reset-lr-scheduler", "--reset-dataloader"),
    *("--checkpoint-suffix", "--stop-min-lr", "--help", "-h", "--train-subset"),
}
LONGEST_SLUG = 100  # a file's name has room for 255, and much is put around it


@dataclass(frozen=True)
class Entry:
    """A row of the comparison: a strategy, or a way of decoding (``strategy`` is then empty)."""

    name: str
    strategy: str
    flags: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as part of a file's name."""
        slug = re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-.")
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        if not slug:  # a name in another alphabet
            return f"{'strategy' if self.strategy else 'decoding'}-{digest}"
        return slug if len(slug) <= LONGEST_SLUG else f"{slug[: LONGEST_SLUG - 9]}-{digest}"


def nearest(word: str, known: list[str]) -> str:
    """Return ``; did you mean X?``, or all there is to choose from where nothing is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(known)}"


def read_flags(value: Any, where: str, data: Path) -> tuple[str, ...]:
    """Return flags that stand as one text, or as a list; ``{data}`` becomes the data folder.

    Args:
        value: as YAML has it; None: no flags.
        where: names it in an error.
        data: the data folder.

    Raises:
        UserError: it is something else, or a flag is the comparison's own.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise UserError(f"{where}: {error} in {value!r}") from error
    elif isinstance(value, list) and all(isinstance(word, str | int | float) for word in value):
        words = [str(word) for word in value]
    else:
        raise UserError(f"{where} must be flags, as one text or as a list, but is {value!r}")
    for word in words:
        if word.partition("=")[0] in OWN_FLAGS:
            raise UserError(f"{where}: {word.partition('=')[0]} is for genft compare to set")
    _require_printed(words, where)
    return tuple(word.replace("{data}", str(data)) for word in words)


def _require_printed(words: list[str], where: str) -> None:
    """The scores read what fairseq-generate prints: one translation of every sentence."""
    hidden = [f"--nbest {value}" for value in flag_values(words, "--nbest") if value != "1"]
    for flag in [*(["--quiet"] if has_flag(words, "--quiet") else []), *hidden]:
        raise UserError(f"{where}: with {flag} the scores could not read the output: leave it out")


def read_entries(config: Mapping[str, Any], key: str, kind: str, data: Path) -> tuple[Entry, ...]:
    """Return the entries under a key.

    Args:
        config: the whole file.
        key: ``strategies`` or ``decodings``.
        kind: ``strategy`` or ``decoding``, for what an entry may have, and for errors.
        data: the data folder.

    Raises:
        UserError: what is wrong with one of them.
    """
    values = config.get(key) or []
    if not isinstance(values, list):
        raise UserError(f"{key} must be a list, but is {values!r}")
    return tuple(_entry(value, kind, data) for value in values)


def _entry(value: Any, kind: str, data: Path) -> Entry:
    if isinstance(value, str) and kind == "strategy":
        value = {"strategy": value}
    if not isinstance(value, dict):
        raise UserError(f"a {kind} must have {', '.join(ENTRY_KEYS[kind])}, but is {value!r}")
    for key in value:
        if key not in ENTRY_KEYS[kind]:
            near = nearest(str(key), list(ENTRY_KEYS[kind]))
            raise UserError(f"a {kind} has no key {key}{near}")
    name, strategy = value.get("name"), str(value.get("strategy", ""))
    if name is not None and not isinstance(name, str):
        raise UserError(f"the name of a {kind} must be text (put it in quotes), but is {name}")
    if kind == "strategy":
        if strategy not in STRATEGIES:
            raise UserError(f"there is no strategy {strategy}{nearest(strategy, [*STRATEGIES])}")
        strategy_flags(strategy, "translation")  # raises where it is for another task
    name = name or strategy
    if not name:
        raise UserError(f"a {kind} has no name")
    return Entry(name, strategy, read_flags(value.get("flags"), f"{kind} {name}", data))


def require_distinct(strategies: tuple[Entry, ...], decodings: tuple[Entry, ...]) -> None:
    """Require that each row has a name and a folder of its own, and that one is ``standard``.

    Raises:
        UserError: which name is the trouble.
    """
    names = {BASELINE: BASELINE}  # by slug; the starting point has a row of its own
    for entry in (*strategies, *decodings):
        if entry.name in names.values():
            raise UserError(f"the name {entry.name} is used twice")
        if not any(letter.isalnum() for letter in entry.name):
            raise UserError(f"the name {entry.name} has no letter or digit to call a folder by")
        if entry.slug in names:
            raise UserError(f"the names {names[entry.slug]} and {entry.name} would share a folder")
        names[entry.slug] = entry.name
    if not any(entry.name == entry.strategy == STANDARD for entry in strategies):
        raise UserError("strategies must have standard, which the others are compared with")

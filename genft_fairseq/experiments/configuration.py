"""The YAML file of ``genft compare``, read and checked: every mistake is refused in one line.

A comparison has a row for each entry of ``strategies`` and ``decodings``.  A strategy may be named
by its alias; the row, its folder and the results then have the strategy's own name, unless the
entry has a ``name``.
"""

import difflib
import hashlib
import json
import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.predictions import read_lines
from genft_fairseq.experiments.data_folders import flag_values, has_flag
from genft_fairseq.experiments.strategies import NAMES, STANDARD
from genft_fairseq.metrics.translation import subword_line

# What each key is for, in the words of an error about it.
REQUIRED = {
    "data": "the folder that fairseq-preprocess wrote",
    "source_lang": "the language translated from, as in train.en-de.en",
    "target_lang": "the language translated into",
    "baseline": "the checkpoint that every strategy starts from",
    "output": "the folder for runs and results",
    "updates": "how many updates each strategy trains",
    "seeds": "a list such as [1001, 2001, 3001]",
    "train": "the flags of fairseq-train that all strategies share",
    "strategies": "a list of what to compare",
}
OPTIONAL = {
    "task": "translation",
    "references": "the untouched test set (default: raw/test.TARGET in the data folder)",
    "processes": "how many commands run side by side (default: 1)",
    "threads": "OMP_NUM_THREADS of each of them",
    "checkpoints": "how many a run keeps on its way (default: 10)",
    "generate": "the flags of fairseq-generate",
    "decodings": "other ways of decoding with the standard models",
}
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
LARGEST_SEED = 2**32 - 1  # of numpy
LARGEST_NUMBER = 2**63 - 1
MOST_NESTED = 100
MOST_VALUES = 100_000  # of the whole file


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


@dataclass(frozen=True)
class Comparison:
    """What is compared, how, and where; every path is absolute."""

    data: Path
    references: Path
    source_lang: str
    target_lang: str
    baseline: Path
    output: Path
    updates: int
    seeds: tuple[int, ...]
    processes: int
    threads: int | None
    checkpoints: int
    train: tuple[str, ...]
    generate: tuple[str, ...]
    strategies: tuple[Entry, ...]
    decodings: tuple[Entry, ...]
    config: dict[str, Any]  # as it stands in the file
    task: str = "translation"

    @property
    def standard(self) -> Entry:
        """The strategy that the others are compared with."""
        return next(entry for entry in self.strategies if entry.name == STANDARD)


def read_comparison(path: Path) -> Comparison:
    """Read the file of a comparison, and check all that can be checked before training.

    Paths in it are relative to its own folder; ``{data}`` in flags stands for the data folder.

    Raises:
        UserError: what is wrong, in one line that begins with the file's name.
    """
    try:
        return _comparison(Path(os.path.abspath(path)).parent, _mapping(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _comparison(folder: Path, config: dict[str, Any]) -> Comparison:
    task = config.get("task", "translation")
    if task != "translation":
        raise UserError(f"task must be translation, the only one compared as yet, but is {task}")
    target = _word(config, "target_lang")
    data = _existing(folder, "data", _word(config, "data"), is_folder=True)
    references = _word(config, "references", str(data / "raw" / f"test.{target}"))
    updates = _positive(config, "updates")
    strategies = read_entries(config, "strategies", "strategy", data)
    decodings = read_entries(config, "decodings", "decoding", data)
    _require_recordable(config)
    require_distinct(strategies, decodings)
    return Comparison(
        data=data,
        references=_references(folder, references),
        source_lang=_word(config, "source_lang"),
        target_lang=target,
        baseline=_existing(folder, "baseline", _word(config, "baseline")),
        output=_output(_path(folder, "output", _word(config, "output")), data),
        updates=updates,
        seeds=_seeds(config["seeds"], updates),
        processes=_positive(config, "processes", 1),
        threads=_positive(config, "threads") if config.get("threads") is not None else None,
        checkpoints=_positive(config, "checkpoints", 10),
        train=read_flags(config["train"], "train", data),
        generate=read_flags(config.get("generate"), "generate", data),
        strategies=strategies,
        decodings=decodings,
        config=config,
    )


def _word(config: dict[str, Any], key: str, default: str | None = None) -> str:
    value = config.get(key, default)
    # YAML reads the language code "no" as false.
    if not isinstance(value, str) or not value:
        raise UserError(f"{key} must be text (put it in quotes), but is {value!r}")
    return value


def _positive(config: dict[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{key} must be a positive integer, but is {value!r}")
    return value


def _path(folder: Path, key: str, value: str) -> Path:
    try:
        return Path(os.path.abspath(folder / Path(value).expanduser()))
    except RuntimeError as error:  # ~NAME of nobody
        raise UserError(f"{key}: {value} is in the home of an unknown user") from error


def _existing(folder: Path, key: str, value: str, is_folder: bool = False) -> Path:
    path = _path(folder, key, value)
    if not (path.is_dir() if is_folder else path.is_file()):
        raise UserError(f"{key}: there is no {'folder' if is_folder else 'file'} {path}")
    return path


def _references(folder: Path, value: str) -> Path:
    path = _existing(folder, "references", value)
    try:
        held = subword_line(read_lines(path))
    except UnicodeDecodeError as error:
        raise UserError(f"references: {path} is not UTF-8 ({error})") from error
    except OSError as error:
        raise UserError(f"references: {path} cannot be read: {error.strerror}") from error
    if held is not None:  # the translations will be text
        raise UserError(f"references: {path} holds subwords ({held!r:.60}), but must be raw text")
    return path


def _output(path: Path, data: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise UserError(f"output: {path} is a file, but must be a folder")
    if path.resolve().is_relative_to(data.resolve()):
        raise UserError(f"output: {path} lies in the data folder: give the runs one of their own")
    return path


def _require_recordable(config: dict[str, Any]) -> None:
    """Require what results.json can hold, where the whole file is put after all training."""
    try:
        json.dumps(config, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"holds what JSON cannot hold: {error}") from error


def _seeds(seeds: Any, updates: int) -> tuple[int, ...]:
    if not isinstance(seeds, list):
        raise UserError(f"seeds must be {REQUIRED['seeds']}, but is {seeds!r}")
    if not seeds:
        raise UserError("seeds is empty: give one at least, or three to see how far they differ")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"seeds must be integers from 0 to {LARGEST_SEED}, but one is {seed!r}")
    for one, other in pairwise(sorted(seeds)):
        if other - one < updates:
            raise UserError(
                f"seeds {one} and {other} are closer together than the {updates} updates: fairseq "
                "seeds every update with seed + update, so these runs would share random numbers"
            )
    return tuple(seeds)


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
        if strategy not in NAMES:
            raise UserError(f"there is no strategy {strategy}{nearest(strategy, [*NAMES])}")
        strategy = NAMES[strategy]
    name = name or strategy
    if not name:
        raise UserError(f"a {kind} has no name")
    return Entry(name, strategy, read_flags(value.get("flags"), f"{kind} {name}", data))


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


def _mapping(path: Path) -> dict[str, Any]:
    require_regular(path)
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error
    except UserError:
        raise
    except RecursionError as error:
        raise UserError("is nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:  # no UTF-8, or a date such as 2024-02-31
        raise UserError(f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError("must hold keys and values, such as updates: 300")
    known = [*REQUIRED, *OPTIONAL]
    for key in config:
        if key not in known:
            raise UserError(f"there is no key {key}{nearest(str(key), known)}")
    for key, meaning in REQUIRED.items():
        if config.get(key) is None:
            raise UserError(f"the key {key} is missing: {meaning}")
    return config


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML takes the last without a word.

    And aliases by which some lines stand for more than any memory holds, or for themselves; and
    numbers that Python does not write out again.
    """

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level > MOST_NESTED:  # each level makes what follows slower to read
            raise UserError("is nested too deep")
        super().fetch_flow_collection_start(token)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _written_out(node, {}) > MOST_VALUES:
            raise UserError(f"stands for more than {MOST_VALUES:,} values when written out")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f"the key {key.value} stands there twice, again in line {line}")
            seen.add(key.value)
        return node


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    value = loader.construct_yaml_int(node)
    if abs(value) > LARGEST_NUMBER:
        raise UserError(f"line {node.start_mark.line + 1} holds a number beyond {LARGEST_NUMBER}")
    return int(value)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """Count the values of a node where every alias is written out; endless: infinitely many."""
    if id(node) not in known:
        known[id(node)] = math.inf  # while its parts are counted
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]

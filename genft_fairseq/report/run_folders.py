"""Finding runs in what a user names, and whether each is finished, running, crashed or stopped.

A user names folders, logs, results of ``genft compare``, or files of ``genft evaluate-*``.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.experiments.save_folders import RECORD
from genft_fairseq.experiments.training_log import LAST, TRAINING_BEGINS
from genft_fairseq.files import is_locked

FINISHED, RUNNING, CRASHED, STOPPED = "finished", "running", "crashed", "stopped"
NO_LOG = "no log"

# What wrote an evaluation.
TRANSLATION, LANGUAGE_MODEL = "translation", "language model"
ANSWERS, SUMMARIES = "question answering", "summarisation"

# A run of fairseq-train itself holds no lock; while it trains, its log grows.
RECENT_SECONDS = 120
LAST_LINES = 12
_LONGEST_LINE = 300
_TAIL_BYTES = 1 << 16
_LINE = re.compile(r"\| (INFO|WARNING) \|")
_DONE = "| done training in "

# At the beginning of a line: an error that training survived is told in the middle of one.
_ERROR = re.compile(
    r"^(Traceback \(most|(\w+\.)*\w*(Error|Exception)\b|\S+: error: |genft: ended with status)",
    re.MULTILINE,
)
SEED = re.compile(r"seed[-_]?(\d+)$")

# What only a folder of training has; a log alone may be of anything.
_SIGNS = ("command", "train.log", "genft.log", "finished", RECORD, LAST, "checkpoint_best.pt")
_LOG_NAMES = ("genft.log", "train.log", "hydra_train.log")

# A data folder or a disk may be named by mistake: looking through it must end.
_MOST_FOLDERS = 20_000
_BEGINNING = 1 << 16

# What fairseq-train logs, and none of fairseq's other commands.
_LOG_SIGNS = (b"| fairseq_cli.train |", b"| fairseq.trainer |", b"| train_inner |", b"| train |")


@dataclass
class RunFolder:
    """A run of training, or an evaluation alone, and how it is called.

    Attributes:
        name: the row of a table that it belongs to; runs that differ by their seed share it.
        seed: None where nothing says it.
        folder: None for an evaluation that was named by its file.
        log: None where there is none.
        evaluations: files of its own that were named one by one.
    """

    name: str
    seed: int | None
    folder: Path | None
    log: Path | None = None
    evaluations: list[Path] = field(default_factory=list)

    @property
    def place(self) -> Path:
        """A path that tells a user which run is meant."""
        return self.folder or self.log or self.evaluations[0]


@dataclass
class Named:
    """What one argument stands for.

    Attributes:
        runs: of training, by name and seed.
        comparison: the results of ``genft compare``; None where there are none.
        source: the file that holds them.
    """

    runs: list[RunFolder]
    comparison: dict[str, Any] | None = None
    source: Path | None = None


def find(argument: str) -> list[Named]:
    """Find what an argument of the command stands for.

    Args:
        argument: ``PATH`` or ``NAME=PATH`` of a run's folder, of one that holds several, of a
            comparison, of a log, or of a JSON file of ``genft compare`` or ``genft evaluate-*``.

    Returns:
        each comparison with its runs, and the runs that are of none.

    Raises:
        UserError: there is nothing at the path, or no run in it.
    """
    path, name = split_name(argument)
    if path.is_dir():
        return _in_folder(path, name)
    if path.is_file():
        return [_file(path, name)]
    raise UserError(f"{path} is neither a folder nor a file: name a run, or a folder with runs")


def split_name(argument: str) -> tuple[Path, str]:
    """Split ``NAME=PATH``; a path that has the sign itself is one where it exists."""
    path, name = Path(argument), ""
    if not path.exists() and "=" in argument:
        name, _, rest = argument.partition("=")
        path = Path(rest)
    return path, name


def _in_folder(root: Path, name: str) -> list[Named]:
    comparisons: dict[Path, Named] = {}
    alone = Named([])
    for folder, holds_run in _folders(root):
        results = folder / "results.json"
        comparison = _comparison(results) if results.is_file() else None
        if comparison is not None:
            comparisons[folder] = Named([], comparison, results)
        elif holds_run:
            above = next((at for at in folder.parents if at in comparisons), None)
            named = comparisons[above] if above else alone
            named.runs.append(_run(folder, above or root, name))
    found = [*comparisons.values(), *([alone] if alone.runs else [])]
    if not found:
        raise UserError(
            f"{root} holds no run: a run's folder has {LAST}, train.log or command, as genft "
            "train, finetune and compare leave them, fairseq-train's checkpoints, or what "
            "fairseq-generate or genft evaluate-* wrote"
        )
    return found


def _folders(root: Path) -> Iterator[tuple[Path, bool]]:
    """A folder and those below it, and whether each is a run; what lies inside one is its own."""
    waiting, seen = [root], set()
    while waiting:
        folder = waiting.pop()
        place = folder.resolve()
        if place in seen:  # a link may lead back
            continue
        seen.add(place)
        if len(seen) > _MOST_FOLDERS:
            raise UserError(f"{root} holds more than {_MOST_FOLDERS} folders: name the runs in it")
        holds_run = is_run(folder)
        yield folder, holds_run
        if holds_run:
            continue
        try:
            inner = [path for path in folder.iterdir() if path.is_dir()]
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}") from error
        waiting += sorted((p for p in inner if not p.name.startswith(".")), reverse=True)


def _run(folder: Path, root: Path, given: str) -> RunFolder:
    inner = folder.relative_to(root).parts
    absolute = root.resolve()
    outer = (absolute.name,) if not SEED.match(absolute.name) else ()
    # A run that is named itself may lie in a folder of its seed.
    above = absolute.parent.name if not inner else ""
    seeds = [found[1] for part in (*inner, absolute.name, above) if (found := SEED.match(part))]
    parts = tuple(part for part in inner if not SEED.match(part))
    name = clean("/".join([given, *parts] if given else parts or outer) or absolute.name)
    return RunFolder(
        name,
        int(seeds[0]) if seeds else None,
        folder,
        log_of(folder) if is_trained(folder) else None,
    )


def _file(path: Path, name: str) -> Named:
    if path.suffix != ".json":
        if not is_log(path):
            raise UserError(
                f"{path} is not a log of fairseq-train: name a run's folder, or its log"
            )
        return Named([RunFolder(name or clean(path.stem), None, None, log=path)])
    results = read_json(path)
    if is_comparison(results):
        return Named([], results, path)
    if kind_of(results) is None:
        raise UserError(
            f"{path} is neither the results of genft compare nor of genft evaluate-lm, "
            "evaluate-qa or evaluate-summaries"
        )
    return Named([RunFolder(name or clean(path.stem), None, None, evaluations=[path])])


def clean(name: str) -> str:
    """Return a file's name as text: bytes that are none become marks."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of one run: trained there, or what it wrote."""
    return is_trained(folder) or _holds_evaluations(folder)


def is_trained(folder: Path) -> bool:
    """Tell whether a folder was trained in."""
    return any((folder / sign).is_file() for sign in _SIGNS)


def _holds_evaluations(folder: Path) -> bool:
    if any(path.is_file() for path in folder.glob("generate-*.txt")):
        return True
    found = (path for path in folder.glob("*.json") if path.is_file())
    return any(kind_of(json_or_none(path)) for path in found)


def kind_of(found: Any) -> str | None:
    """Return which evaluation wrote a JSON file; None for any other."""
    if not isinstance(found, dict) or not {"split", "path"} <= found.keys():
        return None
    if "rouge_lsum" in found:
        return SUMMARIES
    if "exact_match" in found:
        return ANSWERS
    return LANGUAGE_MODEL if "tokens_per_sample" in found or "model" in found else None


def log_of(folder: Path) -> Path | None:
    """Return the log of a run: genft's, ``train.log``, hydra's, or the only one of training."""
    for name in _LOG_NAMES:
        if (folder / name).is_file():
            return folder / name
    # Decoding may have left its log here, too.
    logs = [path for path in folder.glob("*.log") if path.is_file() and is_log(path)]
    return logs[0] if len(logs) == 1 else None


def is_log(path: Path) -> bool:
    """Tell whether fairseq-train wrote a file: its beginning names it."""
    with path.open("rb") as stream:
        beginning = stream.read(_BEGINNING)
    return any(sign in beginning for sign in _LOG_SIGNS)


def _comparison(path: Path) -> dict[str, Any] | None:
    results = read_json(path)
    return results if is_comparison(results) else None


def is_comparison(results: Any) -> bool:
    """Tell whether JSON is the results of ``genft compare``."""
    if not isinstance(results, dict) or not {"systems", "config", "side_by_side"} <= results.keys():
        return False
    systems = results["systems"]
    return isinstance(systems, dict) and all(isinstance(s, dict) for s in systems.values())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def json_or_none(path: Path) -> Any:
    """Read a JSON file; None where it cannot be read."""
    try:
        return read_json(path)
    except UserError:
        return None


def run_state(folder: Path | None, log: Path | None, is_final: bool = False) -> str:
    """Return the state of a run.

    Args:
        folder: of the run, where it has one.
        log: of the run, where it has one.
        is_final: its checkpoint says that it came to its end; see ``Checkpoint``.

    Returns:
        ``FINISHED``; ``RUNNING``, when a process holds its lock, or its log has just grown;
        ``CRASHED``, when the end of its log is an error; else ``STOPPED``. Without a log
        ``FINISHED`` where its checkpoint is the final one, else ``NO_LOG``.
    """
    # Written at the very end; whoever started the run may hold its lock a little longer.
    if folder is not None and (folder / "finished").is_file():
        return FINISHED
    if folder is not None and is_locked(folder):
        return RUNNING
    if log is None:
        return FINISHED if is_final else NO_LOG
    tail = _tail(log)
    begun, done = tail.rfind(TRAINING_BEGINS), tail.rfind(_DONE)
    after = tail[max(begun, done, 0) :]
    is_recent = time.time() - log.stat().st_mtime < RECENT_SECONDS
    if _ERROR.search(after) and not (is_recent and _goes_on(after)):
        return CRASHED
    if done > begun:
        return FINISHED
    return RUNNING if is_recent else STOPPED


def _goes_on(tail: str) -> bool:
    """Whether what stands last in a log is a line of training: an error before it was survived."""
    return _LINE.search(tail.rstrip().rpartition("\n")[2]) is not None


def last_lines(log: Path | None) -> list[str]:
    """Return the end of a log: a few lines, none of them endless."""
    lines = [line.rstrip() for line in _tail(log).splitlines()] if log else []
    return [line[:_LONGEST_LINE] for line in lines if line][-LAST_LINES:]


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace")

"""The arrows between the rooms of the package, read from its source: nothing here is imported.

Arrows point down:
``functional, metrics <- generation <- patches; data <- criterions, tasks, models, retrieval;
models <- convert; data, generation <- evaluation <- experiments <- report <- cli``.
Every violation is listed as ``file:line: what``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "genft_fairseq"

# What each room may import besides itself.  Modules at the top are the foundation of every room but
# the ground floor, which needs torch only; they may use that.
FOUNDATION = {"errors", "files", "provenance"}
MAY_IMPORT: dict[str, set[str]] = {
    "functional": set(),
    "metrics": {"functional"},
    "data": {"metrics"},
    "generation": {"functional", "metrics"},
    "patches": {"functional", "metrics", "generation"},
    "criterions": {"functional", "generation"},
    "tasks": {"functional", "data", "generation"},
    "models": {"functional", "data", "generation"},
    "retrieval": {"data"},
    "convert": {"data", "models", "patches"},
    "evaluation": {"functional", "data", "generation", "metrics"},
    "experiments": {"data", "metrics", "evaluation", "patches"},
    "report": {"metrics", "evaluation", "experiments"},
    "cli": {
        *(
            "data",
            "generation",
            "metrics",
            "models",
            "retrieval",
            "convert",
            "evaluation",
            "experiments",
        ),
        "report",
    },
}


def modules(package: Path) -> Iterator[tuple[Path, str]]:
    """Every source file with its room: a folder's name, or a top module's own."""
    for path in sorted(package.rglob("*.py")):
        yield path, path.relative_to(package).parts[0].removesuffix(".py")


def imported_names(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """The absolute dotted name of everything a file imports, wherever the import stands."""
    parents = [package.name, *path.relative_to(package).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            name = node.args[0]
            if called in ("import_module", "__import__") and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def import_violations(package: Path = PACKAGE) -> list[str]:
    """Imports that point up, sideways, or from the ground floor to fairseq."""
    found = []
    for path, room in modules(package):
        if room == "__init__":  # what --user-dir imports: it registers every room
            continue
        for line, name in imported_names(path, package):
            top, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if room == "functional" and top in ("fairseq", "fairseq_cli", "hydra", "omegaconf"):
                found.append(f"{path}:{line}: functional imports {name}")
            if top != package.name or target == room:
                continue
            if room in FOUNDATION:
                allowed = FOUNDATION | ({target} - MAY_IMPORT.keys())
            elif room == "functional":
                allowed = set()
            else:
                # The bare package and its own attributes (its version, say) are no room.
                rooms = MAY_IMPORT.get(room, set())
                allowed = rooms | FOUNDATION | ({target} - MAY_IMPORT.keys())
            if target not in allowed:
                found.append(f"{path}:{line}: {room} imports {name}")
    return found


def unknown_rooms(package: Path = PACKAGE) -> list[str]:
    """Folders and top modules that no rule above knows."""
    known = {"__init__", *FOUNDATION, *MAY_IMPORT}
    return sorted(
        {f"{path}:1: a room without rules" for path, room in modules(package) if room not in known}
    )


@pytest.mark.parametrize("check", [import_violations, unknown_rooms])
def test_the_package_keeps_the_house_rules(check):
    violations = check()
    assert not violations, "\n" + "\n".join(violations)


def test_the_package_is_read():
    """A wrong path would make every rule hold."""
    lines = imported_names(PACKAGE / "criterions" / "token_criterion.py", PACKAGE)
    assert "genft_fairseq.functional.token_loss.Targets" in {name for _, name in lines}


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("functional/new.py", "def f():\n    from fairseq import utils"),
        ("functional/new.py", "from ..generation import rollout"),
        ("functional/new.py", "import genft_fairseq"),
        ("criterions/new.py", "from genft_fairseq import tasks"),
        ("criterions/new.py", "import_module('genft_fairseq.cli.train')"),
        ("errors.py", "from genft_fairseq.generation import rollout"),
    ],
)
def test_a_planted_import_is_found(tmp_path, where, source):
    path = tmp_path / "genft_fairseq" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    (violation,) = import_violations(tmp_path / "genft_fairseq")
    assert violation.startswith(f"{path}:{len(source.splitlines())}: ")

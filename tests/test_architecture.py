"""The house rules of the package, read from its source: nothing here is imported.

Arrows point down:
``functional, data <- generation <- criterions, tasks, models, evaluation, retrieval <- cli``.
Every violation is listed as ``file:line: what``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "genft_fairseq"

# What each room may import besides itself.  Modules at the top (errors, compat, safe_loading) are
# the foundation of every room but the ground floor, which needs torch only; they may use that.
FOUNDATION = {
    *("arguments", "compat", "data_files", "data_splits", "divergence", "errors", "line_ends"),
    *("fairseq_alignments", "fairseq_decoding", "fairseq_errors", "named_files", "precision"),
    *("older_tasks", "resuming", "run_record", "safe_arrays", "safe_loading", "training_time"),
    *("validation_metric",),
}
MAY_IMPORT: dict[str, set[str]] = {
    "functional": set(),
    "patches": {"functional", "generation"},
    "data": set(),
    "generation": {"functional"},
    "criterions": {"functional", "generation"},
    "tasks": {"functional", "data", "generation"},
    "models": {"functional", "data", "generation"},
    "evaluation": {"functional", "data", "generation"},
    "retrieval": {"functional", "data", "generation"},
    "interchange": {"functional", "data", "generation", "models"},
    "study": {"functional", "evaluation"},
    "report": {"evaluation", "study"},
    "cli": {
        *("functional", "data", "generation", "criterions", "tasks", "models"),
        *("evaluation", "retrieval", "interchange", "study", "report"),
    },
}
NAMELESS = {"utils", "util", "misc", "helpers", "helper", "custom"}


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
                allowed = FOUNDATION | {"functional"}
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


def nameless_modules(package: Path = PACKAGE) -> list[str]:
    """Modules and folders whose name says nothing."""
    return [
        f"{path}:1: a module named {part}"
        for path, _ in modules(package)
        for part in path.relative_to(package).with_suffix("").parts
        if part in NAMELESS
    ]


def undocumented(package: Path = PACKAGE) -> list[str]:
    """Public modules, functions, classes and methods of the ground floor without a docstring."""
    found = []

    def visit(path: Path, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if child.name.startswith("_"):
                    continue
                if ast.get_docstring(child) is None:
                    found.append(f"{path}:{child.lineno}: {child.name} has no docstring")
                if isinstance(child, ast.ClassDef):
                    visit(path, child)

    for path, room in modules(package):
        if room == "functional":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if ast.get_docstring(tree) is None:
                found.append(f"{path}:1: the module has no docstring")
            visit(path, tree)
    return found


CHECKS = [import_violations, unknown_rooms, nameless_modules, undocumented]


@pytest.mark.parametrize("check", CHECKS)
def test_the_package_keeps_the_house_rules(check):
    violations = check()
    assert not violations, "\n" + "\n".join(violations)


def test_the_checks_read_the_package():
    """A wrong path would make every rule hold."""
    rooms = {room for _, room in modules(PACKAGE)}
    assert {"functional", "criterions", "errors", "__init__"} <= rooms
    lines = imported_names(PACKAGE / "criterions" / "token_criterion.py", PACKAGE)
    assert "genft_fairseq.functional.token_loss.Targets" in {name for _, name in lines}


PLANTED = {
    "functional imports fairseq": ("functional/new.py", "import fairseq.utils"),
    "late": ("functional/new.py", "def f():\n    from fairseq import utils"),
    "functional imports errors": (
        "functional/new.py",
        "from genft_fairseq.errors import UserError",
    ),
    "functional imports the package": ("functional/new.py", "import genft_fairseq"),
    "functional imports up": ("functional/new.py", "from ..generation import rollout"),
    "criterions import tasks": ("criterions/new.py", "from genft_fairseq.tasks.fid import X"),
    "tasks import criterions": ("tasks/new.py", "import genft_fairseq.criterions"),
    "sideways by name": ("tasks/new.py", "from genft_fairseq import criterions"),
    "models import criterions": ("models/new.py", "from ..criterions import scalegrad"),
    "evaluation imports criterions": ("evaluation/new.py", "from genft_fairseq import criterions"),
    "generation imports cli": ("generation/deep/new.py", "from genft_fairseq.cli import train"),
    "by a string": ("criterions/new.py", "import_module('genft_fairseq.cli.train')"),
    "foundation imports a room": ("errors.py", "from genft_fairseq.generation import rollout"),
}


@pytest.fixture
def house(tmp_path):
    """A package that keeps the rules, to plant violations in."""
    package = tmp_path / "genft_fairseq"
    for room in MAY_IMPORT:
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").write_text('"""A room."""\n')
    (package / "__init__.py").write_text("from genft_fairseq import cli, criterions\n")
    (package / "errors.py").write_text("import os\n")
    (package / "criterions" / "good.py").write_text(
        "import torch\nfrom fairseq import utils\nfrom genft_fairseq import __version__, errors\n"
        "from genft_fairseq.functional.risk import risk\nfrom . import other\n"
        "from .other import name\nfrom ..generation import rollout\n"
    )
    assert [violation for check in CHECKS for violation in check(package)] == []
    return package


@pytest.mark.parametrize(("where", "source"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_import_is_found(house, where, source):
    """With its file and line; the first line is a docstring, so that the line is not always 1."""
    path = house / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'"""New."""\n{source}\n')
    line = 1 + len(source.splitlines())
    (violation,) = import_violations(house)
    assert violation.startswith(f"{path}:{line}: ")


def test_other_planted_violations_are_found(house):
    (house / "tasks" / "helpers").mkdir()
    (house / "tasks" / "helpers" / "fine.py").write_text("")
    (house / "models" / "utils.py").write_text("")
    (house / "attic").mkdir()
    (house / "attic" / "old.py").write_text("")
    (house / "functional" / "new.py").write_text(
        "def public():\n    pass\n\n\ndef _private():\n    pass\n\n\n"
        'class Public:\n    """Said."""\n\n    def method(self):\n        pass\n'
    )
    assert nameless_modules(house) == [
        f"{house / 'models' / 'utils.py'}:1: a module named utils",
        f"{house / 'tasks' / 'helpers' / 'fine.py'}:1: a module named helpers",
    ]
    assert unknown_rooms(house) == [f"{house / 'attic' / 'old.py'}:1: a room without rules"]
    new = house / "functional" / "new.py"
    assert undocumented(house) == [
        f"{new}:1: the module has no docstring",
        f"{new}:1: public has no docstring",
        f"{new}:12: method has no docstring",
    ]

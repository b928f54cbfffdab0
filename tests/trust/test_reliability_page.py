"""docs/reliability.md: every promise names a test that there is, and every test here a promise."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
HERE = Path(__file__).parent
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    """The cells of each row of the tables, without their headings."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if not set(line) <= set("|- ") and cells[-1] != "test":
                found.append(cells)
    return found


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def always_skipped(test: ast.FunctionDef) -> bool:
    """Whether a decorator, or the first thing that it does, skips it whatever holds."""
    marks = [ast.unparse(mark) for mark in test.decorator_list]
    body = [line for line in test.body if not isinstance(line, ast.Expr) or _is_call(line)]
    first = ast.unparse(body[0]) if body else ""
    return any(m.startswith("pytest.mark.skip") and "skipif" not in m for m in marks) or (
        first.startswith("pytest.skip(")
    )


def _is_call(line: ast.Expr) -> bool:
    return isinstance(line.value, ast.Call)


def test_each_row_is_a_promise_with_tests_that_exist():
    assert len(rows()) >= 40
    wrong = []
    for cells in rows():
        named = _TEST.findall(cells[-1])
        if len(cells) != 3 or not all(cells) or not named:
            wrong.append(f"no promise, no answer or no test: {cells}")
        for file, name in named:
            test = functions(ROOT / file).get(name) if (ROOT / file).is_file() else None
            if test is None or always_skipped(test):
                wrong.append(f"{file}::{name} is no test that runs")
    assert wrong == []


def test_each_test_of_this_folder_has_a_row():
    named = {f"{file}::{name}" for cells in rows() for file, name in _TEST.findall(cells[-1])}
    there = {
        f"tests/trust/{path.name}::{name}"
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for name in functions(path)
        if name.startswith("test_")
    }
    assert there - named == set()


@pytest.mark.parametrize(
    ("source", "skipped"),
    [
        ("@pytest.mark.skip\ndef test_x():\n    assert f()\n", True),
        ("def test_x():\n    'why'\n    pytest.skip('later')\n", True),
        ("@pytest.mark.skipif(cond, reason='x')\ndef test_x():\n    'why'\n    f()\n", False),
    ],
)
def test_a_test_that_never_runs_is_told(source, skipped):
    (test,) = ast.parse(source).body
    assert isinstance(test, ast.FunctionDef) and always_skipped(test) == skipped

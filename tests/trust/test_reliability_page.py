"""docs/reliability.md names tests: each of them exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page))
    assert named
    files = {file for file, _ in named}
    there = {
        (file, name) for file in files if (ROOT / file).is_file() for name in functions(ROOT / file)
    }
    assert named - there == set()

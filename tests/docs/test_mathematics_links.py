"""docs/mathematics.md and the code name each other, and what they name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mathematics.md"
MODULES = sorted((ROOT / "genft_fairseq" / "functional").glob("[!_]*.py"))
# Says what the letters mean.
WITHOUT_CODE = {"Symbols"}


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def code_of(section: str) -> dict[Path, list[str]]:
    """The files that a section's first paragraph links, each with the names after it."""
    paragraph = section.strip().split("\n\n")[0]
    found = {}
    for part in paragraph.split(";"):
        link = re.search(r"\]\((\S+\.py)\)(.*)", part, re.DOTALL)
        if link:
            found[(PAGE.parent / link[1]).resolve()] = re.findall(r"`(\w+)`", link[2])
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_names_its_section(module):
    docstring = " ".join((ast.get_docstring(ast.parse(module.read_text())) or "").split())
    named = re.search(r'Derived in docs/mathematics\.md, "([^"]+)"\.', docstring)
    assert named, f"{module.name} does not say where it is derived"
    assert named[1] in sections()
    assert module.resolve() in code_of(sections()[named[1]])


@pytest.mark.parametrize("title", sorted(sections().keys() - WITHOUT_CODE))
def test_a_section_names_its_code(title):
    code = code_of(sections()[title])
    assert code
    for path, names in code.items():
        defined = {
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert names and defined.issuperset(names), f"{path.name}: {names}"


def test_equations_are_numbered_in_their_order():
    text = PAGE.read_text(encoding="utf-8")
    tags = [int(tag) for tag in re.findall(r"\\tag\{(\d+)\}", text)]
    assert tags == list(range(1, len(tags) + 1))
    prose = re.sub(r"^\$\$\n.*?^\$\$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert {int(number) for number in re.findall(r"\((\d+)\)", prose)} <= set(tags)

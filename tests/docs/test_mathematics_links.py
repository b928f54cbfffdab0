"""What docs/mathematics.md says is in the code, and which of its equations it names, exists."""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mathematics.md"


def test_functions_beside_a_link_to_a_file_are_in_it():
    """As in: [scalegrad.py](...), `scalegrad_loss`, `other`; up to the next link or paragraph."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"\]\((\S+\.py)\)((?:[^`\[.;]*`\w+`)+)", text)
    assert found
    for path, names in found:
        tree = ast.parse((PAGE.parent / path).read_text(encoding="utf-8"))
        defined = {getattr(node, "name", None) for node in tree.body}
        assert defined.issuperset(re.findall(r"`(\w+)`", names)), path


def test_equations_that_are_named_exist():
    text = PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"^\$\$\n.*?^\$\$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\((\d+)\)", prose)) <= set(re.findall(r"\\tag\{(\d+)\}", text))

"""The translation of formulas: what a browser cannot show, or is not known, does not pass."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fairseq_commands import REPOSITORY

EXTENSIONS = REPOSITORY / "docs" / "_extensions"
sys.path.insert(0, str(EXTENSIONS))

from mathml import BadFormula, mathml  # noqa: E402


def shown(latex: str, display: bool = False) -> str:
    """The text of the formula, which is what one reads from left to right."""
    return "".join(ElementTree.fromstring(mathml(latex, display)).itertext())


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"p(y) \le 1", "p(y)≤1"),
        (r"\mathbb{1}[y = v]", "𝟙[y=v]"),
        (r"\mathbf{z}_t \in \mathcal{L}", "𝐳t∈ℒ"),
        (r"\begin{aligned} a &= b \\ &< c \end{aligned}", "a=b<c"),
        (r"\text{if } v \notin C", "if\xa0v∉C"),
        (r"\{ \gamma \}", "{γ}"),
    ],
)
def test_formulas(latex, text):
    assert shown(latex, display=True) == text


def test_what_browsers_do_not_know_is_mended():
    assert "mathvariant" not in mathml(r"\boldsymbol{x} \mathbf{1} \texttt{a}", False)
    assert 'width="-0.167em"' in mathml(r"a \! b", False)
    assert "<mi>log</mi><mspace" in mathml(r"\log p", False)
    assert "<mi>log</mi><mo" in mathml(r"\log(p)", False)
    assert "<munder>" in mathml(r"\max_{v} p", True) and "<msub>" in mathml(r"\max_{v} p", False)


@pytest.mark.parametrize(
    "latex",
    [
        *(r"\nosuchmacro{x}", r"\label{x} x", r"\frac{a}", r"{a", r"a}", r"x_", r"x^a^b"),
        *(r"a & b", r"a \\ b", r"\text{$x$}", r"\operatorname{a\,b}", r"\left( a", r"\lbrace"),
    ],
)
def test_a_wrong_formula_is_refused(latex):
    with pytest.raises(BadFormula):
        mathml(latex, True)


def test_a_wrong_formula_fails_the_build(tmp_path: Path):
    """With the line of the page that it stands on."""
    (tmp_path / "index.md").write_text("# Title\n\nRight: $x$\n\nWrong: $\\nosuchmacro$\n")
    (tmp_path / "conf.py").write_text(
        'extensions = ["myst_parser", "mathml"]\n'
        'myst_enable_extensions = ["dollarmath"]\n'
        'html_math_renderer = "mathml"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", tmp_path, tmp_path / "site"],
        env={**os.environ, "PYTHONPATH": str(EXTENSIONS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "index.md:5:" in done.stderr and "\\nosuchmacro" in done.stderr

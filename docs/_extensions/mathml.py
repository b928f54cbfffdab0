"""Mathematics as MathML, made when the site is built: readers need no script and no network.

latex2mathml translates; it passes on what it does not know, and some of what it writes no browser
shows as meant.  ``mathml`` mends the latter and refuses the former: a wrong formula is a warning
with its page and line, which ``sphinx-build -W`` makes an error.
"""

import re
import unicodedata
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

# How many children an element must have: a missing argument leaves it with fewer.
ARITY = {"mfrac": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2, "mroot": 2}
ARITY |= {"msubsup": 3, "munderover": 3}
# Browsers know no mathvariant but "normal": the letters themselves are of that kind.
LETTERS = {"bold": "BOLD", "bold-italic": "BOLD ITALIC", "double-struck": "DOUBLE-STRUCK"}
LETTERS |= {"script": "SCRIPT", "monospace": "MONOSPACE", "italic": "ITALIC"}
FUNCTIONS = {"log", "exp", "ln", "sin", "cos", "tanh"}
LIMITS = {"max", "min", "lim", "sup", "inf", "argmax", "argmin", "arg\u2009max", "arg\u2009min"}
TAG = re.compile(r"\\tag\{([^{}]*)\}")


class BadFormula(ValueError):
    """A formula that cannot be translated; the message says why."""


def mathml(latex: str, display: bool) -> str:
    """Translate a formula.

    Args:
        latex: without the dollars.
        display: whether it stands on lines of its own.

    Returns:
        A ``math`` element.

    Raises:
        BadFormula: latex2mathml does not know a command, or an argument or a brace is missing.
    """
    bare = re.sub(r"\\[{}]", "", latex)
    if bare.count("{") != bare.count("}"):
        raise BadFormula("its braces are not balanced")
    # The one that latex2mathml knows; the other is the one that code hosts know.
    latex = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", latex)
    try:
        # Without its namespace, which HTML does not need.
        text = convert(latex, xmlns="", display="block" if display else "inline")
        tree = ElementTree.fromstring(text.replace(' xmlns=""', "", 1))
    except ElementTree.ParseError as error:
        raise BadFormula("it has an & outside a table or aligned") from error
    except Exception as error:
        raise BadFormula(f"{type(error).__name__} {error}".strip()) from error
    for element in tree.iter():
        _check(element)
        _mend(element, display)
    return ElementTree.tostring(tree, encoding="unicode")


def _check(element: ElementTree.Element) -> None:
    text = element.text or ""
    if "\\" in text or "$" in text:
        raise BadFormula(f"{text} is not known, or has no place here")
    if element.tag == "mi" and text in ("{", "}"):
        raise BadFormula(f"a stray {text}; write \\{text}")
    if len(element) != ARITY.get(element.tag, len(element)):
        raise BadFormula("an argument is missing")
    if element.tag == "mo" and not text and not len(element) and "fence" not in element.attrib:
        raise BadFormula(r"\operatorname takes plain letters only")
    if "linebreak" in element.attrib:
        raise BadFormula(r"\\ outside aligned, cases or a matrix")


def _mend(element: ElementTree.Element, display: bool) -> None:
    element.text = (element.text or "").replace("\u29f5", "\u2216") or None  # which fonts have
    kind = element.attrib.get("mathvariant")
    if kind in LETTERS and element.text:
        del element.attrib["mathvariant"]
        element.text = "".join(_letter(character, LETTERS[kind]) for character in element.text)
    if element.attrib.get("width") == "negativethinmathspace":
        element.set("width", "-0.167em")
    if display and element.tag == "msub" and (element[0].text or "") in LIMITS:
        element.tag = "munder"
    for number, child in reversed(list(enumerate(element))):
        following = element[number + 1] if number + 1 < len(element) else None
        named = child.tag == "mi" and child.text in FUNCTIONS
        if named and following is not None and following.tag not in ("mo", "mspace"):
            element.insert(number + 1, ElementTree.Element("mspace", width="0.167em"))


def _letter(character: str, kind: str) -> str:
    """The same letter or digit of a kind, or itself where Unicode has none."""
    name = unicodedata.name(character, "")
    short = name.replace("LATIN ", "").replace("GREEK ", "").replace(" LETTER", "")
    for styled in (f"MATHEMATICAL {kind} {short}", f"{kind} {short}"):
        try:
            return unicodedata.lookup(styled)
        except KeyError:
            continue
    return character


def _visit(translator: HTML5Translator, node: nodes.Element, display: bool) -> None:
    latex = node.astext()
    tag = TAG.search(latex) if display else None
    try:
        formula = mathml(TAG.sub("", latex) if display else latex, display)
    except BadFormula as error:
        logger.warning(f"mathematics: {error}, in {' '.join(latex.split())}", location=node)
        raise nodes.SkipNode from error
    if display:
        number = f'<span class="equation-number">({tag[1]})</span>' if tag else ""
        formula = f'<div class="math display">{formula}{number}</div>\n'
    translator.body.append(formula)
    raise nodes.SkipNode


def _visit_inline(translator: HTML5Translator, node: nodes.Element) -> None:
    _visit(translator, node, display=False)


def _visit_display(translator: HTML5Translator, node: nodes.Element) -> None:
    _visit(translator, node, display=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer to ``html_math_renderer``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

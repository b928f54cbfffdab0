"""The documentation: MyST Markdown to a static site that needs no network, by ``make docs``."""

import logging
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from sphinx.application import Sphinx

import genft_fairseq

# Importing fairseq opens the root log; the parser of Markdown tells every step.
logging.getLogger("markdown_it").setLevel(logging.WARNING)

project = "genft_fairseq"
version = release = genft_fairseq.__version__
copyright = "the authors of genft_fairseq, MIT licence"
extensions = ["myst_parser", "sphinx_click", "mathml", "repository_pages"]
extensions += ["flag_tables", "patch_tables"]
exclude_patterns = ["_build", "_extensions", "own_criterion"]
nitpicky = True

# Headings are linked as GitHub links them, so that the same links work there.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
# -- is an option's beginning here, and ... what a reader fills in.
smartquotes = False

html_theme = "furo"
html_title = "genft_fairseq"
html_static_path = ["_static"]
html_css_files = ["genft.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
# The letters of the system: nothing is fetched.
html_theme_options = {"footer_icons": []}

linkcheck_timeout = 20
linkcheck_anchors = False
linkcheck_ignore = [r"(\.\./)*source/"]  # pages of this site, which a test looks after


def setup(app: Sphinx) -> None:
    """Keep reStructuredText from reading help texts as its own: ``<|endoftext|>`` is a token."""

    def escape(_: Sphinx, context: object, lines: list[str]) -> None:
        # Not at the beginning of a line, where it is sphinx-click's own and keeps lines apart.
        lines[:] = [re.sub(r"(?<=\S)\|", r"\|", line) for line in lines]

    for part in ("description", "options", "arguments", "epilog"):
        app.connect(f"sphinx-click-process-{part}", escape)

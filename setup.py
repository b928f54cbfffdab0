"""Everything about the distribution that is not a tool's setting (those live in pyproject.toml).

fairseq itself is not listed: it is installed from ``fairseq-fixed`` without its declared
dependencies (it asks for torchaudio, which only speech tasks need).  ``install.sh`` and the README
show how, and ``genft doctor`` says so when it is missing.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
# The package itself says its version; importing it would need torch.
source = (here / "genft_fairseq" / "__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
assert version is not None

extras = {
    # genft import-hf and export-hf; T5, BART and others as models.
    "hf": ["transformers>=5"],
    # genft retrieve --method bm25: its index and search.
    "qa": ["bm25s"],
    # The pages of genft report, the curves of genft compare.
    "report": ["Jinja2", "matplotlib"],
    # make docs: the site of docs/.  Its tools have left Python 3.10 behind.
    "docs": [
        f'{name}; python_version >= "3.11"'
        for name in ("sphinx>=8", "myst-parser", "furo", "sphinx-click", "latex2mathml")
    ],
}
development = [
    *(requirement for requirements in extras.values() for requirement in requirements),
    *("pytest", "pytest-xdist", "hypothesis", "ruff", "mypy"),
    *("types-PyYAML", "types-psutil"),
    # Drives an installed Chromium, to see what genft report writes as a reader does.
    "playwright",
]

setup(
    name="genft_fairseq",
    version=version[1],
    description="GENeration Fine-Tuning for fairseq: objectives for models that must generate well",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=(
        "fairseq sequence-to-sequence language-model text-generation fine-tuning degeneration "
        "unlikelihood scalegrad exposure-bias minimum-risk fusion-in-decoder"
    ).split(),
    author="The genft_fairseq authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        # install.sh and the tests of losses, training, decoding and commands were run with each.
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["genft_fairseq", "genft_fairseq.*"]),
    package_data={"genft_fairseq": ["py.typed", "report/templates/*"]},
    install_requires=[
        "torch>=2.6",  # the first release that loads checkpoints with weights_only by default
        "numpy",
        # What fairseq imports at run time (scikit-learn in two of its tasks, which all load).
        "hydra-core==1.3.2",  # exactly these two, as fairseq asks
        "omegaconf==2.3.0",
        "regex",
        "bitarray",
        "packaging",
        "scikit-learn",
        "tqdm",
        "cffi",
        "sacrebleu>=2",
        # Text: tokenisation and subwords.
        "sacremoses",
        "subword-nmt",
        # The genft command.
        "click",
        "rich",
        # Comparing strategies: the configuration, memory in use.
        "PyYAML",
        "psutil",
        # ROUGE-L as a reward of minimum-risk training, ROUGE of long answers.
        "rouge-score",
        # The stemmer of genft retrieve --stemming.
        "nltk",
    ],
    extras_require={**extras, "dev": development},
    entry_points={"console_scripts": ["genft=genft_fairseq.cli:main"]},
)

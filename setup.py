"""Everything about the distribution that is not a tool's setting (those live in pyproject.toml).

fairseq itself is not listed: it is installed from ``fairseq-fixed`` without its declared
dependencies (it asks for torchaudio, which only speech tasks need).  ``install.sh`` and the README
show how, and ``genft doctor`` says so when it is missing.
"""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent

setup(
    name="genft_fairseq",
    version="0.1.0",
    description="GENeration Fine-Tuning for fairseq: objectives for models that must generate well",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["genft_fairseq", "genft_fairseq.*"]),
    package_data={"genft_fairseq": ["py.typed"]},
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
        # Comparing strategies: the configuration, memory in use, curves.
        "PyYAML",
        "psutil",
        "matplotlib",
        # ROUGE-L as a reward of minimum-risk training, ROUGE of long answers.
        "rouge-score",
        # The stemmer of genft retrieve --stemming.
        "nltk",
    ],
    extras_require={
        # genft import-hf and export-hf.
        "hf": ["transformers>=5"],
        # genft retrieve --method bm25: its index and search.
        "qa": ["bm25s"],
        "dev": [
            "transformers>=5",
            "bm25s",
            *("pytest", "pytest-xdist", "hypothesis", "ruff", "mypy"),
            *("types-PyYAML", "types-psutil"),
        ],
    },
    entry_points={"console_scripts": ["genft=genft_fairseq.cli:main"]},
)

"""``genft doctor``: what is installed, what works, and what to do about the rest."""

import contextlib
import importlib
import importlib.metadata
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

import genft_fairseq
from genft_fairseq.cli.measuring import dump, json_option

FAIRSEQ = "fairseq-fixed==0.12.3.1"
INSTALL_FAIRSEQ = (
    "pip install 'setuptools<81' wheel cython numpy && "
    f"env -u CUDA_HOME pip install --no-build-isolation --no-deps {FAIRSEQ}"
)
REBUILD_FAIRSEQ = f"{INSTALL_FAIRSEQ} --force-reinstall --no-binary fairseq-fixed"
# fairseq as published.  Its dataclasses do not import on Python 3.11 and newer, and it requires
# omegaconf<2.1, whose metadata pip 24.1 and newer refuse (facebookresearch/fairseq, issues 5012,
# 5436, 5511 and 5634).
OFFICIAL = "fairseq"
REPLACE_OFFICIAL = f"pip uninstall --yes {OFFICIAL} && {REBUILD_FAIRSEQ}"
COMPILERS = ("c++", "g++", "clang++")
# Compiled modules, and what stops working without them.
COMPILED = {
    "fairseq.data.data_utils_fast": "batching",
    "fairseq.data.token_block_utils_fast": "language-model data",
    "fairseq.libbleu": "fairseq's own BLEU",
}
LIBRARIES = [
    *("numpy", "hydra-core", "omegaconf", "sacrebleu", "sacremoses", "subword-nmt"),
    *("regex", "bitarray", "scikit-learn", "click", "rich"),
    *("PyYAML", "psutil", "rouge-score", "nltk"),
]
# What only some commands need, and how to get it.
EXTRAS = {
    "transformers": "for import-hf, export-hf, T5 and others: pip install 'genft_fairseq[hf]'",
    "bm25s": "for retrieve --method bm25: pip install 'genft_fairseq[qa]'",
    "Jinja2": "for report: pip install 'genft_fairseq[report]'",
    "matplotlib": "for report and compare: pip install 'genft_fairseq[report]'",
}
CRITERIONS = (
    *("scalegrad", "unlikelihood", "first_token_auxiliary"),
    *("generative_rollout", "sequence_unlikelihood", "minimum_risk", "in_batch_negatives"),
)
TASKS = (
    *("scheduled_sampling_translation", "scheduled_sampling_language_modeling"),
    *("fid", "retrieval"),
)


@dataclass
class Check:
    """One line of the report; ``advice`` is what to do, and empty when all is well."""

    name: str
    found: str
    advice: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Print versions and devices, try what fairseq needs, and say what to do about what is wrong.

    Ends with status 1 when something is.
    """
    checks = list(examine())
    wrong = [check for check in checks if check.advice]
    if as_json:
        click.echo(dump([asdict(check) for check in checks]), nl=False)
    else:
        _print(checks)
    sys.exit(1 if wrong else 0)


def examine() -> Iterator[Check]:
    """Yield the checks, none of which stops the others."""
    too_old = sys.version_info < (3, 10)
    advice = "Python 3.10 or newer is needed" if too_old else ""
    yield Check("Python", f"{platform.python_version()} on {platform.platform()}", advice)
    yield from _attempt("torch", _torch, "pip install torch")
    yield from _fairseq()
    required = _required_versions()
    for library in LIBRARIES:
        yield from _library(library, required.get(library.lower(), ""))
    for library, use in EXTRAS.items():
        try:
            yield Check(library, importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            yield Check(library, f"not installed; {use}")


def _attempt(name: str, find: Callable[[], str], advice: str) -> Iterator[Check]:
    try:
        yield Check(name, find())
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        yield Check(name, f"{type(error).__name__}: {reason}", advice)


def _library(name: str, wanted: str) -> Iterator[Check]:
    """Another version than genft_fairseq requires is most often one that fairseq has brought."""
    advice = f"pip install {name}"
    for check in _attempt(name, partial(importlib.metadata.version, name), advice):
        if not check.advice and wanted and not _fits(check.found, wanted):
            advice = f"pip install '{name}{wanted}'"
            check = Check(name, f"{check.found}, but {wanted} is required", advice)
        yield check


def _required_versions() -> dict[str, str]:
    """The versions that genft_fairseq requires of other packages, by their names."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = {}
    try:
        for line in importlib.metadata.requires("genft_fairseq") or []:
            requirement = Requirement(line)
            found[requirement.name.lower()] = str(requirement.specifier)
    except (importlib.metadata.PackageNotFoundError, InvalidRequirement):
        return {}  # not installed, but imported from its folder
    return found


def _fits(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        devices = f"{len(names)} GPU: {', '.join(names)}"
    elif torch.version.cuda:
        devices = "a CUDA build, but no GPU is visible: training will use the CPU with --cpu"
    else:
        devices = "a CPU build: pass --cpu to the fairseq commands"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {devices}"


def _fairseq() -> Iterator[Check]:
    with contextlib.suppress(Exception):  # fairseq_error keeps it
        genft_fairseq.register()
    error, sources = genft_fairseq.fairseq_error, _distributions("fairseq")
    if error is not None:
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == "fairseq"
        advice = INSTALL_FAIRSEQ if missing else REBUILD_FAIRSEQ
        if OFFICIAL in sources:
            found = f"{OFFICIAL} {sources[OFFICIAL]} on Python {platform.python_version()}: {found}"
            advice = REPLACE_OFFICIAL
        yield Check("fairseq", found, advice)
        yield from _build_tools()
        return
    named = ", ".join(f"{name} {version}" for name, version in sources.items())
    # Two packages have written into one folder.
    advice = REPLACE_OFFICIAL if OFFICIAL in sources and len(sources) > 1 else ""
    yield Check("fairseq", named or "a folder that is not installed", advice)
    parts = [
        check
        for module, use in COMPILED.items()
        for check in _attempt(module, partial(_load, module), f"{REBUILD_FAIRSEQ} ({use})")
    ]
    yield from parts
    if any(part.advice for part in parts):
        yield from _build_tools()
    yield _registered()


def _distributions(module: str) -> dict[str, str]:
    """The installed packages that a module is of, with their versions."""
    names = importlib.metadata.packages_distributions().get(module, [])
    return {name.lower(): importlib.metadata.version(name) for name in sorted(set(names))}


def _build_tools() -> Iterator[Check]:
    """What building fairseq needs, where it has to be built."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    yield Check(
        "C++ compiler",
        compiler or f"none of {', '.join(COMPILERS)}",
        "" if compiler else "apt install build-essential (macOS: xcode-select --install)",
    )
    header = Path(sysconfig.get_path("include"), "Python.h")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    yield Check(
        "Python.h",
        str(header) if header.is_file() else f"{header} does not exist",
        "" if header.is_file() else f"apt install python{version}-dev",
    )


def _load(module: str) -> str:
    importlib.import_module(module)
    return "compiled, loads"


def _registered() -> Check:
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    registered = {*CRITERION_REGISTRY, *TASK_REGISTRY}
    missing = [name for name in (*CRITERIONS, *TASKS) if name not in registered]
    advice = f"{', '.join(missing)} not registered: reinstall genft_fairseq" if missing else ""
    found = f"{genft_fairseq.__version__}, {len(CRITERIONS)} criterions, {len(TASKS)} tasks"
    return Check("genft_fairseq", found, advice)


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")  # nothing is cut off: people send it to each other
    for check in checks:
        mark = "[red]wrong[/]" if check.advice else "[green]ok[/]"
        table.add_row(mark, check.name, escape(check.found))
        if check.advice:
            table.add_row("", "", f"[bold]do:[/] {escape(check.advice)}")
    Console().print(table)

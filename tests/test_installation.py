"""What the installation brought, and what it must not."""

import importlib.metadata
import re

import pytest
import torch
from fairseq_commands import REPOSITORY


def pins() -> dict[str, str]:
    """Name and version of every line of constraints.txt that holds for this Python."""
    from packaging.requirements import Requirement

    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        r.name: str(r.specifier).removeprefix("==")
        for r in requirements
        if r.marker is None or r.marker.evaluate()
    }


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is a CUDA build")
def test_a_cpu_build_brings_no_cuda_packages():
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    assert not {name for name in names if re.match(r"nvidia-|triton$|torchaudio$", name)}


def test_every_dependency_is_pinned():
    required = importlib.metadata.requires("genft_fairseq") or []
    names = {re.match(r"[\w-]+", line)[0].lower() for line in required}
    assert names <= {name.lower() for name in pins()}


@pytest.mark.skipif(
    not (REPOSITORY / ".venv" / ".installed").exists(), reason="not installed by install.sh"
)
def test_what_is_installed_is_what_is_pinned():
    wrong = {}
    for name, version in pins().items():
        try:
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on another platform only
        if installed != version:
            wrong[name] = (installed, version)
    assert not wrong

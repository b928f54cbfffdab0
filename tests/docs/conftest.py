"""What the tests of the documentation share: a world to copy, and the site."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.worlds import World
from fairseq_commands import REPOSITORY
from warm_python import WarmPython


@pytest.fixture(scope="session")
def filled_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that is there to be copied."""
    server = WarmPython("docs.command_checks", "docs.tiny_commands")
    world = World(tmp_path_factory.mktemp("documentation") / "filled", server)
    world.fill()
    yield world
    server.close()


@pytest.fixture
def world(filled_world: World, tmp_path: Path) -> World:
    """A world of a test's own."""
    return filled_world.copy(tmp_path / "world")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once however many workers there are, as ``make docs`` builds it."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    built, log = shared / "site", shared / "site.log"
    with open(shared / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            sphinx = [
                sys.executable,
                "-m",
                "sphinx",
                "-W",
                "--keep-going",
                "-n",
                "-q",
                "-b",
                "html",
            ]
            command = [*sphinx, "-d", shared / "doctrees", REPOSITORY / "docs", built]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            log.write_text(f"{done.stdout}{done.stderr}ended with {done.returncode}\n")
    return built

"""What the tests of the documentation share: a server of commands, a world to copy, the site."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.command_checks import check
from docs.command_server import serving
from docs.tiny_commands import run_small
from docs.worlds import World
from fairseq_commands import REPOSITORY


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The address of the server, in a folder whose path is short enough for one."""
    with tempfile.TemporaryDirectory(prefix="genft-docs-") as folder:
        address = Path(folder, "socket")
        with serving(address, {"run": run_small, "check": check}):
            yield address


@pytest.fixture(scope="session")
def filled_world(server: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that is there to be copied."""
    world = World(tmp_path_factory.mktemp("documentation") / "filled", server)
    world.fill()
    return world


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
            command = [
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
            command += ["-d", shared / "doctrees", REPOSITORY / "docs", built]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            log.write_text(f"{done.stdout}{done.stderr}ended with {done.returncode}\n")
    return built

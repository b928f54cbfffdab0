"""A Python that has torch and fairseq imported already, for tests that start many of them.

Importing takes four seconds, a fork a hundredth of one.  ``WarmPython().bin`` holds a
``python`` and the commands that are installed beside this one (``fairseq-train``, ``genft``): each
hands its arguments, folder, environment and open files (``warm_client.py``) to a server, which
forks (``warm_server.py``), and does in the fork what a new interpreter would have done.  The plugin
is not among what is imported: it is imported when and as a command does it.  What a file forgets to
import may go unnoticed, so that of each kind of run one has to be started cold.
"""

import atexit
import functools
import marshal
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# What an interpreter reads when it starts: what common.sh of data-prep sets, which a command may as
# well be without; and what has to be as it is here.
SETTINGS = {"PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}
SHARED_SETTINGS = (
    *("PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONDEBUG", "PYTHONINSPECT"),
    *("PYTHONUNBUFFERED", "PYTHONVERBOSE", "PYTHONIOENCODING", "PYTHONSAFEPATH"),
    *("PYTHONFAULTHANDLER", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONPROFILEIMPORTTIME"),
)
CLIENT = """\
#!/bin/sh
exec '{python}' -IS '{client}' '{folder}' '{folder}/bin/python' {command} "$@"
"""


class WarmPython:
    """A server, and a folder of commands that it carries out."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm")  # a socket's path must be short
        folder = Path(self._folder.name)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        self.bin.mkdir()
        self._write_client("python", "")
        self._write_client("python3", "")
        for path in Path(sys.executable).parent.iterdir():
            if path.is_file() and "python" not in path.name:
                with path.open("rb") as file:
                    if file.read(2) == b"#!":
                        self._write_client(path.name, f"'{path}'")
        shared = {name: (os.environ.get(name),) for name in SHARED_SETTINGS}
        own = {name: (None, value) for name, value in SETTINGS.items()}
        (folder / "settings").write_bytes(marshal.dumps({**shared, **own}))
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        server = Path(__file__).with_name("warm_server.py")
        with socket.socket(socket.AF_UNIX) as listener, open(folder / "log", "w") as log:
            listener.bind(str(folder / "socket"))
            listener.listen(64)  # from now on a client may call, and wait
            self._server = subprocess.Popen(
                [sys.executable, server, str(listener.fileno())],
                stdin=subprocess.PIPE,  # which ends with this process, however that ends
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[listener.fileno()],
                env={"OMP_NUM_THREADS": "1", **environment, **SETTINGS},
                start_new_session=True,
            )

    def _write_client(self, name: str, command: str) -> None:
        client = Path(__file__).with_name("warm_client.py")
        path = self.bin / name
        path.write_text(
            CLIENT.format(
                python=sys.executable, client=client, folder=self._folder.name, command=command
            )
        )
        path.chmod(0o755)

    def close(self) -> None:
        """End the server, and what it has forked."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        self._folder.cleanup()


@functools.cache
def warm_python() -> WarmPython:
    """Return the one of this process, which ends with it."""
    warm = WarmPython()
    atexit.register(warm.close)
    return warm


@functools.cache
def configure_once() -> None:
    """Have fairseq read a command's flags, for which hydra takes half as long the second time.

    It looks up where each module lies, and learns the grammar of what it is told.
    """
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    words = ["data", "--task", "translation", "--arch", "transformer"]
    parser = options.get_training_parser()
    convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words))

"""A Python that has torch and fairseq imported already, for tests that start many of them.

``WarmPython().bin`` holds a ``python`` and the commands that are installed beside this one
(``fairseq-train``, ``genft``): each hands its arguments, folder, environment and open files
(``warm_client.py``) to a server, which is this file run as a script.  The server forks, and does in
the fork what a new interpreter would have done.  The plugin is not among what is imported: it is
imported when and as a command does it.  What a file forgets to import may go unnoticed, so that of
each kind of run one has to be started cold.
"""

import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import marshal
import multiprocessing
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from forked import call_and_end, forget_exit_and_logs, open_streams

# What an interpreter reads when it starts: what common.sh of data-prep sets, which a command may as
# well be without; and what has to be as it is here.
SETTINGS = {"PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}
SHARED_SETTINGS = (
    *("PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONDEBUG", "PYTHONINSPECT"),
    *("PYTHONVERBOSE", "PYTHONIOENCODING", "PYTHONSAFEPATH"),
    *("PYTHONFAULTHANDLER", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONPROFILEIMPORTTIME"),
)
# fairseq's commands and other entry points are forgotten again: their beginning is part of a run.
IMPORTED = (
    *("torch", "torch._dynamo", "torch.distributed.run", "fairseq", "fairseq_cli.train"),
    *("fairseq_cli.preprocess", "fairseq_cli.generate", "fairseq_cli.hydra_train"),
    *("sacremoses", "sacrebleu", "rouge_score.rouge_scorer", "bm25s"),
    *("transformers", "click", "rich.console", "rich.progress", "rich.table", "yaml", "psutil"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
)
FORGOTTEN = ("fairseq_cli", "torch.distributed.run")
# By a client; in a fork they have to wait until it can do something about them.
FORWARDED = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


class WarmPython:
    """A server, and a folder of commands that it carries out.

    Args:
        modules: what it imports besides, found where this process finds it.
    """

    def __init__(self, *modules: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm")  # a socket's path must be short
        folder = Path(self._folder.name)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        self.add_command(self.python)
        self.add_command(self.bin / "python3")
        for path in Path(sys.executable).parent.iterdir():
            if path.is_file() and "python" not in path.name:
                with path.open("rb") as file:
                    if file.read(2) == b"#!":
                        self.add_command(self.bin / path.name, path)
        shared = {name: (os.environ.get(name),) for name in SHARED_SETTINGS}
        own = {name: (None, value) for name, value in SETTINGS.items()}
        (folder / "settings").write_bytes(marshal.dumps({**shared, **own}))
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if modules:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        with socket.socket(socket.AF_UNIX) as listener, open(folder / "log", "w") as log:
            listener.bind(str(folder / "socket"))
            listener.listen(64)  # from now on a client may call, and wait
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno()), *modules],
                stdin=subprocess.PIPE,  # which ends with this process, however that ends
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[listener.fileno()],
                env={"OMP_NUM_THREADS": "1", **environment, **SETTINGS},
                start_new_session=True,
            )

    def add_command(self, path: Path, *words: object) -> None:
        """Write a command that does what ``python WORDS`` does, with the arguments it is given.

        The ``python`` is one that lies beside it.
        """
        path.parent.mkdir(exist_ok=True)
        client = Path(__file__).with_name("warm_client.py")
        started = [sys.executable, "-IS", client, self._folder.name, path.with_name("python")]
        quoted = " ".join(f"'{word}'" for word in [*started, *words])
        path.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
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


class _Server:
    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}  # by the process that was forked for them

    def serve(self) -> None:
        """Fork for every client, until nobody holds our standard input any more."""
        wakened, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while True:
            connected = {client: pid for pid, client in self.clients.items()}
            ready, _, _ = select.select([0, self.listener, wakened, *connected], [], [])
            for one in ready:
                if one == 0:
                    for pid in self.clients:
                        _signal_group(pid, signal.SIGKILL)
                    return
                if one == wakened:
                    os.read(wakened, 512)
                    self._answer_ended()
                elif one is self.listener:
                    self._accept()
                elif connected[one] in self.clients:
                    self._forward(connected[one])

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        with contextlib.suppress(EOFError):  # it was killed while it asked
            length, files, _, _ = socket.recv_fds(client, 4, 253)
            request = marshal.loads(_received(client, int.from_bytes(length, "big")))
            pid = os.fork()
            if pid == 0:
                _become(request, files)
            with contextlib.suppress(OSError):  # it is its own group's first, whoever comes first
                os.setpgid(pid, pid)
            for file in files:
                os.close(file)
            self.clients[pid] = client

    def _forward(self, pid: int) -> None:
        """Pass on a signal; a client that is gone was killed."""
        try:
            numbers = self.clients[pid].recv(16)
        except ConnectionError:
            numbers = b""
        for number in numbers or bytes([signal.SIGKILL]):
            _signal_group(pid, number)
        if not numbers:
            self.clients.pop(pid).close()

    def _answer_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client = self.clients.pop(ended[0], None)
                if client is not None:
                    status = os.waitstatus_to_exitcode(ended[1])
                    with contextlib.suppress(OSError), client:
                        client.sendall(status.to_bytes(4, "big", signed=True))


def _received(client: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = client.recv(length - len(content))
        if not part:
            raise EOFError
        content += part
    return content


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _become(request: dict[str, Any], files: list[int]) -> NoReturn:
    """In the forked process: be the interpreter that was asked for, and never return."""
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in request["ignored"]:
            signal.signal(number, signal.SIG_IGN)
        _take_over(files, request["files"])
        os.umask(request["umask"])
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        open_streams()
        random.seed()
        if wanted := os.environ.get("PYTHONWARNINGS"):  # fairseq sets it, where it starts several
            warnings._processoptions(wanted.split(","))
        sys.executable = request["executable"]
        multiprocessing.set_executable(sys.executable)
        path = os.environ.get("PYTHONPATH", "")
        sys.path[:] = [*(path.split(os.pathsep) if path else ()), *sys.path]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)  # what came in the meantime
        call_and_end(functools.partial(_interpret, request["words"]))
    finally:
        os._exit(70)


def _take_over(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the files the numbers that they have in the client, and close all others."""
    high = max(128, *numbers) + 1
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, high) for file in files]
    os.closerange(0, high)
    for file, number in zip(kept, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _interpret(words: list[str]) -> None:
    """Do what ``python WORDS`` does."""
    first, *rest = words or ["-"]
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if first in ("-", "-c"):
        source, name = (rest.pop(0), "<string>") if first == "-c" else (sys.stdin.read(), "<stdin>")
        sys.path.insert(0, "")
    else:
        source, name = Path(first).read_bytes(), first
        sys.path.insert(0, os.path.dirname(os.path.realpath(first)))
        main.__file__ = first
    sys.argv = [first, *rest]
    exec(compile(source, name, "exec"), main.__dict__)


def _import(modules: Sequence[str]) -> None:
    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    configure_once()
    for name in list(sys.modules):
        if name.startswith(tuple(f"{n}." for n in FORGOTTEN)) or name in FORGOTTEN:
            del sys.modules[name]
    for name in modules:
        importlib.import_module(name)
    forget_exit_and_logs()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    del sys.path[0]
    _import(sys.argv[2:])
    gc.collect()
    gc.freeze()  # a collection in a fork would write to every page
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()

"""The server of ``warm_python.py``: imports what takes long, and forks for every client."""

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import logging
import marshal
import multiprocessing.util
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from warm_python import configure_once

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
    status = 1
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
        random.seed()
        if wanted := os.environ.get("PYTHONWARNINGS"):  # fairseq sets it, where it starts several
            warnings._processoptions(wanted.split(","))
        sys.executable = request["executable"]
        multiprocessing.set_executable(sys.executable)
        path = os.environ.get("PYTHONPATH", "")
        sys.path[:] = [*(path.split(os.pathsep) if path else ()), *sys.path]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)  # what came in the meantime
        _interpret(request["words"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        place = error.__traceback__
        while place and place.tb_frame.f_code.co_filename == __file__:
            place = place.tb_next
        sys.excepthook(type(error), error.with_traceback(place), place)
        if isinstance(error, KeyboardInterrupt):
            status = -signal.SIGINT
    finally:
        _end(status)


def _take_over(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the files the numbers that they have in the client, and close all others."""
    high = max(128, *numbers) + 1
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, high) for file in files]
    os.closerange(0, high)
    for file, number in zip(kept, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)
    # What the server's own streams know of their files, such as whether they end, holds no longer.
    modes = ("rb", "wb", "wb")
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            open(number, modes[number], -int(not old.write_through), closefd=False),  # noqa: SIM115
            *(old.encoding, old.errors, None, old.line_buffering, old.write_through),
        )
        for number, old in enumerate((sys.stdin, sys.stdout, sys.stderr))
    )


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


def _end(status: int) -> NoReturn:
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        with contextlib.suppress(AttributeError):  # None, if the command has put that there
            sys.stdout.flush()
            sys.stderr.flush()
    except OSError:
        status = status or 120
    finally:
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status & 0xFF)


def _import() -> None:
    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    configure_once()
    for name in list(sys.modules):
        if name.startswith(tuple(f"{n}." for n in FORGOTTEN)) or name in FORGOTTEN:
            del sys.modules[name]
    atexit._clear()  # what was imported has nothing to end yet, and takes its time
    atexit.register(multiprocessing.util._exit_function)
    atexit.register(logging.shutdown)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    del sys.path[0]
    _import()
    gc.collect()
    gc.freeze()  # a collection in a fork would write to every page
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()

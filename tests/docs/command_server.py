"""A process that has torch and fairseq imported, and forks for every command of a page.

Importing takes five seconds, a fork none.  What a page's shell finds on its PATH are links to
``command_client.py``; what becomes of a command is the ``Handler``'s to say.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import forked_process
import torch

from genft_fairseq.errors import install_one_line_errors

# Returns the exit status; called in a process of its own, as the command, in its folder.
Handler = Callable[[list[str]], int]
IMPORTED = ("train", "generate", "interactive", "preprocess", "score", "validate", "eval_lm")


@contextlib.contextmanager
def serving(address: Path, handlers: dict[str, Handler]) -> Iterator[None]:
    """Serve commands, by the handler that ``GENFT_DOCS_MODE`` names in their environment."""
    for name in IMPORTED:
        importlib.import_module(f"fairseq_cli.{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(address))
        listening.listen(32)
        pid = os.fork()
        if pid == 0:
            _serve(listening, handlers)
    try:
        yield
    finally:
        # With what it has forked, should a page have left something running.
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listening: socket.socket, handlers: dict[str, Handler]) -> NoReturn:
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        torch.set_num_threads(1)
        torch.cuda.is_available = lambda: False
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                _answer(connection, handlers)
            connection.close()
    finally:
        os._exit(70)


def _answer(connection: socket.socket, handlers: dict[str, Handler]) -> NoReturn:
    """Run one command in a child, and tell how it ended."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        request = json.loads(connection.makefile().read())
        pid = os.fork()
        if pid == 0:
            connection.close()
            handler = handlers[request["environment"]["GENFT_DOCS_MODE"]]
            _become(request, streams, handler)
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
    finally:
        os._exit(0)


def _become(request: dict[str, Any], streams: list[int], handler: Handler) -> NoReturn:
    status = 1
    try:
        forked_process.begin()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        # Commands that start others look for them beside the interpreter: there are ours.
        sys.executable = str(Path(os.environ["GENFT_DOCS_BIN"], "python"))
        sys.argv = list(request["words"])
        install_one_line_errors()
        status = handler(request["words"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        hook = sys.excepthook if getattr(sys.excepthook, "shows_one_line", False) else None
        (hook or traceback.print_exception)(type(error), error, error.__traceback__)
    finally:
        forked_process.end(status)


def call(words: list[str]) -> int:
    """Call the entry point of fairseq's command or of ``genft``, or run a Python file."""
    name, *rest = words
    sys.argv = words
    if name.startswith("fairseq-"):
        module = sys.modules["fairseq_cli." + name[len("fairseq-") :].replace("-", "_")]
        importlib.reload(module).cli_main()  # again, because its first lines open the log
    elif name == "genft":
        from genft_fairseq.cli import main

        main()
    else:
        sys.argv = rest
        sys.path.insert(0, os.path.dirname(os.path.abspath(rest[0])))
        runpy.run_path(rest[0], run_name="__main__")
    return 0

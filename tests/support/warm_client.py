"""Stands in for a Python interpreter: hands itself to the server of ``warm_python.py``.

Started with the server's folder, the name that it was called by and an interpreter's arguments.
What a shell or a test sees of this process is what the interpreter's would be: it passes signals
on, and ends as the process that the server has forked for it.  It becomes an interpreter itself
for what is sooner done by one, a few lines that import nothing large, and where a fork would not
be the same, because of an option or a setting that takes effect at the start.
"""

# The modules that hide behind these take as long to import as everything else here.
import _signal
import _socket
import marshal
import os
import sys

LARGE = ("torch", "fairseq", "multiprocessing.spawn")
FORWARDED = ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def main() -> None:
    folder, executable, *words = sys.argv[1:]
    with open(f"{folder}/settings", "rb") as file:
        settings = marshal.loads(file.read())
    files = open_files()
    while words[:1] == ["-B"]:  # of a process that multiprocessing starts: the server has it, too
        del words[0]
    first, code = [*words, "", ""][:2]
    if not (
        (first[:1] not in ("", "-") or first == "-m" or (first == "-c" and imports_large(code)))
        and {0, 1, 2} <= set(files)
        and all(os.environ.get(name) in values for name, values in settings.items())
    ):
        os.execv(sys.executable, [sys.executable, *words])
    numbers = [getattr(_signal, name) for name in FORWARDED]
    ignored = [number for number in numbers if _signal.getsignal(number) is _signal.SIG_IGN]
    request = {
        **{"executable": executable, "words": words, "folder": os.getcwd(), "files": files},
        **{"environment": dict(os.environ), "ignored": [int(number) for number in ignored]},
        "umask": current_umask(),
    }
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(f"{folder}/socket")

    def forward(number: int, frame: object) -> None:
        try:  # noqa: SIM105 (what contextlib imports takes time)
            server.send(bytes([number]))
        except OSError:  # the command has ended already
            pass

    for number in numbers:
        if number not in ignored:
            _signal.signal(number, forward)
    content = marshal.dumps(request)
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in files)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
    server.sendmsg([len(content).to_bytes(4, "big")], [rights])
    server.sendall(content)
    end(server.recv(4), folder)


def imports_large(code: str) -> bool:
    return any(name in code for name in LARGE)


def open_files() -> list[int]:
    """Return the open files that a program inherits."""
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # what was open for the listing
            continue
    return found


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def end(answer: bytes, folder: str) -> None:
    """End as the forked process has."""
    if not answer:
        print(f"the server of {folder} has ended: see {folder}/log", file=sys.stderr)
        os._exit(70)
    status = int.from_bytes(answer, "big", signed=True)
    if status < 0:
        if -status != _signal.SIGKILL:
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


main()

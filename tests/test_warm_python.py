"""The interpreter that tests start in place of a new one does what a new one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAMS = {
    "what it is given": """
import json, sys
import torch
print(json.dumps([sys.argv[1:], __name__, sys.path[0], sys.stdin.read(), sys.stdout.encoding]))
""",
    "where it is": """
import os
print(os.getcwd(), os.environ["GIVEN"], oct(os.umask(0)), os.read(9, 9))
""",
    "a message": "import sys; sys.exit('no')",
    "a status": "import sys; print('so'); sys.exit(7)",
    "an error": "import sys\n1 / 0",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "interrupted": "raise KeyboardInterrupt",
    "without the plugin": "import fairseq, sys; print('genft_fairseq' in sys.modules)",
    "its own end": "import atexit; atexit.register(print, 'the end')",
    "none left": "open(1, 'w').write('x' * 100000)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_a_new_interpreter(name: str, warm_python, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAMS[name])
    (tmp_path / "nine").write_text("nine")

    def end_of(python: object) -> tuple[int, str, list[str]]:
        done = subprocess.run(
            ["bash", "-c", 'umask 27; exec 9<nine; exec "$0" "$@"', python, script, "a b", "--c"],
            input="in\n",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "GIVEN": "this"},
        )
        # What fairseq says on being imported it has said in the server.
        said = [line for line in done.stderr.splitlines() if "tensorboardX" not in line]
        return done.returncode, done.stdout, said

    assert end_of(warm_python.python) == end_of(sys.executable)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_what_was_forked(number: int, warm_python, tmp_path: Path) -> None:
    """And its children: nobody holds the pipe any more."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\nos.fork()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [warm_python.python, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    assert process.pid not in pids
    begun = time.monotonic()
    process.send_signal(number)
    assert process.stdout.read() == b"" and process.wait() == -number
    assert time.monotonic() - begun < 30


def test_an_option_starts_a_new_one(warm_python) -> None:
    command = [warm_python.python, "-O", "-c", "import sys; print(sys.executable, __debug__)"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{sys.executable} False\n"

"""What a page's shell finds in the place of a command: it runs that small, or checks its words.

    python page_command.py run|check NAME WORDS

The parts are imported already by the server that is asked to be this Python (``warm_python.py``).
"""

import os
import sys

import torch
from docs.command_checks import PYTHON, check
from docs.tiny_commands import run_small

from genft_fairseq.errors import install_one_line_errors

mode, name, *words = sys.argv[1:]
if name.startswith("python"):
    if words[:1] == ["-m"] and words[1].startswith("fairseq_cli."):
        name, words = words[1].replace("fairseq_cli.", "fairseq-").replace("_", "-"), words[2:]
    elif not words[:1] or not words[0].endswith(".py"):  # a line or two, which need no fairseq
        os.execv(PYTHON, [str(PYTHON), *words])
torch.cuda.is_available = lambda: False
install_one_line_errors()
sys.argv = [name, *words]
sys.exit((run_small if mode == "run" else check)([name, *words]))

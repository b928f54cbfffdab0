"""A stand-in for a command: hands itself to the server that has fairseq imported already.

Started by the name of the command, as a link to this file.  Its folder, environment and open
streams go to the server (``command_server.py``), which forks; its exit status comes back.
"""

import json
import os
import socket
import sys

words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
if words[0].startswith("python"):
    if words[1:2] == ["-m"] and words[2].startswith("fairseq_cli."):
        words = [words[2].replace("fairseq_cli.", "fairseq-").replace("_", "-"), *words[3:]]
    elif not words[1:2] or not words[1].endswith(".py"):  # a line or two, which need no fairseq
        os.execv(sys.executable, [sys.executable, *words[1:]])

server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect(os.environ["GENFT_DOCS_SERVER"])
request = {
    "words": words,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
}
socket.send_fds(server, [b"!"], [0, 1, 2])
server.sendall(json.dumps(request).encode())
server.shutdown(socket.SHUT_WR)
status = server.makefile().read()
os._exit(int(status) if status else 70)  # the server is gone

"""A web server for the download tests: serves a folder, and cuts its first answer off once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Mirror(BaseHTTPRequestHandler):
    """Serves a folder; cuts the first file off in the middle once, and can resume."""

    def __init__(self, folder: Path, requests: list[tuple[str, str]], *arguments) -> None:
        self.folder = folder
        self.requests = requests
        super().__init__(*arguments)

    def do_GET(self) -> None:
        first = not self.requests
        wanted = self.headers.get("Range", "")
        self.requests.append((self.path, wanted))
        path = self.folder / Path(self.path).name
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + len(content) // 2] if first else content[start:])

    def log_message(self, *arguments) -> None:
        """Keep quiet."""


@contextmanager
def mirror(folder: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    requests: list[tuple[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, folder, requests))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

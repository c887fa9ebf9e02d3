"""A vendor's endpoint over HTTP: it keeps what it was asked with, and answers when a test lets it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Vendor:
    """``asked`` are the requests: method, path and headers (names in lower case)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.arrived, self.answers = threading.Event(), threading.Event()
        self.answers.set()
        self.port = 0


@contextlib.contextmanager
def vendor() -> Iterator[Vendor]:
    """It listens on loopback for as long as the block lasts."""
    made = Vendor()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.asked.append((self.command, self.path, headers))
            body = self.rfile.read(int(headers.get("content-length", 0)))
            made.arrived.set()
            made.answers.wait(60)
            said = b"heard " + body
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = _answer  # noqa: N815 - the names of http.server

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()

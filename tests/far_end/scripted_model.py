"""A scripted model behind a real HTTP server on loopback: what the model APIs of the two vendors share here.

The step that a request gets is counted from the request itself (how often the model has spoken in the
conversation it carries), never from the server's memory: a retried request, a resumed session and several
sessions side by side each get their own right answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Words:
    """The model says something."""

    text: str


@dataclass(frozen=True)
class Call:
    """The model calls a tool. ``arguments`` is an object, or text for a codex custom tool; some tools of codex
    are in a ``namespace``."""

    tool: str
    arguments: dict[str, Any] | str
    namespace: str = ""


@dataclass(frozen=True)
class Reply:
    """One answer of the model. Tokens are what its usage reports."""

    parts: tuple[Words | Call, ...]
    input_tokens: int = 100
    output_tokens: int = 20


@dataclass(frozen=True)
class Refusal:
    """An HTTP error instead of an answer."""

    status: int
    message: str


Answer = Reply | Refusal


@dataclass(frozen=True)
class Asking:
    """One request to the model: which conversation, how far it is, what came back from the tools.

    ``words`` are all the user's texts in order, ``results`` the texts of all tool results in order, ``step``
    how many answers the model has given in this conversation before.
    """

    key: str
    step: int
    words: tuple[str, ...]
    results: tuple[str, ...]
    body: dict[str, Any] = field(repr=False)

    @property
    def heard(self) -> str:
        """Everything the user said in this conversation, as one text."""
        return "\n".join(self.words)


Script = Sequence[Answer] | Callable[[Asking], Answer]


def say(text: str) -> Reply:
    """An answer that ends the turn with ``text``."""
    return Reply((Words(text),))


def call(tool: str, **arguments: Any) -> Reply:
    """An answer that calls one tool."""
    return Reply((Call(tool, arguments),))


class ScriptedModel:
    """Base of the two servers. Use as a context manager; ``url`` is its root.

    ``script`` sets what a conversation hears: the last one set whose ``when`` occurs in the user's words is
    taken, so one server can carry several sessions. A list of answers stays on its last one at its end. A
    function may wait (each request has its own thread), but not beyond the test.
    """

    def __init__(self) -> None:
        self.asked: list[Asking] = []
        self._scripts: list[tuple[str, Script]] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, script: Script, *, when: str = "") -> None:
        """What conversations in which the user said ``when`` hear from now on."""
        with self._lock:
            self._scripts.insert(0, (when, script))

    def answer(self, asking: Asking) -> Answer:
        """The scripted answer; an unscripted conversation is the test's mistake and gets a 400."""
        with self._lock:
            self.asked.append(asking)
            found = next((script for when, script in self._scripts if when in asking.heard), None)
        if found is None:
            return Refusal(400, "no script for this conversation")
        if callable(found):
            return found(asking)
        return found[min(asking.step, len(found) - 1)]

    def read(self, key: str, body: dict[str, Any]) -> Asking | None:
        """The request as an ``Asking``; none for one that is not part of a conversation."""
        raise NotImplementedError

    def events(self, asking: Asking | None, reply: Reply) -> Iterator[dict[str, Any]]:
        """The server-sent events that carry the reply in this vendor's format."""
        raise NotImplementedError

    def aside(self) -> Reply:
        """The answer to a request that is not part of a conversation."""
        return say("{}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ScriptedModel

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are in ``ScriptedModel.asked``."""

    def do_HEAD(self) -> None:
        self._json(200, {})

    def do_GET(self) -> None:
        self._json(200, {"data": [], "models": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        key = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        asking = self.model.read(key, body)
        answer = self.model.aside() if asking is None else self.model.answer(asking)
        try:
            if isinstance(answer, Refusal):
                error = {"type": "invalid_request_error", "message": answer.message}
                self._json(answer.status, {"type": "error", "error": error})
            else:
                self._stream(asking, answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, asking: Asking | None, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in self.model.events(asking, reply):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self.close_connection = True

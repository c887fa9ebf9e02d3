"""An endpoint with OpenAI's protocol, and Ollama's listing, that answers as a test says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from fleet.config import ReviewerConfig
from tests.far_end.web import on_loopback

_WORD = re.compile(r"^(?:first|last) word: (\w+)$", re.M)
_FILE = re.compile(r"^=== (.*)$")
_LINE = re.compile(r"^ *(\d+) \+ (.*)$")
_OF_COMMITS = re.compile(r"^ *(\d+) \| (.*)$", re.M)

Finding = dict[str, Any]


@dataclass
class Asked:
    """A request as it came in."""

    headers: dict[str, str]
    body: dict[str, Any]
    raw: str

    @property
    def data(self) -> str:
        """The user's message: all the data."""
        return str(self.body["messages"][1]["content"])

    @property
    def seen(self) -> list[str]:
        return _WORD.findall(self.data)

    def added(self) -> list[tuple[str, int, str]]:
        """Path, number and text of each added line that is shown."""
        found, path = [], ""
        for row in self.data.split("\n"):
            if file := _FILE.match(row):
                path = file[1]
            elif line := _LINE.match(row):
                found.append((path, int(line[1]), line[2]))
        return found

    def commit_lines(self) -> list[tuple[int, str]]:
        """Number and text of each line of the commit messages."""
        return [(int(number), text) for number, text in _OF_COMMITS.findall(self.data)]


Think = Callable[[Asked], str]


def blocking(file: str, line: int, reason: str = "this is wrong") -> Finding:
    return {"file": file, "line": line, "severity": "blocking", "reason": reason}


def answer(asked: Asked, findings: list[Finding]) -> str:
    return json.dumps({"seen": asked.seen, "findings": findings})


def attentive(known: str, *also: Finding) -> Think:
    """A model that objects to each added line that is not in ``known``: it finds whatever was planted."""
    lines = {row.strip() for row in known.split("\n")}

    def think(asked: Asked) -> str:
        odd = [blocking(path, number) for path, number, text in asked.added() if text.strip() not in lines]
        return answer(asked, [*odd, *also])

    return think


def wary(known: str, *orders: str) -> Think:
    """An attentive model that also objects to commit messages and file names with one of these orders."""

    def think(asked: Asked) -> str:
        rows = [
            blocking("(commit messages)", at, "an order") for at, text in asked.commit_lines() if _has(text, orders)
        ]
        paths = {path for path, _, _ in asked.added() if _has(path, orders)}
        return attentive(known, *rows, *(blocking(path, 0, "an order") for path in paths))(asked)

    return think


def _has(text: str, orders: tuple[str, ...]) -> bool:
    return any(order in text for order in orders)


def obedient(asked: Asked) -> str:
    """A model that does what the change tells it: no findings."""
    return answer(asked, [])


@dataclass
class FakeReviewer:
    """``think`` gives the text of the answer. ``model`` answers; empty: the one that was asked.

    ``pad`` is how many spaces come before it. ``respond`` replaces the whole answer. ``listing`` is what
    ``/api/tags`` says of models; ``None``: not found.
    """

    think: Think = obedient
    model: str = ""
    finish: str = "stop"
    pad: int = 0
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    listing: list[dict[str, Any]] | None = None
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def config(self, **more: Any) -> ReviewerConfig:
        """A reviewer at this address."""
        return ReviewerConfig.model_validate({"url": self.url, "model": "qwen3-coder:30b", **more})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeReviewer]:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/api/tags", self._tags)
        async with on_loopback(app) as address:
            self.url = f"{address}/v1"
            yield self

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        asked = Asked(dict(request.headers), json.loads(raw), raw)
        self.asked.append(asked)
        if self.respond is not None:
            return await self.respond(request)
        choice = {
            "index": 0,
            "finish_reason": self.finish,
            "message": {"role": "assistant", "content": self.think(asked)},
        }
        body = {"id": "1", "model": self.model or asked.body["model"], "choices": [choice]}
        return web.Response(text=" " * self.pad + json.dumps(body), content_type="application/json")

    async def _tags(self, request: web.Request) -> web.Response:
        if self.listing is None:
            raise web.HTTPNotFound
        return web.json_response({"models": self.listing})

"""An endpoint with OpenAI's protocol that transcribes as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from fleet.config import SpeechConfig
from tests.far_end.web import on_loopback


@dataclass
class Recording:
    """What was sent to be transcribed."""

    headers: dict[str, str]
    fields: dict[str, str]
    name: str
    data: bytes


@dataclass
class FakeTranscriber:
    """``says`` is the text of each answer; ``respond`` replaces the whole answer."""

    says: str = "status"
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    asked: list[Recording] = field(default_factory=list)
    url: str = ""

    def config(self, **more: object) -> SpeechConfig:
        return SpeechConfig.model_validate({"url": self.url, "model": "whisper-1", **more})

    def toml(self, more: str = "") -> str:
        return f'[speech]\nurl = "{self.url}"\nmodel = "whisper-1"\n{more}\n'

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeTranscriber]:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/audio/transcriptions", self._transcribe)
        async with on_loopback(app) as address:
            self.url = f"{address}/v1"
            yield self

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        posted = await request.post()
        sound = posted["file"]
        assert isinstance(sound, web.FileField)
        fields = {name: value for name, value in posted.items() if isinstance(value, str)}
        self.asked.append(Recording(dict(request.headers), fields, sound.filename, sound.file.read()))
        if self.respond is not None:
            return await self.respond(request)
        return web.json_response({"text": self.says})

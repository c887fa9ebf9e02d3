"""``airboss witness``: signs checkpoints of other people's logs, each only if it continues the one before.

Its directory has ``key`` (made when first needed), ``logs`` (the key of a log on each line), and each checkpoint
that it signed: the copy against which a log's holder can be checked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from fleet import files
from fleet.errors import AirbossError, Misused, Unavailable
from gates.receipts import note, sshsig
from gates.receipts.checkpoints import NoteFolder
from gates.receipts.note import KeyType, NoteKey
from gates.witness.protocol import BODY_LIMIT, SIZE_TYPE, Submission, Unsigned, origin_of, rule

log = logging.getLogger(__name__)

_KEY, _LOGS = "key", "logs"
_PLAIN: Final = "text/plain"


class Witness:
    """A witness's memory: its key, the logs that it knows, and what it signed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = sshsig.load_or_create_at(folder / _KEY)
        self._one = asyncio.Lock()

    @property
    def key(self) -> NoteKey:
        """What those who trust it need."""
        return NoteKey(self.name, KeyType.WITNESS, sshsig.public_of(self._key).raw)

    def logs(self) -> list[NoteKey]:
        """The logs that it knows, read again each time. Raises ``Malformed`` or ``Misused``."""
        path = self._folder / _LOGS
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeError) as error:
            raise Misused(attempted="read the logs that are witnessed", on=str(path), cause=str(error)) from error
        return [NoteKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]

    def learn(self, key: NoteKey) -> None:
        """From now on it signs for this log too. Raises ``DiskFull`` or ``Unavailable``."""
        known = self.logs()
        if key not in known:
            text = "".join(f"{each.line}\n" for each in [*known, key])
            with files.writing("keep the key of a log", self._folder / _LOGS):
                files.replace_durably(self._folder / _LOGS, text.encode())

    def signed(self, origin: str) -> NoteFolder:
        """What it signed of a log."""
        return NoteFolder(self._folder / hashlib.sha256(origin.encode()).hexdigest())

    async def add(self, body: bytes, seconds: int) -> str | Unsigned:
        """The signature for a request, once it is kept. Raises ``Malformed``, ``Unavailable`` or ``DiskFull``."""
        request = Submission.parse(body)
        async with self._one:
            return await asyncio.to_thread(self._add, request, seconds)

    def _add(self, request: Submission, seconds: int) -> str | Unsigned:
        origin = origin_of(request)
        keys = [key for key in self.logs() if key.name == origin]
        signed = self.signed(origin)
        newest = next(signed.newest_first(), None) if keys else None
        ruled = rule(request, keys, newest[0] if newest else None)
        if isinstance(ruled, Unsigned):
            if keys:
                log.warning("refused a checkpoint of %s: %s", origin, ruled.why)
            return ruled
        line = note.cosign(ruled.text, self.name, self._key, seconds)
        signed.put(ruled, request.note + line)
        return line


class WitnessServer:
    """Serves a witness over HTTP. ``GET /SHA256-OF-ORIGIN/checkpoint`` has the checkpoint that it signed last."""

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        self._witness, self._host, self._port = witness, host, port
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        """Raises ``Unavailable`` when the address cannot be used."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/add-checkpoint", self._add)
        app.router.add_get("/{log:[0-9a-f]{64}}/checkpoint", self._latest)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise Unavailable(
                attempted="listen for logs",
                on=f"{self._host}:{self._port}",
                cause=error.strerror or str(error),
                hint="Choose a free address with --listen HOST:PORT.",
            ) from None
        self._runner, self.port = runner, runner.addresses[0][1]

    async def close(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _add(self, request: web.Request) -> web.Response:
        try:
            ruled = await self._witness.add(await request.read(), int(time.time()))
        except Unavailable as error:
            log.error("nothing was signed: %s", error)
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "nothing can be signed now\n")
        except AirbossError as error:
            return _text(HTTPStatus.BAD_REQUEST, f"{error.cause}\n")
        if isinstance(ruled, str):
            return _text(HTTPStatus.OK, ruled)
        if ruled.known is not None:
            return web.Response(
                status=ruled.status, body=f"{ruled.known}\n".encode(), headers={"Content-Type": SIZE_TYPE}
            )
        return _text(ruled.status, f"{ruled.why}\n")

    async def _latest(self, request: web.Request) -> web.Response:
        wanted = request.match_info["log"]
        folder = next(
            (
                self._witness.signed(key.name)
                for key in await asyncio.to_thread(self._witness.logs)
                if hashlib.sha256(key.name.encode()).hexdigest() == wanted
            ),
            None,
        )
        found = await asyncio.to_thread(lambda: next(folder.newest_first(), None)) if folder else None
        return _text(HTTPStatus.OK, found[1]) if found else _text(HTTPStatus.NOT_FOUND, "nothing was signed\n")


def _text(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type=_PLAIN)

"""What Slack does and the emulator does not: bad tokens, limits, 429, 5xx, lost answers, envelopes sent again.

Stands before a running emulator on loopback; an app pointed at ``api`` cannot tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.far_end.slack import APP_TOKEN, BOT_TOKEN, TEAM, LocalSlack
from tests.far_end.web import on_loopback

#: By Slack's reference of blocks and of chat.postMessage.
MOST_BLOCKS, MOST_ACTIONS, MOST_FIELDS = 50, 25, 10
LONGEST = {"section": 3_000, "field": 2_000, "header": 150, "label": 75, "value": 2_000, "text": 40_000}
SENDS = ("chat.postMessage", "chat.update")


@dataclass
class Fault:
    """What befalls the next ``times`` calls of a method. ``lost``: it is done, and the answer never comes.
    ``page``: something before Slack answers with this text."""

    method: str
    status: int = 200
    error: str = ""
    retry_after: str = ""
    lost: bool = False
    page: str = ""
    slow: float = 0.0
    times: int = 1
    channel: str = ""


@dataclass
class SlackProxy:
    """``api`` is the base URL for the app. ``calls`` are the methods called, with what they said."""

    behind: LocalSlack
    api: str = ""
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    transports: list[asyncio.Transport] = field(default_factory=list)
    deaf: bool = False
    away: bool = False
    every_token: bool = False
    _acked: asyncio.Condition = field(default_factory=asyncio.Condition)

    def fail(self, method: str, **fault: Any) -> None:
        """Queues a fault."""
        self.faults.append(Fault(method, **fault))

    def called(self, method: str) -> list[dict[str, Any]]:
        """What each call of a method said."""
        return [said for name, said in self.calls if name == method]

    async def drop_sockets(self) -> None:
        """Cuts every socket without a word of goodbye."""
        for transport in list(self.transports):
            transport.abort()

    async def deliver(self, kind: str, payload: Mapping[str, Any], *, wait: bool = True) -> str:
        """An envelope of our own making; answers its id once it was acknowledged."""
        envelope = {"envelope_id": uuid.uuid4().hex, "type": kind, "payload": payload}
        await self.again({**envelope, "accepts_response_payload": kind != "events_api"}, wait=wait)
        return str(envelope["envelope_id"])

    async def event(self, text: str, *, user: str, channel: str, ts: str, **more: Any) -> str:
        """A message event, with whatever else Slack tells in it."""
        body = {k: more.pop(k) for k in ("is_ext_shared_channel",) if k in more}
        event = {"type": "message", "channel": channel, "user": user, "text": text, "ts": ts, **more}
        whole = {"type": "event_callback", "team_id": TEAM, "event_id": f"Ev{uuid.uuid4().hex}", **body}
        return await self.deliver("events_api", {**whole, "event": event})

    async def again(self, envelope: Mapping[str, Any], *, wait: bool = True) -> None:
        """The same envelope once more, as Slack does when it missed the acknowledgement."""
        before = self.acks.count(str(envelope["envelope_id"]))
        await self.sockets[-1].send_str(json.dumps(envelope))
        if wait:
            await self.acked(str(envelope["envelope_id"]), before + 1)

    async def acked(self, envelope_id: str, times: int = 1) -> None:
        """Waits until an envelope was acknowledged so often."""
        async with asyncio.timeout(60), self._acked:
            await self._acked.wait_for(lambda: self.acks.count(envelope_id) >= times)

    # --- the wire ---------------------------------------------------------------------------------------

    async def call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        said, body = await _said(request)
        self.calls.append((method, said))
        if self.away:
            _abort(request)
        fault = self._fault(method, said)
        if fault is not None and not fault.lost:
            await asyncio.sleep(fault.slow)
            if fault.page:
                return web.Response(text=fault.page)
            if fault.status != 200 or fault.error:
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                refusal = {"ok": False, "error": fault.error or "ratelimited"}
                if fault.status >= 500:
                    return web.Response(status=fault.status, text="<html>oops</html>", content_type="text/html")
                return web.json_response(refusal, status=fault.status, headers=headers)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or said.get("token", "")
        if not self.every_token and token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if method in SENDS and (code := refused(said)):
            return web.json_response({"ok": False, "error": code})
        headers = {k: v for k, v in request.headers.items() if k.lower() in ("authorization", "content-type")}
        url = f"{self.behind.root}{request.path_qs}"
        async with self.behind.session.request(request.method, url, data=body, headers=headers) as answer:
            text = await answer.text()
            if fault is not None and fault.lost:
                _abort(request)
            if method == "apps.connections.open":
                text = text.replace(self.behind.root.removeprefix("http"), self._root.removeprefix("http"))
            return web.Response(text=text, status=answer.status, content_type="application/json")

    def _fault(self, method: str, said: Mapping[str, Any]) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.channel in ("", said.get("channel")):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    @property
    def _root(self) -> str:
        return self.api.removesuffix("/api/")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Carries frames both ways, and keeps the envelopes that pass."""
        ours = web.WebSocketResponse(autoping=False)
        await ours.prepare(request)
        behind = f"{self.behind.root}/socket/{request.match_info['id']}"
        async with self.behind.session.ws_connect(behind) as theirs:
            assert isinstance(request.transport, asyncio.Transport)
            self.sockets.append(ours)
            self.transports.append(request.transport)
            down = asyncio.create_task(self._down(theirs, ours))
            try:
                async for frame in ours:
                    if self.deaf:
                        continue
                    if frame.type is aiohttp.WSMsgType.PING:
                        await ours.pong(frame.data)
                    elif frame.type is aiohttp.WSMsgType.TEXT:
                        await theirs.send_str(frame.data)
                        await self._ack(str(json.loads(frame.data).get("envelope_id", "")))
            finally:
                self.sockets.remove(ours)
                down.cancel()
        return ours

    async def _ack(self, envelope_id: str) -> None:
        async with self._acked:
            self.acks.append(envelope_id)
            self._acked.notify_all()

    async def _down(self, theirs: aiohttp.ClientWebSocketResponse, ours: web.WebSocketResponse) -> None:
        async for frame in theirs:
            if frame.type is not aiohttp.WSMsgType.TEXT or self.deaf:
                continue
            envelope = json.loads(frame.data)
            if "envelope_id" in envelope:
                self.envelopes.append(envelope)
            with contextlib.suppress(ConnectionError):
                await ours.send_str(frame.data)


def refused(said: Mapping[str, Any]) -> str:
    """Slack's word for a message that breaks its limits; empty for a good one."""
    blocks = said.get("blocks") or []
    if len(str(said.get("text", ""))) > LONGEST["text"] or (not blocks and not said.get("text")):
        return "msg_too_long" if said.get("text") else "no_text"
    if len(blocks) > MOST_BLOCKS or len(json.dumps(blocks)) > 60_000:
        return "msg_blocks_too_long" if len(blocks) <= MOST_BLOCKS else "invalid_blocks"
    ids = [element["action_id"] for block in blocks if block["type"] == "actions" for element in block["elements"]]
    bad = len(ids) != len(set(ids)) or any(_bad_block(block) for block in blocks)
    return "invalid_blocks" if bad else ""


def _bad_block(block: Mapping[str, Any]) -> bool:
    match block["type"]:
        case "section":
            fields = block.get("fields", [])
            texts = [(block["text"], "section")] if "text" in block else []
            texts += [(text, "field") for text in fields]
            return not texts or len(fields) > MOST_FIELDS or any(_bad(text, kind) for text, kind in texts)
        case "header":
            return block["text"]["type"] != "plain_text" or _bad(block["text"], "header")
        case "actions":
            buttons = block["elements"]
            return not 1 <= len(buttons) <= MOST_ACTIONS or any(
                _bad(button["text"], "label") or not 1 <= len(button["value"]) <= LONGEST["value"]
                for button in buttons
            )
        case "context":
            return not 1 <= len(block["elements"]) <= 10 or any(_bad(field, "field") for field in block["elements"])
        case "rich_text":
            return any(not part["text"] for element in block["elements"] for part in element["elements"])
        case _:
            return True


def _bad(text: Mapping[str, Any], kind: str) -> bool:
    return not 1 <= len(text["text"]) <= LONGEST[kind] or text["type"] not in ("plain_text", "mrkdwn")


async def _said(request: web.Request) -> tuple[dict[str, Any], bytes]:
    body = await request.read()
    if request.content_type == "application/json":
        return dict(json.loads(body or b"{}")), body
    return {**request.query, **{k: v for k, v in (await request.post()).items() if isinstance(v, str)}}, body


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


@asynccontextmanager
async def proxied(slack: LocalSlack) -> AsyncIterator[SlackProxy]:
    """A proxy on a free port before ``slack``."""
    proxy = SlackProxy(slack)
    site = web.Application(client_max_size=64 << 20)
    site.router.add_route("*", "/api/{method}", proxy.call)
    site.router.add_get("/socket/{id}", proxy.socket)
    async with on_loopback(site) as address:
        proxy.api = f"{address}/api/"
        yield proxy

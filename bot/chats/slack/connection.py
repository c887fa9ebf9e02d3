"""How Slack reaches us: a socket that we open (Socket Mode), or HTTP that we listen to.

Both commit a body and acknowledge it, and do nothing else: what a body asks for is done after its commit. No
slack-bolt listener is used, because their runner checks only every 10 ms whether a listener has acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.chats.slack.errors import WrongToken, raised_by
from bot.outbox.contact import Contact, Way
from fleet.errors import AirbossError, Misused
from fleet.supervise import OwnedTasks

_log = logging.getLogger(__name__)

Take = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Commits what a body says. If it raises, the body is not acknowledged, and Slack sends it again."""

PATH: Final = "/slack/events"
PING_SECONDS: Final = 5.0
LARGEST_BODY: Final = 4 << 20


class Connection(Protocol):
    """One of the two ways to receive from Slack."""

    async def open(self) -> None:
        """Starts to receive bodies."""

    async def keep_up(self) -> None:
        """Keeps it open until cancelled; may be called again. Raises ``WrongToken``."""

    async def close(self) -> None:
        """Stops receiving."""


class _Commit(AsyncMiddleware):
    """Runs right after the signature check: commits the signed body and answers the request."""

    def __init__(self, take: Take) -> None:
        self._take = take

    async def async_process(
        self, *, req: AsyncBoltRequest, resp: BoltResponse, next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse:
        if req.body.get("type") == "url_verification":
            return BoltResponse(status=200, body={"challenge": str(req.body.get("challenge", ""))})
        try:
            await self._take(req.body)
        except AirbossError as error:
            _log.warning("not acknowledged, Slack will send it again: %s", error)
            return BoltResponse(status=503, body="")
        return BoltResponse(status=200, body="")


class HttpConnection:
    """Requests that Slack signs. A wrong signature gets 401 and nothing else happens."""

    def __init__(self, client: AsyncWebClient, take: Take, signing_secret: str, listen: tuple[str, int]) -> None:
        self._bolt = AsyncApp(client=client, before_authorize=_Commit(take), signing_secret=signing_secret)
        self._listen = listen
        self._runner: web.AppRunner | None = None
        self.port = listen[1]

    async def open(self) -> None:
        """Raises ``Misused`` when the address cannot be listened to."""
        site = web.Application(client_max_size=LARGEST_BODY)
        site.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(site, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._listen).start()
        except OSError as error:
            await self.close()
            raise Misused(
                attempted="listen for Slack",
                on=f"{self._listen[0]}:{self._listen[1]}",
                cause=str(error.strerror or error),
                hint="Set another SLACK_LISTEN=HOST:PORT in .env.",
            ) from error
        self.port = int(self._runner.addresses[0][1])
        _log.info("Slack: listening at %s:%s%s", self._listen[0], self.port, PATH)

    async def keep_up(self) -> None:
        """Nothing to do: Slack opens a connection for each request."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        stamp = request.headers.get("X-Slack-Request-Timestamp", "")
        if not (stamp.isascii() and stamp.isdigit()):
            return web.Response(status=401)
        try:
            asked = await to_bolt_request(request)
        except Exception as error:  # the library parses before it checks the signature, and raises many errors
            _log.info("Slack: unreadable request refused (%s)", type(error).__name__)
            return web.Response(status=400)
        return await to_aiohttp_response(await self._bolt.async_dispatch(asked))


class SocketConnection:
    """A socket to Slack that is replaced when it breaks, stops receiving or has been silent for long."""

    def __init__(
        self,
        client: AsyncWebClient,
        take: Take,
        app_token: str,
        *,
        look_seconds: float = PING_SECONDS,
        silence_seconds: float = 900.0,
        patience_seconds: float = 20.0,
        contact: Contact | None = None,
    ) -> None:
        self._contact = contact or Contact()
        self._web, self._take, self._token = client, take, app_token
        self._look, self._silence, self._patience = look_seconds, silence_seconds, patience_seconds
        self._client: SocketModeClient | None = None
        self._heard = self._well = time.monotonic()
        self._closing = OwnedTasks()

    async def open(self) -> None:
        await self._replace()

    async def close(self) -> None:
        if self._client is not None:
            await self._shut(self._client)
        await self._closing.end()

    async def _replace(self) -> bool:
        """Opens a new socket, then closes the old one: what arrives twice in between is recognized by its key.
        Returns whether the new one was opened in time."""
        old, client = self._client, SocketModeClient(self._token, web_client=self._web, ping_interval=PING_SECONDS)
        client.message_listeners.append(self._hear)
        client.socket_mode_request_listeners.append(self._commit)
        self._client = client
        self._heard = self._well = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                await client.connect()  # type: ignore[no-untyped-call] # the library leaves it untyped
        except TimeoutError:
            _log.warning("Slack: no socket within %s s; trying again", self._patience)
            return False
        finally:
            if old is not None:
                self._closing.begin(self._shut(old), "close a Slack socket")
        return True

    async def _shut(self, client: SocketModeClient) -> None:
        try:
            async with asyncio.timeout(5):
                await client.close()  # type: ignore[no-untyped-call] # the library leaves it untyped
        except Exception as error:
            _log.debug("a Slack socket did not close cleanly: %r", error)
        finally:
            for task in (client.message_processor, client.message_receiver, client.current_session_monitor):
                if task is not None:
                    task.cancel()
            await client.aiohttp_client_session.close()

    async def _commit(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Acknowledges what is committed. Slack sends everything else again."""
        try:
            await self._take(request.payload)
        except AirbossError as error:
            _log.warning("not acknowledged, Slack will send it again: %s", error)
        else:
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    async def _hear(self, client: AsyncBaseSocketModeClient, message: dict[str, Any], raw: str | None) -> None:
        self._heard = time.monotonic()

    async def keep_up(self) -> None:
        """Replaces the socket whenever something is wrong with it."""
        while True:
            await asyncio.sleep(self._look)
            try:
                if why := await self._fault():
                    _log.info("Slack: opening a new socket: %s", why)
                    if await self._replace():
                        self._contact.found(Way.RECEIVE)
                    else:  # the library keeps trying whatever Slack says: ask Slack why
                        self._contact.lost(Way.RECEIVE, why)
                        await self._web.apps_connections_open(app_token=self._token)
            except Exception as error:
                said = raised_by(error, "apps.connections.open")
                if isinstance(said, WrongToken):
                    raise said from error
                self._contact.lost(Way.RECEIVE, str(said))
                _log.warning("Slack: the socket could not be replaced; trying again (%s)", said, exc_info=error)

    async def _fault(self) -> str:
        assert self._client is not None
        client, now = self._client, time.monotonic()
        tasks = (client.message_processor, client.message_receiver, client.current_session_monitor)
        if any(task is None or task.done() for task in tasks):
            return "a task of the old one has ended"
        if await client.is_connected():
            self._well = now
        if now - self._well > self._patience:
            return f"the old one has been disconnected for {now - self._well:.0f} s"
        if now - self._heard > self._silence:
            return f"the old one has been silent for {now - self._heard:.0f} s"
        return ""

"""The Slack adapter: sends cards as messages and passes on what people write, with slack-bolt and slack_sdk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.chats.slack import files as slack_files
from bot.chats.slack import inbox as slack_inbox
from bot.chats.slack.calls import asked
from bot.chats.slack.connection import Connection, HttpConnection, SocketConnection, Take
from bot.chats.slack.errors import NOT_HERE, Rejected, WrongToken, undeliverable
from bot.chats.slack.inbox import AppUser
from bot.chats.slack.pace import RateLimiter
from bot.chats.slack.post import SlackPost
from bot.chats.slack.settings import Settings
from bot.message import Attachment, Message
from bot.outbox.contact import Contact, Way
from bot.outbox.port import Outgoing, Receive, RetryAfter, Unsure
from fleet.errors import AirbossError, Misused, Unavailable
from fleet.model import PersonId
from fleet.store.chat.moves import ELSEWHERE

_log = logging.getLogger(__name__)

_BACKOFF: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
_ANSWER_URL_SECONDS: Final = 25 * 60.0  # Slack's own response_url works for 30 minutes
_TIMEOUT: Final = 30


class SlackAdapter:
    """One Slack app in one workspace. ``verbs``: the registry's verbs, to tell a command from chatter; ``heard`` is
    called with the name of each slash command as Slack delivers it."""

    name = slack_inbox.NAME

    def __init__(
        self,
        settings: Settings,
        verbs: Collection[str],
        *,
        heard: Callable[[str], None] = lambda _: None,
        posts: RateLimiter | None = None,
        edits: RateLimiter | None = None,
        connection: Callable[[AsyncWebClient, Take], Connection] | None = None,
    ) -> None:
        self._settings, self._verbs, self._heard = settings, verbs, heard
        self.contact = Contact()
        self._post = SlackPost(
            lambda: self._ready()[0],
            posts or RateLimiter(burst=5, per_second=1),
            edits or RateLimiter(burst=20, per_second=0.8),
            self._say_why,
        )
        self._connect = connection or self._new_connection
        self._me = AppUser("", "")
        self._receive: Receive | None = None
        self._session: aiohttp.ClientSession | None = None
        self._web: AsyncWebClient | None = None
        self._connection: Connection | None = None
        self._answer_urls: dict[str, tuple[str, float]] = {}

    # --- receiving --------------------------------------------------------------------------------------

    async def start(self, receive: Receive) -> None:
        """Connects. While Slack is unavailable it keeps trying; a wrong token raises ``Misused``."""
        self._receive = receive
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        self._web = AsyncWebClient(
            token=self._settings.bot_token,
            base_url=self._settings.api,
            timeout=_TIMEOUT,
            session=self._session,
            retry_handlers=[],  # a hidden retry could post a message twice; the outbox retries, and marks it
        )
        try:
            await self._open(self._web)
        except (Unavailable, RetryAfter) as error:
            _log.warning("Slack is unavailable, trying again: %s", error)
            self.contact.lost(Way.RECEIVE, str(error))
        except BaseException:
            await self.close()
            raise

    async def keep_up(self) -> None:
        """Keeps the connection until cancelled; may be called again. A wrong token ends it."""
        if self._web is None:
            raise RuntimeError("the Slack adapter was not started")
        try:
            connection = self._connection or await self._opened(self._web)
            await connection.keep_up()
        except Misused as error:
            self.contact.ends(error)
            raise

    async def _open(self, web: AsyncWebClient) -> Connection:
        token = self._settings.app_token
        try:
            who = await asked("auth.test", web.auth_test)
            if token:
                await asked("apps.connections.open", lambda: web.apps_connections_open(app_token=token))
        except Rejected as error:  # the other chats go on; an admin may mend it in Slack at any time
            raise Unavailable(attempted="connect to Slack", cause=f"Slack says {error.code}") from error
        self._me = AppUser(str(who.get("team_id", "")), str(who.get("user_id", "")))
        connection = self._connect(web, self._take)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        self.contact.found(Way.RECEIVE)
        _log.info("Slack: connected as %s in %s", self._me.user, self._me.team)
        return connection

    def _new_connection(self, web: AsyncWebClient, take: Take) -> Connection:
        if self._settings.app_token:
            return SocketConnection(web, take, self._settings.app_token, contact=self.contact)
        return HttpConnection(web, take, self._settings.signing_secret, self._settings.listen)

    async def _opened(self, web: AsyncWebClient) -> Connection:
        tries = 0
        while True:
            await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
            tries += 1
            try:
                return await self._open(web)
            except (Unavailable, RetryAfter) as error:
                _log.info("Slack is still unavailable: %s", error)

    async def close(self) -> None:
        """Stops taking messages; ends even when Slack does not answer."""
        if self._connection is not None:
            await self._connection.close()
        if self._session is not None:
            await self._session.close()

    async def _take(self, body: Mapping[str, Any]) -> None:
        """Commits what a body says; returning is the acknowledgement."""
        message = slack_inbox.read(body, self._me, self._verbs)
        if message is None or self._receive is None:
            return
        url, command = body.get("response_url"), body.get("command")
        if isinstance(command, str):
            self._heard(command)
        if isinstance(url, str) and message.text:
            self._answer_urls[message.chat.chat] = (url, time.monotonic() + _ANSWER_URL_SECONDS)
        await self._receive(message)

    async def fetch(self, message: Message) -> Message:
        """The message with its files on the controller's disk. Raises an ``AirbossError`` if one is unavailable."""
        return replace(message, files=tuple([await self._fetched(file) for file in message.files]))

    async def _fetched(self, file: Attachment) -> Attachment:
        if not file.source:
            return file
        web, session = self._ready()
        try:
            answer = await asked("files.info", lambda: web.files_info(file=file.source))
        except (RetryAfter, Rejected) as error:
            raise Unavailable(
                attempted="download the file", on=file.name, cause=str(error), hint="Send it again."
            ) from error
        found = answer.get("file")
        return await slack_files.fetch(
            session,
            token=self._settings.bot_token,
            api=self._settings.api,
            found=found if isinstance(found, dict) else {},
            file=file,
            into=self._settings.files,
        )

    # --- sending ----------------------------------------------------------------------------------------

    async def deliver(self, outgoing: Outgoing) -> str:
        """Sends the card, or edits its message. A message that is gone is sent again."""
        if outgoing.edits == ELSEWHERE:
            return ELSEWHERE
        try:
            return await self._post.carry(outgoing, user=self._pinged(outgoing))
        except RetryAfter as later:
            later.unsure = self._post.has_begun(outgoing)
            raise
        except Unavailable as error:
            raise self._away(outgoing, error, unsure=isinstance(error, Unsure)) from error
        except Rejected as error:
            if error.code in NOT_HERE:
                await self._say_why(outgoing.chat.chat)
            raise undeliverable(error) from error
        except Misused as error:
            _log.error("Slack accepts nothing now; messages are kept: %s", error)
            if isinstance(error, WrongToken):
                self.contact.ends(error)
            raise self._away(outgoing, error) from error

    def _away(self, outgoing: Outgoing, error: AirbossError, *, unsure: bool = False) -> Unavailable:
        kind = Unsure if unsure or self._post.has_begun(outgoing) else Unavailable
        return kind(attempted="reach Slack", cause=error.cause, hint=error.hint)

    def _pinged(self, outgoing: Outgoing) -> str:
        """The Slack user whom a new message mentions; empty for a person of another platform or workspace."""
        if not outgoing.ping or outgoing.edits:
            return ""
        try:
            person = PersonId.parse(outgoing.card.mention)
        except ValueError:
            return ""
        return person.user if (person.platform, person.workspace) == (self.name, self._me.team) else ""

    async def _say_why(self, place: str) -> None:
        """Where we may not write, tells the person who used a slash command what to do."""
        url, until = self._answer_urls.pop(place, ("", 0.0))
        if not url or time.monotonic() > until:
            return
        with contextlib.suppress(Exception):
            await AsyncWebhookClient(url, timeout=_TIMEOUT).send(
                text="I may not write here. Type `/invite @airboss`, then ask again; or write to me directly.",
                response_type="ephemeral",
            )

    def _ready(self) -> tuple[AsyncWebClient, aiohttp.ClientSession]:
        if self._web is None or self._session is None or not self._me.user:
            raise Unavailable(attempted="reach Slack", cause="not connected yet")
        return self._web, self._session

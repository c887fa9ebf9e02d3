"""The Slack adapter: sends cards as messages and passes on what people write, with slack-bolt and slack_sdk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.chats.slack import files as slack_files
from bot.chats.slack import inbox as slack_inbox
from bot.chats.slack.connection import Connection, HttpConnection, SocketConnection, Take
from bot.chats.slack.errors import GONE, NOT_HERE, Rejected, Unsure, WrongToken, raised_by, undeliverable
from bot.chats.slack.inbox import AppUser
from bot.chats.slack.ladder import Target, forms, is_closed, other_place
from bot.chats.slack.pace import RateLimiter
from bot.chats.slack.render import Drawn, escape
from bot.chats.slack.settings import Settings
from bot.message import Attachment, Message
from bot.outbox.port import AdapterLimits, ChatMoved, Outgoing, Receive, RetryAfter, Undeliverable
from fleet.errors import AirbossError, Misused, Unavailable
from fleet.model import PersonId
from fleet.store.chat.moves import ELSEWHERE

_log = logging.getLogger(__name__)

_BACKOFF: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
_ANSWER_URL_SECONDS: Final = 25 * 60.0  # Slack's own response_url works for 30 minutes
_TIMEOUT: Final = 30
_PEOPLE: Final = ("U", "W")  # how the ids of people start


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message whose files are still to be sent: its id, where it is, the words that go into a file."""

    ts: str
    place: Target
    whole: str


class SlackAdapter:
    """One Slack app in one workspace. ``verbs``: the registry's verbs, to tell a command from chatter; ``heard`` is
    called with the name of each slash command as Slack delivers it."""

    name = slack_inbox.NAME
    limits = AdapterLimits(text=3_000, buttons=25)

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
        self._posts = posts or RateLimiter(burst=5, per_second=1)
        self._edits = edits or RateLimiter(burst=20, per_second=0.8)
        self._connect = connection or self._new_connection
        self._me = AppUser("", "")
        self._receive: Receive | None = None
        self._session: aiohttp.ClientSession | None = None
        self._web: AsyncWebClient | None = None
        self._connection: Connection | None = None
        self._failed: asyncio.Future[None] | None = None
        self._sent: dict[int, _Sent] = {}
        self._arrived: dict[int, str] = {}  # the private chat that a message to a person's id came to
        self._unsure: set[int] = set()
        self._answer_urls: dict[str, tuple[str, float]] = {}

    # --- receiving --------------------------------------------------------------------------------------

    async def start(self, receive: Receive) -> None:
        """Connects. While Slack is unavailable it keeps trying; a wrong token raises ``Misused``."""
        self._receive = receive
        self._failed = asyncio.get_running_loop().create_future()
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
        except Misused:
            await self.close()
            raise
        except (Unavailable, RetryAfter) as error:
            _log.warning("Slack is unavailable, trying again: %s", error)

    async def keep_up(self) -> None:
        """Keeps the connection until cancelled; may be called again. :meth:`running` raises for a wrong token."""
        if self._web is None:
            raise RuntimeError("the Slack adapter was not started")
        try:
            connection = self._connection or await self._opened(self._web)
            await connection.keep_up()
        except Misused as error:
            self._fail(error)
            raise

    async def running(self) -> None:
        """Never returns. Raises what makes it impossible to continue (a token that Slack no longer accepts)."""
        if self._failed is None:
            raise RuntimeError("the Slack adapter was not started")
        await asyncio.shield(self._failed)

    def _fail(self, error: AirbossError) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _open(self, web: AsyncWebClient) -> Connection:
        who = await self._asked("auth.test", web.auth_test)
        self._me = AppUser(str(who.get("team_id", "")), str(who.get("user_id", "")))
        if self._settings.app_token:
            token = self._settings.app_token
            await self._asked("apps.connections.open", lambda: web.apps_connections_open(app_token=token))
        connection = self._connect(web, self._take)
        await connection.open()
        self._connection = connection
        _log.info("Slack: connected as %s in %s", self._me.user, self._me.team)
        return connection

    def _new_connection(self, web: AsyncWebClient, take: Take) -> Connection:
        if self._settings.app_token:
            return SocketConnection(web, take, self._settings.app_token)
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
        if self._failed is not None and not self._failed.done():
            self._failed.cancel()

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
            answer = await self._asked("files.info", lambda: web.files_info(file=file.source))
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
        again = outgoing.again or outgoing.id in self._unsure
        if outgoing.edits == ELSEWHERE:
            return ELSEWHERE
        try:
            if outgoing.edits:
                return await self._edit(outgoing, again)
            return await self._post(outgoing, again)
        except Unsure:
            if not outgoing.edits:
                self._unsure.add(outgoing.id)
            raise
        except Rejected as error:
            if error.code in NOT_HERE:
                await self._say_why(outgoing.chat.chat)
            raise undeliverable(error) from error
        except Misused as error:
            _log.error("Slack accepts nothing now; messages are kept: %s", error)
            if isinstance(error, WrongToken):
                self._fail(error)
            raise Unavailable(attempted="reach Slack", cause=error.cause, hint=error.hint) from error

    def _pinged(self, outgoing: Outgoing) -> str:
        """The Slack user whom a new message mentions; empty for a person of another platform or workspace."""
        if not outgoing.ping or outgoing.edits:
            return ""
        try:
            person = PersonId.parse(outgoing.card.mention)
        except ValueError:
            return ""
        return person.user if (person.platform, person.workspace) == (self.name, self._me.team) else ""

    async def _edit(self, outgoing: Outgoing, again: bool) -> str:
        web, _ = self._ready()
        place, ts = outgoing.chat.chat, outgoing.edits

        async def send(now: Drawn) -> Mapping[str, Any]:
            return await self._paced(
                self._edits,
                "chat.update",
                "",
                lambda: web.chat_update(channel=place, ts=ts, text=now.text, blocks=now.blocks, parse="none"),
            )

        try:
            await self._accepted(forms(outgoing.card, user="", again=again), send)
        except Rejected as error:
            if error.code not in GONE:
                raise
            return await self._post(outgoing, again)
        return ts

    async def _post(self, outgoing: Outgoing, again: bool) -> str:
        """The message, then its files. A retry after the message was sent continues with the files."""
        sent = self._sent.get(outgoing.id)
        if sent is None:
            answer, drawn, place = await self._placed(outgoing, again)
            sent = self._sent[outgoing.id] = _Sent(str(answer.get("ts", "")), place, drawn.whole)
            if place.channel.startswith(_PEOPLE):
                self._arrived[outgoing.id] = str(answer.get("channel", "")) or place.channel
        place = sent.place
        if not outgoing.edits:
            await self._files(outgoing, sent.whole, self._arrived.get(outgoing.id, place.channel), place.thread)
        self._sent.pop(outgoing.id, None)
        self._unsure.discard(outgoing.id)
        arrived = self._arrived.pop(outgoing.id, place.channel)
        if place.elsewhere:
            return ELSEWHERE
        if arrived != place.channel:
            raise ChatMoved(arrived, sent.ts)
        return sent.ts

    async def _placed(self, outgoing: Outgoing, again: bool) -> tuple[Mapping[str, Any], Drawn, Target]:
        """Sends it where Slack takes it; returns what was sent, and where."""
        place, user = Target(outgoing.chat.chat, outgoing.chat.thread or outgoing.root), self._pinged(outgoing)
        while True:
            here = place

            async def send(now: Drawn, here: Target = here) -> Mapping[str, Any]:
                return await self._message(here.channel, here.thread, now, outgoing.ping)

            try:
                answer, drawn = await self._accepted(forms(outgoing.card, user=user, again=again), send)
            except Rejected as error:
                other = other_place(place, error.code, user)
                if other is None:
                    raise
                _log.warning("Slack takes nothing in %s (%s): sending it elsewhere", place.channel, error.code)
                await self._say_why(place.channel)
                place = other
            else:
                return answer, drawn, place

    async def _message(self, place: str, thread: str, drawn: Drawn, ping: bool) -> Mapping[str, Any]:
        web, _ = self._ready()
        return await self._paced(
            self._posts,
            "chat.postMessage",
            place,
            lambda: web.chat_postMessage(
                channel=place,
                text=drawn.text,
                blocks=drawn.blocks,
                thread_ts=thread or None,
                reply_broadcast=True if ping and thread else None,
                parse="none",
                link_names=False,
                unfurl_links=False,
                unfurl_media=False,
            ),
        )

    async def _accepted(
        self, offered: Iterable[Drawn], send: Callable[[Drawn], Awaitable[Mapping[str, Any]]]
    ) -> tuple[Mapping[str, Any], Drawn]:
        """Sends the strongest form that Slack takes. Raises ``Rejected`` when it takes none."""
        refused = Rejected("no_text")
        for drawn in offered:
            try:
                return await send(drawn), drawn
            except Rejected as error:
                if error.code in GONE or is_closed(error.code):
                    raise
                _log.warning("Slack refuses a card (%s): sending it in another form", error.code)
                refused = error
        raise refused

    async def _files(self, outgoing: Outgoing, whole: str, place: str, thread: str) -> None:
        sends: list[tuple[str, str | bytes]] = []
        if whole:
            sends.append((f"{outgoing.task or 'airboss'}.txt", whole))
        for path in (outgoing.card.picture, outgoing.card.document):
            if path:
                sends.append((Path(path).name, await asyncio.to_thread(slack_files.content, Path(path))))
        for name, content in sends:
            await self._file(place, thread, name, content)

    async def _file(self, place: str, thread: str, name: str, content: str | bytes) -> None:
        web, _ = self._ready()
        try:
            await self._paced(
                self._posts,
                "files.completeUploadExternal",
                place,
                lambda: web.files_upload_v2(
                    channel=place, thread_ts=thread or None, filename=name, title=name, content=content
                ),
            )
        except Rejected as error:
            note = f"The file {escape(name)} could not be sent: Slack says {escape(error.code)}."
            await self._message(place, thread, Drawn([], note), ping=False)

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

    # --- calls ------------------------------------------------------------------------------------------

    async def _paced(
        self, pace: RateLimiter, method: str, key: str, call: Callable[[], Awaitable[Any]]
    ) -> Mapping[str, Any]:
        """A call within its budget. Raises as :meth:`_asked`, and ``RetryAfter`` when the budget is spent."""
        name = f"{method} {key}"
        if (wait := pace.ask(name)) > 0:
            raise RetryAfter(wait)
        try:
            return await self._asked(method, call)
        except RetryAfter as asked:
            pace.close(name, asked.seconds)
            raise

    async def _asked(self, method: str, call: Callable[[], Awaitable[Any]]) -> Mapping[str, Any]:
        try:
            answer = await call()
        except (AirbossError, Undeliverable, asyncio.CancelledError):
            raise
        except Exception as error:
            raise raised_by(error, method) from error
        data = getattr(answer, "data", None)
        return data if isinstance(data, dict) else {}

    def _ready(self) -> tuple[AsyncWebClient, aiohttp.ClientSession]:
        if self._web is None or self._session is None or not self._me.user:
            raise Unavailable(attempted="reach Slack", cause="not connected yet")
        return self._web, self._session

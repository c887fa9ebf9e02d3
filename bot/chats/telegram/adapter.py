"""The Telegram adapter: receives through python-telegram-bot, sends one message at a time, translates its
errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import telegram.error
from telegram import Bot, BotCommand, Update
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, NetworkError, TelegramError
from telegram.ext import Updater

from bot.chats.telegram import files as telegram_files
from bot.chats.telegram.answers import NoSuchMethod
from bot.chats.telegram.http import AiohttpRequest, NotSent, PollRequest, Unauthorized
from bot.chats.telegram.inbox import ALLOWED_UPDATES, NAME, Addressed, BotUser, CommittingQueue, read, unread
from bot.chats.telegram.post import Post
from bot.chats.telegram.rates import Budget
from bot.chats.telegram.settings import OFFICIAL, TOKEN, Webhook
from bot.chats.telegram.webhook import WebhookServer
from bot.message import Message
from bot.outbox.contact import Contact, Way
from bot.outbox.port import ChatMoved, Outgoing, Receive, RetryAfter, Undeliverable, Unsure, always
from fleet.errors import AirbossError, Misused, Refused, Unavailable
from fleet.supervise import OwnedTasks

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 30
_FIRST_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = (1, 2, 5, 10, 30)
_CONFLICTS: Final = 3
_CONFLICT_WINDOW: Final = 60.0
_NEWCOMER_SECONDS: Final = 300.0
"""After so long it is the other program that came later: this one goes on, and says what is wrong."""

_GROUP_TEXT_LIMIT: Final = 256


class TelegramAdapter:
    """One bot. It polls for updates, or receives them at ``webhook``; files of messages are kept under ``home``."""

    name = NAME

    def __init__(
        self,
        token: str,
        *,
        home: Path,
        api: str = OFFICIAL,
        webhook: Webhook | None = None,
        menu: Iterable[tuple[str, str]] = (),
        budget: Budget | None = None,
        sure: Callable[[], Awaitable[None]] = always,
        newcomer_seconds: float = _NEWCOMER_SECONDS,
    ) -> None:
        self._api, self._home, self._webhook, self._menu = api.rstrip("/"), home, webhook, tuple(menu)
        self._budget = budget or Budget()
        self.contact = Contact()
        self._requests = (PollRequest(self._api, self.contact, sure), AiohttpRequest(self._api))
        self._bot = Bot(
            token,
            base_url=f"{self._api}/bot",
            base_file_url=f"{self._api}/file/bot",
            get_updates_request=self._requests[0],
            request=self._requests[1],
        )
        self._post = Post(self._bot, self._budget)
        self._queue = CommittingQueue(self._take)
        self._updater = Updater(self._bot, self._queue)
        self._server: WebhookServer | None = None
        self._receive: Receive | None = None
        self._me = BotUser(0, "")
        self._addressed = Addressed()
        self._asides = OwnedTasks()
        self._connected = False
        self._conflicts: deque[float] = deque(maxlen=_CONFLICTS)
        self._newcomer_until = time.monotonic() + newcomer_seconds

    # --- start and end -------------------------------------------------------------------------------------------

    async def start(self, receive: Receive) -> None:
        """Starts to receive messages. Raises ``Misused`` for a token that Telegram does not know, ``Unavailable``
        for a webhook address that is in use. While Telegram cannot be reached, it keeps trying.
        """
        self._receive = receive
        for request in self._requests:
            await request.initialize()
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                await self._connect()
        except InvalidToken:
            raise self._wrong_token() from None
        except (TelegramError, TimeoutError) as error:
            log.warning("Telegram cannot be reached (%s); trying again", error)
            self.contact.lost(Way.RECEIVE, str(error))

    async def keep_up(self) -> None:
        """Connects, however long Telegram is unavailable; then the library keeps the connection. Until cancelled;
        may be called again. A wrong token ends it."""
        try:
            if not self._connected:
                await self._connect_later()
            await asyncio.Event().wait()
        except AirbossError as error:
            self.contact.ends(error)
            raise

    async def close(self) -> None:
        """Stops receiving messages."""
        await self._asides.end()
        if self._server is not None:
            await self._server.close()
        if self._updater.running:
            with contextlib.suppress(TelegramError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._updater.stop()
        for request in self._requests:
            await request.shutdown()

    async def _connect(self) -> None:
        await self._updater.initialize()
        me = self._bot.bot
        self._me = BotUser(me.id, me.username or "")
        self._asides.begin(self._show_menu(), "set the command menu")
        if self._webhook is None:
            if self._updater.running:  # an earlier try was cut short in the middle
                await self._updater.stop()
            await self._updater.start_polling(
                timeout=timedelta(seconds=_POLL_SECONDS),
                allowed_updates=ALLOWED_UPDATES,
                error_callback=self._poll_failed,
            )
            self._connected = True
            return
        if self._server is None:
            server = WebhookServer(self._webhook, self._pushed)
            await server.start()
            self._server = server
        await self._bot.set_webhook(
            self._webhook.url,
            allowed_updates=ALLOWED_UPDATES,
            secret_token=self._webhook.secret,
            max_connections=1,  # with more, two messages of a person may arrive in the wrong order
        )
        self._connected = True

    async def _connect_later(self) -> None:
        for attempt in range(1_000_000):
            await asyncio.sleep(_RECONNECT_SECONDS[min(attempt, len(_RECONNECT_SECONDS) - 1)])
            try:
                await self._connect()
            except InvalidToken:
                raise self._wrong_token() from None
            except TelegramError as error:
                log.info("Telegram cannot be reached: %s", error)
            else:
                self.contact.found(Way.RECEIVE)
                return log.info("Telegram answers")
        return None

    async def _show_menu(self) -> None:
        commands = [BotCommand(verb.replace("-", "_"), summary[:_GROUP_TEXT_LIMIT]) for verb, summary in self._menu]
        if not commands:
            return
        try:
            await self._bot.set_my_commands(commands)
        except TelegramError as error:
            log.warning("the command menu could not be set: %s", error)

    def _poll_failed(self, error: TelegramError) -> None:
        """Called for each poll that failed; the library keeps polling."""
        if isinstance(error, Unauthorized):
            self.contact.ends(self._wrong_token())
        if not isinstance(error, Conflict):
            log.info("Telegram does not answer: %s", error)
            return
        other = "has set a webhook for" if "webhook" in error.message.lower() else "polls with"
        self.contact.lost(Way.RECEIVE, f"another program {other} this bot's token")
        now = time.monotonic()
        self._conflicts.append(now)
        log.warning("another program %s this bot's token", other)
        often = len(self._conflicts) == _CONFLICTS and now - self._conflicts[0] < _CONFLICT_WINDOW
        if often and now < self._newcomer_until:
            self.contact.ends(
                Refused(
                    attempted="receive from Telegram",
                    on=f"@{self._me.username}",
                    cause=f"another program {other} the same token, and only one can receive",
                    hint="Stop the other program, or give each its own bot from @BotFather.",
                )
            )

    def _wrong_token(self) -> Misused:
        return Misused(
            attempted="log in to Telegram",
            on=self._api,
            cause=f"it does not know the token in {TOKEN}",
            hint="Copy it again from @BotFather into .env, or remove it to run without Telegram.",
        )

    # --- in -----------------------------------------------------------------------------------------------

    async def _pushed(self, update: dict[str, Any]) -> None:
        await self._queue.put(Update.de_json(unread(update), self._bot))

    async def _take(self, update: Update) -> None:
        """Stores an update; the library confirms it afterwards."""
        said = read(update, self._bot, self._me, self._addressed)
        if said is None or self._receive is None:
            return
        message, pressed = said
        await self._receive(message)
        if pressed:
            self._asides.begin(self._answered(pressed), "answer a pressed button")

    async def _answered(self, query: str) -> None:
        """Ends the spinner of a pressed button; late or twice does no harm."""
        with contextlib.suppress(TelegramError):
            await self._bot.answer_callback_query(query)

    async def fetch(self, message: Message) -> Message:
        """The message with its files on disk. Raises ``Refused`` or ``Unavailable``."""
        return await telegram_files.fetch(self._bot, self._home, message)

    # --- out ----------------------------------------------------------------------------------------------

    async def deliver(self, outgoing: Outgoing) -> str:
        """Sends or edits; returns the id of the message in the store. Raises what the outbox expects."""
        try:
            sent = await self._post.carry(outgoing)
        except telegram.error.RetryAfter as error:
            later = RetryAfter(_seconds(error))
            self._budget.close(outgoing.chat.chat, later.seconds)
            later.unsure = self._post.has_begun(outgoing)
            raise later from None
        except RetryAfter as later:
            later.unsure = self._post.has_begun(outgoing)
            raise
        except ChatMigrated as error:
            raise ChatMoved(str(error.new_chat_id)) from None
        except NoSuchMethod as error:
            raise self._away(outgoing, error.message) from None
        except (BadRequest, Forbidden) as error:
            self._post.forget(outgoing)
            raise Undeliverable(error.message) from None
        except InvalidToken:
            self.contact.ends(self._wrong_token())
            raise self._away(outgoing, "the token is no longer valid") from None
        except NotSent as error:
            raise self._away(outgoing, error.message) from None
        except NetworkError as error:
            if "entity too large" in error.message.lower():
                raise Undeliverable(error.message) from None
            raise self._away(outgoing, error.message, unsure=True) from None
        except TelegramError as error:  # an answer that cannot be read: it may have been accepted
            raise self._away(outgoing, error.message, unsure=True) from None
        self._post.forget(outgoing)
        return sent

    def _away(self, outgoing: Outgoing, cause: str, *, unsure: bool = False) -> Unavailable:
        kind = Unsure if unsure or self._post.has_begun(outgoing) else Unavailable
        return kind(attempted="reach Telegram", cause=cause)


def _seconds(error: telegram.error.RetryAfter) -> float:
    asked = error.retry_after
    return asked.total_seconds() if isinstance(asked, timedelta) else float(asked)

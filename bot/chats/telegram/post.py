"""Sends and edits a card, with as few messages as possible."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, ReplyParameters
from telegram.constants import ParseMode
from telegram.error import BadRequest, Forbidden, NetworkError

from bot.cards import Card, shown, task_key
from bot.chats.telegram import files as telegram_files
from bot.chats.telegram import render as telegram_render
from bot.chats.telegram.answers import NoSuchMethod
from bot.chats.telegram.files import Enclosure
from bot.chats.telegram.http import NotSent
from bot.chats.telegram.inbox import NAME, message_id, parts
from bot.chats.telegram.ladder import LONGEST, Attempt, Destination, Form, weaker
from bot.chats.telegram.rates import Budget
from bot.chats.telegram.render import CAPTION_LIMIT
from bot.outbox.port import Outgoing, RetryAfter
from fleet.store.chat.moves import ELSEWHERE

log = logging.getLogger(__name__)

_TOPIC_NAME: Final = 128
_REMEMBERED: Final = 2_000
_FILE_TRIES: Final = 5
"""At each fifth time that Telegram does not take a file, its words are tried without it."""
_GONE: Final = ("not found", "can't be edited", "message_id_invalid", "topic_closed", "topic_deleted")
_Markup = InlineKeyboardMarkup | None
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


@dataclass(slots=True)
class _Half:
    """A card of several messages that was interrupted: the first one's id, and how many files were sent."""

    first: int
    place: Destination
    files: int = 0


@dataclass(slots=True)
class Post:
    """Raises what the library raises, and ``RetryAfter`` when our own budget is used up."""

    bot: Bot
    budget: Budget
    forums: dict[str, bool] = field(default_factory=dict)
    _topics: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)
    _halves: dict[int, _Half] = field(default_factory=dict)
    _tries: Counter[int] = field(default_factory=Counter)

    def forget(self, outgoing: Outgoing) -> None:
        """The card is given up, or has arrived."""
        self._halves.pop(outgoing.id, None)
        self._tries.pop(outgoing.id, None)

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether its words are shown, and not all of its files."""
        return outgoing.id in self._halves

    async def carry(self, outgoing: Outgoing) -> str:
        """Sends or edits, and returns the id of the message in our store."""
        if outgoing.edits == ELSEWHERE:
            return ELSEWHERE
        thread, number = parts(outgoing.edits)
        if number:
            self._spend(outgoing, edit=not outgoing.soon)
            if await self._edited(outgoing, number):
                return outgoing.edits
        return await self._sent(outgoing, thread)

    def _spend(self, outgoing: Outgoing, *, edit: bool = False) -> None:
        wait = self.budget.take(outgoing.chat.chat, ping=outgoing.ping, edit=edit)
        if wait > 0:
            raise RetryAfter(wait)

    # --- edits --------------------------------------------------------------------------------------------

    async def _edited(self, outgoing: Outgoing, number: int) -> bool:
        """Whether the message still exists; it then shows the card, or as much of it as Telegram takes."""
        attempt = Attempt(Destination(outgoing.chat.chat), outgoing.card)
        for _ in range(LONGEST):
            refused = await self._changed(attempt, number)
            if not refused:
                return True
            if "no text in the message" in refused:
                return await self._captioned(outgoing, number)
            other = None if _is_gone(refused) else weaker(attempt, refused)
            if other is None or other.form is Form.PLAIN:
                return False  # it is sent anew, with all its words and a ladder of its own
            log.warning("Telegram refuses an edit (%s): showing another form", refused)
            attempt = other
        return False

    async def _changed(self, attempt: Attempt, number: int) -> str:
        """Why Telegram refuses this form; empty when it is shown."""
        page = attempt.page()
        try:
            await self.bot.edit_message_text(
                page.html if page is not None else "",
                attempt.place.chat,
                number,
                parse_mode=ParseMode.HTML,
                link_preview_options=_NO_PREVIEW,
                reply_markup=_markup(attempt.card) if attempt.buttons else None,
            )
        except NetworkError as error:
            if not (isinstance(error, BadRequest) or _too_large(error)):
                raise
            return _refusal(error)
        except Forbidden as error:
            return _refusal(error)
        return ""

    async def _captioned(self, outgoing: Outgoing, number: int) -> bool:
        page = telegram_render.render(outgoing.card, limit=CAPTION_LIMIT)
        try:
            await self.bot.edit_message_caption(
                outgoing.chat.chat,
                number,
                caption=page.html,
                parse_mode=ParseMode.HTML,
                reply_markup=_markup(outgoing.card),
            )
        except BadRequest as error:
            return not _refusal(error)  # refused, it is sent anew
        return True

    # --- new messages -------------------------------------------------------------------------------------

    async def _sent(self, outgoing: Outgoing, thread: int) -> str:
        card, files = await telegram_files.enclosed(outgoing.card)
        person = _mentioned(card)
        page = telegram_render.render(card, user=person if outgoing.ping else "", again=outgoing.again)
        if page.rest:
            files.append(Enclosure(f"{outgoing.task or 'message'}.{page.suffix}", page.rest.encode()))
        half = self._halves.get(outgoing.id)
        if half is None:
            if not outgoing.edits:
                self._spend(outgoing)
            try:
                place = await self._place(outgoing, thread)
            except NetworkError as error:
                raise error if isinstance(error, BadRequest) else NotSent(error.message) from None
            first = Attempt(
                place,
                card,
                user=person if outgoing.ping else "",
                person=person,
                again=outgoing.again,
                silent=not outgoing.ping,
                excerpt=page.excerpt,
            )
            captioned = replace(first, file=files[0]) if len(files) == 1 else first
            caption = captioned.page()
            if captioned.file and caption and caption.whole and caption.excerpt == page.excerpt:
                place, number = await self._climb(outgoing, captioned)
                return _stored(place, number)
            place, number = await self._climb(outgoing, first)
            if not files:
                return _stored(place, number)
            half = self._halves[outgoing.id] = _Half(number, replace(place, answers=number))
        for file in files[half.files :]:
            self._spend(outgoing)
            alone = Attempt(half.place, card, person=person, words=False, file=file, buttons=False)
            await self._climb(outgoing, alone)
            half.files += 1
        return _stored(half.place, half.first)

    async def _climb(self, outgoing: Outgoing, attempt: Attempt) -> tuple[Destination, int]:
        """Sends it, in the strongest form that Telegram takes; returns where it is, and its number."""
        without_file = False
        for _ in range(LONGEST):
            try:
                return attempt.place, await self._message(attempt)
            except (BadRequest, Forbidden, NetworkError) as error:
                other = weaker(attempt, error.message)
                refused = _too_large(error) or isinstance(error, BadRequest | Forbidden)
                if attempt.file is not None and not refused and not isinstance(error, NotSent):
                    self._tries[outgoing.id] += not without_file
                    without_file = without_file or self._tries[outgoing.id] % _FILE_TRIES == 0
                if other is None or not (refused or without_file):
                    raise
                log.warning("Telegram refuses a message (%s): sending it in another form", error.message)
                attempt = other
        raise BadRequest("no form of the message is accepted")

    async def _message(self, attempt: Attempt) -> int:
        place, file, page = attempt.place, attempt.file, attempt.page()
        html, mode = (page.html, ParseMode.HTML) if page is not None else (None, None)
        reply = ReplyParameters(place.answers, allow_sending_without_reply=True) if place.answers else None
        if file is not None and file.photo:
            send = partial(self.bot.send_photo, photo=InputFile(file.data, filename=file.name), caption=html)
        elif file is not None:
            upload = InputFile(file.data, filename=file.name)
            send = partial(
                self.bot.send_document, document=upload, caption=html, disable_content_type_detection=True
            )
        else:
            send = partial(self.bot.send_message, text=html or "", link_preview_options=_NO_PREVIEW)
        sent = await send(
            place.chat,
            parse_mode=mode,
            disable_notification=attempt.silent,
            reply_markup=_markup(attempt.card) if attempt.buttons else None,
            reply_parameters=reply,
            message_thread_id=place.thread or None,
        )
        return sent.message_id

    async def _place(self, outgoing: Outgoing, thread: int) -> Destination:
        chat, task = outgoing.chat.chat, outgoing.task
        if outgoing.chat.thread or thread:
            return Destination(chat, thread or int(outgoing.chat.thread))
        root_thread, root = parts(outgoing.root)
        if root_thread or not task:
            return Destination(chat, root_thread)
        if not root and outgoing.key == task_key(task) and await self._is_forum(chat):
            return Destination(chat, await self._topic(chat, task, outgoing.card))
        return Destination(chat, answers=root)

    async def _is_forum(self, chat: str) -> bool:
        if not chat.startswith("-100"):
            return False
        if chat not in self.forums:
            try:
                self.forums[chat] = bool((await self.bot.get_chat(chat)).is_forum)
            except NoSuchMethod:
                self.forums[chat] = False
        return self.forums[chat]

    async def _topic(self, chat: str, task: str, card: Card) -> int:
        found = self._topics.get((chat, task))
        if found is not None:
            return found
        try:
            made = await self.bot.create_forum_topic(chat, shown(card.title)[:_TOPIC_NAME])
        except BadRequest as error:
            log.warning("no topic for %s in chat %s (%s): its cards go to General", task, chat, error.message)
            self.forums[chat] = False
            return 0
        self._topics[chat, task] = made.message_thread_id
        while len(self._topics) > _REMEMBERED:
            self._topics.popitem(last=False)
        return made.message_thread_id


def _too_large(error: NetworkError | Forbidden) -> bool:
    return "entity too large" in error.message.lower()


def _refusal(error: NetworkError | Forbidden) -> str:
    """Why an edit was refused; empty when nothing had to change."""
    said = error.message.lower()
    return "" if "not modified" in said else said


def _is_gone(refused: str) -> bool:
    """Whether the message cannot be changed any more: it is sent anew."""
    return any(words in refused for words in _GONE)


def _stored(place: Destination, number: int) -> str:
    """The message's id in our store; of a message in another chat, one that is never edited."""
    return ELSEWHERE if place.elsewhere else message_id(place.thread, number)


def _mentioned(card: Card) -> str:
    platform, _, user = card.mention.partition("::")
    return user if platform == NAME and user.isdigit() else ""


def _markup(card: Card) -> _Markup:
    if not card.actions:
        return None
    rows = telegram_render.keyboard(card.actions)
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(label, callback_data=token) for label, token in row] for row in rows]
    )

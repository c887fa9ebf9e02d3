"""Sends and edits a card, with as few messages as possible."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, ReplyParameters
from telegram.constants import ParseMode
from telegram.error import BadRequest

from bot.cards import Card, shown, task_key
from bot.chats.telegram import files as telegram_files
from bot.chats.telegram import render as telegram_render
from bot.chats.telegram.files import Enclosure
from bot.chats.telegram.inbox import NAME, message_id, parts
from bot.chats.telegram.rates import Budget
from bot.chats.telegram.render import CAPTION_LIMIT, Rendered
from bot.outbox.port import Outgoing, RetryAfter

log = logging.getLogger(__name__)

_TOPIC_NAME: Final = 128
_REMEMBERED: Final = 2_000
_Markup = InlineKeyboardMarkup | None
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where in a chat: a topic (0: none), and the message that is answered (0: none)."""

    chat: str
    thread: int = 0
    answers: int = 0


@dataclass(slots=True)
class _Half:
    """A card of several messages that was interrupted: the first one's id, and how many files were sent."""

    first: int
    place: _Destination
    files: int = 0


@dataclass(slots=True)
class Post:
    """Raises what the library raises, and ``RetryAfter`` when our own budget is used up."""

    bot: Bot
    budget: Budget
    forums: dict[str, bool] = field(default_factory=dict)
    _topics: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)
    _halves: dict[int, _Half] = field(default_factory=dict)

    def forget(self, outgoing: Outgoing) -> None:
        """The card is given up."""
        self._halves.pop(outgoing.id, None)

    async def carry(self, outgoing: Outgoing, *, again: bool) -> str:
        """Sends or edits, and returns the id of the message in our store."""
        thread, number = parts(outgoing.edits)
        if number:
            self._spend(outgoing, edit=not outgoing.soon)
            if await self._edited(outgoing, number):
                return outgoing.edits
        return await self._sent(outgoing, again, thread)

    def _spend(self, outgoing: Outgoing, *, edit: bool = False) -> None:
        wait = self.budget.take(outgoing.chat.chat, ping=outgoing.ping, edit=edit)
        if wait > 0:
            raise RetryAfter(wait)

    # --- edits --------------------------------------------------------------------------------------------

    async def _edited(self, outgoing: Outgoing, number: int) -> bool:
        """Whether the message still exists; it then shows the card."""
        chat, markup = outgoing.chat.chat, _markup(outgoing.card)
        try:
            page = telegram_render.render(outgoing.card)
            await self.bot.edit_message_text(
                page.html,
                chat,
                number,
                parse_mode=ParseMode.HTML,
                link_preview_options=_NO_PREVIEW,
                reply_markup=markup,
            )
        except BadRequest as error:
            said = error.message.lower()
            if "no text in the message" not in said:
                return _unchanged(said, error)
            page = telegram_render.render(outgoing.card, limit=CAPTION_LIMIT)
            try:
                await self.bot.edit_message_caption(
                    chat, number, caption=page.html, parse_mode=ParseMode.HTML, reply_markup=markup
                )
            except BadRequest as other:
                return _unchanged(other.message.lower(), other)
        return True

    # --- new messages -------------------------------------------------------------------------------------

    async def _sent(self, outgoing: Outgoing, again: bool, thread: int) -> str:
        card, files = await telegram_files.enclosed(outgoing.card)
        user = _mentioned(card) if outgoing.ping else ""
        page = telegram_render.render(card, user=user, again=again)
        if page.rest:
            files.append(Enclosure(f"{outgoing.task or 'message'}.{page.suffix}", page.rest.encode()))
        half = self._halves.get(outgoing.id)
        if half is None:
            if not outgoing.edits:
                self._spend(outgoing)
            place = await self._place(outgoing, thread)
            if len(files) == 1:
                caption = telegram_render.render(
                    card, limit=CAPTION_LIMIT, user=user, again=again, excerpt=page.excerpt
                )
                if caption.whole and caption.excerpt == page.excerpt:
                    return await self._first(outgoing, place, caption, files[0])
            first = await self._first(outgoing, place, page, None)
            if not files:
                return first
            thread, number = parts(first)
            half = self._halves[outgoing.id] = _Half(number, replace(place, thread=thread, answers=number))
        for file in files[half.files :]:
            self._spend(outgoing)
            await self._message(half.place, None, file, markup=None, silent=True)
            half.files += 1
        del self._halves[outgoing.id]
        return message_id(half.place.thread, half.first)

    async def _first(self, outgoing: Outgoing, place: _Destination, page: Rendered, file: Enclosure | None) -> str:
        markup, silent = _markup(outgoing.card), not outgoing.ping
        try:
            number = await self._message(place, page, file, markup=markup, silent=silent)
        except BadRequest as error:
            if not place.thread or "thread not found" not in error.message.lower():
                raise
            # Somebody deleted the topic: send to General rather than nowhere.
            place = replace(place, thread=0)
            number = await self._message(place, page, file, markup=markup, silent=silent)
        return message_id(place.thread, number)

    async def _message(
        self,
        place: _Destination,
        page: Rendered | None,
        file: Enclosure | None,
        *,
        markup: _Markup,
        silent: bool,
    ) -> int:
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
        try:
            sent = await send(
                place.chat,
                parse_mode=mode,
                disable_notification=silent,
                reply_markup=markup,
                reply_parameters=reply,
                message_thread_id=place.thread or None,
            )
        except BadRequest as error:
            if file is None or not file.photo or "photo" not in error.message.lower():
                raise
            # Telegram refuses very large or very long pictures as photos, but takes them as files.
            return await self._message(place, page, replace(file, photo=False), markup=markup, silent=silent)
        return sent.message_id

    async def _place(self, outgoing: Outgoing, thread: int) -> _Destination:
        chat, task = outgoing.chat.chat, outgoing.task
        if outgoing.chat.thread or thread:
            return _Destination(chat, thread or int(outgoing.chat.thread))
        root_thread, root = parts(outgoing.root)
        if root_thread or not task:
            return _Destination(chat, root_thread)
        if not root and outgoing.key == task_key(task) and await self._is_forum(chat):
            return _Destination(chat, await self._topic(chat, task, outgoing.card))
        return _Destination(chat, answers=root)

    async def _is_forum(self, chat: str) -> bool:
        if not chat.startswith("-100"):
            return False
        if chat not in self.forums:
            self.forums[chat] = bool((await self.bot.get_chat(chat)).is_forum)
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


def _unchanged(said: str, error: BadRequest) -> bool:
    """What a refused edit means: True if nothing had to change, False if the message is gone."""
    if "not modified" in said:
        return True
    if "not found" in said or "can't be edited" in said:
        return False
    raise error


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

"""Turns Telegram's updates into messages: who sent them, whether they are for us. Stored before they are
confirmed."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import telegram
from telegram import Bot, CallbackQuery, Update
from telegram.error import NetworkError

from bot.chats.telegram.beside import (
    NEW_KIND,
    answered_of,
    author_of,
    checklist_of,
    cut_of,
    forward_of,
    kind_of,
    quote_of,
    speech_answered,
    speech_of,
    spelled,
)
from bot.message import Attachment, Cut, Message, storable
from fleet.model import ChatRef, PersonId

log = logging.getLogger(__name__)

NAME = "telegram"
ALLOWED_UPDATES = ("message", "edited_message", "callback_query")
_ADDRESSED = re.compile(r"/\w+@(\w+)")
_UNREAD: Final = "unread"
_TOKEN_LIMIT: Final = 200
_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True)
class BotUser:
    """The bot itself, as Telegram knows it."""

    id: int
    username: str


class Addressed:
    """Who addressed us last, and when: what else they sent in that second, after it, is for us too, in a group as
    well. What they sent before it stays other people's, also when Telegram sends all of it again.

    Not stored: after a restart, a group's messages without a mention are other people's.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[int, int, int], tuple[int, int, bool]] = OrderedDict()

    def note(self, said: telegram.Message, *, split: bool) -> None:
        """This message is for us. ``split``: its text may go on in the next one."""
        self._last[self._key(said)] = (said.message_id, int(said.date.timestamp()), split)
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    def followed_by(self, said: telegram.Message) -> bool:
        """Whether this one was sent with a message that was for us: a forward with its comment, more of a text."""
        number, sent_s, split = self._last.get(self._key(said), (0, 0, False))
        at_once = 0 <= said.date.timestamp() - sent_s <= 1
        return said.message_id > number and at_once and (split or said.forward_origin is not None)

    @staticmethod
    def _key(said: telegram.Message) -> tuple[int, int, int]:
        return said.chat.id, said.message_thread_id or 0, said.from_user.id if said.from_user else 0


class CommittingQueue(asyncio.Queue[object]):
    """The library confirms an update once ``put`` has returned, so ``put`` returns once the update is committed.

    Nothing is ever queued. If the update cannot be stored, ``put`` raises a network error: the library then does
    not confirm, waits, and asks for the same update again.
    """

    def __init__(self, take: Callable[[Update], Awaitable[None]]) -> None:
        super().__init__()
        self._take = take

    async def put(self, item: object) -> None:
        """Stores the update. Raises ``NetworkError`` when it could not be stored."""
        if not isinstance(item, Update):
            return
        try:
            await self._take(item)
        except Exception as error:
            log.exception("could not store an update from Telegram; asking for it again")
            raise NetworkError(f"the update was not stored ({type(error).__name__})") from error


def unread(raw: dict[str, Any]) -> dict[str, Any]:
    """An update that the library does not parse yet. If the library cannot parse one update of a response, it drops
    all of them and asks for the same ones forever."""
    return {"update_id": raw["update_id"], _UNREAD: raw}


def read(update: Update, bot: Bot, me: BotUser, addressed: Addressed) -> tuple[Message, str] | None:
    """The message in an ``unread`` update, and the id of the button press to answer, if it is one. ``None`` if it
    is not for us or cannot be parsed: the latter is logged, and not asked for again."""
    try:
        opened = Update.de_json(update.api_kwargs[_UNREAD], bot)
        message = to_message(opened, me, addressed)
    except Exception as error:  # of any kind: the library did not expect this update
        log.warning("update %s from Telegram cannot be read: %s", update.update_id, type(error).__name__)
        unknown = _unknown(update.update_id, update.api_kwargs[_UNREAD])
        return (unknown, "") if unknown is not None else None
    pressed = opened.callback_query
    return (message, pressed.id if pressed is not None else "") if message is not None else None


def _unknown(update_id: int, raw: Mapping[str, Any]) -> Message | None:
    """A message in a private chat that the library cannot parse: its sender is told so. ``None`` for the rest."""
    said = raw.get("message")
    sender, chat = (said.get(name) for name in ("from", "chat")) if isinstance(said, dict) else (None, None)
    if not (isinstance(sender, dict) and isinstance(chat, dict)) or chat.get("type") != "private":
        return None
    user = sender.get("id")
    if not isinstance(user, int) or isinstance(user, bool) or chat.get("id") != user or sender.get("is_bot"):
        return None
    return Message(
        NAME, str(update_id), _person(user), ChatRef(NAME, str(user)), unreadable=True, ignored=(NEW_KIND,)
    )


def message_id(thread: int | str | None, number: int) -> str:
    """The id of a message in our store; in a topic it starts with the topic's number, so a topic finds its
    cards."""
    return f"{thread}:{number}" if thread else str(number)


def parts(stored: str) -> tuple[int, int]:
    """The inverse: topic (0 for none) and number of a message; (0, 0) for any other text."""
    thread, _, number = stored.rpartition(":")
    return (int(thread or 0), int(number)) if (thread or "0").isdigit() and number.isdigit() else (0, 0)


def to_message(update: Update, me: BotUser, addressed: Addressed) -> Message | None:
    """The message in an update; ``None`` if it is not for us, or not from a person (channels, bots, hidden
    admins)."""
    if update.callback_query is not None:
        return _pressed(update.update_id, update.callback_query)
    said = update.message or update.edited_message
    if update.message is not None and update.message.migrate_to_chat_id is not None:
        return _moved(update.update_id, update.message, update.message.migrate_to_chat_id)
    nameless = said is not None and _is_nameless(said)
    if said is None or said.from_user is None or (said.from_user.is_bot and not nameless):
        return None
    if said.sender_chat is not None and not nameless:
        return None
    forwarded = said.forward_origin is not None
    plain = storable(said.text or said.caption or "")
    own_files = _files(said)
    files = own_files or _files_answered(said, me)
    private = said.chat.type == "private"
    ignored = () if own_files or said.effective_attachment is None else (kind_of(said),)
    checklist = checklist_of(said)
    if not (plain or files or ignored or checklist) and said.api_kwargs:
        ignored = (NEW_KIND,)
    own_speech = speech_of(said, author_of(said) if forwarded else "")
    spoken = own_speech or (() if own_files else speech_answered(said, me.id))
    if not plain and not files and not own_speech and not checklist and not (ignored and (private or forwarded)):
        return None  # a service message, or a place in a group; in a private chat it needs an answer
    direct = _direct(said, plain, me)
    follows = direct is None and addressed.followed_by(said)
    if direct is None and not follows:
        return None
    if direct or follows or plain.startswith("/"):
        addressed.note(said, split=cut_of(plain) is not Cut.NOT)
    direct = bool(direct)
    if nameless and not direct:
        return None
    text = spelled(plain, said.entities or said.caption_entities)
    text = _without_mention(text, me) if direct else text
    thread = said.message_thread_id if said.is_topic_message else None
    return Message(
        adapter=NAME,
        update_id=str(update.update_id),
        sender=_person(0 if nameless else said.from_user.id),
        chat=ChatRef(NAME, str(said.chat.id), str(thread or "")),
        text="" if forwarded else text,
        reply_to=_answered(said, thread),
        files=files,
        direct=direct,
        album=said.media_group_id or "",
        private=private,
        unreadable=bool(ignored) and direct,
        ignored=ignored or tuple(speech.kind for speech in spoken),
        beside=forward_of(said, text or checklist)
        if forwarded
        else "\n\n".join(filter(None, (checklist, quote_of(said, me.id)))),
        own=message_id(thread, said.message_id),
        edited=update.edited_message is not None,
        sent_s=int(said.date.timestamp()),
        cut=cut_of(plain),
        forwarded=forwarded,
        spoken=spoken,
        nameless=nameless,
    )


def _is_nameless(said: telegram.Message) -> bool:
    """Whether an anonymous admin wrote it, in the name of the group that it stands in."""
    group = said.chat.type in ("group", "supergroup")
    return group and said.sender_chat is not None and said.sender_chat.id == said.chat.id


def _moved(update_id: int, said: telegram.Message, to: int) -> Message | None:
    """The service message in a group that becomes a supergroup."""
    if said.chat.type != "group":
        return None
    here = ChatRef(NAME, str(said.chat.id))
    return Message(NAME, str(update_id), _person(0), here, private=False, moved_to=str(to))


def _pressed(update_id: int, query: CallbackQuery) -> Message | None:
    under = query.message
    if under is None or not query.data or query.from_user.is_bot:
        return None
    thread = under.message_thread_id if isinstance(under, telegram.Message) and under.is_topic_message else None
    return Message(
        adapter=NAME,
        update_id=str(update_id),
        sender=_person(query.from_user.id),
        chat=ChatRef(NAME, str(under.chat.id), str(thread or "")),
        pressed=query.data[:_TOKEN_LIMIT],
        reply_to=message_id(thread, under.message_id),
        private=under.chat.type == "private",
    )


def _person(user: int) -> PersonId:
    return PersonId(NAME, "", str(user))


def _answered(said: telegram.Message, thread: int | None) -> str:
    answered = said.reply_to_message
    if answered is None or answered.forum_topic_created is not None:
        return ""  # in a topic, a message that is no reply counts as a reply to the topic's first message
    return message_id(thread, answered.message_id)


def _direct(said: telegram.Message, text: str, me: BotUser) -> bool | None:
    """Whether it is addressed to us; ``None``: it is for somebody else."""
    if said.chat.type == "private":
        return True
    if said.chat.type not in ("group", "supergroup"):
        return None
    if addressed := _ADDRESSED.match(text):
        return True if addressed.group(1).lower() == me.username.lower() else None
    if _mentions(said, me):
        return True
    answered = said.reply_to_message
    to_us = answered is not None and answered.from_user is not None and answered.from_user.id == me.id
    # Only one message of an album has the text, so the others must be kept and joined with it.
    kept = text.startswith("/") or to_us or said.is_topic_message or said.media_group_id
    return False if kept else None


def _mentions(said: telegram.Message, me: BotUser) -> bool:
    units = (said.text or said.caption or "").encode("utf-16-le", "surrogatepass")
    for entity in (*said.entities, *said.caption_entities):
        if entity.type == "text_mention" and entity.user is not None and entity.user.id == me.id:
            return True
        if entity.type == "mention" and entity.offset >= 0:
            name = units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le", "replace")
            if name.lower() == f"@{me.username.lower()}":
                return True
    return False


def _without_mention(text: str, me: BotUser) -> str:
    name, text = f"@{me.username}", text.strip()
    if verb := re.match(rf"(/\w+)\s+{re.escape(name)}\b[:,]?(?=\s|$)", text, flags=re.I):
        return verb.group(1) + text[verb.end() :]
    if mention := re.match(rf"{re.escape(name)}\b[:,]?\s*", text, flags=re.I):
        text = text[mention.end() :]
    # No regex for the end: one that starts with white space takes seconds on a page of white space.
    return text[: -len(name)].rstrip() if text.lower().endswith(name.lower()) else text


def _files_answered(said: telegram.Message, me: BotUser) -> tuple[Attachment, ...]:
    """The files of another person's message that this one replies to."""
    if said.external_reply is not None:
        return _files(said.external_reply)
    answered, _ = answered_of(said, me.id)
    return _files(answered) if answered is not None else ()


def _files(said: telegram.Message | telegram.ExternalReplyInfo) -> tuple[Attachment, ...]:
    if said.photo:
        best = said.photo[-1]
        return (
            Attachment(
                f"photo-{said.message_id or best.file_unique_id}.jpg",
                "",
                "image/jpeg",
                best.file_size or 0,
                best.file_id,
            ),
        )
    if said.document:
        sent = said.document
        name, kind = sent.file_name or "file", sent.mime_type or "application/octet-stream"
        return (Attachment(name, "", kind, sent.file_size or 0, sent.file_id),)
    return ()

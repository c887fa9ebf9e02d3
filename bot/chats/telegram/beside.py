"""What Telegram takes out of a text or sends beside it: hidden links, code, quotes, where a forward is from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import telegram
from telegram import (
    MessageEntity,
    MessageOriginChannel,
    MessageOriginChat,
    MessageOriginHiddenUser,
    MessageOriginUser,
)

from bot.message import Attachment, Cut, Speech, storable

TEXT_LIMIT: Final = 4096
_QUOTES: Final = (MessageEntity.BLOCKQUOTE, MessageEntity.EXPANDABLE_BLOCKQUOTE)
_KINDS: Final = (
    ("contact", "a contact"),
    ("venue", "a place"),
    ("location", "a location"),
    ("voice", "a voice message"),
    ("video_note", "a video message"),
    ("video", "a video"),
    ("animation", "an animation"),
    ("audio", "an audio file"),
    ("sticker", "a sticker"),
    ("poll", "a poll"),
    ("dice", "a dice"),
    ("story", "a story"),
)
NEW_KIND: Final = "a message of a kind that is not known here"
_NAME_LIMIT: Final = 100
_FROM: Final = "Forwarded from "


def spelled(text: str, entities: Sequence[MessageEntity]) -> str:
    """The text with its hidden links, code and quotes written out, as Markdown writes them."""
    units = text.encode("utf-16-le", "surrogatepass")
    added: list[tuple[int, int, str]] = []  # where, in units; what closes comes before what opens

    def part(start: int, end: int) -> str:
        return units[2 * start : 2 * end].decode("utf-16-le", "replace")

    size = len(units) // 2
    for entity in entities:
        start, end = entity.offset, entity.offset + entity.length
        if not 0 <= start < end <= size:
            continue
        inside = part(start, end)
        if entity.type == MessageEntity.TEXT_LINK and entity.url:
            if entity.url.rstrip("/") not in (inside.rstrip("/"), f"https://{inside}".rstrip("/")):
                blank = len(inside) - len(inside.rstrip())  # white space is in the basic plane: a unit each
                added.append((end - blank, 0, f" ({entity.url})"))
        elif entity.type == MessageEntity.PRE:
            before = "" if start == 0 or part(start - 1, start) == "\n" else "\n"
            added.append((start, 2, f"{before}```{entity.language or ''}\n"))
            after = "" if end == size or part(end, end + 1) == "\n" else "\n"
            added.append((end, 1, ("" if inside.endswith("\n") else "\n") + f"```{after}"))
        elif entity.type == MessageEntity.CODE and start:
            added += [(start, 2, "`"), (end, 1, "`")]
        elif entity.type == MessageEntity.STRIKETHROUGH:  # what is struck out is not meant
            added += [(start, 2, "~~"), (end, 1, "~~")]
        elif entity.type in _QUOTES:
            added.append((start, 2, "> "))
            lines = [at for at in range(start, end - 1) if part(at, at + 1) == "\n"]
            added += [(at + 1, 2, "> ") for at in lines]
    made, at = [], 0
    for unit, _, words in sorted(added, key=lambda found: found[:2]):
        where = unit + (unit < size and 0xDC <= units[2 * unit + 1] <= 0xDF)  # not inside a letter of two units
        made += [part(at, where), words]
        at = where
    return storable("".join([*made, part(at, size)])) if added else text


def quoted(text: str) -> str:
    """The text as a quote, line by line."""
    return "\n".join(f"> {row}" for row in text.strip().split("\n"))


def quote_of(said: telegram.Message, bot: int) -> str:
    """The part of a message that this one quotes, or the message of another person that it replies to."""
    if said.quote is not None and said.quote.text.strip():
        return f"Quoted:\n{quoted(spelled(said.quote.text, said.quote.entities or ()))}"
    if said.external_reply is not None and said.quote is None:
        return f"In reply to a message of {author_of(said.external_reply).removeprefix(_FROM)} elsewhere"
    answered, name = answered_of(said, bot)
    if answered is None:
        return ""
    text = spelled(answered.text or answered.caption or "", answered.entities or answered.caption_entities)
    return f"In reply to {name}:\n{quoted(text)}" if text.strip() else ""


def answered_of(said: telegram.Message, bot: int) -> tuple[telegram.Message | None, str]:
    """Another person's message that this one replies to, and that person's name; ``None`` for one of ours, or
    none."""
    answered = said.reply_to_message
    if answered is None or answered.from_user is None or answered.from_user.id == bot:
        return None, ""
    return answered, _named(answered.from_user.full_name)


def checklist_of(said: telegram.Message) -> str:
    """A checklist as text."""
    if said.checklist is None:
        return ""
    rows = [f"- [{'x' if task.completion_date else ' '}] {task.text}" for task in said.checklist.tasks]
    return storable("\n".join([f"Checklist {said.checklist.title}:", *rows]))


def forward_of(said: telegram.Message, text: str) -> str:
    """A forwarded text, and who wrote it; empty for a forward without a text."""
    return f"{author_of(said)}:\n{text}" if text.strip() else ""


def author_of(said: telegram.Message | telegram.ExternalReplyInfo) -> str:
    """Who a message is from that was forwarded, or is replied to from another chat."""
    match said.origin if isinstance(said, telegram.ExternalReplyInfo) else said.forward_origin:
        case MessageOriginUser() as origin:
            name = origin.sender_user.full_name
        case MessageOriginHiddenUser() as origin:
            name = origin.sender_user_name
        case MessageOriginChat() as origin:
            name = origin.sender_chat.effective_name or ""
        case MessageOriginChannel() as origin:
            name = origin.chat.effective_name or ""
        case _:
            name = ""
    return f"{_FROM}{_named(name)}"


def speech_of(said: telegram.Message, heading: str = "") -> tuple[Speech, ...]:
    """What is spoken in a message; ``heading`` says whose words they are, empty for the sender's own."""
    for name, ending, spoken in (
        ("voice", "ogg", said.voice),
        ("video_note", "mp4", said.video_note),
        ("audio", "mp3", said.audio),
    ):
        if spoken is not None:
            named = getattr(spoken, "file_name", None) or f"{name}-{said.message_id}.{ending}"
            media = getattr(spoken, "mime_type", None) or ""
            file = Attachment(named, "", media, spoken.file_size or 0, spoken.file_id)
            return (Speech(file, _seconds(spoken.duration), dict(_KINDS)[name], heading),)
    return ()


def speech_answered(said: telegram.Message, bot: int) -> tuple[Speech, ...]:
    """What is spoken in another person's message that this one replies to."""
    answered, name = answered_of(said, bot)
    return speech_of(answered, f"In reply to {name}") if answered is not None else ()


def _seconds(duration: int | timedelta) -> int:
    return int(duration.total_seconds()) if isinstance(duration, timedelta) else duration


def kind_of(said: telegram.Message) -> str:
    """What a message contains that cannot be used, in words."""
    return next((words for name, words in _KINDS if getattr(said, name, None) is not None), "an attachment")


def cut_of(text: str) -> Cut:
    """Where a client may have split it: at most in the middle of its limit, at white space if there is some."""
    size = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if size >= TEXT_LIMIT:
        return Cut.IN_WORD
    return Cut.AT_SPACE if size >= TEXT_LIMIT // 2 else Cut.NOT


def _named(name: str) -> str:
    return " ".join(name.split())[:_NAME_LIMIT] or "somebody"

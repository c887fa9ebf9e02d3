"""One act of a person that arrives as several messages: which messages belong together, and how they are joined.

A client splits a long paste, sends a comment before what it forwards, and sends each file of an album alone. All of
it has the same sender and second; the platform's own time decides, so the result is the same after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.message import Cut, Message
from bot.parse import Reply, Spoken, parse
from bot.registry import Registry

SAME_ACT_S: Final = 1
"""Seconds between two messages of one act: platforms give whole seconds."""

_MORE_SECONDS: Final = 0.7
"""How long more may take to arrive after a text that was split, or a file."""

_COMMENT_SECONDS: Final = 0.3
"""The same after words that may be the comment of a forward: nobody should notice this wait."""


_RESTART_SECONDS: Final = 2.0
"""The same after a restart: the rest comes once the chat is connected again."""


def patience(last: Message, registry: Registry, *, recovered: bool = False) -> float:
    """Seconds to wait for the next message of the act; 0 for a message that is complete, such as ``/status``.
    ``recovered``: an earlier process received it."""
    seconds = _patience(last, registry)
    return max(seconds, _RESTART_SECONDS) if seconds and recovered else seconds


def _patience(last: Message, registry: Registry) -> float:
    if last.album:
        return _MORE_SECONDS
    if not last.sent_s or last.pressed or last.edited:
        return 0.0
    if last.cut or (last.files and not last.text):
        return _MORE_SECONDS
    if last.forwarded or last.files:
        return _COMMENT_SECONDS
    said = parse(last.text, registry.names, direct=last.direct)
    if isinstance(said, Spoken):
        command = registry.get(said.verb)
        return _COMMENT_SECONDS if command is not None and command.takes_words else 0.0
    return _COMMENT_SECONDS if isinstance(said, Reply) else 0.0


def continues(parts: Sequence[Message], following: Message, registry: Registry) -> bool:
    """Whether ``following`` belongs to the act that starts with ``parts``."""
    first, last = parts[0], parts[-1]
    if (following.sender, following.chat) != (first.sender, first.chat) or following.pressed or following.edited:
        return False
    if first.pressed or first.edited:
        return False
    if last.album and last.album == following.album:
        return True
    if not at_once(last.sent_s, following) or following.reply_to not in ("", first.reply_to):
        return False
    if following.forwarded:
        return not _takes_no_words(parts, registry)
    worded = any(part.text or part.forwarded for part in parts)
    if is_command(following, registry):
        return bool(last.files) and not worded
    if following.files and _takes_no_words(parts, registry):
        return False
    return bool(last.cut or following.files or (last.files and not worded))


def _takes_no_words(parts: Sequence[Message], registry: Registry) -> bool:
    """Whether the parts are a command that has no use for what follows, such as ``/status``."""
    typed = next((part for part in parts if part.text), None)
    said = parse(typed.text, registry.names, direct=typed.direct) if typed else None
    command = registry.get(said.verb) if isinstance(said, Spoken) else None
    return command is not None and not command.takes_words


def at_once(sent_s: int, following: Message) -> bool:
    """Whether a message was sent in the second of an earlier one, or in the next."""
    return bool(sent_s and following.sent_s) and 0 <= following.sent_s - sent_s <= SAME_ACT_S


def sent_before(message: Message | None, other: Message | None) -> bool:
    """Whether somebody sent ``message`` just before ``other``, by the numbers that their chat gave to both."""
    if message is None or other is None or (message.sender, message.chat) != (other.sender, other.chat):
        return False
    number, others = (each.own.rpartition(":")[2] for each in (message, other))
    return at_once(message.sent_s, other) and number.isdigit() and others.isdigit() and int(number) < int(others)


def is_command(message: Message, registry: Registry) -> bool:
    """Whether it is one line with a command of ours, written with a slash. A pasted path is none."""
    said = parse(message.text, registry.names, direct=message.direct)
    if "\n" in message.text.strip():
        return False
    return isinstance(said, Spoken) and not said.plain and registry.get(said.verb) is not None


def as_one(parts: Sequence[Message]) -> Message:
    """The messages of an act as the one message that its sender wrote: all text, all files."""
    first = parts[0]
    if len(parts) == 1:
        return first
    text, before = "", None
    for part in parts:
        if part.text:
            text += (_between(before, text, part.text) if before is not None else "") + part.text
            before = part
    typed = [part for part in parts if not part.forwarded]
    return replace(
        first,
        text=text,
        beside="\n\n".join(part.beside for part in parts if part.beside),
        files=tuple(file for part in parts for file in part.files),
        reply_to=next((part.reply_to for part in parts if part.reply_to), ""),
        direct=any(part.direct for part in parts),
        unreadable=any(part.unreadable for part in typed or parts),
        ignored=tuple(dict.fromkeys(kind for part in parts for kind in part.ignored)),
        forwarded=not typed,
        spoken=tuple(speech for part in parts for speech in part.spoken),
    )


def _between(before: Message, text: str, following: str) -> str:
    """What a client removed where it split a text; nothing where it split a long word."""
    if not before.cut:
        return "\n\n"
    return "" if before.cut is Cut.IN_WORD or text[-1:].isspace() or following[:1].isspace() else "\n"

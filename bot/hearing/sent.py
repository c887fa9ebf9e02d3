"""What became of the words that a person sent to an agent, for what arrives late or is edited.

A part of a message that arrives after the rest was handled goes to the same task. An edited message replaces a task
of which it is the whole prompt, if that has not started.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from bot.hearing import acts
from bot.message import Message
from fleet.store.chat import sent
from fleet.store.chat.sent import SentMessage
from fleet.store.core import Tx


def remember(tx: Tx, parts: Sequence[Message], task: str, *, prompt: bool) -> None:
    """The task that got the words of an act, in the transaction of its effect. ``prompt``: they are its prompt."""
    if parts[-1].pressed:
        return
    cut = any(part.cut for part in parts)
    for part in parts:
        if part.own:
            whole = prompt and len(parts) == 1
            kept = SentMessage(part.chat, part.own, str(part.sender), task, _digest(part), whole, cut, part.sent_s)
            sent.keep(tx, kept)


def came_to_nothing(tx: Tx, message: Message) -> None:
    """It was refused, and changed nothing: an edit of it is heard as a message of its own."""
    before = before_edit(tx, message)
    known = (before is None and message.edited) or (before is not None and before.task)
    if message.own and not message.pressed and not known:
        sender = str(message.sender)
        sent.keep(tx, SentMessage(message.chat, message.own, sender, "", _digest(message)))


def forget(tx: Tx, message: Message) -> None:
    """Whatever was known of it."""
    sent.drop(tx, message.chat, message.own, str(message.sender))


def rest_of(tx: Tx, message: Message) -> str:
    """The task of the act whose rest this is; empty for a message of its own."""
    if not message.sent_s or message.pressed or message.edited or message.reply_to:
        return ""
    from_s = message.sent_s - acts.SAME_ACT_S
    before = sent.sent_at(tx, message.chat, str(message.sender), from_s, message.sent_s)
    return before[0].task if before and (message.forwarded or before[0].cut) else ""


def before_edit(tx: Tx, message: Message) -> SentMessage | None:
    """What is known of the message that this one edits; ``None`` when it had no words for an agent."""
    return sent.find(tx, message.chat, message.own, str(message.sender))


def unchanged(message: Message, before: SentMessage) -> bool:
    """Whether the edit changes no text; a chat also reports those."""
    return before.digest == _digest(message)


def reworded(tx: Tx, message: Message) -> None:
    """The sender was told what their edit does not do: once for each text."""
    sent.reworded(tx, message.chat, message.own, str(message.sender), _digest(message))


def _digest(message: Message) -> str:
    return sha256(f"{message.text}\0{message.beside}".encode()).hexdigest()[:16]

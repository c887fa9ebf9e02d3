"""What became of the messages that a person sent: kept with their effect, for what arrives late or is edited.

A part of a message that arrives after the rest was handled goes to the same task. An edited message updates a task
that has not started.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from bot.hearing import acts
from bot.message import Message
from fleet.store.chat import settings
from fleet.store.core import Tx

_ACT: Final = "act:"
_SENT: Final = "sent:"
_LIVES_US: Final = 48 * 3_600_000_000
"""Telegram lets people edit for 48 hours."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An earlier message: its task, and whether its text is the one of the edit that came for it."""

    task: str
    unchanged: bool


def remember(tx: Tx, parts: Sequence[Message], task: str) -> None:
    """The task that an act came to, in the transaction of its effect."""
    last = parts[-1]
    if not last.own or last.pressed or last.edited:
        return
    if last.sent_s:
        cut = any(part.cut for part in parts)
        settings.put(tx, _act(last), json.dumps({"sent_s": last.sent_s, "task": task, "cut": cut}))
    now = tx.now_us()
    for key, stored in settings.beginning(tx, _SENT).items():
        if json.loads(stored)["until_us"] <= now:
            settings.put(tx, key, "")
    for part in parts:
        kept = {"task": task, "digest": _digest(part), "until_us": now + _LIVES_US}
        settings.put(tx, _sent(part), json.dumps(kept))


def rest_of(tx: Tx, message: Message) -> str:
    """The task of the act whose rest this is; empty for a message of its own."""
    if not message.sent_s or message.pressed or message.edited or message.reply_to:
        return ""
    raw = json.loads(settings.get(tx, _act(message)) or "{}")
    belongs = bool(raw) and acts.at_once(raw["sent_s"], message) and (message.forwarded or raw["cut"])
    return str(raw["task"]) if belongs else ""


def before_edit(tx: Tx, message: Message) -> Sent | None:
    """What the message came to that this one edits; ``None`` when it came to no task."""
    stored = settings.get(tx, _sent(message))
    if not stored:
        return None
    raw = json.loads(stored)
    return Sent(raw["task"], raw["digest"] == _digest(message))


def _digest(message: Message) -> str:
    return sha256(f"{message.text}\0{message.beside}".encode()).hexdigest()[:16]


def _act(message: Message) -> str:
    chat = message.chat
    return _ACT + json.dumps([chat.adapter, chat.chat, chat.thread, str(message.sender)])


def _sent(message: Message) -> str:
    return _SENT + json.dumps([message.chat.adapter, message.chat.chat, message.own, str(message.sender)])

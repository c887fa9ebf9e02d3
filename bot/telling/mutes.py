"""Muted chats. Cards still arrive; they make no sound."""

from __future__ import annotations

from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx

FOREVER = 1 << 62


def mute(tx: Tx, chat: ChatRef, until_us: int) -> None:
    """No pings in this chat until then; 0 ends the mute."""
    settings.put(tx, _key(chat), str(until_us))


def muted(tx: Tx, chat: ChatRef) -> bool:
    """Whether pings are off in this chat now."""
    return tx.now_us() < muted_until(tx, chat)


def muted_until(tx: Tx, chat: ChatRef) -> int:
    """When the mute ends, microseconds since the epoch; 0 for none."""
    return int(settings.get(tx, _key(chat)) or 0)


def _key(chat: ChatRef) -> str:
    return settings.of_chat(OfChat.MUTE, chat)

"""Whose a private chat is, as its messages and ours to that person say."""

from __future__ import annotations

from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.core import Tx


def remember(tx: Tx, chat: ChatRef, person: str) -> None:
    """Nobody else is in this chat."""
    key = _key(chat.adapter, chat.chat)
    if settings.get(tx, key) != person:
        settings.put(tx, key, person)


def owner(tx: Tx, chat: ChatRef) -> str:
    """The id of the person whose private chat it is; empty where others are in it, or nobody knows."""
    return settings.get(tx, _key(chat.adapter, chat.chat))


def moved(tx: Tx, adapter: str, old: str, new: str) -> None:
    """The chat has a new id."""
    person = settings.get(tx, _key(adapter, old))
    if person:
        settings.put(tx, _key(adapter, new), person)


def _key(adapter: str, chat: str) -> str:
    return f"private:{adapter}:{chat}"

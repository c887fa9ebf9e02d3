"""Settings that people change at run time and that are in no file, such as how much a chat wants to hear."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from sqlalchemy import Integer, bindparam, delete, func, insert, select

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import settings

_VALUE = Statement(select(settings.c.value).where(settings.c.key == bindparam("wanted")))
_UNSET = Statement(delete(settings).where(settings.c.key == bindparam("wanted")))
_SET = Statement(insert(settings))
_FROM = Statement(
    select(settings.c.key, settings.c.value).where(
        func.substr(settings.c.key, 1, bindparam("length", type_=Integer)) == bindparam("prefix")
    )
)


class OfChat(StrEnum):
    """What is set for one chat, and moves with it when it gets a new id."""

    REPOSITORY = "use"
    MODEL = "model"
    MUTE = "mute"
    DIGEST = "digest.upto"
    DRAFT = "draft"
    STATUS_ZONE = "status-zone"
    LIVE_LOG = "live-log"


_LISTED: Final = frozenset((OfChat.DRAFT, OfChat.STATUS_ZONE, OfChat.LIVE_LOG))
"""Their keys are lists in which the chat follows its adapter."""


def of_chat(what: OfChat, chat: ChatRef, *more: str) -> str:
    """The key of what is set for a chat; ``more`` says for what in it."""
    return ":".join((what, chat.adapter, chat.chat, *more))


def moved(tx: Tx, adapter: str, old: str, new: str) -> None:
    """What was set for the chat ``old`` holds for ``new``, unless something was set there already."""
    for what in OfChat:
        for key, value in beginning(tx, f"{what}:").items():
            there = _there(what, key.removeprefix(f"{what}:"), adapter, old, new)
            if there:
                put(tx, key, "")
                put(tx, f"{what}:{there}", get(tx, f"{what}:{there}") or value)


def _there(what: OfChat, of: str, adapter: str, old: str, new: str) -> str:
    """The end of a key in the chat's new place; empty if it is another chat's."""
    if what not in _LISTED:
        found = f"{of}:".startswith(f"{adapter}:{old}:")
        return f"{adapter}:{new}{of[len(f'{adapter}:{old}') :]}" if found else ""
    parts = json.loads(of)
    at = parts.index(adapter) + 1 if adapter in parts else len(parts)
    return json.dumps([*parts[:at], new, *parts[at + 1 :]]) if parts[at : at + 1] == [old] else ""


def get(tx: Tx, key: str, default: str = "") -> str:
    """The value of a setting, or ``default`` when it is not set."""
    found = _VALUE.one(tx.connection, {"wanted": key})
    return default if found is None else str(found.value)


def beginning(tx: Tx, prefix: str) -> dict[str, str]:
    """Every setting whose key starts with ``prefix``."""
    rows = _FROM.all(tx.connection, {"length": len(prefix), "prefix": prefix})
    return {row.key: row.value for row in rows}


def put(tx: Tx, key: str, value: str) -> None:
    """Changes a setting; the empty string removes it."""
    _UNSET.run(tx.connection, {"wanted": key})
    if value:
        _SET.run(tx.connection, {"key": key, "value": value})

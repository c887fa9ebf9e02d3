"""A draft: a task for which a person has chosen everything but the prompt, which is their next plain message.

It is kept in the store, so a restart loses nothing. A command that changes something discards it, and so does an
hour.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Final

from fleet.model import ChatRef, PersonId
from fleet.store.chat import settings, threads
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx

LIVES_US: Final = 3_600_000_000
_PREFIX: Final = f"{OfChat.DRAFT}:"

VERBS: Final = frozenset({"run", "ask", "schedule"})
"""The commands that take a prompt: they use up a draft, or replace it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """``verb`` is ``run``, ``ask`` or ``schedule``; ``given`` the arguments that come before the prompt.

    ``files`` is the key of its files (``held_files.py``); ``question`` the outbox row that asked for the prompt: a
    reply in a thread under that message is the prompt too.
    """

    verb: str
    given: str
    files: str = ""
    question: int = 0

    def arguments(self, prompt: str) -> str:
        """The command's arguments with this prompt."""
        return f"{self.given}{prompt}"


def keep(tx: Tx, chat: ChatRef, person: PersonId, draft: Draft) -> None:
    """Stores it for this person in this chat, in place of an earlier one."""
    settings.put(tx, _key(chat, person), json.dumps({**asdict(draft), "until_us": tx.now_us() + LIVES_US}))


def kept(tx: Tx, chat: ChatRef, person: PersonId) -> Draft | None:
    """This person's draft in this chat."""
    found = _found(tx, chat, person)
    return found[1] if found is not None else None


def drop(tx: Tx, chat: ChatRef, person: PersonId) -> bool:
    """Discards it. Returns whether there was one."""
    found = _found(tx, chat, person)
    if found is not None:
        settings.put(tx, found[0], "")
    return found is not None


def drop_all(tx: Tx, person: PersonId) -> None:
    """Forgets every draft of a person, in all chats."""
    for key in settings.beginning(tx, _PREFIX):
        if json.loads(key.removeprefix(_PREFIX))[-1] == str(person):
            settings.put(tx, key, "")


def _found(tx: Tx, chat: ChatRef, person: PersonId) -> tuple[str, Draft] | None:
    """The draft and its key: kept for this thread, or for the chat if this is the thread under its question."""
    draft = _read(tx, key := _key(chat, person))
    if draft is None and chat.thread:
        draft = _read(tx, key := _key(replace(chat, thread=""), person))
        if draft is not None and (not draft.question or threads.message_of(tx, draft.question) != chat.thread):
            return None
    return (key, draft) if draft is not None else None


def _read(tx: Tx, key: str) -> Draft | None:
    stored = settings.get(tx, key)
    if not stored:
        return None
    raw = json.loads(stored)
    known = "given" in raw  # an earlier version kept something else, for an hour
    return Draft(**raw) if raw.pop("until_us") > tx.now_us() and known else None


def _key(chat: ChatRef, person: PersonId) -> str:
    return f"{_PREFIX}{json.dumps([chat.adapter, chat.chat, chat.thread, str(person)])}"

"""A task that a person has chosen everything for but the words: the next plain message of theirs is the prompt.

Kept in the store, so that a restart in between loses nothing; dropped by any command, and after an hour.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from fleet.model import ChatRef, PersonId
from fleet.store import settings
from fleet.store.core import Tx

LIVES_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Draft:
    """``verb`` is ``run`` or ``ask``; the other three are as in their options, ``*`` for any machine."""

    verb: str
    repo: str
    machine: str
    agent: str

    def arguments(self, prompt: str) -> str:
        """The command's arguments with these words."""
        return f"repo={self.repo} on={self.machine} agent={self.agent} -- {prompt}"


def keep(tx: Tx, chat: ChatRef, person: PersonId, draft: Draft) -> None:
    """Remembers it for this person in this chat; an earlier one is forgotten."""
    settings.put(tx, _key(chat, person), json.dumps({**asdict(draft), "until_us": tx.now_us() + LIVES_US}))


def kept(tx: Tx, chat: ChatRef, person: PersonId) -> Draft | None:
    """What waits for this person's words here."""
    stored = settings.get(tx, _key(chat, person))
    if not stored:
        return None
    raw = json.loads(stored)
    return Draft(**raw) if raw.pop("until_us") > tx.now_us() else None


def drop(tx: Tx, chat: ChatRef, person: PersonId) -> None:
    """Forgets it."""
    settings.put(tx, _key(chat, person), "")


def _key(chat: ChatRef, person: PersonId) -> str:
    return f"draft:{json.dumps([chat.adapter, chat.chat, chat.thread, str(person)])}"

"""Sessions that people start by hand: rows that their hooks begin, keep alive and end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, insert, select, update

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.usage_tables import hooked

MARK: Final = "hooked, not held"
"""What is said of such a session wherever it is shown: its hooks are in its person's own hands."""

_LAST = select(func.coalesce(func.max(hooked.c.number), 0))
_OF = select(hooked).where(hooked.c.conversation == bindparam("of")).order_by(hooked.c.number)
_OPEN = select(hooked).where(hooked.c.ended_us == 0).order_by(hooked.c.number)
_SET = update(hooked).where(hooked.c.number == bindparam("of"))


@dataclass(frozen=True, slots=True)
class Adoption:
    """A person asked to take a session into the fleet: with which words, and where the task's card belongs."""

    by: str
    chat: ChatRef
    words: str

    def to_json(self) -> str:
        """The form in the row."""
        return json.dumps([self.by, self.chat.adapter, self.chat.chat, self.chat.thread, self.words])

    @classmethod
    def from_json(cls, text: str) -> Adoption | None:
        """``None``: nobody asked, or it was done."""
        if not text.startswith("["):
            return None
        by, adapter, chat, thread, words = json.loads(text)
        return cls(by, ChatRef(adapter, chat, thread), words)


@dataclass(frozen=True, slots=True)
class Hooked:
    """One session. ``judged``: the task of its work and what the gates last made of it; empty: not yet.
    ``adopt``: an :class:`Adoption` that was asked for, or the task that took it over."""

    number: int
    agent: str
    conversation: str
    person: str
    machine: str
    repo: str
    directory: str
    secret_sha256: str
    hold: str
    doing: str
    judged: str
    began_us: int
    seen_us: int
    ended_us: int
    adopt: str = ""

    @property
    def id(self) -> str:
        """Its name for people and in the ledger."""
        return f"h{self.number}"

    @property
    def taken_by(self) -> str:
        """The task that took it over; empty: none."""
        return "" if self.adopt.startswith("[") else self.adopt

    @property
    def holder(self) -> str:
        """Its name where it holds locks."""
        return f"{self.id} ({MARK})"


def begin(  # noqa: PLR0917 - the columns of a row
    tx: Tx, agent: str, conversation: str, person: str, machine: str, repo: str, directory: str, secret: str
) -> Hooked:
    """A new row. ``secret``: its digest."""
    number, now = int(tx.connection.execute(_LAST).scalar_one()) + 1, tx.now_us()
    found = Hooked(number, agent, conversation, person, machine, repo, directory, secret, "", "", "", now, now, 0)
    tx.connection.execute(insert(hooked), asdict(found))
    return found


def last_of(tx: Tx, agent: str, conversation: str) -> Hooked | None:
    """The newest session with the agent's own id, over or not."""
    rows = [_read(row) for row in tx.connection.execute(_OF, {"of": conversation})]
    return next((each for each in reversed(rows) if each.agent == agent), None)


def of_conversation(tx: Tx, agent: str, conversation: str) -> Hooked | None:
    """The session that is not over with the agent's own id; ``None``: there is none."""
    rows = [_read(row) for row in tx.connection.execute(_OF, {"of": conversation})]
    return next((each for each in reversed(rows) if each.agent == agent and not each.ended_us), None)


def by_number(tx: Tx, number: int) -> Hooked | None:
    """The session with this number, over or not."""
    row = tx.connection.execute(select(hooked).where(hooked.c.number == number)).one_or_none()
    return None if row is None else _read(row)


def open_ones(tx: Tx, limit: int = 100) -> list[Hooked]:
    """Those that are not over, oldest first."""
    return [_read(row) for row in tx.connection.execute(_OPEN.limit(limit))]


def change(tx: Tx, session: Hooked, **values: str | int) -> None:
    """Changes columns; each change is a sign of life, unless it gives ``seen_us``."""
    tx.connection.execute(_SET, {"of": session.number, "seen_us": tx.now_us(), **values})


def _read(row: Row[Any]) -> Hooked:
    return Hooked(*tuple(row))

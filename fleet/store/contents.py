"""What people, agents and tools said, kept beside the ledger for a while; the ledger has its salted hash.

A line of the ledger then proves a text that somebody shows with its salt, and says nothing about one that nobody
shows, not even to who guesses it. An export of the ledger has no contents.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, insert, select

from fleet.events import (
    AgentContinued,
    AgentSaid,
    AgentUnknown,
    Event,
    PersonSaid,
    Redact,
    ToolCallEnded,
    TurnClosed,
    TurnStarted,
)
from fleet.store.core import Tx
from fleet.store.figure_tables import contents
from fleet.store.statements import Statement

FIELDS: Final[Mapping[str, str]] = {
    AgentSaid.KIND: "text",
    AgentContinued.KIND: "text",
    AgentUnknown.KIND: "raw",
    PersonSaid.KIND: "text",
    ToolCallEnded.KIND: "detail",
    TurnStarted.KIND: "prompt",
    TurnClosed.KIND: "claim",
}
"""The kinds of events with contents, and the field that has them."""

CHANGED: Final = "(not shown: the text beside the ledger is not the one that was said)"
_SEAL: Final = re.compile(r"‹sealed:(\d{1,9}):([0-9a-f]{64})›")
_SALT_BYTES: Final = 16
_ADD = Statement(insert(contents))
_COLUMNS: Final = ("seq", "time_us", "salt", "said")
_OLDEST = select(contents.c.seq, contents.c.time_us).order_by(contents.c.seq).limit(bindparam("rows"))
_FORGET = delete(contents).where(contents.c.seq <= bindparam("upto"))

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Content:
    """A text with the salt of its hash."""

    salt: bytes
    text: str

    @property
    def seal(self) -> str:
        """What the ledger has instead of it."""
        hashed = hashlib.sha256(self.salt + self.text.encode()).hexdigest()
        return f"‹sealed:{len(self.text)}:{hashed}›"


def sealed(event: E, redact: Redact | None, *, all_: bool) -> tuple[E, Content | None]:
    """The event with the seal of what was said, which is redacted first; as it is, where nothing was said. Without
    ``all_`` only a text that looks like a seal is sealed, so that nobody can say one.

    A text that is no Unicode is left: the ledger refuses it.
    """
    name = FIELDS.get(event.KIND, "")
    text = getattr(event, name) if name else ""
    if not text or not (all_ or "‹sealed:" in text):
        return event, None
    said = Content(secrets.token_bytes(_SALT_BYTES), redact(text) if redact else text)
    try:
        return _with(event, said.seal), said
    except UnicodeEncodeError:
        return event, None


def opened(event: E, said: Content | None) -> E:
    """The event with what was said, or with words for what is not kept, or was changed since."""
    name = FIELDS.get(event.KIND, "")
    found = _SEAL.fullmatch(getattr(event, name)) if name else None
    if found is None:
        return event
    if said is None:
        return _with(event, f"(not kept: {int(found[1]):,} characters)")
    return _with(event, said.text if said.seal == found[0] else CHANGED)


def _with(event: E, text: str) -> E:
    given: dict[str, Any] = {FIELDS[event.KIND]: text}
    return replace(event, **given)


def keep(tx: Tx, rows: list[tuple[int, Content]]) -> None:
    """Keeps what was said, by event."""
    values = [(seq, tx.now_us(), said.salt, said.text.encode()) for seq, said in rows]
    _ADD.many_rows(tx.connection, _COLUMNS, values)


def forget_old(tx: Tx, age_us: int, rows: int = 500) -> bool:
    """Forgets some of what was said that long ago; whether there may be more."""
    before = tx.now_us() - age_us
    found = tx.connection.execute(_OLDEST, {"rows": rows}).all()
    old = [seq for seq, time_us in found if time_us < before]
    if old:
        tx.connection.execute(_FORGET, {"upto": old[-1]})
    return len(old) == rows

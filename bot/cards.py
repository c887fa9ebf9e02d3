"""Chat-neutral cards: what a message says, independent of how a chat draws it.

No string in a card is markup: an adapter escapes all of them. Text from an agent, a log, a file name or a
repository is also ``Untrusted``, which strips terminal codes and lets the adapter disarm mentions and links.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fleet.errors import Malformed
from fleet.model import Isolation
from fleet.ports import isolation_label
from fleet.untrusted import Untrusted

MAX_LINES = 12
"""As much as a phone shows without scrolling."""

Text = str | Untrusted
Line = tuple[Text, ...]
"""One line, in pieces, so that our own sentence can contain untrusted text."""


class Tone(StrEnum):
    """The mood of a card; an adapter chooses a colour or an emoji for it."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WAITING = "waiting"
    WORKING = "working"


@dataclass(frozen=True, slots=True)
class Action:
    """A button. Pressing it runs ``command`` (a whole line, ``/retry t1``), only once if ``once``.

    ``digest`` binds it to content: its handler compares it with what it is about to do. ``token`` is what the
    platform carries; it is set when the card is posted and means nothing outside the store.
    """

    label: str
    command: str
    once: bool = True
    digest: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A name and a short value."""

    name: str
    value: Line


@dataclass(frozen=True, slots=True)
class Card:
    """One message. ``mention`` is the ``str(PersonId)`` of the person it pings, ``mentioned`` their name in
    fleet.toml; ``picture`` and ``document`` are paths of files on the controller; ``body`` is shown as preformatted
    text. A ``document`` with a ``body`` has all of it, so no adapter makes a file of a body that is too long.
    ``root``: the ledger's newest root is in it, as ``SIZE:SHA256``; that it was sent is an event.
    ``choice``: its once-only buttons answer one question, so the first press removes all of them."""

    title: Line
    lines: tuple[Line, ...] = ()
    fields: tuple[Field, ...] = ()
    body: Untrusted | None = None
    actions: tuple[Action, ...] = ()
    footer: str = ""
    tone: Tone = Tone.PLAIN
    mention: str = ""
    picture: str = ""
    document: str = ""
    choice: bool = False
    mentioned: str = ""
    root: str = ""

    def to_json(self) -> str:
        """The form the outbox keeps."""
        return json.dumps(
            {
                "title": _line_out(self.title),
                "lines": [_line_out(line) for line in self.lines],
                "fields": [[field.name, _line_out(field.value)] for field in self.fields],
                "body": None if self.body is None else self.body.raw,
                "actions": [[a.label, a.command, a.once, a.digest, a.token] for a in self.actions],
                "footer": self.footer,
                "tone": str(self.tone),
                "mention": self.mention,
                "picture": self.picture,
                "document": self.document,
                "choice": self.choice,
                "mentioned": self.mentioned,
                **({"root": self.root} if self.root else {}),
            },
            ensure_ascii=True,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The inverse of :meth:`to_json`. Raises ``Malformed`` for anything else."""
        try:
            raw = json.loads(text)
            return cls(
                title=_line_in(raw["title"]),
                lines=tuple(_line_in(line) for line in raw["lines"]),
                fields=tuple(Field(name, _line_in(value)) for name, value in raw["fields"]),
                body=None if raw["body"] is None else Untrusted(raw["body"]),
                actions=tuple(Action(*fields) for fields in raw["actions"]),
                footer=raw["footer"],
                tone=Tone(raw["tone"]),
                mention=raw["mention"],
                picture=raw["picture"],
                document=raw["document"],
                choice=raw.get("choice", False),
                mentioned=raw.get("mentioned", ""),
                root=raw.get("root", ""),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(attempted="read a card from the outbox", cause=repr(error)[:200]) from error

    def redacted(self, redact: Callable[[str], str]) -> Card:
        """The same card without secrets in the text that a person reads; commands and paths do not change."""

        def of(pieces: Line) -> Line:
            return tuple(
                Untrusted(redact(piece.raw)) if isinstance(piece, Untrusted) else redact(piece) for piece in pieces
            )

        return replace(
            self,
            title=of(self.title),
            lines=tuple(map(of, self.lines)),
            fields=tuple(Field(field.name, of(field.value)) for field in self.fields),
            body=None if self.body is None else Untrusted(redact(self.body.raw)),
            actions=tuple(replace(action, label=redact(action.label)) for action in self.actions),
            footer=redact(self.footer),
        )

    def with_actions(self, actions: Iterable[Action]) -> Card:
        """The same card with other buttons."""
        return replace(self, actions=tuple(actions))


def line(*pieces: Text) -> Line:
    """A line of its pieces; empty strings are left out."""
    return tuple(piece for piece in pieces if isinstance(piece, Untrusted) or piece)


def field(name: str, *pieces: Text) -> Field:
    """A field of its value's pieces."""
    return Field(name, line(*pieces))


def one_line(text: str, limit: int = 80) -> Untrusted:
    """The first words of an untrusted text, on one line."""
    return Untrusted(Untrusted(text).one_line(limit))


def shown(pieces: Line, limit: int = 400) -> str:
    """A line as plain text, its untrusted pieces cleaned and on one line. An adapter escapes the result."""
    return "".join(piece.one_line(limit) if isinstance(piece, Untrusted) else piece for piece in pieces)


def capped(lines: Iterable[Line], more: str, limit: int = MAX_LINES) -> tuple[Line, ...]:
    """At most ``limit`` lines; the last one counts the lines that were cut (``{n}`` in ``more``)."""
    every = tuple(lines)
    if len(every) <= limit:
        return every
    return (*every[: limit - 1], line(more.format(n=len(every) - limit + 1)))


def footed(isolation: Isolation, *pieces: str) -> str:
    """A footer that always says when isolation is unsafe."""
    return " · ".join(piece for piece in (isolation_label(isolation), *pieces) if piece)


def _line_out(pieces: Line) -> list[Any]:
    return [{"u": piece.raw} if isinstance(piece, Untrusted) else piece for piece in pieces]


def _line_in(raw: list[Any]) -> Line:
    return tuple(Untrusted(piece["u"]) if isinstance(piece, dict) else str(piece) for piece in raw)


def task_key(task_id: str) -> str:
    """The card key of a task's progress message."""
    return f"task:{task_id}"

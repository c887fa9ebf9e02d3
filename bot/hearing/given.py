"""A person's command as an event of the ledger: what they gave, and what came of it. Never their words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bot.message import Message
from fleet.errors import AirbossError, Refused, Unavailable
from fleet.events import CommandGiven, CommandOutcome, Refs, Source
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.untrusted import clean

_REASON: Final = 200
_WORD: Final = re.compile(r"\w{4,}")
"""A word of a message that a reason must not repeat."""


@dataclass(slots=True)
class Given:
    """What is known so far of a message that somebody of ``fleet.toml`` wrote. ``verb``: the command, once it is
    known; ``heard``: it is to us, and wants something; ``kept``: events may be added."""

    message: Message
    kept: bool = True
    heard: bool = False
    verb: str = ""

    def outcome(self, error: Exception | None) -> CommandOutcome:
        """What came of it, with the error that it ended with."""
        if error is not None and not isinstance(error, AirbossError):
            return CommandOutcome.FAILED
        if isinstance(error, Refused):
            return CommandOutcome.REFUSED
        if isinstance(error, Unavailable):
            return CommandOutcome.UNAVAILABLE
        if not self.verb:
            return CommandOutcome.NOT_UNDERSTOOD
        return CommandOutcome.MISUSED if error is not None else CommandOutcome.DONE

    def note(self, tx: Tx, *, task: str = "", error: Exception | None = None) -> None:
        """Part of the transaction that settles the message, so it is there exactly once. Nothing for a message that
        was for others or asked for nothing, nor while nothing may be added to the ledger."""
        if not (self.heard and self.kept):
            return
        message, chat = self.message, self.message.chat
        reason = error.cause if isinstance(error, Refused) else ""
        event = CommandGiven(
            command=self.verb,
            chat=f"{chat.adapter}:{chat.chat}",
            pressed=bool(message.pressed),
            characters=len(message.text),
            outcome=self.outcome(error),
            reason=self._own_words(reason),
            task=task,
        )
        ledger.append(tx, event, actor=str(message.sender), source=Source.PERSON, refs=Refs())

    def _own_words(self, reason: str) -> str:
        """The reason, unless it repeats a word of theirs besides the verb."""
        theirs = _words(self.message.text) - {self.verb}
        return "" if theirs & _words(reason) else clean(" ".join(reason.split()))[:_REASON]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}

"""The one place that turns an error into text for a person: short enough for a phone, clear about whose fault it
is.

🚫 refused: a rule forbids it. ✋ misused: the request is wrong. 🔌 unavailable: something needed is not available.
🐞 internal error.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bot.cards import Card, Tone
from fleet.errors import (
    AirbossError,
    LeadershipLost,
    LeaseLost,
    Misused,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from fleet.untrusted import Untrusted, clean

HEADLINE_LIMIT = 120  # characters: two lines of a phone
DETAIL_LIMIT = 1_200
REMEDY_LIMIT = 300
BUG_STATUS = 3  # the command's work is lost, and nothing was decided


class Explanation(NamedTuple):
    """An error as text. ``detail`` may have several lines and untrusted text: it is cleaned, and no markup."""

    headline: str
    detail: str
    remedy: str
    status: int

    def card(self) -> Card:
        """The explanation for a chat."""
        lines = ((Untrusted(self.remedy),),) if self.remedy else ()
        short = "\n" not in self.detail and len(self.detail) <= HEADLINE_LIMIT
        if self.detail and short:
            lines = ((Untrusted(self.detail),), *lines)
        return Card(
            title=(Untrusted(self.headline),),
            lines=lines,
            body=Untrusted(self.detail) if self.detail and not short else None,
            tone=Tone.BAD,
        )

    def text(self) -> str:
        """The explanation for a terminal."""
        return "\n".join(part for part in (self.headline, self.detail, self.remedy) if part)


def explain(error: BaseException) -> Explanation:
    """What to tell a person about ``error``. ``status`` is the exit status of a command that ends with it."""
    match error:
        case Refused():
            return _worded(error, "🚫", "Refused to", "")
        case Misused():
            return _worded(error, "✋", "Cannot", "")
        case Unavailable():
            return _worded(error, "🔌", "Could not", "Try again in a moment." if error.retry else "")
        case StoreUnavailable() | LeaseLost() | LeadershipLost():
            return _worded(error, "🔌", "Could not", "Try again in a moment." if error.retry else "")
        case AirbossError():
            return _worded(error, "✋", "Could not", "")
        case FileNotFoundError() if _is_nowhere():
            return Explanation(
                "✋ Cannot run here", "the directory that you are in was deleted", "Change to another one.", 2
            )
        case _:
            return Explanation(
                "🐞 Internal error, not your fault",
                clean(f"{type(error).__name__}: {error}", HEADLINE_LIMIT * 2),
                "The log (airboss.log in AIRBOSS_HOME) has the details. Please report it.",
                BUG_STATUS,
            )


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _worded(error: AirbossError, mark: str, verb: str, otherwise: str) -> Explanation:
    where = f" ({error.on})" if error.on else ""
    return Explanation(
        _one_line(f"{mark} {verb} {error.attempted}{where}", HEADLINE_LIMIT),
        clean(error.cause, DETAIL_LIMIT),
        _one_line(error.hint or otherwise, REMEDY_LIMIT),
        error.status,
    )


def _one_line(text: str, limit: int) -> str:
    return Untrusted(text).one_line(limit)

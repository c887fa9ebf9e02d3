"""The one place that turns an error into text for a person: short enough for a phone, clear about whose fault it
is.

🚫 refused: a rule forbids it. ✋ misused: the request is wrong. 🔌 unavailable: something needed is not available.
🐞 internal error.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, NamedTuple

from bot.cards import Card, Tone
from fleet.errors import (
    AirbossError,
    LeadershipLost,
    LeaseLost,
    Misused,
    NotLetIn,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from fleet.untrusted import Untrusted, clean

HEADLINE_LIMIT = 120  # characters: two lines of a phone
DETAIL_LIMIT = 1_200
REMEDY_LIMIT = 300
_SURROUNDINGS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}
    | {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Errors of a file system that are no fault of the program."""

_HOMELESS: Final = "Could not determine home directory."
"""What Python says of ``~`` for a login without a home."""

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
        case Misused() | NotLetIn():
            return _worded(error, "✋", "Cannot", "")
        case Unavailable():
            return _worded(error, "🔌", "Could not", "Try again in a moment." if error.retry else "")
        case StoreUnavailable() | LeaseLost() | LeadershipLost():
            return _worded(error, "🔌", "Could not", "Try again in a moment." if error.retry else "")
        case AirbossError():
            return _worded(error, "✋", "Could not", "")
        case OSError() if error.errno in _SURROUNDINGS and error.filename:
            told = clean(error.strerror or "", HEADLINE_LIMIT)
            where = _shortened(f"🔌 Could not use {error.filename}", HEADLINE_LIMIT)
            return Explanation(where, told, "Check the path, who owns it, and the disk.", BUG_STATUS)
        case RuntimeError() if str(error) == _HOMELESS:
            why = "HOME is not set, and this login has no entry in the system's list"
            return Explanation(
                "✋ Cannot find your home directory", why, "Set HOME, and AIRBOSS_HOME.", Misused.status
            )
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
    what = _one_line(f"{mark} {verb} {error.attempted}", HEADLINE_LIMIT)
    where = f" ({_shortened(error.on, max(HEADLINE_LIMIT - len(what) - 3, 30))})" if error.on else ""
    return Explanation(
        _one_line(f"{what}{where}", HEADLINE_LIMIT),
        clean(error.cause, DETAIL_LIMIT),
        _one_line(error.hint or otherwise, REMEDY_LIMIT),
        error.status,
    )


def _shortened(text: str, limit: int) -> str:
    """In one line, without its middle: a path says most at its end."""
    whole = Untrusted(text).one_line(len(text) + 1)
    first = limit // 3
    return whole if len(whole) <= limit else f"{whole[:first]}…{whole[first + 1 - limit :]}"


def _one_line(text: str, limit: int) -> str:
    return Untrusted(text).one_line(limit)

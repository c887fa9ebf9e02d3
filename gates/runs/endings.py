"""What the end of a gate's command means, by the conventions of exit statuses. ``docs/gates.md`` has the table."""

from __future__ import annotations

import signal
from typing import Final

from fleet.exits import Exit, Exited, Lost, Signalled, TimedOut
from fleet.verdict import Outcome

TEMPORARY: Final = 75
"""``EX_TEMPFAIL`` of ``sysexits.h``: the command asks to be run again."""

_CANNOT_RUN: Final = 126
_NOT_FOUND: Final = 127
_SHELL_SIGNAL: Final = 128
_WORDS: Final = {
    TEMPORARY: "a temporary failure, by the command's own word",
    _CANNOT_RUN: "the command cannot be executed",
    _NOT_FOUND: "the command was not found",
}


def outcome_of(exit_: Exit) -> Outcome:
    """The state that an end means. A timeout is what our supervisor decided, never a status that looks like one."""
    match exit_:
        case Exited(0):
            return Outcome.PASSED
        case Exited(code) if code in _WORDS:
            return Outcome.UNAVAILABLE
        case TimedOut():
            return Outcome.TIMED_OUT
        case Lost():
            return Outcome.LOST
        case Exited() | Signalled():
            return Outcome.FAILED


def words_for_end(exit_: Exit) -> str:
    """The end in words, with what its status means by convention."""
    if not isinstance(exit_, Exited):
        return str(exit_)
    meaning = _WORDS.get(exit_.code) or _signal(exit_.code - _SHELL_SIGNAL)
    return f"{exit_}: {meaning}" if meaning else str(exit_)


def temporary(exit_: Exit | None) -> bool:
    """Whether the same machine is worth another try."""
    return exit_ == Exited(TEMPORARY)


def _signal(number: int) -> str:
    """The signal that a shell reports for a command that it ran; empty: this is none."""
    try:
        return f"{signal.Signals(number).name}, as a shell says it"
    except ValueError:
        return ""

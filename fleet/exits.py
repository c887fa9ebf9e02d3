"""How a process ended, as a union: only ``Exited(0)`` is success.

An integer cannot say "we do not know". ``Lost`` can, and is never a pass and never a fail.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from fleet.errors import Malformed


@dataclass(frozen=True, slots=True)
class Exited:
    """The process called exit with ``code``."""

    code: int

    def __str__(self) -> str:
        return f"exit status {self.code}"


@dataclass(frozen=True, slots=True)
class Signalled:
    """The process was ended by the signal ``name`` (for example ``SIGKILL``)."""

    name: str

    def __str__(self) -> str:
        return f"killed by {self.name}"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The supervisor ended the process after ``after_us`` microseconds."""

    after_us: int

    def __str__(self) -> str:
        return f"timed out after {self.after_us / 1_000_000:.0f} s"


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody who may be believed saw how the process ended; ``why`` says what is missing."""

    why: str

    def __str__(self) -> str:
        return f"lost: {self.why}"


Exit = Exited | Signalled | TimedOut | Lost


def succeeded(exit_: Exit) -> bool:
    """True for ``Exited(0)`` and nothing else."""
    return exit_ == Exited(0)


def from_wait_status(raw: int) -> Exit:
    """The exit that a raw ``waitpid`` status (not an exit code) describes."""
    if os.WIFEXITED(raw):
        return Exited(os.WEXITSTATUS(raw))
    if os.WIFSIGNALED(raw):
        number = os.WTERMSIG(raw)
        try:
            return Signalled(signal.Signals(number).name)
        except ValueError:
            return Signalled(f"SIG{number}")
    return Lost(f"wait status {raw:#x} describes no end")


def to_json(exit_: Exit) -> dict[str, Any]:
    """The form a ledger event and a receipt carry, tagged by ``how``."""
    match exit_:
        case Exited(code):
            return {"how": "exited", "code": code}
        case Signalled(name):
            return {"how": "signalled", "signal": name}
        case TimedOut(after_us):
            return {"how": "timed-out", "after_us": after_us}
        case Lost(why):
            return {"how": "lost", "why": why}


def from_json(body: dict[str, Any]) -> Exit:
    """The inverse of :func:`to_json`. Raises ``Malformed`` for anything else."""
    match body:
        case {"how": "exited", "code": int(code)}:
            return Exited(code)
        case {"how": "signalled", "signal": str(name)}:
            return Signalled(name)
        case {"how": "timed-out", "after_us": int(after_us)}:
            return TimedOut(after_us)
        case {"how": "lost", "why": str(why)}:
            return Lost(why)
    raise Malformed(
        attempted="read an exit", on=repr(body)[:200], hint="the record was not written by this version"
    )

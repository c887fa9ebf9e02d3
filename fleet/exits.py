"""How a process ended, as a union; only ``Exited(0)`` is success.

An integer cannot express "unknown". ``Lost`` can: it is neither a pass nor a fail.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleet.bounds import Digest, Size


class Exited(Struct, frozen=True, forbid_unknown_fields=True, tag_field="how", tag="exited"):
    """The process called exit with ``code``."""

    code: int

    def __str__(self) -> str:
        return f"exit status {self.code}"


class Signalled(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="how", tag="signalled", rename={"name": "signal"}
):
    """The process was killed by the signal ``name`` (for example ``SIGKILL``)."""

    name: str

    def __str__(self) -> str:
        return f"killed by {self.name}"


class TimedOut(Struct, frozen=True, forbid_unknown_fields=True, tag_field="how", tag="timed-out"):
    """The supervisor ended the process after ``after_us`` microseconds."""

    after_us: int

    def __str__(self) -> str:
        return f"timed out after {self.after_us / 1_000_000:.0f} s"


class Lost(Struct, frozen=True, forbid_unknown_fields=True, tag_field="how", tag="lost"):
    """There is no trusted record of how the process ended; ``why`` says what is missing."""

    why: str

    def __str__(self) -> str:
        return f"lost: {self.why}"


Exit = Exited | Signalled | TimedOut | Lost

UNRECORDED: Final = Lost("the supervisor ended without an exit record")
RESTARTED: Final = Lost("its machine restarted")
"""Nothing of the process is left, and nothing hints at foul play: its work is kept, and it can be continued."""


_TAMPERED: Final = "tampered with: "


@dataclass(frozen=True, slots=True)
class Passed:
    """How many bytes went through a supervisor's hands, and their SHA-256 in hex."""

    bytes: Size
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Streams:
    """What a supervisor itself took from a process's output and gave to its input, if it had one."""

    said: Passed
    fed: Passed | None


def tampered(what: str) -> str:
    """Why a process is lost whose keeping at its machine somebody else changed."""
    return f"{_TAMPERED}{what}"


def is_tampered(exit_: Exit) -> bool:
    """Whether somebody changed what its machine keeps of a process."""
    return isinstance(exit_, Lost) and exit_.why.startswith(_TAMPERED)


def succeeded(exit_: Exit) -> bool:
    """True for ``Exited(0)`` and nothing else."""
    return exit_ == Exited(0)


def from_wait_status(raw: int) -> Exit:
    """The exit for a raw ``waitpid`` status (not an exit code)."""
    if os.WIFEXITED(raw):
        return Exited(os.WEXITSTATUS(raw))
    if os.WIFSIGNALED(raw):
        number = os.WTERMSIG(raw)
        try:
            return Signalled(signal.Signals(number).name)
        except ValueError:
            return Signalled(f"SIG{number}")
    return Lost(f"wait status {raw:#x} does not describe an end")


def to_json(exit_: Exit) -> dict[str, Any]:
    """The form in ledger events and receipts, tagged by ``how``."""
    body: dict[str, Any] = msgspec.to_builtins(exit_)
    return body

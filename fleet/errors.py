"""Errors that say what was attempted, on what, what to do, and whether trying again can help.

``bot`` renders them for people in one place (``bot/explain.py``); nothing else formats an error.
The three families are three different things and are never mixed: *misused or refused* (somebody must
change something), *unavailable* (the world is in the way), *a bug* (any other exception).
"""

from __future__ import annotations


class AirbossError(Exception):
    """Base of every error meant for a person.

    ``attempted`` is a verb phrase ("start the agent"), ``on`` names the thing (machine, file, ref),
    ``hint`` is the remedy, and ``retry`` says whether the same call may succeed later unchanged.
    ``status`` is the exit status of a command that ends with this error.
    """

    status = 2
    retry = False

    def __init__(self, *, attempted: str, on: str = "", hint: str = "", cause: str = "") -> None:
        self.attempted, self.on, self.hint, self.cause = attempted, on, hint, cause
        super().__init__(attempted, on, hint, cause)

    def __str__(self) -> str:
        where = f" ({self.on})" if self.on else ""
        why = f": {self.cause}" if self.cause else ""
        remedy = f". {self.hint}" if self.hint else ""
        return f"could not {self.attempted}{where}{why}{remedy}"


class Refused(AirbossError):
    """A rule says no; the same request will be refused again until something changes."""


class Misused(AirbossError):
    """The request itself is wrong: an unknown name, a bad argument, a broken configuration."""


class Malformed(Misused):
    """Bytes that should have a known shape do not have it."""


class Unavailable(AirbossError):
    """Something that is needed is not there now: a machine, a program, the disk, the controller."""

    status = 3
    retry = True


class Unreachable(Unavailable):
    """The link to a machine is down. Says nothing about the life of what runs there."""


class FenceLost(Unavailable):
    """The lease under an effect passed to somebody else; the effect did not happen."""

    retry = False

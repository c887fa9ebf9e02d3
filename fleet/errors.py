"""Errors that say what was attempted, on what, how to fix it, and whose they are.

The class says whose error it is, and that decides what follows::

    AirbossError
    ├── Refused                 a rule says no                          exit status 2
    │   └── RepositoryUnusable  what fleet.toml or airboss.toml says of a repository is wrong now   2
    ├── Misused                 the request itself is wrong             2
    │   ├── Malformed           bytes that should have a known shape    2
    │   └── Misconfigured       fleet.toml or .env lacks what an open task needs
    ├── Unavailable             something needed is not available: a program, a service   3
    │   ├── Unreachable         the link to a machine is down
    │   │   └── NotUsable       it answers, but our runner does not start there
    │   │       └── NotLetIn    nor are we let in, until a person sets that right
    │   ├── OriginAway          a repository on another machine does not answer
    │   ├── MachineFaulty       a machine's answer is malformed
    │   ├── TakenAway           the machine was a slot of a pool that was taken away
    │   ├── MachineFull         the disk on which an agent works is full
    │   └── DiskFull            the controller's own disk is full
    ├── StoreUnavailable        the store is away, busy or full         3
    ├── LeaseLost               a lease passed to another holder        3
    └── LeadershipLost          another controller leads                3

Any other exception is an internal error.

The rule for catching: **catch an error only where you own what it is about.**

- A step of a flight (``fleet/flight/flight.py``) catches ``Refused``, ``Misused`` and ``Unavailable``: the task
  ends or waits. It waits as long as ``Misconfigured``, ``Unreachable`` (but ``NotLetIn`` ends one that has not
  begun), ``MachineFaulty``, ``MachineFull`` or ``DiskFull`` lasts; once its session has begun, also as long as
  ``RepositoryUnusable`` or ``OriginAway`` does. After ``TakenAway`` the task ends as lost. After ``LeaseLost`` it
  repeats the step from the store.
- ``StoreUnavailable`` ends nothing. It propagates to the loop that started the work (a flight, or the supervisor),
  which waits with backoff and starts again from the store.
- ``LeadershipLost`` propagates to the supervisor and ends the controller with exit status 3.
- An error of the system that ``is_shortage`` (too many open files, no memory) makes a step of a flight wait.
- An internal error ends the task, message or component that it hit, with its traceback in the log.

``bot/explain.py`` renders errors for people; nothing else formats an error.
"""

from __future__ import annotations

import errno
from typing import Final

_SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS))


def is_shortage(error: BaseException) -> bool:
    """Whether this process, or its machine, has no file, memory or process to give for now. It is no bug."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORTAGES)


class AirbossError(Exception):
    """Base of every error that a person may see.

    ``attempted`` is a verb phrase ("start the agent"), ``on`` names the thing (machine, file, ref), ``hint`` says
    how to fix it, and ``retry`` whether the same call may succeed later unchanged. ``status`` is the exit status of
    a command that ends with this error.
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
    """A rule forbids it; the same request fails again until something changes."""


class RepositoryUnusable(Refused):
    """A repository cannot be used as ``fleet.toml``, its base branch and the ``airboss.toml`` there are now.

    It says nothing about a change, and a person may correct it at any time.
    """

    @classmethod
    def of(cls, error: AirbossError) -> RepositoryUnusable:
        """The same error, where it is about a repository."""
        if isinstance(error, cls):
            return error
        return cls(attempted=error.attempted, on=error.on, hint=error.hint, cause=error.cause)


class Misused(AirbossError):
    """The request itself is wrong: an unknown name, a bad argument, a broken configuration."""


class Malformed(Misused):
    """Bytes that do not have the expected shape."""


class Misconfigured(Misused):
    """``fleet.toml`` or ``.env`` lacks what an open task needs; it may be added again later."""

    retry = True


class Unavailable(AirbossError):
    """Something needed is not available now: a machine, a program, a service, the controller."""

    status = 3
    retry = True


class Unreachable(Unavailable):
    """The link to a machine is down. Processes there may still run."""


class NotUsable(Unreachable):
    """The machine answers, but our runner does not start in that login."""


class NotLetIn(NotUsable):
    """We are not let in until a person sets that right: a host key that changed, a key that it does not take."""

    status = 2


class OriginAway(Unavailable):
    """A repository on another machine does not answer, or does not know the controller."""


class MachineFaulty(Unavailable):
    """A machine's answer is malformed. Other machines are not affected."""


class TakenAway(Unavailable):
    """The machine was a slot of a pool, and was taken away: what ran there is lost."""

    retry = False


class MachineFull(Unavailable):
    """The disk on which an agent works is full. Its work is still there."""


class DiskFull(Unavailable):
    """The controller cannot write a file: its disk is full."""


class StoreUnavailable(AirbossError):
    """The store is away, busy or full. Everything that needs it waits; nothing ends because of it."""

    status = 3
    retry = True


class LeaseLost(AirbossError):
    """The lease required for an effect passed to another holder; the effect did not happen."""

    status = 3


class LeadershipLost(AirbossError):
    """Another controller leads this fleet; this one must stop acting."""

    status = 3

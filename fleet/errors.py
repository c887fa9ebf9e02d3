"""Errors that say what was attempted, on what, what to do, and whose they are.

Whose error it is decides what follows, so the classes are never mixed::

    AirbossError
    ├── Refused                 a rule says no                          exit status 2
    ├── Misused                 the request itself is wrong             2
    │   ├── Malformed           bytes that should have a known shape    2
    │   └── Misconfigured       fleet.toml or .env lacks what an open task needs
    ├── Unavailable             the world is in the way: a program, a service, the base branch   3
    │   ├── Unreachable         the link to a machine is down
    │   ├── MachineFaulty       a machine's answer is malformed
    │   └── DiskFull            the controller's own disk is full
    ├── StoreUnavailable        the store is away, busy or full         3
    ├── LeaseLost               a lease passed to another holder        3
    └── LeadershipLost          another controller leads                3

Any other exception is a bug of ours.

The one rule for who catches what: **catch an error only where you own what it is about.**

- A step of a flight (``fleet/flight/flight.py``) catches ``Refused``, ``Misused`` and ``Unavailable``: the task
  ends, or waits. It waits as long as ``Misconfigured``, ``Unreachable``, ``MachineFaulty`` and ``DiskFull`` last.
  It does the step again from the store after ``LeaseLost``.
- ``StoreUnavailable`` is nobody's to end something by. It rises to the loop that began the work (a flight, or the
  supervisor), which waits with backoff and begins again from the store.
- ``LeadershipLost`` rises to the supervisor and ends the controller, exit status 3.
- A bug ends the one task, message or component that it hit, with its traceback in the log.

``bot`` renders them for people in one place (``bot/explain.py``); nothing else formats an error.
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


class Misconfigured(Misused):
    """``fleet.toml`` or ``.env`` does not have what an open task needs, and may have it again later."""

    retry = True


class Unavailable(AirbossError):
    """Something that is needed is not there now: a machine, a program, a service, the controller."""

    status = 3
    retry = True


class Unreachable(Unavailable):
    """The link to a machine is down. Says nothing about the life of what runs there."""


class MachineFaulty(Unavailable):
    """A machine's answer does not have the shape it must have. The others go on."""


class DiskFull(Unavailable):
    """A file of the controller's cannot be written: its disk is full."""


class StoreUnavailable(AirbossError):
    """The store is away, busy or full. Everything that needs it waits; nothing ends by it."""

    status = 3
    retry = True


class LeaseLost(AirbossError):
    """The lease under an effect passed to another holder; the effect did not happen."""

    status = 3


class LeadershipLost(AirbossError):
    """Another controller leads this fleet; nothing of this one's may happen any more."""

    status = 3

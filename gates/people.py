"""Who may do what: three roles, a right for each kind of command, and "no" to everything not named here.

A person is a platform's own user id (``fleet.model.PersonId``), never a display name or a channel, so renaming
oneself gains nothing. Whoever may open the control socket (mode 0600, peer uid checked by the server) is the
owner of this controller, and therefore its admin.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fleet.errors import Refused
from fleet.model import PersonId

CONSOLE = "console"


class Right(StrEnum):
    """What a command asks of the person who gives it."""

    SEE = "see"  # status, digest, receipts, diffs
    RUN = "run"  # ask for a task, try one again
    STEER = "steer"  # speak to a running agent
    STOP = "stop"  # end a session
    APPROVE = "approve"  # answer an agent's in-band question
    RELEASE = "release"  # let a held change land
    MANAGE = "manage"  # change machines and people


class Role(StrEnum):
    """Each role has every right of the one before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_VIEWER = frozenset({Right.SEE})
_OPERATOR = _VIEWER | {Right.RUN, Right.STEER, Right.STOP, Right.APPROVE}

#: Releasing a hold means "a change to what judges the changes may land": an admin's word, not an operator's.
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _OPERATOR | {Right.RELEASE, Right.MANAGE},
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the operator named, or the console's owner."""

    name: str
    role: Role


class NamedPerson(Protocol):
    """What is read of a ``[[people]]`` entry."""

    @property
    def name(self) -> str:
        """How the person is called in cards."""

    @property
    def role(self) -> str:
        """One of ``viewer``, ``operator``, ``admin``."""

    @property
    def ids(self) -> Iterable[str]:
        """``platform:workspace:user``, one for each chat the person uses."""


class NamesPeople(Protocol):
    """What is read of ``fleet.toml`` here."""

    @property
    def people(self) -> Iterable[NamedPerson]:
        """Everybody the operator named."""


def console_owner() -> PersonId:
    """The id of whoever runs this controller, on its own console."""
    return PersonId(CONSOLE, socket.gethostname(), pwd.getpwuid(os.getuid()).pw_name)


def who(config: NamesPeople, person: PersonId) -> Person | None:
    """The person behind a platform id; ``None`` for a stranger."""
    wanted = str(person)
    for entry in config.people:
        if wanted in entry.ids:
            return Person(entry.name, Role(entry.role))
    if person == console_owner():
        return Person(person.user, Role.ADMIN)
    return None


def may(person: Person | None, right: Right) -> bool:
    """Whether somebody has a right. A stranger has none."""
    return person is not None and right in RIGHTS[person.role]


def demand(person: Person | None, right: Right, *, attempted: str) -> Person:
    """The person, when they may. Raises ``Refused`` that names the role it takes and how to get it."""
    if person is not None and may(person, right):
        return person
    lowest = next(role for role in Role if right in RIGHTS[role])
    raise Refused(
        attempted=attempted,
        on=person.name if person else "somebody fleet.toml does not name",
        cause=f"this takes the role {lowest}" + (f"; yours is {person.role}" if person else ""),
        hint="an admin can change that with: airboss people add NAME --role ROLE --id PLATFORM:WORKSPACE:USER",
    )

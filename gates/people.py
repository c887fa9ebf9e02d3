"""Who may do what: three roles, a right for each kind of command, and "no" to everything not listed here.

A person is a platform's own user id (``fleet.model.PersonId``), never a display name or a channel, so renaming
oneself gains nothing. On the console it is ``console:HOST:LOGIN``, by the kernel's word for who opened the control
socket. While no such person of this machine is listed, the controller's own login is admin.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Protocol

from fleet.errors import Refused
from fleet.logins import login_name
from fleet.model import ChatRef, PersonId

CONSOLE = "console"
CONSOLE_MAIN = ChatRef(CONSOLE, "main")
_TWO: Final = 2


class Right(StrEnum):
    """What a command requires of the person who gives it."""

    SEE = "see"  # status, digest, receipts, diffs
    RUN = "run"  # start a task, retry one
    STEER = "steer"  # send messages to a running agent
    STOP = "stop"  # end a session
    DELETE = "delete"  # remove work that did not land
    APPROVE = "approve"  # answer an agent's in-band question
    RELEASE = "release"  # let a held change land
    OVERRIDE = "override"  # let a change land although a gate did not pass
    MANAGE = "manage"  # change machines and people


class Role(StrEnum):
    """Each role has every right of the one before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_VIEWER = frozenset({Right.SEE})
_OPERATOR = _VIEWER | {Right.RUN, Right.STEER, Right.STOP, Right.DELETE, Right.APPROVE}

#: Releasing a hold may change the gates themselves, so it takes an admin, not an operator.
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _OPERATOR | {Right.RELEASE, Right.OVERRIDE, Right.MANAGE},
}


@dataclass(frozen=True, slots=True)
class Person:
    """A person listed by the operator, or the console's owner."""

    name: str
    role: Role


class NamedPerson(Protocol):
    """The fields of a ``[[people]]`` entry."""

    @property
    def name(self) -> str:
        """The person's name on cards."""

    @property
    def role(self) -> str:
        """One of ``viewer``, ``operator``, ``admin``."""

    @property
    def ids(self) -> Iterable[str]:
        """``platform:workspace:user``, one for each chat account of the person."""


class NamesPeople(Protocol):
    """The part of ``fleet.toml`` that this module needs."""

    @property
    def people(self) -> Iterable[NamedPerson]:
        """Everyone whom the operator listed."""

    @property
    def self_approval(self) -> bool | None:
        """Whether people may release what they asked for; ``None``: while there is only one who could."""


def console_person(login: str) -> PersonId:
    """The id of a login of this machine, on this controller's console."""
    return PersonId(CONSOLE, socket.gethostname(), login)


def console_owner() -> PersonId:
    """The id of the login that runs this controller."""
    return console_person(login_name(os.getuid()))


def console_chat(person: PersonId) -> ChatRef:
    """The conversation of a person on the console; that of the controller's own login has a name of its own."""
    return CONSOLE_MAIN if person == console_owner() else ChatRef(CONSOLE, f"{person.user}@{person.workspace}")


def owner_is_admin(config: NamesPeople) -> bool:
    """Whether the controller's own login is an admin: while no console person of this machine is listed."""
    here = f"{CONSOLE}:{socket.gethostname()}:"
    return not any(id_.startswith(here) for entry in config.people for id_ in entry.ids)


def who(config: NamesPeople, person: PersonId) -> Person | None:
    """The person with a platform id; ``None`` for a stranger."""
    wanted = str(person)
    for entry in config.people:
        if wanted in entry.ids:
            return Person(entry.name, Role(entry.role))
    if person == console_owner() and owner_is_admin(config):
        return Person(person.user, Role.ADMIN)
    return None


def may(person: Person | None, right: Right) -> bool:
    """Whether a person has a right. Strangers have none."""
    return person is not None and right in RIGHTS[person.role]


def people(config: NamesPeople, right: Right) -> list[NamedPerson]:
    """Everyone in ``fleet.toml`` who has a right, each name once."""
    able = {entry.name: entry for entry in config.people if right in RIGHTS[Role(entry.role)]}
    return list(able.values())


class OwnChange(Enum):
    """Whether a person decides about a change that they asked for."""

    NO = "no"
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


def own_change(
    config: NamesPeople, right: Right, person: Person, requester: str, by_hand: Iterable[str] = ()
) -> OwnChange:
    """Whether this person, who has the right, decides about their own change, and may. ``by_hand``: who else made
    it: those who worked in the agent's session."""
    if person.name not in {_name(config, author) for author in (requester, *by_hand)}:
        return OwnChange.NO
    allowed = config.self_approval
    if allowed is None:
        allowed = len(people(config, right)) < _TWO
    return OwnChange.ALLOWED if allowed else OwnChange.FORBIDDEN


def _name(config: NamesPeople, author: str) -> str:
    try:
        known = who(config, PersonId.parse(author))
    except ValueError:
        return ""
    return known.name if known else ""


def own_change_default_turned(config: NamesPeople) -> bool:
    """Whether nobody may release their own change because there are others, and nobody wrote otherwise."""
    return config.self_approval is None and len(people(config, Right.RELEASE)) >= _TWO


def demand_not_own(
    config: NamesPeople,
    right: Right,
    person: Person,
    requester: str,
    *,
    attempted: str,
    by_hand: Iterable[str] = (),
) -> bool:
    """Whether the decision is about the person's own change, and is to be marked so. Raises ``Refused`` where
    somebody else has to decide."""
    own = own_change(config, right, person, requester, by_hand)
    if own is OwnChange.FORBIDDEN:
        others = [each.name for each in people(config, right) if each.name != person.name]
        raise Refused(
            attempted=attempted,
            on=person.name,
            cause="it is your own change, so somebody else decides about it",
            hint=f"These people can: {', '.join(others[:6])}. `self_approval = true` in fleet.toml lets you."
            if others
            else "`self_approval = false` in fleet.toml forbids it, and nobody else has this right.",
        )
    return own is OwnChange.ALLOWED


def demand(person: Person | None, right: Right, *, attempted: str) -> Person:
    """Returns the person if they have the right. Otherwise raises ``Refused``, naming the needed role and how to
    get it."""
    if person is not None and may(person, right):
        return person
    lowest = next(role for role in Role if right in RIGHTS[role])
    raise Refused(
        attempted=attempted,
        on=person.name if person else "someone not in fleet.toml",
        cause=f"this needs the role {lowest}" + (f"; yours is {person.role}" if person else ""),
        hint="an admin can change that with: airboss people add NAME --role ROLE --id PLATFORM:WORKSPACE:USER",
    )

"""What the two databases' own errors mean: a store that is away, a wrong URL, or a bug of ours."""

from __future__ import annotations

import sqlite3
from typing import Final

from fleet.errors import AirbossError, Misused, StoreUnavailable

WAIT_SECONDS: Final = 10
"""For another writer, before the store counts as unavailable."""

SQLITE_HINTS: Final = {
    "SQLITE_FULL": "The disk is full. Free some space; nothing was written",
    "SQLITE_CORRUPT": "Stop Airboss and restore the file from a backup; `sqlite3 FILE .recover` may save a part",
    "SQLITE_NOTADB": "This file is not an Airboss store. Check the path, or restore it from a backup",
    "SQLITE_READONLY": "Make the file and its directory writable for the user that runs Airboss",
    "SQLITE_CANTOPEN": "Check that the path is a file in a directory that the user who runs Airboss may write",
    "SQLITE_PERM": "Make the file and its directory writable for the user that runs Airboss",
    "SQLITE_IOERR": "The disk reported an error. Check the system log and the free space",
    "SQLITE_BUSY": f"Another process wrote for over {WAIT_SECONDS} s. Check for a second controller or a backup",
    "SQLITE_LOCKED": "Another process holds the store. Check for a second controller or a backup",
}


def of_psycopg(error: BaseException) -> bool:
    """Whether it is PostgreSQL's own, from a statement that went to the driver. Not imported: it is optional."""
    return type(error).__module__.partition(".")[0] == "psycopg"


def refused_a_write(error: BaseException) -> bool:
    """Whether the database, or this connection, takes no writes."""
    refused = getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY"
    return refused or getattr(error, "sqlstate", "") == "25006"


_AWAY: Final = ("08", "40", "53", "55", "57", "58", "XX", "25006", "25P03", "25P04")
_NO_RIGHT: Final = "42501"
_NOT_AS_WE_LEFT_IT: Final = (_NO_RIGHT, "42P01", "42703", "3F000", "26000", "42P05", "0A000")
"""A right was taken away; a table, column or schema is gone, or of another type; what our session had is gone, as
behind a pooler that shares sessions."""
OF_A_SESSION: Final = (*_NOT_AS_WE_LEFT_IT, "25006")
"""What a new connection may not meet any more: a session keeps the settings and the server that it began with."""


def translated(error: BaseException, attempted: str, name: str, opening: bool) -> AirbossError | None:
    """The error for a person; ``None`` for a bug."""
    if isinstance(error, sqlite3.Error):
        kind = getattr(error, "sqlite_errorname", "")
        hint = next((hint for prefix, hint in SQLITE_HINTS.items() if kind.startswith(prefix)), "")
        return _unavailable(attempted, name, error, hint) if hint else None
    # psycopg has no SQLSTATE when the server was not reached. Classes: 08 link, 53 resources, 57 operator, 58
    # system, 28 login, 3D no such database; 40 a deadlock or failover; 55 a lock not had in time; XX corruption;
    # 25P03 and 25P04 a transaction that its process left open for too long, asleep or frozen.
    state = getattr(error, "sqlstate", None)
    if state is None and any(kind.__name__ == "OperationalError" for kind in type(error).__mro__):
        return _unavailable(attempted, name, error, "Check that PostgreSQL runs and that the URL is right")
    if state in _NOT_AS_WE_LEFT_IT and not (opening and state == _NO_RIGHT):
        hint = "Its role lost a right, another program changed the schema, or a pooler shares sessions: undo that"
        return _unavailable(attempted, name, error, hint)
    if state is not None and (state[:2] in ("28", "3D") or state == _NO_RIGHT):
        hint = "Check user, password and database in the URL"
        if state == _NO_RIGHT:
            hint = "Make that role the owner of its database: ALTER DATABASE name OWNER TO role"
        if not opening:
            return _unavailable(attempted, name, error, hint)
        return Misused(attempted=attempted, on=name, cause=_first(error), hint=hint)
    if state is not None and (state in _AWAY or state[:2] in _AWAY):
        return _unavailable(attempted, name, error, "Check PostgreSQL's log; the same call may work later")
    return None


def _unavailable(attempted: str, name: str, error: BaseException, hint: str) -> AirbossError:
    return StoreUnavailable(attempted=attempted, on=name, cause=_first(error), hint=hint)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

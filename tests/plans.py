"""Looks at how SQLite would run each statement of the store while the tests run: nothing that grows is read whole.

A walk over a growing table is a problem, and so is a sort, unless what is sorted belongs to one thing or is open.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event

ROOT = Path(__file__).resolve().parent.parent

#: Tables that stay small, and what SQLite calls a walk over its own intermediate rows. Every other table grows.
SMALL = frozenset(
    {
        "meta", "settings", "leases", "ledger_frontier", "tool_calls", "alembic_version", "pauses", "reservations",
        "landing_places", "base_tips", "served", "controllers", "leads", "left_running",
    }
)  # fmt: skip
_OWN = re.compile(r"SCAN (?:anon_\d+|CONSTANT|\()")

#: What reads whole tables because that is its purpose.
WHOLE = ("fleet/store/migrations/", "tests/recount.py")

#: An index search for one value of these finds few rows, however old the store gets: what belongs to one session,
#: task and so on, and what is open. Only then may the rows found be sorted.
FEW = frozenset(
    {
        "rowid", "id", "session", "task", "turn", "pipe", "put", "commit", "card_key", "command", "ended_us",
        "state", "token", "message_id", "decision", "day", "number",
    }
)  # fmt: skip

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_SCAN = re.compile(r"SCAN (\w+)")
_SEARCH = re.compile(r"SEARCH \w+ .*?\((.*)\)")
_ONE = re.compile(r"(\w+)=\?")
_STRETCH = re.compile(r"(\w+)>\? AND \1<\?")


def problems(plan: list[str], statement: str) -> list[str]:
    """The lines of a plan that cost more as the store grows."""
    stops_early = " LIMIT " in f"{statement} " and "WHERE" not in statement
    few = all(_few(found.group(1)) for line in plan if (found := _SEARCH.match(line)))
    return [
        line
        for line in plan
        if "AUTOMATIC" in line
        or ("TEMP B-TREE" in line and not few)
        or ((scan := _SCAN.match(line)) and scan.group(1) not in SMALL and not _OWN.match(line) and not stops_early)
    ]


def _few(searched: str) -> bool:
    return bool(FEW.intersection(_ONE.findall(searched)) or _STRETCH.search(searched))


class Watch:
    """The statements that the product's code ran, each with what is wrong with its plan."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}
        self.ran: set[str] = set()

    def look(self, connection: sqlite3.Connection, statement: str, parameters: Any) -> None:
        """Explains a statement that was not seen before."""
        if not _STATEMENT.match(statement):
            return
        if statement not in self.seen:
            if not _ours():
                return
            try:
                self.seen[statement] = problems(explained(connection, statement, parameters), statement)
            except sqlite3.Error:  # the test's database is damaged or busy: the statement itself will say so
                return
        self.ran.add(statement)

    def found(self) -> list[str]:
        """The statements since the last call that cost more as the store grows, with the lines that say so."""
        ran, self.ran = self.ran, set()
        return [f"{'; '.join(self.seen[statement])}\n{statement}" for statement in ran if self.seen[statement]]


def explained(connection: sqlite3.Connection, statement: str, parameters: Any) -> list[str]:
    """SQLite's plan, line by line."""
    cursor = connection.execute("EXPLAIN QUERY PLAN " + statement, parameters)
    return [str(row[3]) for row in cursor.fetchall()]


def _ours() -> bool:
    """Whether the store's code runs this statement, and not a test."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and ".venv" not in path and not path.endswith("tests/plans.py"):
            inside = path[len(str(ROOT)) + 1 :]
            return inside.startswith("fleet/") and not any(map(inside.startswith, WHOLE))
        frame = frame.f_back
    return False


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Every statement on SQLite within the block is looked at."""

    def before(
        connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if connection.dialect.name == "sqlite":
            first = parameters[0] if many else parameters
            watch.look(cursor.connection, statement, first)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)

"""What the store keeps beside the ledger, recomputed from the ledger alone: Merkle tree and tool calls.

A test compares this with what is kept; anybody who doubts a figure can do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import select

from fleet.events import Recorded
from fleet.events.merkle import Frontier, Node
from fleet.figures import ToolCallCounter
from fleet.store import ledger, tree
from fleet.store.core import Tx
from fleet.store.rollups import call_key
from fleet.store.tables import ledger_nodes, open_calls, tool_calls

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Derived:
    """``calls`` by UTC day and outcome, ``open_calls`` as pairs of session and call, and the tree."""

    calls: dict[tuple[int, str], int]
    open_calls: set[tuple[str, str]]
    frontier: Frontier
    nodes: set[Node]


def kept(tx: Tx) -> Derived:
    """What the store has."""
    connection = tx.connection
    return Derived(
        {(row.day, row.outcome): row.calls for row in connection.execute(select(tool_calls))},
        {(row.session, row.call) for row in connection.execute(select(open_calls))},
        tree.frontier(tx),
        {Node(row.level, row.position, bytes(row.hash)) for row in connection.execute(select(ledger_nodes))},
    )


def computed(tx: Tx) -> Derived:
    """What it should have, computed from the whole ledger, page by page."""
    counter, frontier, nodes = ToolCallCounter(), Frontier(), set[Node]()
    for page in _pages(tx):
        counter.fold(page)
        nodes.update(chain.from_iterable(frontier.add(recorded.leaf) for recorded in page))
    calls = {(day, outcome): calls for day, counts in counter.days.items() for outcome, calls in counts.items()}
    open_ = {(session, call_key(call)) for session, calls in counter.open_calls.items() for call in calls}
    return Derived({key: count for key, count in calls.items() if count}, open_, frontier, nodes)


def _pages(tx: Tx) -> Iterator[list[Recorded]]:
    after = 0
    while page := ledger.read(tx, after=after, limit=_PAGE):
        yield page
        after = page[-1].seq

"""What the store keeps beside the ledger, recomputed from the ledger alone: Merkle tree, tool calls, and use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import select

from fleet.budgets import Scope
from fleet.events import Recorded
from fleet.events.merkle import Frontier, Node
from fleet.figures import ToolCallCounter
from fleet.store import ledger, tree
from fleet.store.core import Tx
from fleet.store.figure_tables import open_calls, tool_calls
from fleet.store.rollups import call_key
from fleet.store.tables import ledger_nodes
from fleet.store.usage import FIELDS
from fleet.store.usage_tables import budget_grants, unpriced_usage, usage
from fleet.usage import Usage, UsageCounter, UsageKey

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Derived:
    """``calls`` by UTC day and outcome, ``open_calls`` as pairs of session and call, the tree; what was ``used``,
    the tokens by session and quarter of an hour that have no price yet, and what people added to limits."""

    calls: dict[tuple[int, str], int]
    open_calls: set[tuple[str, str]]
    frontier: Frontier
    nodes: set[Node]
    used: dict[UsageKey, Usage]
    unpriced: dict[tuple[str, int], tuple[int, int]]
    grants: dict[tuple[str, str, str, int], int]


def kept(tx: Tx) -> Derived:
    """What the store has."""
    connection = tx.connection
    return Derived(
        {(row.day, row.outcome): row.calls for row in connection.execute(select(tool_calls))},
        {(row.session, row.call) for row in connection.execute(select(open_calls))},
        tree.frontier(tx),
        {Node(row.level, row.position, bytes(row.hash)) for row in connection.execute(select(ledger_nodes))},
        _used(tx),
        {(row.session, row.slot): (row.input, row.output) for row in connection.execute(select(unpriced_usage))},
        {(*names, slot): amount for *names, slot, amount in connection.execute(select(budget_grants))},
    )


def _used(tx: Tx) -> dict[UsageKey, Usage]:
    found = tx.connection.execute(select(usage)).mappings()
    rows = {
        UsageKey(Scope(row["scope"]), row["name"], row["slot"], row["agent"]): Usage(
            *(row[name] for name in FIELDS)
        )
        for row in found
    }
    return {key: used for key, used in rows.items() if used}


def computed(tx: Tx) -> Derived:
    """What it should have, computed from the whole ledger, page by page."""
    counter, frontier, nodes, use = ToolCallCounter(), Frontier(), set[Node](), UsageCounter()
    for page in _pages(tx):
        counter.fold(page)
        use.fold(page)
        nodes.update(chain.from_iterable(frontier.add(recorded.leaf) for recorded in page))
    calls = {(day, outcome): calls for day, counts in counter.days.items() for outcome, calls in counts.items()}
    open_ = {(session, call_key(call)) for session, calls in counter.open_calls.items() for call in calls}
    return Derived(
        {key: count for key, count in calls.items() if count},
        open_,
        frontier,
        nodes,
        {key: used for key, used in use.used.items() if used},
        use.unpriced,
        dict(use.grants),
    )


def _pages(tx: Tx) -> Iterator[list[Recorded]]:
    after = 0
    while page := ledger.read(tx, after=after, limit=_PAGE):
        yield page
        after = page[-1].seq

"""What the store keeps beside the ledger is what the ledger gives, whatever happened, on both databases."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from fleet.events import (
    AgentSaid,
    Event,
    PipeEnded,
    Refs,
    Source,
    ToolCallEnded,
    ToolCallStarted,
    leaf_hash,
    merkle,
)
from fleet.events.codec import Unwritten, encode_all
from fleet.exits import Exited
from fleet.figures import DAY_US
from fleet.store import databases, ledger, rehash, rollups, tables, tree
from fleet.store.core import Store, Tx
from fleet.store.ledger import Entry
from tests import recount
from tests.proofs import consistency_proof, inclusion_proof

ROOT = Path(__file__).resolve().parents[2]


def entry(event: Event, session: str = "t1.1") -> Entry:
    return Entry(event, "agent:a", Source.AGENT, Refs(task=session.split(".", maxsplit=1)[0], session=session))


def words(count: int) -> list[Entry]:
    return [entry(AgentSaid(str(number))) for number in range(count)]


def reference(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return merkle.node_hash(reference(leaves[:split]), reference(leaves[split:]))


def test_the_root_is_the_reference_at_every_size_up_to_300(store: Store) -> None:
    for _ in range(300):
        with store.transaction() as tx:
            ledger.append_all(tx, words(1))
            frontier = tree.frontier(tx)
            leaves = tree.leaves(tx, 0, frontier.size)
        assert frontier.root() == reference(leaves)
        assert len(frontier.hashes) == frontier.size.bit_count()
    with store.transaction() as tx:
        assert [tree.root_at(tx, size) for size in range(301)] == [reference(leaves[:size]) for size in range(301)]
        assert recount.kept(tx) == recount.computed(tx)


def test_the_root_is_the_reference_at_random_sizes_of_a_larger_ledger(store: Store) -> None:
    chance = random.Random(6962)
    with store.transaction() as tx:
        while ledger.size(tx) < 3_000:
            ledger.append_all(tx, words(chance.randint(1, 400)))
    with store.transaction() as tx:
        size = ledger.size(tx)
        leaves = tree.leaves(tx, 0, size)
        for each in (size, 256, 512, 2_560, *(chance.randint(1, size) for _ in range(30))):
            assert tree.root_at(tx, each) == reference(leaves[:each]), each
            read = rehash.page(tx, merkle.Frontier(), each)
            assert read.damage is None and read.frontier.root() == reference(leaves[:each]), each
            assert rehash.first_changed_subtree(tx, read.nodes) is None
        assert recount.kept(tx) == recount.computed(tx)
        pairs = [(256, 512), (257, 2_000), (1, size), (size, size), (128, 256), (383, 384), (2_559, 2_560)]
        for new in (chance.randint(1, size) for _ in range(30)):
            pairs.append((chance.randint(1, new), new))
        for old, new in pairs:
            assert tree.consistency(tx, old, new) == consistency_proof(old, leaves[:new]), (old, new)
            assert tree.inclusion(tx, old - 1, new) == inclusion_proof(old - 1, leaves[:new]), (old, new)
        with pytest.raises(ValueError, match=str(size)):
            tree.root_at(tx, size + 1)
        with pytest.raises(ValueError, match="no"):
            tree.root_at(tx, size * 256)


def test_subtrees_of_more_levels_are_found_again() -> None:
    """Larger than a test can append: the subtrees alone, as :func:`tree.root_at` reads them."""
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]
    frontier, nodes = merkle.Frontier(), {}
    for leaf in leaves:
        nodes.update({(node.level, node.position): node.hash for node in frontier.add(leaf)})
    built = merkle.Frontier()
    built.add_subtree(16, nodes[16, 0])
    for position in range(256, 70_000 >> 8):
        built.add_subtree(8, nodes[8, position])
    for leaf in leaves[built.size :]:
        built.add(leaf)
    assert built == frontier
    assert merkle.Frontier.load(frontier.size, frontier.dump()) == frontier


def test_a_rolled_back_append_leaves_the_tree_and_the_figures_as_they_were(store: Store) -> None:
    with store.transaction() as tx:
        ledger.append_all(tx, [*words(254), entry(ToolCallStarted("c", "Bash", "x"))])
        before = recount.kept(tx)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        ledger.append_all(tx, [*words(300), entry(ToolCallEnded("c", "ok", 0, ""))])
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert recount.kept(tx) == before
        ledger.append_all(tx, words(3))
        assert recount.kept(tx) == recount.computed(tx)
        assert tree.root_at(tx, 258) == reference(tree.leaves(tx, 0, 258))


CALLS = ["c1", "c2", "c3", "nul\x00", "x" * 5_000]


def history(chance: random.Random, size: int) -> list[Entry]:
    """Calls that begin twice, end twice or never, of several sessions, whose processes end at any time."""
    makers: list[Callable[[], Event]] = [
        lambda: ToolCallStarted(chance.choice(CALLS), "Bash", "x"),
        lambda: ToolCallEnded(chance.choice(CALLS), chance.choice(["ok", "failed", "denied", "odd"]), None, ""),
        lambda: AgentSaid("well"),
    ]
    ended: Event = PipeEnded("p", Exited(0), 0, True, 0)
    return [
        entry(ended if chance.random() < 0.05 else chance.choice(makers)(), chance.choice(["t1.1", "t1.2", "t2.1"]))
        for _ in range(size)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_counted_tool_calls_are_those_of_the_ledger(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        with store.transaction() as tx:
            tx._now_us = 1_795_000_000_000_000 + chance.randint(0, 40) * DAY_US  # the store's clock, on another day
            ledger.append_all(tx, history(chance, chance.randint(1, 60)))
    with store.transaction() as tx:
        kept = recount.kept(tx)
        assert kept == recount.computed(tx)
        days = [day for day, _ in kept.calls]
        for now in (min(days), max(days), max(days) + 27):
            inside = {key: calls for key, calls in kept.calls.items() if now - 28 < key[0] <= now}
            found = rollups.window(tx, now * DAY_US + 5)
            for outcome in ("ok", "failed", "denied", "unfinished"):
                expected = sum(calls for (_, name), calls in inside.items() if name == outcome)
                assert getattr(found, outcome) == expected


def test_a_store_of_before_gets_its_tree_and_its_figures(store_url: str) -> None:
    database = databases.connect(store_url, create=True)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "fleet/store/migrations"))
    with database.writer.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    chance, made = random.Random(1), []
    with database.writer.begin() as connection:
        for seq, each in enumerate(history(chance, 700), start=1):
            at = 1_795_000_000_000_000 + seq * DAY_US // 50
            (recorded,) = encode_all(
                [Unwritten(seq, f"{seq:032x}", at, each.actor, each.refs, each.source, each.event)]
            )
            made.append(dict(zip(ledger.COLUMNS, ledger.row(recorded), strict=True)))
        connection.execute(insert(tables.ledger), made)
    database.dispose()
    with Store.open(store_url) as store, store.transaction() as tx:
        assert recount.kept(tx) == recount.computed(tx)
        assert recount.kept(tx).calls and recount.kept(tx).open_calls
        ledger.append_all(tx, history(chance, 100))
        assert recount.kept(tx) == recount.computed(tx)
        assert tree.root_at(tx, 700) == reference([row["leaf"] for row in made])


def test_a_tree_that_does_not_fit_the_ledger_stops_the_append(store: Store) -> None:
    def lose(tx: Tx) -> None:
        tree.keep(tx, merkle.Frontier(1, [b"x" * 32]), [])

    with store.transaction() as tx:
        ledger.append_all(tx, words(2))
        lose(tx)
    with pytest.raises((DBAPIError, sqlite3.Error, psycopg.Error), match="no gaps"), store.transaction() as tx:
        ledger.append_all(tx, words(1))

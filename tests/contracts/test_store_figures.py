"""The figures that are kept while events are appended are those that the events give, on both databases."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fleet.events import (
    AgentSaid,
    CallUnobserved,
    Event,
    GateClosed,
    GateOpened,
    PipeEnded,
    Refs,
    Source,
    TaskMoved,
    ToolCallEnded,
    ToolCallEndedV2,
    ToolCallStarted,
    ToolCallStartedV2,
    UsageReported,
)
from fleet.exits import Exited
from fleet.figures import DAY_US
from fleet.range_figures import Period
from fleet.reading_figures import figures_in, figures_of, kept_figures
from fleet.store import day_figures, ledger, tree
from fleet.store.core import Store
from fleet.store.ledger import Entry
from fleet.store.recent import numbers_in
from gates.receipts import day as days

START = date(2026, 11, 20)
START_US = Period.of(START, START, ZoneInfo("UTC")).from_us
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")]
ENDED = PipeEnded("p", Exited(0), 0, True, 0)


def opened(run: str) -> GateOpened:
    fields: dict[str, Any] = {name: "" for name in GateOpened.__dataclass_fields__ if name not in ("KIND", "V")}
    return GateOpened(**{**fields, "argv": (), "gate": run})


def closed(outcome: str) -> GateClosed:
    fields: dict[str, Any] = {name: "" for name in GateClosed.__dataclass_fields__ if name not in ("KIND", "V")}
    return GateClosed(**{**fields, "outcome": outcome})


def imported(chance: random.Random, machine: str, begun: list[tuple[str, str]]) -> list[Entry]:
    """Calls of an import, each of which begins once: with the end behind the start, without, or with that of an
    earlier one between."""
    refs = Refs(session=f"claude:{chance.choice('xyz')}", machine=machine)
    call, at = f"i{chance.randrange(2**40)}", START_US + chance.randint(-DAY_US, 6 * DAY_US)
    before = [other for session, other in begun if session == refs.session] or ["unknown"]
    begun.append((refs.session, call))

    def entry(event: Event, at_us: int) -> Entry:
        return Entry(event, "ada", Source.IMPORT, refs, at_us)

    start = entry(ToolCallStarted(call, "Task", ""), at)
    end = entry(ToolCallEnded(call, "ok", None, ""), at + chance.randint(1, DAY_US))
    other = entry(ToolCallEnded(chance.choice(before), "ok", None, ""), at + chance.randint(1, DAY_US))
    return chance.choice([[start, end], [start], [start, other, end], [start, other]])


def entries(chance: random.Random, count: int, begun: list[tuple[str, str]]) -> list[Entry]:
    """What can happen, and what cannot: calls that begin or end twice, gates that end and never began."""
    calls = [f"c{number}" for number in range(6)]
    made: list[Entry] = []
    makers: list[Callable[[], Event]] = [
        lambda: ToolCallStarted(chance.choice(calls), chance.choice(["Bash", "Task"]), "x"),
        lambda: ToolCallStartedV2(chance.choice(calls), "Bash", "x", "c9"),
        lambda: ToolCallEnded(chance.choice(calls), chance.choice(["ok", "failed", "denied"]), None, ""),
        lambda: ToolCallEndedV2(chance.choice(calls), "ok", 0, "", chance.choice([None, 0, 4_096])),
        lambda: AgentSaid("well"),
        lambda: TaskMoved("running", chance.choice(["landed", "failed", "judging"]), ""),
        lambda: UsageReported(1, 2, chance.choice([0, 70])),
        lambda: CallUnobserved("c1", "Bash", ""),
    ]
    while len(made) < count:
        session, machine = chance.choice(["t1.1", "t1.2", "t2.1"]), chance.choice(["a", "b"])
        refs = Refs(task="t1", session=session, machine=machine)
        what = chance.random()
        if what < 0.06:
            made.append(Entry(ENDED, "airboss", Source.CONTROLLER, refs))
        elif what < 0.16:
            run = f"g{chance.randint(1, 9)}"
            gate: Event = opened(run) if chance.random() < 0.5 else closed(chance.choice(["passed", "failed"]))
            made.append(Entry(gate, "airboss", Source.CONTROLLER, Refs(gate_run=run, machine=machine)))
        elif what < 0.45:
            made += imported(chance, machine, begun)
        else:
            made.append(Entry(chance.choice(makers)(), "agent:a", Source.AGENT, refs))
    return made


@pytest.mark.parametrize("seed", range(3))
async def test_kept_figures_are_those_of_the_events(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    cuts, begun = [1], list[tuple[str, str]]()
    for number in range(14):
        with store.transaction() as tx:
            tx._now_us = START_US + number * DAY_US // 3 + chance.randint(0, DAY_US // 4)  # the store's clock
            ledger.append_all(tx, entries(chance, chance.randint(1, 25), begun))
            if chance.random() < 0.4:
                day_figures.cut(tx, ledger.size(tx))
                day_figures.cut(tx, ledger.size(tx))
                cuts.append(ledger.size(tx) + 1)
    with store.transaction() as tx:
        size = ledger.size(tx)
    ends = sorted({*cuts, size + 1})
    for zone in ZONES:
        for first, after in ((first, after) for first in ends for after in ends if first < after):
            kept = await store.read(
                partial(kept_figures, first_seq=first, last_seq=after - 1, zone=zone, by_hour=True)
            )
            assert kept is not None
            expected = await figures_of(store, first, after - 1, zone)
            assert kept.plain() == expected.plain(), (zone, first, after)
            assert kept.by_hour == expected.by_hour
    lengths = [1, 3_600_000_000, 3 * DAY_US, 40 * DAY_US]
    some = [(START_US + chance.randint(-DAY_US, 5 * DAY_US), chance.choice(lengths)) for _ in range(15)]
    days_ = [START + timedelta(days=begin) for begin in range(-1, 7)]
    whole = [
        Period.of(day, day + timedelta(days=length), chance.choice(ZONES)) for day in days_ for length in (0, 2)
    ]
    for period in (*whole, *(Period(begin, begin + length) for begin, length in some)):
        zone = chance.choice(ZONES)
        bounds = await store.read(partial(numbers_in, from_us=period.from_us, upto_us=period.upto_us))
        counted = await figures_of(store, *(bounds or (1, 0)), zone, period)
        found = (await figures_in(store, period, zone)).figures
        assert found.plain() == counted.plain(), (period, bounds)
        assert (found.by_days(), found.by_hour) == (counted.by_days(), counted.by_hour)


async def test_a_range_that_is_cut_elsewhere_is_counted_from_its_events(store: Store) -> None:
    chance = random.Random(7)
    with store.transaction() as tx:
        ledger.append_all(tx, entries(chance, 30, []))
        day_figures.cut(tx, ledger.size(tx))
        size = ledger.size(tx)
        ledger.append_all(tx, entries(chance, 30, []))
        assert kept_figures(tx, 2, size, ZONES[0]) is None
        assert kept_figures(tx, 1, size - 1, ZONES[0]) is None
        assert kept_figures(tx, size + 1, ledger.size(tx) - 1, ZONES[0]) is None
        assert tree.root_at(tx, ledger.size(tx)) == tree.frontier(tx).root()
    for first, last in ((1, size), (2, size), (1, size - 1)):
        wanted = days.DayRange("2026-11-20", "Europe/Berlin", first, last)
        made = await days.compute(store, wanted, "separate-logins")
        assert made.data == (await days.compute(store, wanted, "separate-logins", anew=True)).data


async def test_a_changed_roll_up_does_not_get_past_the_verifier(store: Store) -> None:
    """The receipt is made from what is kept; who verifies it counts the events."""
    with store.transaction() as tx:
        refs = Refs(session="t1.1", machine="a")
        for call in "ab":
            ledger.append(tx, ToolCallEnded(call, "failed", 1, ""), actor="a", source=Source.AGENT, refs=refs)
        tx.connection.exec_driver_sql("UPDATE figure_amounts SET amount = 1 WHERE name = 'call:failed'")
    wanted = days.DayRange("2026-11-20", "UTC", 1, 2)
    made = await days.compute(store, wanted, "separate-logins")
    assert made.figures.calls.failed == 1
    assert made.data != (await days.compute(store, wanted, "separate-logins", anew=True)).data

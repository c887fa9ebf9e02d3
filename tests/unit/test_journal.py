"""The log's own lines: what happened, once it is committed; an outage and its end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bot import journal
from bot.health import StoreWatch
from fleet.clock import SystemClock
from fleet.errors import StoreUnavailable
from fleet.events import ConfigReloaded, LandingDone, LinkChanged
from fleet.faults import Fault, Point, injected, site_of
from fleet.model import TaskState
from fleet.store import tasks
from fleet.store.core import Tx
from tests.chat_flight import COMMIT, TREE, Flight
from tests.chat_house import house


async def test_a_task_has_a_line_for_its_start_its_landing_and_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot.journal")
    async with house(tmp_path) as there:
        journal.keep(there.store)
        flight = await Flight.begin(there)
        await flight.note(LinkChanged(False, "no route"), LinkChanged(True, ""), ConfigReloaded("ab" * 32))
        await flight.note(LandingDone("refs/heads/main", "a", COMMIT, TREE, 1))
        await there.say("/pause")
        await there.say("/resume")

        def lost(tx: Tx) -> None:
            tasks.move(tx, "t1", TaskState.LOST, "not committed", "airboss")

        with injected(Fault(Point.STORE_COMMIT, site=site_of(lost))), pytest.raises(StoreUnavailable):
            await there.store.write(lost)
        await flight.move(TaskState.STOPPED, why="enough\n2026 INFO t9 landed")
    assert [record.getMessage() for record in caplog.records if record.name == "bot.journal"] == [
        "t1 requested: shop, demo, by phone::ada",
        "t1 starts on macbook as t1.1",
        "t1: the link to evo-x2 is down, no route",
        "t1: the link to evo-x2 is back",
        f"fleet.toml reloaded, {'ab' * 6}",
        f"t1 landed {COMMIT[:10]} on main",
        "the fleet paused by phone::ada",
        "the fleet resumed by phone::ada",
        "t1 ended: stopped, enough 2026 INFO t9 landed",
    ]


def test_an_outage_has_one_line_and_one_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot.health")
    watch = StoreWatch(SystemClock())
    watch.answered()
    for _ in range(3):
        watch.failed(StoreUnavailable(attempted="write", cause="disk full"))
    watch.answered()
    watch.answered()
    assert [record.getMessage() for record in caplog.records] == [
        "the store is unavailable: disk full",
        "the store is available again",
    ]

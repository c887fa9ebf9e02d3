"""A pool whose slot was not made: for how long it makes none, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.config import Secrets, SlotTarget
from fleet.errors import Unavailable
from fleet.machines.pools.command import CommandProvider
from fleet.machines.watch import MachineSeen, MachineState
from tests.pool_yard import Yard, running_yard

MINUTE_US = 60_000_000


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with running_yard(tmp_path) as made:
        yield made


async def test_many_that_fail_at_once_are_one_failure_and_one_that_is_made_meanwhile_ends_no_pause(
    yard: Yard,
) -> None:
    yard.farm.tell("refuse", "no quota left")
    yard.wants = 2
    await yard.look()
    assert len(yard.verbs("acquire")) == 2
    await yard.look()
    yard.provider = provider = LastFails("farm", yard.live().pools["farm"], Secrets({}))
    yard.farm.tell("refuse", "")
    yard.clock.us += MINUTE_US
    await yard.look()
    assert provider.made and "the last one fails" in yard.troubles["farm"]
    await yard.look()
    yard.clock.us += 2 * MINUTE_US
    await yard.look()
    assert len(yard.farm.slots) == 2 and not yard.troubles


class LastFails(CommandProvider):
    """Of two slots, one is made after the other one has failed."""

    asked, made, failed = 0, False, asyncio.Event()

    async def acquire(self, name: str) -> SlotTarget:
        self.asked += 1
        if self.asked == 2:
            self.failed.set()
            raise Unavailable(attempted="acquire", cause="the last one fails")
        await self.failed.wait()
        target = await super().acquire(name)
        self.made = True
        return target


async def test_nothing_is_said_any_more_of_a_slot_that_is_gone_or_a_pool_that_left_the_file(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    yard.wants = 0
    (name,) = yard.farm.slots
    (yard.farm.directory / "slots" / name).unlink()
    yard.seen["farm-1"] = MachineSeen(MachineState.WELL)
    await yard.keeper.compare("farm")
    assert yard.keeper.trouble == "farm-1 answers, but its provider does not list it"
    await yard.look()
    yard.clock.us += 11 * MINUTE_US
    await yard.look()
    await yard.look()
    yard.farm.tell("refuse", "no quota left")
    yard.wants = 1
    await yard.look()
    await yard.look()
    assert [slot.slot for slot in await yard.slots()] == []
    assert yard.keeper.notes == ("pool farm makes no slots now: acquire exited with 1: no quota left",)
    await yard.edit('isolation = "unsafe-same-user"\n')
    await yard.look()
    assert not yard.keeper.notes

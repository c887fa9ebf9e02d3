"""Slots of pools, with a real store and real commands: whatever fails, none is forgotten and none too many made."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from bot.machine_view import plain_pools, pool_lines, pools_seen
from bot.reload import LiveConfig
from fleet.clock import SystemClock
from fleet.config import Secrets, SlotTarget
from fleet.errors import StoreUnavailable, TakenAway
from fleet.exits import Lost
from fleet.faults import Fault, Point, injected
from fleet.flight.pipe_reader import PipeReader
from fleet.machines.pools.command import CommandProvider
from fleet.machines.pools.keeper import PoolKeeper
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import TaskState
from fleet.ports import Ended
from fleet.store import pool_slots, queue, sessions, tasks
from fleet.store.core import Tx
from fleet.store.states import SlotState
from tests.pool_yard import Yard, running_yard, session_on

MINUTE_US = 60_000_000

#: A key of which the end was lost when it was copied.
CUT = "AAAAC3NzaC1lZDI1NTE5AAAAIGPFbbd0Eal0aQEw1Zr1oiVOJPyQ9qsqYaN0a1yh"


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with running_yard(tmp_path) as made:
        yield made


async def test_as_many_slots_are_made_as_tasks_wait_and_no_more_than_the_pool_has(yard: Yard) -> None:
    yard.wants = 20
    await yard.look()
    assert await yard.states() == ["farm-1 up", "farm-2 up"] and len(yard.verbs("acquire")) == 2
    await yard.look()
    assert len(yard.verbs("acquire")) == 2, "what is there and unused is for those that wait"
    machines = yard.live().machines
    assert sorted(machines) == ["farm-1", "farm-2"] and machines["farm-1"].slots == 1
    assert machines["farm-1"].home != machines["farm-2"].home


async def test_a_task_that_is_placed_while_the_keeper_reads_gets_no_second_slot(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    yard.meanwhile = lambda tx: session_on(tx, "farm-1")
    await yard.look()
    assert len(yard.verbs("acquire")) == 1


async def test_a_slot_with_a_session_or_kept_for_one_stays_and_the_others_are_given_back(yard: Yard) -> None:
    yard.wants = 2
    await yard.look()
    yard.wants = 0
    session = await yard.store.write(lambda tx: session_on(tx, "farm-1"))
    task = await yard.store.read(lambda tx: tasks.task(tx, session.split(".")[0]))
    await yard.store.write(lambda tx: queue.reserve(tx, task, queue.Reserved("farm-2", "", ())))
    await yard.look()
    yard.clock.us += 11 * MINUTE_US
    await yard.look()
    await yard.look()
    assert await yard.states() == ["farm-1 up", "farm-2 up"]
    await yard.store.write(lambda tx: queue.release(tx, task.id))
    await yard.look()
    assert await yard.states() == ["farm-1 up", "farm-2 up"], "it is idle only from now on"
    yard.clock.us += 11 * MINUTE_US
    await yard.look()
    await yard.look()
    assert await yard.states() == ["farm-1 up"] and yard.saved == ["farm-2"]
    assert yard.live().machines.keys() == {"farm-1"} and len(yard.farm.slots) == 1


async def test_a_slot_that_answers_stays_while_a_task_waits_for_it(yard: Yard) -> None:
    """However short its idle time is: it would be made and given back for ever."""
    yard.configure(idle="1s")
    for yard.wants, stay in ((2, ["farm-1 up", "farm-2 up"]), (1, ["farm-1 up"])):
        for _ in range(4):
            await yard.look()
            yard.clock.us += MINUTE_US
        assert await yard.states() == stay and len(yard.verbs("acquire")) == 2
    yard.seen["farm-1"] = MachineSeen(MachineState.AWAY)
    for _ in range(2):
        await yard.look()
        yard.clock.us += MINUTE_US
    assert "farm-1 up" not in await yard.states(), "no task can be placed there"


async def test_what_a_reservation_took_between_the_look_and_the_commit_is_not_given_back(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    (slot,) = await yard.slots()
    await yard.store.write(lambda tx: session_on(tx, slot.slot))
    assert not await yard.store.write(lambda tx: pool_slots.give_back_unused(tx, slot, "idle"))
    assert await yard.states() == ["farm-1 up"]


async def test_a_controller_that_ends_while_it_asks_leaves_nothing_behind(yard: Yard) -> None:
    yard.farm.tell("wait", "for ever")
    yard.wants = 1
    await yard.keeper.look(yard.tasks)
    while not yard.farm.slots:
        await asyncio.sleep(0.005)
    assert await yard.states() == ["farm-1 asked"], "the row is there before its effect"
    await yard.tasks.end()
    yard.farm.tell("wait", "")
    yard.keeper, yard.wants = yard.new_keeper(), 0
    await yard.look()
    await yard.look()
    assert (await yard.states(), yard.farm.slots) == ([], [])
    assert yard.verbs("release") == yard.verbs("acquire")


@pytest.mark.parametrize(
    ("file", "words", "why"),
    [
        ("refuse", "no quota left\n\x1b[2J", "acquire exited with 1: no quota left"),
        ("say", "not JSON", "Invalid JSON"),
        ("say", '{"host": "-oProxyCommand=evil", "user": "a", "host_key": "k"}', "host: String should match"),
        ("say", '{"host": "h", "user": "a"}', "host_key: Field required"),
        ("say", '{"host": "h", "user": "a", "host_key": "no key"}', "host_key is not an OpenSSH public key"),
        (
            "say",
            f'{{"host": "h", "user": "a", "host_key": "ssh-ed25519 {CUT}"}}',
            "host_key is not an OpenSSH public key",
        ),
        ("say", '{"host": "h", "user": "a", "host_key": "k", "sudo": true}', "sudo: Extra inputs"),
        ("say", "[" * 100_000, "acquire printed no slot"),
        ("say", "x" * (1 << 21), "printed more than 1 MiB"),
    ],
)
async def test_what_prints_no_slot_is_given_back_and_tried_again_later(
    yard: Yard, file: str, words: str, why: str
) -> None:
    yard.farm.tell(file, words)
    yard.wants = 1
    await yard.look()
    await yard.look()
    assert (await yard.states(), yard.farm.slots) == ([], []), "half a slot may cost money too"
    assert why in yard.troubles["farm"] and "\x1b" not in yard.troubles["farm"]
    assert yard.keeper.trouble.startswith("pool farm makes no slots now")
    await yard.look()
    assert len(yard.verbs("acquire")) == 1, "not at once"
    yard.farm.tell(file, "")
    yard.clock.us += MINUTE_US
    await yard.look()
    assert await yard.states() == ["farm-2 up"] and not yard.troubles and not yard.keeper.trouble


async def test_a_command_that_takes_too_long_or_is_not_there_is_no_slot(yard: Yard) -> None:
    yard.configure(acquire_within="1s")
    yard.farm.tell("wait", "for ever")
    yard.wants = 1
    await yard.look()
    assert "acquire did not end within 1 s" in yard.troubles["farm"]
    yard.farm.tell("wait", "")
    yard.configure(acquire=["/nonexistent/acquire"])
    yard.clock.us += MINUTE_US
    await yard.look()
    await yard.look()
    assert "No such file" in yard.troubles["farm"] and not yard.farm.slots


class Twins(CommandProvider):
    """Two slots are there at the same moment."""

    asked, both = 0, asyncio.Event()

    async def acquire(self, name: str) -> SlotTarget:
        target = await super().acquire(name)
        self.asked += 1
        if self.asked == 2:
            self.both.set()
        await self.both.wait()
        return target


async def test_a_login_is_not_given_out_twice_where_logins_are_separate(yard: Yard) -> None:
    yard.wants = 2
    text = (yard.home / "fleet.toml").read_text().replace("unsafe-same-user", "separate-logins")
    (yard.home / "fleet.toml").write_text(text)
    yard.live = LiveConfig(yard.home, SystemClock())
    yard.keeper, yard.provider = yard.new_keeper(), Twins("farm", yard.live().pools["farm"], Secrets({}))
    await yard.look()
    await yard.look()
    assert len(await yard.slots()) == 1 == len(yard.farm.slots)
    assert "is the same login as slot farm-" in yard.troubles["farm"]


async def test_a_slot_that_cannot_be_given_back_is_shown_tried_again_and_never_forgotten(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    yard.wants = 0
    yard.farm.tell("stuck", "the cloud says no")
    yard.configure(idle="1s")
    await yard.look()
    yard.clock.us += 2_000_000
    await yard.look()
    await yard.look()
    (slot,) = await yard.slots()
    assert (slot.state, slot.tries) == (SlotState.RELEASING, 1)
    for minutes in (1, 2, 5):
        yard.keeper = yard.new_keeper()
        await yard.look()
        await yard.look()
        tries = len(yard.verbs("release"))
        yard.clock.us += minutes * MINUTE_US
        await yard.look()
        assert len(yard.verbs("release")) == tries + 1
    assert "farm-1 may still cost money: it could not be given back (tried 4 times)" in yard.keeper.trouble
    lines = [shown(line) for line in pool_lines(yard.live(), await yard.store.read(pools_seen), yard.keeper.notes)]
    assert lines[0].startswith("pool farm: 1 being given back of at most 2 · $0.60 an hour each")
    assert "the cloud says no" in lines[1]
    (yard.home / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    yard.live = LiveConfig(yard.home, SystemClock())
    yard.keeper = yard.new_keeper()
    yard.farm.tell("stuck", "")
    yard.clock.us += 30 * MINUTE_US
    await yard.look()
    assert (await yard.states(), yard.farm.slots) == ([], []), "by the terms of when it was made"


async def test_what_a_provider_has_and_nobody_knows_of_is_ended_and_what_is_not_ours_is_left(yard: Yard) -> None:
    ours = f"{pool_slots.prefix(yard.store.instance, 'farm')}77-abc123"
    for name in (ours, "someone-elses", "airboss-ffffffff-farm-1-abc123"):
        (yard.farm.directory / "slots" / name).touch()
    await yard.look()
    await yard.look()
    assert yard.farm.slots == ["airboss-ffffffff-farm-1-abc123", "someone-elses"]
    assert await yard.states() == []
    (yard.farm.directory / "slots" / ours).touch()
    yard.clock.us += 2 * MINUTE_US
    await yard.look()
    await yard.look()
    assert ours not in yard.farm.slots, "one that is there again, too"


async def test_a_slot_is_lost_only_if_its_provider_and_the_link_say_so_twice(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    yard.wants = 0
    await yard.store.write(lambda tx: session_on(tx, "farm-1"))
    executor = yard.executors.agent("farm-1")
    yard.seen["farm-1"] = MachineSeen(MachineState.AWAY)
    await yard.keeper.compare("farm")
    await yard.keeper.compare("farm")
    assert await yard.states() == ["farm-1 up"], "it does not answer, and its provider has it"
    (name,) = yard.farm.slots
    (yard.farm.directory / "slots" / name).unlink()
    yard.seen["farm-1"] = MachineSeen(MachineState.WELL)
    for _ in range(3):
        await yard.keeper.compare("farm")
    assert await yard.states() == ["farm-1 up"], "its provider does not have it, and it answers"
    assert "its provider does not list it" in yard.keeper.trouble
    yard.seen["farm-1"] = MachineSeen(MachineState.AWAY)
    await yard.keeper.compare("farm")
    assert await yard.states() == ["farm-1 up"], "once may be chance"
    await yard.keeper.compare("farm")
    assert await yard.states() == ["farm-1 lost"]
    reader = PipeReader(executor, "p", "n", 0, yard.clock)
    ended = await reader.next()
    await reader.close()
    assert isinstance(ended, Ended) and isinstance(ended.exit, Lost) and not ended.gone
    with pytest.raises(TakenAway, match="taken away"):
        await executor.facts()
    assert yard.live().machines.keys() == {"farm-1"}, "its session ends first"
    await yard.look()
    assert await yard.states() == ["farm-1 lost"]
    (session,) = await yard.store.read(sessions.active)
    await yard.store.write(lambda tx: sessions.update(tx, session.id, ended_us=1))
    await yard.look()
    await yard.look()
    assert await yard.states() == [] and yard.verbs("release") == [name], "what is left of it ends too"


@pytest.mark.parametrize("said", ["no list", '{"a": 1}', "[1]", "[" * 100_000])
async def test_an_inventory_that_is_none_ends_nothing(yard: Yard, said: str) -> None:
    yard.wants = 1
    await yard.look()
    script = f"import sys; sys.stdout.write({said!r})"
    yard.configure(inventory=[sys.executable, "-c", script])
    yard.seen["farm-1"] = MachineSeen(MachineState.AWAY)
    for _ in range(3):
        await yard.keeper.compare("farm")
    assert (
        await yard.states() == ["farm-1 up"] and "cannot be looked at: inventory printed no" in yard.keeper.trouble
    )


async def test_a_slot_that_was_made_while_the_store_was_away_is_not_made_again(yard: Yard) -> None:
    (up,) = (code for code in PoolKeeper._take.__code__.co_consts if getattr(code, "co_name", "") == "<lambda>")
    site = f"{PoolKeeper.__module__}.{up.co_qualname}:{up.co_firstlineno}"
    yard.wants = 1
    with injected(Fault(Point.STORE_COMMIT, times=3, site=site)) as fault:
        await yard.look()
    assert fault.raised == 3
    assert await yard.states() == ["farm-1 up"] and len(yard.verbs("acquire")) == 1


@pytest.mark.parametrize("first", range(1, 7))
async def test_a_commit_that_fails_at_any_step_leaves_no_slot_behind(yard: Yard, first: int) -> None:
    """``first``: which of all commits fails, and the two after it."""
    yard.configure(idle="1s")
    with injected(Fault(Point.STORE_COMMIT, first=first, times=3)) as fault:
        for round_ in range(14):
            yard.wants = int(round_ not in (1, 2, 3) and round_ < 8)  # two lives of a slot
            yard.clock.us += 31 * MINUTE_US
            try:
                await yard.look()
            except StoreUnavailable:
                await yard.settle()
    assert fault.raised == 3
    assert (await yard.states(), yard.farm.slots) == ([], [])
    assert set(yard.verbs("acquire")) <= set(yard.verbs("release"))


async def test_commands_get_what_the_pool_names_and_nothing_else_of_the_controllers(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRBOSS_TELEGRAM_TOKEN", "secret")
    yard.env = {"CLOUD_KEY": "key", "OTHER": "x"}
    script = "import json, os; print(json.dumps([f'{k}={v}' for k, v in os.environ.items()]))"
    yard.configure(inventory=[sys.executable, "-c", script], env=["CLOUD_KEY"])
    provider = CommandProvider("farm", yard.live().pools["farm"], Secrets(yard.env))
    names = await provider.names()
    assert names is not None and {"CLOUD_KEY=key", "AIRBOSS_POOL=farm"} <= names
    assert not {name for name in names if name.startswith(("AIRBOSS_TELEGRAM", "OTHER"))}


async def test_a_pool_costs_from_the_moment_a_slot_is_asked_for(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    (slot,) = await yard.slots()
    hour, cost = 3_600_000_000, partial(pool_slots.cost_since, since_us=slot.asked_us - 10)
    now = await yard.store.read(lambda tx: tx.now_us())
    assert 0 <= (await yard.store.read(cost))["farm"] <= (now - slot.asked_us + 5_000_000) * 600_000 // hour
    plain = plain_pools(yard.live(), await yard.store.read(pools_seen))
    assert json.dumps(plain) and plain[0]["price_udollar"] == 600_000


async def test_work_that_is_only_on_a_slot_keeps_it(yard: Yard) -> None:
    yard.wants = 1
    await yard.look()
    yard.wants = 0

    def ended(tx: Tx) -> None:
        session = session_on(tx, "farm-1")
        sessions.update(tx, session, ended_us=1, workspace="/home/agents/.airboss/work/x")
        tasks.move(tx, session.split(".", maxsplit=1)[0], TaskState.FAILED, "red", "airboss")

    await yard.store.write(ended)
    yard.configure(idle="1s")
    await yard.look()
    yard.clock.us += 2_000_000
    await yard.look()
    await yard.look()
    await yard.look()
    assert await yard.states() == ["farm-1 up"] and yard.saved == ["farm-1"], "looked at once, not all the time"
    assert "farm-1 is kept: the work of t1 is only there" in yard.keeper.trouble
    yard.clock.us += 2_000_000
    await yard.look()
    assert yard.saved == ["farm-1", "farm-1"], "after as long a time again"
    await yard.store.write(lambda tx: session_on(tx, "farm-1"))
    await yard.look()
    assert not yard.keeper.trouble, "it is not idle any more"


async def test_a_controller_that_was_frozen_makes_no_slot_that_the_next_one_has_given_back(yard: Yard) -> None:
    """Its commits would be refused, but its provider would not know: the slot would be in nobody's books."""
    yard.wants, yard.fenced = 1, True
    await yard.keeper.look(yard.tasks)
    assert await yard.states() == ["farm-1 asked"]
    yard.keeper, yard.wants = yard.new_keeper(), 0
    await yard.look()
    await yard.look()
    assert (await yard.states(), yard.farm.slots, yard.verbs("acquire")) == ([], [], [])

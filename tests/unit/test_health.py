"""What is not well with the controller is said: in /status, on the console without a store, after an outage."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.health import ControllerHealth, StoreWatch, Troubles
from bot.local.wire import in_time
from bot.reload import LiveConfig
from fleet.config.home import FLEET_FILE
from fleet.errors import StoreUnavailable
from fleet.supervise import Supervisor, alongside
from tests.chat_flight import everything
from tests.chat_house import FLEET, house


class Clock:
    """Stands at one time until it is told to move; waiting takes none of it."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def home(tmp_path: Path) -> Path:
    (tmp_path / FLEET_FILE).write_text(FLEET)
    return tmp_path


async def test_all_is_well_and_nothing_is_said(tmp_path: Path) -> None:
    clock = Clock()
    health = ControllerHealth(Supervisor(clock), StoreWatch(clock), LiveConfig(home(tmp_path), clock), None)
    assert health.troubles().lines == ()


async def test_a_death_is_said_with_its_reason_for_an_hour_and_without_secrets(tmp_path: Path) -> None:
    clock, again = Clock(), asyncio.Event()
    died: list[bool] = []

    async def work() -> None:
        if died:
            again.set()
            await asyncio.Event().wait()
        died.append(True)
        raise KeyError("token-1234")

    supervisor = Supervisor(clock)
    supervisor.run("reminders", work)
    await again.wait()
    health = ControllerHealth(
        supervisor, StoreWatch(clock), LiveConfig(home(tmp_path), clock), lambda text: text.replace("1234", "…")
    )
    (said,) = health.troubles().lines
    assert said == "reminders failed once at 22:13 UTC and is running again: KeyError: 'token-…'"
    clock.us += 3_600_000_000
    assert health.troubles().lines == ()
    await supervisor.close()


async def test_an_invalid_edit_is_said_until_it_is_mended_and_a_change_that_failed_is_done_again(
    tmp_path: Path,
) -> None:
    clock, changes = Clock(), [StoreUnavailable(attempted="write"), None]
    config = LiveConfig(home(tmp_path), clock)
    health = ControllerHealth(Supervisor(clock), StoreWatch(clock), config, None)

    async def changed() -> None:
        if (error := changes.pop(0)) is not None:
            raise error

    supervisor = Supervisor(clock)
    supervisor.run("fleet.toml", lambda: config.watch(changed))
    (tmp_path / FLEET_FILE).write_text("isolation = 1\n")
    while not config.invalid_us:
        await asyncio.sleep(0.01)
    (said,) = health.troubles().lines
    assert said.startswith("fleet.toml: invalid since 22:13 UTC: 1 problem\nline 1: isolation"), (
        "on a phone, no path"
    )
    assert said.endswith("; the last valid one runs")
    assert config().repos, "the last valid one"
    (tmp_path / FLEET_FILE).write_text(FLEET + "\n")
    while config.invalid_us or changes:
        await asyncio.sleep(0.01)
    assert health.troubles().lines == ()
    await supervisor.close()


async def test_a_file_that_cannot_even_be_looked_at_is_an_invalid_edit(tmp_path: Path) -> None:
    config, supervisor = LiveConfig(home(tmp_path), Clock()), Supervisor(Clock())

    async def changed() -> None:
        raise AssertionError("nothing valid was written")

    supervisor.run("fleet.toml", lambda: config.watch(changed))
    (tmp_path / "new").symlink_to(FLEET_FILE)
    (tmp_path / "new").replace(tmp_path / FLEET_FILE)  # it leads to itself
    while not config.invalid_us:
        await asyncio.sleep(0.01)
    assert "symbolic links" in config.invalid
    assert [each.deaths for each in supervisor.health()] == [0]
    await supervisor.close()


async def test_chats_with_open_tasks_hear_of_a_long_outage_once_it_is_over(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run repo=shop agent=demo -- fix it")
        clock = Clock()
        watch = StoreWatch(clock)
        for seconds, told in ((10, 0), (150, 1)):
            watch.failed(StoreUnavailable(attempted="write", cause="database is locked"))
            clock.us += seconds * 1_000_000
            watch.failed(StoreUnavailable(attempted="write", cause="disk full"))
            await there.store.write(lambda tx: watch.report(there.outbox.open(tx)))
            watch.answered()
            await there.settle()
            cards = [everything(sent.card) for sent in there.phone.sent]
            assert sum("The store was unavailable from" in card for card in cards) == told
        assert "disk full" in cards[-1] and "22:13 to 22:16 UTC" in cards[-1]
        assert watch.since_us == 0


async def test_status_has_one_line_for_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (well,) = await there.say("/status")
        assert "⚠ notifier" not in everything(well)
        there.fleet.wrong = Troubles("", ("notifier died once", "retention died once"))
        _, (ill,) = await there.say("/status")
        assert [row for row in everything(ill).splitlines() if "died" in row] == [
            "⚠ notifier died once · 1 more: airboss doctor"
        ]


async def test_a_store_that_takes_a_write_and_says_nothing_is_away_until_it_answers() -> None:
    watch, answers = StoreWatch(Clock(), silent_s=0.01), asyncio.Event()

    async def write() -> int:
        await answers.wait()
        return 7

    async with alongside(watch.answer_of(write()), "regular write") as asked:
        while not watch.since_us:
            await asyncio.sleep(0)
        assert watch.cause == "it has not answered for 0 s"
        answers.set()
        assert await asked == 7


async def test_what_is_wrong_is_answered_although_a_server_hangs() -> None:
    with pytest.raises(StoreUnavailable, match="it has not answered this for 0 s"):
        await in_time(asyncio.Event().wait(), 0.01)
    assert await in_time(asyncio.sleep(0, 7)) == 7

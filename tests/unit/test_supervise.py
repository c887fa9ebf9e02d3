"""Background work: a death is logged, shown and followed by what was promised; nothing is left behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fleet.errors import LeadershipLost, StoreUnavailable
from fleet.supervise import OnDeath, OwnedTasks, Supervisor, alongside, end, first, own, retry_while_store_is_away


class FastClock:
    """Waiting takes no time, and is written down."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_us(self) -> int:
        return 1_000_000 * len(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def test_a_death_is_logged_shown_and_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, lives, third = FastClock(), 0, asyncio.Event()
    supervisor = Supervisor(clock)

    async def work() -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            raise KeyError(f"life {lives}")
        third.set()
        await asyncio.Event().wait()

    supervisor.run("deliverer", work)
    await third.wait()
    (health,) = supervisor.health()
    assert (health.name, health.running, health.deaths) == ("deliverer", True, 2)
    assert "life 2" in health.error
    assert clock.slept == [0.2, 1.0]
    assert [record.message for record in caplog.records if record.exc_info] == [
        "deliverer died: 'life 1'",
        "deliverer died: 'life 2'",
    ]
    assert not supervisor.failed.done()
    await supervisor.close()
    assert supervisor.health() == ()


@pytest.mark.parametrize(
    ("error", "on_death", "fatal"),
    [
        (KeyError("bug"), OnDeath.FATAL, True),
        (None, OnDeath.FATAL, True),
        (LeadershipLost(attempted="lead"), OnDeath.RESTART, True),
        (KeyError("bug"), OnDeath.RESTART, False),
        (StoreUnavailable(attempted="write"), OnDeath.FATAL, False),
    ],
)
async def test_what_ends_the_controller(error: Exception | None, on_death: OnDeath, fatal: bool) -> None:
    supervisor, clock_lives = Supervisor(FastClock()), 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal clock_lives
        clock_lives += 1
        if clock_lives == 1:
            if error is not None:
                raise error
            return
        again.set()
        await asyncio.Event().wait()

    supervisor.run("leadership", work, on_death)
    await first(again.wait(), supervisor.failed)
    assert supervisor.failed.done() == fatal
    assert again.is_set() != fatal
    if fatal and error is not None:
        assert supervisor.failed.exception() is error
    await supervisor.close()


async def test_the_store_away_is_waited_for_and_is_no_death() -> None:
    clock, away, seen = FastClock(), 7, asyncio.Event()
    supervisor = Supervisor(clock)

    async def work() -> None:
        if len(clock.slept) < away:
            raise StoreUnavailable(attempted="read the store")
        seen.set()
        await asyncio.Event().wait()

    supervisor.run("notifier", work)
    await seen.wait()
    (health,) = supervisor.health()
    assert health.deaths == 0
    assert clock.slept == [0.2, 1.0, 5.0, 15.0, 30.0, 30.0, 30.0]
    await supervisor.close()


async def test_a_component_that_may_end_is_gone_when_it_has() -> None:
    supervisor = Supervisor(FastClock())
    component = supervisor.run("flight t1", lambda: asyncio.sleep(0), ends=True)
    while not component.done:
        await asyncio.sleep(0)
    assert supervisor.health() == ()
    await supervisor.close()


async def test_of_two_with_one_name_the_end_of_one_does_not_end_the_other() -> None:
    supervisor, over, lives = Supervisor(FastClock()), asyncio.Event(), 0

    async def at_once() -> None:
        pass

    async def later() -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            raise KeyError("not yet") if lives == 1 else StoreUnavailable(attempted="look")
        over.set()

    supervisor.run("missed messages", at_once, ends=True)
    supervisor.run("missed messages", later, ends=True)
    async with asyncio.timeout(60):
        await over.wait()
    await supervisor.close()
    assert supervisor.health() == ()


async def test_alongside_leaves_nothing_behind() -> None:
    over = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            over.set()

    with pytest.raises(KeyError):
        async with alongside(work(), "judge"):
            await asyncio.sleep(0)
            raise KeyError
    assert over.is_set()


async def test_end_takes_no_cancel_for_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it was ended")

    async def owner() -> str:
        task = own(stubborn(), "reader")
        await asyncio.sleep(0)
        await end(task)
        return "went on"

    with caplog.at_level(logging.WARNING):
        assert await owner() == "went on"
    assert "reader ended with an error: while it was ended" in caplog.text

    waiting = own(asyncio.Event().wait(), "slow")

    async def ended_while_it_ends() -> None:
        await end(waiting)
        await asyncio.sleep(60)

    task = own(ended_while_it_ends(), "outer")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_owned_tasks_log_their_errors_and_none_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    tasks, over = OwnedTasks(), asyncio.Event()

    async def broken() -> None:
        raise ValueError("in one of them")

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            over.set()

    tasks.begin(broken(), "carry")
    tasks.begin(slow(), "carry")
    while len(tasks) > 1:
        await asyncio.sleep(0)
    assert "carry ended with an error: in one of them" in caplog.text
    await tasks.end()
    assert over.is_set() and len(tasks) == 0


async def test_work_goes_through_an_outage_of_the_store() -> None:
    clock, tries = FastClock(), 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        if tries <= 7:
            raise StoreUnavailable(attempted="read the store")
        return "read"

    assert await retry_while_store_is_away(work, clock) == "read"
    assert clock.slept == [0.2, 1.0, 5.0, 15.0, 30.0, 30.0, 30.0]


async def test_the_error_of_a_coroutine_is_raised_where_it_is_waited_for_and_a_tasks_is_left_to_its_owner() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first(fails(), asyncio.Event().wait())
    mine = own(fails(), "mine")
    assert await first(mine, asyncio.Event().wait()) == {0}
    assert isinstance(mine.exception(), ZeroDivisionError)

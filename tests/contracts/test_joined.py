"""A controller that takes part, on a real PostgreSQL: what the fleet sees of what is not well with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.base import Base, base_of
from bot.controller_view import full_line, plain
from bot.doctor.controller import other_controllers
from bot.doctor.findings import Severity
from bot.health import ControllerHealth, StoreWatch
from bot.joined import take_part
from bot.leading import StandBy
from bot.outbox.posting import Outbox
from fleet.clock import SystemClock
from fleet.config import Secrets
from fleet.faults import Fault, Point, injected, site_of
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.services import Services
from fleet.flight.sharing import SharedFleet
from fleet.store import controllers, leads
from fleet.store.controllers import Condition, Contender, ControllerSeen
from fleet.store.core import Store
from fleet.supervise import Supervisor, alongside
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres
from tests.flying import FLEET
from tests.rows import asked
from tests.schema import load, problems


class Homes:
    """A store, and homes on it with one ``fleet.toml``."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory = url, directory

    def home(self, name: str) -> Path:
        made = self.directory / name
        made.mkdir(mode=0o700)
        (made / "fleet.toml").write_text(FLEET.format(url=self.directory))
        (made / ".env").touch(mode=0o600)
        (made / ".env").write_text(f"AIRBOSS_STORE={self.url}\n")
        return made

    def copy_keys(self, name: str, to: str) -> None:
        """As an operator does before another controller joins."""
        shutil.copytree(self.directory / name / "keys", self.directory / to / "keys")

    def seen(self) -> dict[str, ControllerSeen]:
        with Store.open(self.url) as store, store.transaction() as tx:
            return {Path(each.controller.home).name: each for each in controllers.seen(tx)}


@pytest.fixture
def homes(postgres: Postgres, tmp_path: Path) -> Homes:
    return Homes(filled_database(postgres), tmp_path)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(100):
        while not true():
            await asyncio.sleep(0.1)


def joins(home: Path, stack: AsyncExitStack, dispatcher_of: Callable[..., Any]) -> Any:
    """``airboss serve --join``, with this dispatcher, until it leads."""
    join = partial(take_part, dispatcher_of=dispatcher_of)
    return base_of(home, stack, StandBy(lambda _: None, takes_part=True), join)


async def dies() -> None:
    raise KeyError("no weather")


async def test_a_component_that_dies_in_a_joined_controller_is_seen_by_the_coordinator(homes: Homes) -> None:
    def with_weather(services: Services, supervisor: Supervisor, version: str) -> Dispatcher:
        supervisor.run("weather", dies)
        return Dispatcher(services, supervisor, version)

    one, other = homes.home("one"), homes.home("other")
    async with AsyncExitStack() as stack, AsyncExitStack() as theirs:
        base = await base_of(one, stack)
        homes.copy_keys("one", "other")
        supervisor, away = Supervisor(SystemClock()), StoreWatch(SystemClock())
        stack.push_async_callback(supervisor.close)
        health = ControllerHealth(supervisor, away, base.config, None)
        assert health.troubles().lines == ()
        supervisor.run("leadership", lambda: base.renew(away, Outbox(base.store), health))
        async with alongside(joins(other, theirs, with_weather), "the other"):
            await until(lambda: health.elsewhere)
            (said,) = health.troubles().lines
            assert said.startswith(f"controller {base.me.host}:{other}: weather failed ")
            assert health.own() == {}, "each says its own"
            seen = homes.seen()["other"]
            assert "\n    ⚠ weather failed " in full_line(seen)
            document = {"v": 1, "controllers": [plain(each) for each in homes.seen().values()]}
            assert problems(document, load("controllers.json")) == []
            me = Contender("", base.me.host, str(other), "1")
            fine, found = await other_controllers({}, "1", other, me, lambda: Store.open(homes.url))
            assert (fine.level, fine.what) == (Severity.OK, f"{base.me.host}:{other} takes part")
            assert found.level is Severity.BAD and "weather failed " in found.what
    assert homes.seen() == {}, "both ended in order"


async def test_one_that_ends_for_an_error_leaves_why(homes: Homes) -> None:
    class Broken(Dispatcher):
        async def run(self) -> None:
            raise RuntimeError("a bug in the dispatcher")

    one, other = homes.home("one"), homes.home("other")
    async with AsyncExitStack() as stack:
        base = await base_of(one, stack)
        homes.copy_keys("one", "other")
        with pytest.raises(RuntimeError, match="a bug"):
            async with AsyncExitStack() as theirs:
                await joins(other, theirs, Broken)
        gone = homes.seen()["other"]
        assert gone.condition is Condition.SILENT
        assert list(gone.troubles.values()) == ["ended: RuntimeError: a bug in the dispatcher"]
        me = Contender("", base.me.host, str(other), "1")
        found = await other_controllers({}, "1", other, me, lambda: Store.open(homes.url))
        assert [each.level for each in found] == [Severity.WARN, Severity.BAD], "none runs here, and why"


def coordinates(stack: AsyncExitStack, base: Base) -> None:
    """It renews its lease, as a controller does."""
    supervisor, away = Supervisor(SystemClock()), StoreWatch(SystemClock())
    stack.push_async_callback(supervisor.close)
    health = ControllerHealth(supervisor, away, base.config, None)
    supervisor.run("leadership", lambda: base.renew(away, Outbox(base.store), health))


async def test_one_with_another_env_gets_no_task_until_it_has_the_same(homes: Homes) -> None:
    one, other = homes.home("one"), homes.home("other")
    same = (one / ".env").read_text()
    (other / ".env").write_text(f"{same}TOKEN=another\nSLACK_LISTEN=127.0.0.1:9\n")
    async with AsyncExitStack() as stack, AsyncExitStack() as theirs:
        base = await base_of(one, stack)
        coordinates(stack, base)
        homes.copy_keys("one", "other")

        def members() -> list[str]:
            with Store.open(homes.url) as store, store.transaction() as tx:
                return leads.members(tx, base.runs_on())

        def differs() -> tuple[str, ...]:
            return homes.seen()["other"].differs if "other" in homes.seen() else ()

        async with alongside(joins(other, theirs, Dispatcher), "the other"):
            await until(differs)
            seen = homes.seen()["other"]
            assert (seen.condition, seen.differs) == (Condition.DIFFERS, ("TOKEN in .env",))
            assert members() == []
            assert "leads nothing and does not take over: TOKEN in .env differs" in full_line(seen)
            (other / ".env").write_text(f"{same}SLACK_LISTEN=127.0.0.1:9\n")
            await until(members)
            assert homes.seen()["other"].condition is Condition.SHARES
            assert "another" not in homes.seen()["other"].controller.env

            task, instance = "", homes.seen()["other"].controller.instance

            def leads_it() -> bool:
                with Store.open(homes.url) as store, store.transaction() as tx:
                    found = leads.of_task(tx, task)
                    return found is not None and found.controller == instance

            with Store.open(homes.url) as store, store.transaction() as tx:
                task = asked(tx).id
                leads.give(tx, task, [instance])
            assert leads_it()
            gives_back = Fault(Point.STORE_COMMIT, site=site_of(SharedFleet.give_back))
            with injected(gives_back) as fault:
                (other / ".env").write_text(f"{same}TOKEN=another\n")
                await until(lambda: not leads_it())
            assert fault.raised == 1, "what it could not give back it gives back later"


async def test_one_that_stood_by_leads_with_the_env_of_that_moment(homes: Homes) -> None:
    one, other = homes.home("one"), homes.home("other")
    async with AsyncExitStack() as theirs:
        async with AsyncExitStack() as stack:
            base = await base_of(one, stack)
            coordinates(stack, base)
            homes.copy_keys("one", "other")
            waits = base_of(other, theirs, StandBy(lambda _: None, beat=0.1))
            waiting = await theirs.enter_async_context(alongside(waits, "stand by"))
            await until(lambda: "other" in homes.seen())
            for each in (one, other):
                (each / ".env").write_text((each / ".env").read_text() + "TOKEN=rotated\n")
            base.env.take(Secrets.load(one))
            await until(lambda: homes.seen()["one"].controller.runs_on == base.runs_on())
            before = homes.seen()["other"].controller.seen_us
            await until(lambda: homes.seen()["other"].controller.seen_us > before)
            assert homes.seen()["other"].condition is Condition.STANDS_BY
        led = await waiting
        assert led.env.get("TOKEN") == "rotated"
        assert led.store.redact is not None and "rotated" not in led.store.redact("it is rotated now")

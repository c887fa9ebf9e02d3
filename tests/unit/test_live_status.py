"""/status: small however large the fleet, and current for as long as it is the newest card of its chat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy import update

from bot.cards import Card, shown
from bot.telemetry_view import look, status_card
from bot.telling.live import STATUS_KEY, LiveStatus
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import ChatRef, TaskState
from fleet.store import hooked, sessions, tables, tasks
from fleet.store.controllers import Condition, Controller, ControllerSeen
from fleet.store.core import Tx
from fleet.store.landing_line import LandingPlace
from fleet.store.queue import Pause
from fleet.store.states import ControllerRole, PlaceState
from fleet.store.windows import AccountWindow
from tests.chat_flight import Flight, everything
from tests.chat_house import FLEET, House, house
from tests.rows import asked, placed


def live(there: House) -> LiveStatus:
    return LiveStatus(there.outbox, lambda: there.config, there.fleet)


def edits(there: House) -> list[Card]:
    return [post.card for post in there.phone.sent if post.key == STATUS_KEY and post.edits]


async def test_it_is_edited_when_it_says_something_new_and_not_otherwise(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        status = live(there)
        assert await status.refresh() == 0
        await there.say("/status")
        await status.refresh()
        assert [await status.refresh() for _ in range(3)] == [0, 0, 0]

        def begin(tx: Tx) -> None:
            asked(tx, origin=ChatRef("phone", "elsewhere"))

        await there.store.write(begin)
        assert await status.refresh() == 1
        assert await status.refresh() == 0
        await there.settle()
        assert "1 task queued: t1" in everything(edits(there)[-1])


async def test_its_times_are_those_of_whoever_asked_also_when_it_is_edited(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/zone Asia/Tokyo")
        _, (card,) = await there.say("/status")
        assert "JST · err over" in card.footer and "since 2025-11-28 23:00 JST" in card.footer
        await there.store.write(lambda tx: tx.connection.execute(update(tables.tasks).values(prompt="y")))
        await live(there).refresh()
        await there.settle()
        assert "JST · err over" in edits(there)[-1].footer


async def test_a_newer_message_ends_it_and_so_does_half_an_hour(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/status")
        await there.say("/help")
        await there.say("/run mend it")
        assert await live(there).refresh() == 0
        await there.say("/status")
        await there.say("/status")
        assert await live(there).refresh() == 1, "a controller that begins anew goes on with it, in the newest only"
        old = update(tables.outbox).values(created_us=tables.outbox.c.created_us - 31 * 60_000_000)
        await there.store.write(lambda tx: tx.connection.execute(old))
        assert await live(there).refresh() == 0


async def test_a_hundred_machines_and_two_hundred_sessions_fit_a_phone(tmp_path: Path) -> None:
    many = FLEET + "".join(f'[machines.box-{n}]\nexecutor = "local"\nslots = 3\n' for n in range(98))
    async with house(tmp_path, fleet_toml=many) as there:

        def fill(tx: Tx) -> None:
            for number in range(200):
                task = asked(tx, origin=ChatRef("phone", "elsewhere"))
                session = placed(tx, task.id, f"box-{number % 98}")
                sessions.update(tx, session.id, seen_us=tx.now_us())
                tasks.move(tx, task.id, TaskState.PREPARING, "", "airboss")

        await there.store.write(fill)
        _, (card,) = await there.say("/status")
        assert len(card.lines) + 1 <= 12
        assert shown(card.title).startswith("fleet: 200 agents active · 100 machines")
        assert "200/298 slots" in everything(card)
        assert "more sessions" in everything(card)
        assert [button.label for button in card.actions] == ["Sessions", "Machines"]
        for label in ("Sessions", "Machines"):
            _, (unfolded,) = await there.press(card, label)
            assert len(unfolded.lines) <= 12
        assert "200 sessions at work · 1-10" in there.phone.titles()


async def test_what_waits_for_a_person_comes_first(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for number in range(5):
            await flight.ask(f"make {number}", name=f"q{number}")
        _, (card,) = await there.say("/status")
        first = [shown(row) for row in card.lines[:3]]
        assert first[0].startswith("✋ a1 · t1")
        assert first[2] == "✋ and 3 more waiting for a person"


async def test_a_task_that_waits_says_for_what(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await Flight.begin(there)
        await there.store.write(lambda tx: tasks.explain(tx, "t1", "waiting for a lock: it is anna's"))
        _, (card,) = await there.say("/status")
        assert "· waiting for a lock" in everything(card)


async def test_everything_at_once_fits_a_phone(tmp_path: Path) -> None:
    many = FLEET + "".join(f'[machines.box-{n}]\nexecutor = "local"\n' for n in range(4))
    async with house(tmp_path, fleet_toml=many) as there:
        flight = await Flight.begin(there)
        for number in range(5):
            await flight.ask(f"make {number}", name=f"q{number}")

        def by_hand(tx: Tx) -> None:
            for number in range(4):
                hooked.begin(tx, "claude", f"c{number}", "phone::otto", "evo", "shop", "/w", "digest")

        await there.store.write(by_hand)
        view = await there.store.read(look)
        now = view.now_us
        away = {name: MachineSeen(MachineState.AWAY, why="no route") for name in there.config.machines}
        one = Controller("a:1", "a", "/a", "1", "d", ControllerRole.LEADS, now, now)
        places = [LandingPlace(task=f"t{n}", repo="shop", state=PlaceState.JOINED) for n in range(6)]
        full = replace(
            view,
            overview=replace(view.overview, queued=("t8", "t9"), queued_count=2),
            controllers=[ControllerSeen(one, each, 0) for each in (Condition.LEADS, Condition.DIFFERS)],
            pauses={name: Pause(name, "phone::ada", now) for name in ("evo-x2", "box-1", "box-2", "box-3")},
            stopped={"shop": "somebody pushed", "web": "somebody pushed"},
            landing={"shop": places, "web": places},
            windows=[AccountWindow("claude", "box-1", f"{n} h", 95, 0, now) for n in range(3)],
        )
        lines = [shown(row) for row in status_card(there.config, full, away, ["one", "two"]).lines]
        assert len(lines) <= 12, lines
        assert "✋ 5 waiting for a person" in lines and "⏸ and 3 more: /queue" in lines
        assert "and 5 more not responding" in lines and lines[-1] == "2 tasks queued: t8, t9"
        assert not any("✍" in row for row in lines), "there is no room for what needs nobody"

        lines = [shown(row) for row in status_card(there.config, view, {}).lines]
        assert lines[-1] == "✍ and 2 more by hand · hooked, not held"
        assert lines[-3].startswith("✍ h1 claude · shop · evo")

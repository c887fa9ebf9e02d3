"""What is wrong with the fleet itself is told to every admin once, and its card changes when it is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select, update

from bot.cards import Card, line, shown
from bot.health import ControllerHealth, StoreWatch
from bot.outbox.contact import Contact, Way
from bot.outbox.port import Outgoing
from bot.reload import LiveConfig
from bot.telling.alarms import Alarms, Causes, FleetAlarm
from bot.telling.newer import NewerAgents
from fleet.agents.versions import TESTED, written
from fleet.config import parse_fleet
from fleet.config.home import FLEET_FILE
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import ChatRef
from fleet.store import tables
from fleet.supervise import Supervisor
from tests.chat_flight import Flight, everything
from tests.chat_house import FLEET, OTTO, House, house
from tests.rows import placed

TWO = FLEET + '\n[[people]]\nname = "Anna"\nrole = "admin"\nids = ["phone::anna"]\n'
ADMINS = (ChatRef("phone", "ada"), ChatRef("phone", "anna"))
DISK = FleetAlarm("disk", "The controller's disk is almost full", "3 MiB are free")


class Clock:
    """Stands at one time; waiting takes none of it."""

    us = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def told(there: House, wrong: list[FleetAlarm]) -> list[Outgoing]:
    """What the admins get when this is wrong, looked at twice, the second time by a new controller."""
    before = len(there.phone.sent)
    for _ in range(2):
        await Alarms(there.outbox, lambda: there.config, lambda: wrong, ("phone",)).look()
        for chat in ADMINS:
            await there.deliverer.drained(chat)
    return there.phone.sent[before:]


async def test_every_admin_is_told_once_and_once_when_it_is_over(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        others = await told(there, [])
        assert [shown(out.card.title) for out in others] == ["Your own changes need somebody else now"] * 2
        assert await told(there, []) == [], "it is said once"
        began = await told(there, [DISK])
        assert {out.chat for out in began} == set(ADMINS) and len(began) == 2
        assert all(out.ping and "3 MiB are free" in everything(out.card) for out in began)
        both = await told(there, [DISK, FleetAlarm("machine evo-x2", "evo-x2 is away", "no route to host")])
        assert [shown(out.card.title) for out in both] == ["⚠ evo-x2 is away"] * 2
        other = await told(there, [DISK, FleetAlarm("machine evo-x2", "evo-x2 is faulty", "no JSON")])
        assert [shown(out.card.title) for out in other] == ["⚠ evo-x2 is faulty"] * 2
        assert all(out.edits and not out.ping and "no JSON" in everything(out.card) for out in other)
        over = await told(there, [FleetAlarm("machine evo-x2", "evo-x2 is faulty", "no JSON")])
        assert len(over) == 2 and all(out.edits and not out.ping for out in over)
        assert shown(over[0].card.title) == "✓ The controller's disk is almost full"
        assert "Over since" in everything(over[0].card)


async def test_who_does_not_hear_what_waits_for_them_is_named_to_the_admins(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await told(there, [])
        ada = ADMINS[0]
        asked = Card(line("t1 · held for a person"), mention="phone::ada")

        async def ask(chat: ChatRef = ada, *, ping: bool = True) -> None:
            await there.store.write(lambda tx: there.outbox.open(tx).post(chat, asked, ping=ping))
            await there.deliverer.drained(chat)

        there.phone.gone.add(ada.chat)
        await ask(ping=False)
        assert await told(there, []) == [], "nobody had to hear it"
        await ask()
        (card,) = (out.card for out in await told(there, []))
        assert shown(card.title) == "⚠ What waits for Ada does not reach them"
        assert "Phone: Forbidden: bot was blocked by the user" in everything(card)
        assert await told(there, []) == [], "it is told once, to whom it reaches"
        there.phone.gone.clear()
        await ask()
        assert "✓ What waits for Ada does not reach them" in [
            shown(out.card.title) for out in await told(there, [])
        ]
        there.phone.gone.add(ada.chat)
        await ask()
        there.configured(parse_fleet(TWO.replace("phone::ada", "phone::ada-anew"), "fleet.toml"))
        assert await told(there, []) == [], "that id is nobody's now"


async def test_an_agent_that_is_newer_than_tested_is_told_once_for_each_version(tmp_path: Path) -> None:
    toml = TWO.replace('driver = "command"', 'driver = "claude"', 1)
    machines: dict[str, MachineSeen] = {}
    async with house(tmp_path, fleet_toml=toml) as there:
        (name, *_) = [name for name, agent in there.config.agents.items() if agent.driver == "claude"]

        async def newer(version: str, *where: str) -> list[Outgoing]:
            before = len(there.phone.sent)
            machines.update({each: MachineSeen(MachineState.WELL, 1, offers={name: version}) for each in where})
            for _ in range(2):
                seen = NewerAgents(there.outbox, lambda: there.config, lambda: machines, ("phone",))
                await seen.look()
                for chat in ADMINS:
                    await there.deliverer.drained(chat)
            return there.phone.sent[before:]

        assert await newer(written(TESTED["claude"]), "macbook") == []
        cards = await newer("9.0.1", "macbook", "evo-x2")
        assert [(out.chat, shown(out.card.title)) for out in cards] == [
            (chat, "claude 9.0.1 is newer than tested") for chat in ADMINS
        ]
        assert "npm install -g @anthropic-ai/claude-code@" in everything(cards[0].card) and not cards[0].ping
        assert await newer("9.0.1", "evo-x2") == []
        assert len(await newer("9.0.2", "evo-x2")) == 2


async def test_what_comes_back_soon_changes_its_card_and_later_makes_a_sound_again(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await told(there, [DISK])
        await told(there, [])
        again = await told(there, [DISK])
        assert len(again) == 2 and all(out.edits and not out.ping for out in again)
        await told(there, [])
        hour = tables.outbox.c.created_us - 3_600_000_001
        await there.store.write(lambda tx: tx.connection.execute(update(tables.outbox).values(created_us=hour)))
        later = await told(there, [DISK])
        assert len(later) == 2 and all(out.ping and not out.edits for out in later)


async def test_the_causes_are_what_the_controller_knows(tmp_path: Path) -> None:
    (tmp_path / FLEET_FILE).write_text(FLEET)
    clock, gone = Clock(), asyncio.Event()
    config, supervisor = LiveConfig(tmp_path, clock), Supervisor(clock)
    health = ControllerHealth(supervisor, StoreWatch(clock), config, None)
    machines: dict[str, MachineSeen] = {}
    free = [1 << 40]
    full: dict[str, int] = {}
    causes = Causes(health, lambda: machines, clock, tmp_path, free=lambda _: free[0], full=full)
    assert causes() == []
    died: list[bool] = []

    async def work() -> None:
        if died:
            gone.set()
            await asyncio.Event().wait()
        died.append(True)
        raise KeyError("secretless")

    supervisor.run("reminders", work)
    await gone.wait()
    config.invalid_us, config.invalid = clock.us, "line 3: unknown key"
    machines["evo-x2"] = MachineSeen(MachineState.AWAY, 1, why="no route to host", bad_us=clock.us - 60_000_000)
    machines["macbook"] = MachineSeen(MachineState.AWAY, 1, why="asleep too", bad_us=clock.us - 59_000_000)
    machines["mini"] = MachineSeen(MachineState.WELL, clock.us)
    free[0], full["mini"] = 5 << 20, 7 << 20
    found = {alarm.cause: alarm for alarm in causes()}
    assert set(found) == {FLEET_FILE, "component reminders", "machine evo-x2", "disk", "disk mini"}
    assert "Nothing new starts there" in found["disk mini"].why
    assert "line 3: unknown key" in found[FLEET_FILE].why
    assert found["machine evo-x2"].title == "evo-x2 is asleep or away"
    assert "5 MiB" in found["disk"].why
    await supervisor.close()


async def test_a_chat_that_is_away_for_a_minute_is_told_where_another_reaches_the_admin(tmp_path: Path) -> None:
    (tmp_path / FLEET_FILE).write_text(FLEET)
    clock, seconds = Clock(), [100.0]
    contact = Contact(lambda: seconds[0])
    config, supervisor = LiveConfig(tmp_path, clock), Supervisor(clock)
    health = ControllerHealth(supervisor, StoreWatch(clock), config, None, {"phone": contact})
    causes = Causes(health, dict, clock, tmp_path, free=lambda _: 1 << 40)
    contact.lost(Way.RECEIVE, "no route to host")
    seconds[0] += 59
    contact.lost(Way.SEND, "no answer")
    assert causes() == [], "a moment is no outage"
    seconds[0] += 1
    contact.lost(Way.RECEIVE, "network unreachable")
    (alarm,) = causes()
    assert alarm.cause == "chat phone" and alarm.title == "Phone cannot be reached"
    assert "has not answered since" in alarm.why and "network unreachable" in alarm.why
    assert health.troubles().others == (alarm.why,)
    contact.found(Way.RECEIVE)
    seconds[0] += 1
    assert causes() == [], "only sending fails, and not for long"
    contact.found(Way.SEND)
    both = FLEET.replace('"phone::ada"', '"phone::ada", "desk::ada"')
    async with house(tmp_path / "house", fleet_toml=both) as there:
        alarms = Alarms(there.outbox, lambda: there.config, lambda: [alarm], ("phone", "desk"))
        await alarms.look()
        waiting = await there.store.read(
            lambda tx: [row.chat for row in tx.connection.execute(select(tables.outbox.c.adapter.label("chat")))]
        )
    assert "desk" in waiting and "phone" not in waiting


async def test_whose_tasks_wait_on_a_machine_that_does_not_let_us_in_is_told_in_their_chat(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await told(there, [])
        await there.say("/run mend it", OTTO)
        await there.say("/run on=macbook and this", OTTO)
        flight = await Flight.of(there)
        await flight.start()
        await there.store.write(lambda tx: placed(tx, "t2", "macbook"))
        shut = FleetAlarm("machine macbook", "macbook is not usable", "another host key", shut="macbook")
        for _ in range(2):
            await told(there, [shut])
            await there.settle()
        (card,) = (
            sent.card for sent in flight.there.phone.sent if shown(sent.card.title).endswith(": t1, t2 wait")
        )
        assert card.mention == str(OTTO) and "another host key" in everything(card)
        assert [action.label for action in card.actions] == ["Start t1 again"]
        await told(there, [])
        await there.settle()
        assert "✓ macbook answers again" in there.phone.titles()
        await told(there, [shut])
        await there.settle()
        assert sum(title.endswith(": t1, t2 wait") for title in there.phone.titles()) == 2

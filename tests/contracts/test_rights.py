"""Who may do what, cell by cell: every registered command for every role and for a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from bot.cards import Card
from bot.commands import every_command
from bot.registry import Command
from bot.telling.notify import CURSOR
from fleet.events import CommandGiven
from fleet.model import TaskState
from fleet.store import tables, tasks
from fleet.store.chat import settings
from fleet.store.core import Tx
from gates.people import RIGHTS, Role
from tests.chat_flight import Flight, everything
from tests.chat_house import ADA, OTTO, STRANGER, VERA, House, house

BY_ROLE = {Role.VIEWER: VERA, Role.OPERATOR: OTTO, Role.ADMIN: ADA}
MATRIX = {
    Role.VIEWER: "status sessions session gates machines people logs diff digest receipt verify waiting help"
    " notify mute cancel locks schedules zone queue unlanded parked"
    " repos doctor whoami version login history cost budget agents",
    Role.OPERATOR: "run ask stop retry go judge approve deny say schedule bump pause resume drain undrain undo use"
    " fork model attach review",
    Role.ADMIN: "unlock revoke override",
}
#: Words that make each command do its work in a house with a task at work that asks.
WORDS = {
    "run": "mend it",
    "ask": "why?",
    "say": "t1 use tabs",
    "mute": "1h",
    "notify": "all",
    "unlock": "t1 stuck",
    "drain": "evo-x2",
    "undrain": "evo-x2",
    "schedule": "every day 9:00 run mend it",
    "revoke": "phone::mallory",
    "use": "shop",
    "fork": "t1 go on",
    "review": "feature",
}
WRITTEN = (tables.tasks, tables.notes, tables.approvals, tables.settings, tables.actions, tables.ledger)


def allowed(command: Command, role: Role) -> bool:
    """As written above, by hand, and not as the code says."""
    roles = list(Role)[: list(Role).index(role) + 1]
    return any(command.verb in MATRIX[role].split() for role in roles)


def written(tx: Tx) -> list[object]:
    """What is counted, but for what each message says, whatever it may do: whose a private chat is, and that a
    command was given. How far the notifier has read is nobody's doing."""
    state = [tx.connection.execute(select(func.count()).select_from(table)).scalar_one() for table in WRITTEN]
    state[WRITTEN.index(tables.settings)] -= len(
        [*settings.beginning(tx, "private:"), *settings.beginning(tx, CURSOR)]
    )
    given = select(func.count()).where(tables.ledger.c.kind == CommandGiven.KIND)
    state[WRITTEN.index(tables.ledger)] -= tx.connection.execute(given).scalar_one()
    stops = tx.connection.execute(select(tables.tasks.c.stop_by)).scalars().all()
    decisions = tx.connection.execute(select(tables.approvals.c.decision)).scalars().all()
    return [*state, list(stops), list(decisions)]


async def at_work(there: House) -> Flight:
    flight = await Flight.begin(there)
    await flight.ask()
    return flight


def told(cards: list[Card]) -> str:
    return "\n".join(map(everything, cards))


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.verb)
async def test_a_row(tmp_path: Path, command: Command) -> None:
    """A stranger first, then each role: whoever may not, changes nothing."""
    async with house(tmp_path) as there:
        await at_work(there)
        before = await there.store.read(written)
        for name in (command.verb, *command.aliases):
            _, cards = await there.say(f"/{name} t1 words", STRANGER)
            assert told(cards).strip() == "You are not registered here.\nYour id: phone::mallory"
        assert await there.store.read(written) == before
        for role in Role:
            before = await there.store.read(written)
            words = f"/{command.verb} {WORDS.get(command.verb, 't1' if 'TASK' in command.usage else '')}"
            result, cards = await there.say(words, BY_ROLE[role])
            if allowed(command, role):
                assert "this needs the right" not in told(cards)
                assert command.right in RIGHTS[role]
                continue
            assert result.status == 2
            assert f"this needs the right to {command.right}" in told(cards)
            assert await there.store.read(written) == before, "nothing else happened"


async def test_a_hold_takes_more_than_its_commands_right(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.held()
        for verb in ("approve", "deny"):
            result, (card,) = await there.say(f"/{verb} a1", OTTO)
            assert result.status == 2
            assert "You cannot release this; an admin was asked" in told([card])
        result, _ = await there.say("/approve a1", ADA)
        assert result.status == 0


async def test_a_viewer_mutes_what_only_they_hear_and_nobody_elses_chat(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        before = await there.store.read(written)
        result, (card,) = await there.hand_over(there.message("/mute 1h", VERA, private=False))
        assert result.status == 2
        assert "this needs the right to run" in told([card]) and "/notify none" in told([card])
        assert await there.store.read(written) == before
        for text, sender, private in (("/mute 1h", VERA, True), ("/mute 1h", OTTO, False)):
            result, (card,) = await there.hand_over(there.message(text, sender, private=private))
            assert (result.status, told([card]).split(" until")[0]) == (0, "Muted")


def test_every_command_has_its_row() -> None:
    assert sorted(" ".join(MATRIX.values()).split()) == sorted(command.verb for command in every_command())


async def test_a_demoted_persons_buttons_do_nothing(tmp_path: Path) -> None:
    """A right is looked up at the press, not when the button was drawn."""
    async with house(tmp_path) as there:
        flight = await at_work(there)
        (card,) = flight.pinged()
        demoted = there.config.model_copy(
            update={"people": [person.model_copy(update={"role": "viewer"}) for person in there.config.people]}
        )
        there.configured(demoted)
        result, _ = await there.press(card, "Allow once", ADA)
        assert result.status == 2
        state = (await there.store.read(lambda tx: tasks.task(tx, "t1"))).state
        assert state is TaskState.RUNNING
        assert (await there.store.read(written))[-1] == [""]

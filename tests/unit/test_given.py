"""Every command of a person is an event, once, with what came of it and without their words."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.hearing.given import Given
from fleet.errors import Misused, Refused, StoreUnavailable, Unavailable
from fleet.events import CommandGiven, CommandOutcome, Recorded, Source
from fleet.faults import Fault, Point, injected
from fleet.model import ChatRef, PersonId
from fleet.store import ledger
from tests.chat_house import ADA, FLEET, STRANGER, VERA, House, house

MANY = FLEET + "".join(f'[machines.box-{n:02}]\nexecutor = "local"\n' for n in range(20))


async def recorded(there: House) -> list[Recorded]:
    return await there.store.read(lambda tx: ledger.read(tx, kinds=(CommandGiven.KIND,)))


async def given(there: House) -> list[CommandGiven]:
    return [entry.event for entry in await recorded(there) if isinstance(entry.event, CommandGiven)]


@pytest.mark.parametrize("text", ["/status", "/queue", "/locks", "/digest", "/help", "/help Look", "status"])
async def test_a_look_is_an_event_of_its_own(tmp_path: Path, text: str) -> None:
    async with house(tmp_path) as there:
        await there.say(text)
        (entry,) = await recorded(there)
    assert (entry.actor, entry.source) == (str(ADA), Source.PERSON)
    verb = text.split(maxsplit=1)[0].removeprefix("/")
    assert entry.event == CommandGiven(verb, "phone:c1", False, len(text), CommandOutcome.DONE, "", "")


async def test_a_button_that_only_pages_is_one_too(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MANY) as there:
        _, (card,) = await there.say("/machines")
        await there.press(card, "More")
        first, second = await given(there)
    assert (first.command, first.pressed) == ("machines", False)
    assert (second.command, second.pressed, second.characters) == ("machines", True, 0)


@pytest.mark.parametrize(
    ("sender", "text", "command", "outcome", "reason"),
    [
        (VERA, "/run mend the xyzzy", "run", CommandOutcome.REFUSED, "this needs the right to"),
        (ADA, "/logs xyzzy", "logs", CommandOutcome.MISUSED, ""),
        (ADA, "/xyzzy now", "", CommandOutcome.NOT_UNDERSTOOD, ""),
        (ADA, "the xyzzy is broken", "", CommandOutcome.NOT_UNDERSTOOD, ""),
    ],
)
async def test_what_came_of_it_is_said_without_the_words(
    tmp_path: Path, sender: PersonId, text: str, command: str, outcome: CommandOutcome, reason: str
) -> None:
    async with house(tmp_path) as there:
        await there.say(text, sender)
        (entry,) = await recorded(there)
    event = entry.event
    assert isinstance(event, CommandGiven)
    assert (event.command, event.outcome, event.characters) == (command, outcome, len(text))
    assert event.reason.startswith(reason) and bool(event.reason) is bool(reason)
    assert "xyzzy" not in json.dumps(event.body())


OUTCOMES = [
    (Refused(attempted="run it", cause="there is no repository xyzzy"), CommandOutcome.REFUSED, ""),
    (Refused(attempted="run it", cause="a line\n\x1b[31mis full\u202e"), CommandOutcome.REFUSED, "a line is full"),
    (Refused(attempted="run it", cause="x" * 900), CommandOutcome.REFUSED, "x" * 200),
    (Unavailable(attempted="run it", cause="nobody answers"), CommandOutcome.UNAVAILABLE, ""),
    (Misused(attempted="run it", cause="no number"), CommandOutcome.MISUSED, ""),
    (ZeroDivisionError("a bug"), CommandOutcome.FAILED, ""),
    (None, CommandOutcome.DONE, ""),
]


async def test_each_error_is_one_outcome_and_a_reason_repeats_no_word_of_theirs(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as there:
        known = Given(there.message("/run Xyzzy, mend it"), heard=True, verb="run")
        for error, _, _ in OUTCOMES:
            await there.store.write(partial(known.note, error=error))
        found = [(event.outcome, event.reason) for event in await given(there)]
    assert found == [(outcome, reason) for _, outcome, reason in OUTCOMES]


async def test_an_edit_is_a_command_only_where_it_does_something(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for own, first, then in (("p1", "/run mend it", "/run mend it all"), ("p2", "/queue", "/locks")):
            await there.hand_over(replace(there.message(first), own=own))
            await there.hand_over(replace(there.message(then), own=own, edited=True))
        assert [event.command for event in await given(there)] == ["run", "run", "queue"]


async def test_it_names_the_task_that_it_began(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        assert [(event.command, event.task) for event in await given(there)] == [("run", "t1")]


async def test_an_update_that_comes_twice_is_one_event_also_after_a_failed_commit(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        message = there.message("/status", update="same")
        with injected(Fault(Point.STORE_COMMIT, first=2)) as fault, suppress(StoreUnavailable):
            await there.core.call(message)  # where it could not even be received, its platform sends it again
        await there.core.call(message)
        assert fault.raised == 1
    async with house(tmp_path) as there:
        await there.core.call(message)
        assert len(await given(there)) == 1


async def test_what_is_for_others_and_what_strangers_say_is_none(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        group = replace(there.message("lunch?"), direct=False, private=False, chat=ChatRef("phone", "all"))
        await there.core.call(group)
        await there.say("/status", STRANGER)
        assert await given(there) == []


async def test_nothing_is_added_to_a_ledger_that_lacks_something(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.fleet.grows = False
        size = await there.store.read(ledger.size)
        await there.say("/status")
        await there.say("/xyzzy")
        assert await there.store.read(ledger.size) == size


async def test_a_look_costs_the_notifier_no_commit(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        rounds = True
        while rounds:  # until what its start still does is over; if looks woke it, it would never be
            with injected(Fault(Point.STORE_COMMIT, first=1_000_000)) as commits:
                for _ in range(10):
                    await there.core.call(there.message("/status"))
            rounds = any("notify" in site for site in commits.sites)
        assert len(await given(there)) >= 10

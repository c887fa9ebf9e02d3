"""/adopt: who may ask for a session by hand, and what is said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from fleet.errors import Misused
from fleet.git.repository import Repository
from fleet.locks import Granted, HoldEnd, LockCause, Resource, Want
from fleet.model import PersonId
from fleet.store import hooked, locks
from fleet.store.hooked import Adoption, Hooked
from fleet.supervise import alongside
from gates.hooked import HookedSessions
from gates.locks import book
from gates.locks.book import Request
from tests.chat_flight import everything
from tests.chat_house import OTTO, House, house

LONG: Final = 600_000_000


async def begun(there: House, person: PersonId = OTTO) -> Hooked:
    row = ("claude", "c1", str(person), "evo", "shop", "/w", "digest")
    return await there.store.write(lambda tx: hooked.begin(tx, *row))


async def open_now(there: House) -> list[Hooked]:
    return await there.store.read(hooked.open_ones)


async def test_a_conversation_is_handed_over_for_the_person_whose_it_is_and_for_nobody_else(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await begun(there)
        result, (card,) = await there.say("/adopt h1 finish it")
        told = everything(card)
        assert result.status != 0 and "somebody else started it" in told and "Otto can adopt it" in told
        assert [each.adopt for each in await open_now(there)] == [""]
        result, (card,) = await there.say("/adopt H1 finish it", OTTO)
        (found,) = await open_now(there)
        assert result.status == 0 and "is adopted at its next sign of life" in everything(card)
        asked = Adoption.from_json(found.adopt)
        assert asked is not None and (asked.by, asked.words) == (str(OTTO), "finish it")


async def test_to_ask_for_a_session_is_no_sign_of_its_life(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        before = await begun(there)
        long_ago = before.seen_us - 3_600_000_000
        await there.store.write(lambda tx: hooked.change(tx, before, seen_us=long_ago))
        await there.say("/adopt h1 finish it", OTTO)
        assert [each.seen_us for each in await open_now(there)] == [long_ago]


async def test_what_is_not_understood_says_how_to_write_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for text in ("/adopt", "/adopt h1", "/adopt h9 go on"):
            result, (card,) = await there.say(text)
            assert result.status != 0 and "/adopt h3 WORDS…" in everything(card), text


async def test_what_an_adopted_session_holds_is_its_tasks_before_anybody_in_line(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        found, service = await begun(there), there.core.context.locks
        wants = (Want(Resource("a.py", "shop")),)
        held = await service.acquire(Request(found.holder, wants, LONG, LockCause.TOUCHED))
        assert isinstance(held, Granted)
        await there.store.write(lambda tx: hooked.change(tx, found, hold=held.hold.id))
        await there.say("/run go on", OTTO)
        sessions = HookedSessions(there.store, service, nowhere, lambda: there.config)
        waiting = service.acquire(Request("ci", wants, LONG, LockCause.COMMAND), wait_seconds=600)
        async with alongside(waiting, "ci waits") as ci:
            while not service.line:
                await asyncio.sleep(0.01)
            (now,) = await open_now(there)
            await there.store.write(lambda tx: sessions.adopted(tx, now, "t1"))
            task_holds = await there.store.read(lambda tx: locks.of_task(tx, "t1"))
            assert task_holds is not None and not ci.done()
            await there.store.write(lambda tx: book.release(tx, task_holds, HoldEnd.DONE))
            await there.store.write(service.serve)
            assert isinstance(await ci, Granted)


def nowhere(name: str) -> Repository:
    raise Misused(attempted="open a repository", on=name)

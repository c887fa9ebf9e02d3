"""Cards about locks: who refused a task, what a person can do then, and a lock that is held without progress."""

from __future__ import annotations

from pathlib import Path

from bot.cards import shown
from bot.telling.locked import StuckLocks
from fleet.clock import SystemClock
from fleet.events import LocksRefused, LocksReleased, Source
from fleet.locks import LockCause, Resource, Want
from fleet.model import TaskState
from fleet.store import ledger, locks, tasks
from fleet.store.core import Tx
from gates.locks import book
from gates.locks.book import Request
from tests.chat_flight import Flight
from tests.chat_house import ADA, OTTO, VERA, House, house

REFUSED = LocksRefused("t1", ("path:shop:src/pay.py",), "t2", "path:shop:src/pay.py", "touched")


async def begun(there: House) -> Flight:
    """``t1`` runs; somebody else asked for ``t2``, which holds a file."""
    flight = await Flight.begin(there)
    await there.say("/run tidy the payments", sender=OTTO)
    return flight


async def test_a_refusal_names_the_holder_and_offers_to_ask_or_to_queue(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await begun(there)
        await flight.note(REFUSED)
        card = there.last()
        said = [shown(part) for part in (card.title, *card.lines)]
        assert said[0] == "t1 · t2 holds src/pay.py"
        assert said[1] == "t2: tidy the payments"
        assert [action.label for action in card.actions] == ["Ask Otto", "Queue behind t2"]
        posted = len(there.phone.sent)
        await flight.note(REFUSED)
        assert all(post.edits for post in there.phone.sent[posted:]), "one card for each holder"
        _, cards = await there.press(card, "Ask Otto")
        asked = cards[0]
        assert shown(asked.title).endswith("Ada asks: t1 needs what t2 holds")
        assert [action.label for action in asked.actions] == ["Diff", "Unlock"]
        await there.press(card, "Queue behind t2")
        (again,) = [task for task in await there.tasks() if task.retry_of == "t1"]
        assert again.locks == (Want(Resource("src/pay.py", "shop")),)
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))


async def test_an_end_by_a_lock_offers_the_same(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await begun(there)
        await flight.note(REFUSED)
        why = "src/pay.py is locked by t2 (src/pay.py) since 12:00"
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.REFUSED, why, "airboss"))
        await there.settle()
        (end,) = [post.card for post in there.phone.sent if shown(post.card.title) == "t1 · refused"]
        assert [action.label for action in end.actions] == ["Ask Otto", "Queue behind t2", "Retry", "Log"]


async def test_a_wait_that_costs_the_locks_is_said(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(LocksReleased("h", "t1", ("path:shop:src/pay.py",), "done"))
        before = there.phone.titles()
        await flight.note(LocksReleased("h", "t1", ("path:shop:src/pay.py",), "waited"))
        assert there.phone.titles()[len(before) :] == ["t1 · its locks were released: it waits too long"]


def said_so(there: House) -> list[str]:
    """The titles of cards about a lock without progress; other cards come and change meanwhile."""
    return [title for title in there.phone.titles() if title.endswith("t1 holds a lock and shows no progress")]


async def test_a_lock_held_without_progress_is_shown_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await begun(there)
        request = Request("t1", (Want(Resource("src/**", "shop")),), 60_000_000, LockCause.TOUCHED, task="t1")
        await there.store.write(lambda tx: book.acquire(tx, request))
        watch = StuckLocks(there.outbox, lambda: there.config, SystemClock())
        await watch.look()
        await there.settle()
        assert not said_so(there), "it has only just started"
        watch = StuckLocks(there.outbox, lambda: there.config, SystemClock(), long_us=0)
        for _ in range(2):
            await watch.look()
            await there.settle()
        assert len(said_so(there)) == 1


async def test_unlock_needs_the_right_a_reason_and_what_is_held(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await begun(there)
        wants = tuple(Want(Resource(name, "shop")) for name in ("src/**", "my notes.txt"))
        request = Request("t1", wants, 60_000_000, LockCause.TOUCHED, task="t1")
        await there.store.write(lambda tx: book.acquire(tx, request))

        async def names() -> list[str]:
            def read(tx: Tx) -> list[str]:
                hold = locks.of_task(tx, "t1")
                return sorted(lock.resource.name for lock in locks.of_hold(tx, hold.id)) if hold else []

            return await there.store.read(read)

        for sender, text, said in (
            (OTTO, "/unlock t1 it is mine", "admin"),
            (VERA, "/unlock src/** it is mine", "admin"),
            (ADA, "/unlock t1", "why"),
            (ADA, "/unlock", "why"),
            (ADA, "/unlock src/pay.py stuck", "t1 holds src/**, and not this alone"),
            (ADA, "/unlock docs/a.md stuck", "nobody holds it"),
            (ADA, "/unlock t2 stuck", "it holds no lock"),
        ):
            _, cards = await there.say(text, sender=sender)
            words = " ".join(shown(part) for part in (cards[-1].title, *cards[-1].lines))
            assert said in words, words
            assert await names() == ["my notes.txt", "src/**"]
        await there.say("/unlock “my notes.txt” its owner is away", sender=ADA)
        assert await names() == ["src/**"]
        await there.say("/unlock t1 its owner is away", sender=ADA)
        assert await names() == []
        ends = await there.store.read(lambda tx: ledger.read(tx, kinds=(LocksReleased.KIND,)))
        assert [(item.actor, item.source, item.event.body()["reason"]) for item in ends] == [
            (str(ADA), Source.PERSON, "its owner is away")
        ] * 2

"""Cards about locks: who refused a task, what a person can do then, and a lock that is held without progress."""

from __future__ import annotations

from pathlib import Path

from bot.cards import shown
from bot.repositories import at_root
from bot.telling.locked import StuckLocks
from fleet.events import LocksRefused, LocksReleased, Source
from fleet.git.repository import Repository
from fleet.locks import LockCause, Resource, Want
from fleet.model import TaskState
from fleet.store import ledger, locks, schedules, tasks
from fleet.store.core import Tx
from gates.locks import book
from gates.locks.book import Request
from tests.chat_flight import Flight
from tests.chat_house import ADA, OTTO, VERA, House, house
from tests.far_end.repositories import make_bare

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
        watch = StuckLocks(there.outbox, lambda: there.config)
        await watch.look()
        await there.settle()
        assert not said_so(there), "it has only just started"
        watch = StuckLocks(there.outbox, lambda: there.config, long_us=0)
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


async def holding(there: House, holder: str, *wants: Resource, task: str = "") -> None:
    request = Request(holder, tuple(map(Want, wants)), 60_000_000, LockCause.COMMAND, task=task)
    await there.store.write(lambda tx: book.acquire(tx, request))


async def test_locks_are_found_and_taken_away_by_what_the_list_shows(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await begun(there)
        await holding(there, "t1", *(Resource(f"src/{at}.py", "shop") for at in range(12)), task="t1")
        await holding(there, "h7 (hooked, not held)", Resource("by-hand.txt", "shop"))
        await holding(there, "Nightly", Resource("deploy"))
        await holding(there, "ci", Resource("a.py", "before"))  # of a repository that was renamed since
        for text, rows, first in (
            ("/locks", 4, "t1 · src/0.py, src/1.py +10"),
            ("/locks T1", 10, "t1 · src/0.py · "),
            ("/locks t1 2", 2, "t1 · src/10.py · "),
            ("/locks SRC/3.py", 1, "t1 · src/3.py · "),
            ("/locks src", 10, "t1 · src/0.py · "),
            ("/locks h7", 1, "h7 (hooked, not held) · by-hand.txt"),
            ("/locks deploy", 1, "Nightly · deploy (advisory)"),
            ("/locks ci", 1, "ci · path:before:a.py · "),
            ("/locks docs/x.md", 1, "Nobody holds docs/x.md."),
        ):
            _, (card,) = await there.say(text)
            lines = [shown(each) for each in card.lines]
            assert len(lines) == rows and lines[0].startswith(first), (text, lines)
        for text, said in (
            ("/unlock SRC/3.py stuck", "1 lock taken away"),
            ("/unlock #t1: its machine sleeps", "11 locks taken away"),
            ("/unlock H7 its machine sleeps", "1 lock taken away"),
            ("/unlock nightly it hangs", "1 lock taken away"),
            ("/unlock path:before:a.py it is over", "1 lock taken away"),
        ):
            _, cards = await there.say(text, sender=ADA)
            assert said in [shown(card.title) for card in cards], text
        _, (card,) = await there.say("/locks")
        assert shown(card.lines[0]) == "Nothing is locked."


async def test_whose_locks_somebody_else_took_away_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await begun(there)
        for holder in ("t1", "t2"):
            await holding(there, holder, Resource(f"{holder}.py", "shop"), task=holder)
            await there.say(f"/unlock {holder} I need it", sender=ADA)
        await there.settle()
        told = [post.card for post in there.phone.sent if "took its locks away" in shown(post.card.title)]
        assert [shown(card.title) for card in told] == ["t2 · Ada took its locks away"], "t1 is hers"
        assert [shown(each) for each in told[0].lines[-3:-1]] == ["t2.py", "Reason: I need it"]


async def test_a_word_that_is_also_a_path_locks_both(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, _ = await there.say("/run lock=lib share=deploy tidy up", sender=OTTO)
        task = await there.store.read(lambda tx: tasks.task(tx, result.task))
        assert [str(want) for want in task.locks] == ["exclusive lib", "shared deploy", "exclusive path:shop:lib"]
        await there.say("/schedule every hour run lock=lib tidy up", sender=OTTO)
        (made,) = await there.store.read(schedules.listed)
        assert [str(want) for want in made.work.locks] == ["exclusive lib", "exclusive path:shop:lib"]


async def test_what_the_base_branch_has_at_its_root_is_known_before_the_first_task(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"src/a.py": "1\n", "Makefile": "all:\n"})
    repository = Repository("shop", str(bare), "main", tmp_path / "mirror.git")
    for _ in range(2):
        assert await at_root(repository, ["src", "Makefile", "deploy", "a b"]) == ["src", "Makefile"]

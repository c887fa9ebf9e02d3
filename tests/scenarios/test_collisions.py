"""Two tasks that would collide: the second one's person is told before it starts, and decides."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from bot.commands import colliding
from fleet.locks import LockCause, Resource, Want
from fleet.store import tasks
from fleet.store.core import Tx
from gates.locks import book
from gates.locks.book import Request
from gates.locks.line import Waiter
from tests.chat_house import VERA, House, house


async def lock(there: House, pattern: str, *, lives_us: int = 60_000_000) -> None:
    """The first task locks something."""
    wants = (Want(Resource(pattern, "shop")),)
    request = Request("t1", wants, lives_us, LockCause.TOUCHED, task="t1")
    await there.store.write(lambda tx: book.acquire(tx, request))


@pytest.mark.parametrize(
    ("held", "text", "path", "press"),
    [
        ("src/pay.py", "/run tidy src/pay.py, please", "src/pay.py", "Run anyway"),
        ("src/pay.py", "/run tidy pay.py.", "src/pay.py", "Queue behind it"),
        ("src/**", "/run tidy src/other.py", "src/other.py", "Run anyway"),
        ("src/pay.py", "/run --lock 'src/**' tidy", "src/pay.py", "Run anyway"),
    ],
)
async def test_it_names_who_holds_what_the_words_or_the_locks_touch(
    tmp_path: Path, held: str, text: str, path: str, press: str
) -> None:
    async with house(tmp_path) as there:
        await there.say("/run first")
        await lock(there, held)
        _, cards = await there.say(text)
        question = cards[-1]
        said = [shown(part) for part in (question.title, *question.lines)]
        assert said[0] == "t2 would touch what t1 has"
        assert said[1].startswith(f"{path} is locked by t1")
        wanted = await there.store.read(lambda tx: tasks.task(tx, "t2").locks)
        assert len(wanted) == 1, "it queues behind t1 without an answer"
        await there.press(question, press)
        now = await there.store.read(lambda tx: tasks.task(tx, "t2").locks)
        assert now == (wanted if press == "Queue behind it" else ())


async def test_what_waits_for_no_lock_is_not_said_to_start(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run first")
        await there.say("/run after=t1 second")
        result, cards = await there.say("/queue anyway t2")
        assert result.status == 2 and "no lock" in str(cards[0])


async def test_what_touches_nothing_of_others_starts_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run first")
        await lock(there, "src/pay.py")
        for text in ("/run tidy src/other.py", "/run say e.g. hello, v1.2 …", "/ask what does src/pay.py do?"):
            _, cards = await there.say(text)
            assert len(cards) == 1

        def declared(tx: Tx) -> list[int]:
            return [len(task.locks) for task in tasks.open_tasks(tx)]

        assert await there.store.read(declared) == [0, 0, 0, 0]


async def test_what_is_over_by_then_is_no_collision(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run first")
        await lock(there, "src/pay.py")
        await there.say("/run after=t1 second")
        for text in ("/run after=t1 tidy src/pay.py", "/run after=t2 --lock src/pay.py tidy"):
            _, cards = await there.say(text)
            assert len(cards) == 1, "it starts when the first has landed"
    async with house(tmp_path / "expired") as there:
        await there.say("/run first")
        await lock(there, "src/pay.py", lives_us=1)
        _, cards = await there.say("/run tidy src/pay.py")
        assert len(cards) == 1, "that lock has expired"


async def test_what_waits_in_line_is_a_collision_too_but_not_what_waits_behind(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("first", "second", "third"):
            await there.say(f"/run {words}")
        wants = [Want(Resource("src/pay.py", "shop"))]

        def in_line(number: int) -> Waiter:
            request = Request(f"t{number}", tuple(wants), 1, LockCause.DECLARED, task=f"t{number}")
            return Waiter(number, request, 0, asyncio.get_running_loop().create_future())

        line = [in_line(2), in_line(3)]

        def ahead(tx: Tx, task: str = "", after: str = "") -> list[str]:
            return [each.task for each in colliding.ahead(tx, line, wants, repo="shop", task=task, after=after)]

        assert await there.store.read(ahead) == ["t2", "t3"]
        assert await there.store.read(partial(ahead, task="t3")) == ["t2"]
        assert await there.store.read(partial(ahead, task="t2")) == []
        assert await there.store.read(partial(ahead, after="t2")) == ["t3"]


async def test_who_may_only_look_decides_nothing_about_the_queue(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run first")
        await lock(there, "src/pay.py")
        await there.say("/run tidy src/pay.py")
        before = await there.store.read(lambda tx: tasks.task(tx, "t2").locks)
        result, _ = await there.say("/queue anyway t2", VERA)
        assert result.status == 2
        assert await there.store.read(lambda tx: tasks.task(tx, "t2").locks) == before != ()

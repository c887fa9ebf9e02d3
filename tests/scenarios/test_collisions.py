"""Two tasks that would collide: the second one's person is told before it starts, and decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import shown
from fleet.locks import LockCause, Resource, Want
from fleet.store import tasks
from fleet.store.core import Tx
from gates.locks import book
from gates.locks.book import Request
from tests.chat_house import House, house


async def lock(there: House, pattern: str) -> None:
    """The first task locks something."""
    wants = (Want(Resource(pattern, "shop")),)
    request = Request("t1", wants, 60_000_000, LockCause.TOUCHED, task="t1")
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

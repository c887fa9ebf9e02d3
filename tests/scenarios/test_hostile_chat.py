"""Ten thousand updates from anybody, about anything: none breaks the core, none does what its sender may not.

The quick profile plays 300 of them, ``AIRBOSS_CAMPAIGN=full`` all 10,000, on the real core and store.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.cards import shown
from bot.commands import every_command
from bot.message import Attachment, Message
from fleet.model import ENDS, ChatRef, PersonId, TaskState
from fleet.store import tables, tasks
from fleet.store.chat import inbox
from fleet.store.core import Tx
from fleet.untrusted import Untrusted
from gates.people import RIGHTS, Right, Role
from tests.chat_flight import Flight, everything
from tests.chat_house import ADA, CHAT, OTTO, STRANGER, VERA, House, house

UPDATES = 10_000 if os.environ.get("AIRBOSS_CAMPAIGN") == "full" else 300
BATCH = 25
ROLES = {VERA: Role.VIEWER, OTTO: Role.OPERATOR, ADA: Role.ADMIN}
VERBS = [name for command in every_command() for name in (command.verb, *command.aliases)]

WORDS = ("t1", "t2", "1", "a1", "a1 session", "a1 1", "repo=shop x", "on=* x", "-- @everyone", "\u202eon", "off")
MARKUP = ("<!channel> <@U1> [x](tg://user?id=1)", "\x1b[2J\x1b]0;x\x07", "'; DROP TABLE tasks", "\ud83d", "\x00")
nasty = st.one_of(st.text(max_size=60), st.sampled_from((*WORDS, *MARKUP)))
texts = st.one_of(
    nasty,
    st.builds("{}{}{} {}".format, st.sampled_from(["/", "", "!", "／", "@airboss "]), st.sampled_from(VERBS),
              st.sampled_from(["", "@airboss", "_", "S"]), nasty),
    st.just("x" * 100_000),
)  # fmt: skip
people = st.sampled_from([VERA, OTTO, ADA, STRANGER, PersonId("phone", "ada", ""), PersonId("slack", "", "ada")])
chats = st.sampled_from([CHAT, ChatRef("phone", "c2"), ChatRef("phone", "c1", "7"), ChatRef("phone", "")])


@dataclass(frozen=True)
class Update:
    """``button``: -1 none, else which of the tokens there are, past the last one a forged one."""

    sender: PersonId
    chat: ChatRef
    text: str
    button: int
    reply_to: str
    direct: bool
    again: bool
    file: bool


updates = st.builds(
    Update, people, chats, texts, st.integers(-40, 40), st.sampled_from(["", "", "m1", "m2", "m99", "\x00"]),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip

DECISION = tables.approvals.c.decision
#: Effects in the store by what they count, and the right that each of them takes.
EFFECTS = (
    (select(tables.tasks.c.id), Right.RUN),
    (select(tables.tasks.c.id).where(tables.tasks.c.stop_by != ""), Right.STOP),
    (select(tables.notes.c.id), Right.STEER),
    (select(tables.approvals.c.id).where(DECISION == "allow"), Right.APPROVE),
    (select(tables.approvals.c.id).where(DECISION == "deny"), Right.APPROVE),
    (select(tables.approvals.c.id).where(DECISION != "", tables.approvals.c.kind == "hold"), Right.RELEASE),
)


def counts(tx: Tx) -> tuple[int, ...]:
    return tuple(len(tx.connection.execute(query).all()) for query, _ in EFFECTS)


def every_token(tx: Tx) -> list[str]:
    return list(tx.connection.execute(select(tables.actions.c.token)).scalars())


def rights_of(person: PersonId) -> frozenset[Right]:
    return RIGHTS[ROLES[person]] if person in ROLES else frozenset()


class Bugs(logging.Handler):
    """Gathers what the core calls a bug of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


async def populated(there: House) -> None:
    """A task at work that asks, a change that is held, and every button on the table."""
    flight = await Flight.begin(there)
    await flight.ask()
    await there.say("/run another")
    await flight.held()
    for words in ("/status", "/run", "/logs t1", "/session t1"):
        await there.say(words, OTTO)


async def play(there: House, batch: list[Update], seen: list[Message]) -> None:
    for update in batch:
        tokens = [*await there.store.read(every_token), "forged", "", "/stop t1"]
        pressed = "" if update.button < 0 else tokens[update.button % len(tokens)]
        files = (Attachment("../../x\n.png", "/nowhere", "image/png", 1),) if update.file else ()
        message = there.message(
            "" if pressed else update.text, update.sender, pressed=pressed, chat=update.chat,
            reply_to=update.reply_to, direct=update.direct, files=files,
        )  # fmt: skip
        if update.again and seen:
            message = seen[len(update.text) % len(seen)]
        before = await there.store.read(counts)
        result = await there.core.call(message)
        after = await there.store.read(counts)
        assert message not in seen or (result.repeated and before == after), "an update works once"
        assert result.status in (0, 1, 2)
        seen.append(message)
        for old, new, (_, right) in zip(before, after, EFFECTS, strict=True):
            assert new == old or right in rights_of(message.sender), f"{message.sender} did what takes {right}"


@settings(
    max_examples=UPDATES // BATCH,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(updates, min_size=BATCH, max_size=BATCH))
def test_anybody_may_send_anything(hostile_home: dict[str, Any], batch: list[Update]) -> None:
    loop: asyncio.AbstractEventLoop = hostile_home["loop"]
    bugs = Bugs()
    logging.getLogger("bot").addHandler(bugs)
    try:
        loop.run_until_complete(play(hostile_home["house"], batch, hostile_home["seen"]))
    finally:
        logging.getLogger("bot").removeHandler(bugs)
    assert bugs.found == []


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    loop = asyncio.new_event_loop()
    opened = house(tmp_path_factory.mktemp("hostile"))
    there = loop.run_until_complete(opened.__aenter__())
    loop.run_until_complete(populated(there))
    yield {"loop": loop, "house": there, "seen": []}
    loop.run_until_complete(there.settle())
    assert loop.run_until_complete(there.store.read(inbox.pending)) == []
    loop.run_until_complete(opened.__aexit__(None, None, None))
    loop.close()


async def test_every_token_of_every_card_belongs_where_it_was_shown(tmp_path: Path) -> None:
    """Swapped, foreign and forged: only the right hand on the right card has an effect."""
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        posted = [post for post in there.phone.sent if post.card.actions]
        ids = {post.id: f"m{number}" for number, post in enumerate(there.phone.sent, 1) if not post.edits}
        before = await there.store.read(counts)
        for post in posted:
            for action in post.card.actions:
                swapped = next(name for name in ids.values() if name != ids.get(post.id) and name != post.edits)
                for message in (
                    there.message(pressed=action.token, reply_to=swapped, sender=ADA),
                    there.message(pressed=action.token, chat=ChatRef("phone", "c2"), sender=ADA),
                    there.message(pressed=action.token[:-1] + "x", sender=ADA),
                    there.message(pressed=action.command, sender=ADA),
                    there.message(pressed=action.token, sender=STRANGER),
                ):
                    await there.core.call(message)
        assert await there.store.read(counts) == before


async def test_what_an_agent_says_stays_untrusted_on_every_card(tmp_path: Path) -> None:
    evil = "@everyone <!here> <script> [x](tg://user?id=1) /stop t1 https://evil.example \x1b[2J\u202e"
    async with house(tmp_path) as there:
        await there.say(f"/run -- {evil}")
        flight = await Flight.begin(there, begun=True)
        await flight.ask(evil)
        await flight.red(evil)
        await flight.move(TaskState.FAILED, why=evil)
        for words in ("/status", "/sessions", "/session t1", "/logs t1", "/waiting"):
            await there.say(words)
        assert there.phone.sent
        for post in there.phone.sent:
            pieces = [post.card.title, *post.card.lines, *(field.value for field in post.card.fields)]
            for piece in (piece for row in pieces for piece in row):
                assert isinstance(piece, Untrusted) or "evil" not in piece
            assert all("evil" not in action.label for action in post.card.actions)
            assert "evil" not in post.card.footer
            assert "\x1b" not in everything(post.card)
            assert "\u202e" not in everything(post.card)


async def test_a_message_of_100_kilobytes_is_taken_whole_and_shown_short(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        words = "mend " * 20_000
        result, (card,) = await there.say(f"/run {words}")
        assert result.status == 0
        (task,) = await there.tasks()
        assert task.prompt == words.strip()
        assert len(shown(card.title)) < 200
        assert task.state not in ENDS
        assert await there.store.read(lambda tx: tasks.find(tx, "t1")) == task

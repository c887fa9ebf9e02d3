"""Watches a house with a phone while a crowd writes to it, and tells who did what they may not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text

from bot.commands import every_command
from fleet.events import PermissionAsked, Refs, Source
from fleet.model import Isolation, TaskState
from fleet.store import approvals, ledger, sessions, tables, tasks
from fleet.store.chat import inbox
from fleet.store.core import Tx
from gates.people import RIGHTS, Right, Role
from tests.far_end import slack
from tests.far_end.bot_api_world import BOT_NAME, Said
from tests.far_end.slack import TEAM
from tests.scenarios.telegram_house import ADA, OTTO, VERA, House
from tests.scenarios.telegram_updates import STRANGERS, Forge, Plan

ROLES = {VERA: Role.VIEWER, OTTO: Role.OPERATOR, ADA: Role.ADMIN}
OWN_COMMANDS = {f"bot_command:/{name}" for command in every_command() for name in (command.verb, *command.aliases)}
MENTIONS = {"text_mention:🔔", *(f"text_mention:🔔 {name}" for name in ("Ada", "Otto", "Vera"))}
#: What may be refused without a fault of ours: a file that the sender made up, a press that was answered before,
#: an edit that came back to what is shown already.
EXCUSED = ("getFile", "answerCallbackQuery", "editMessageText Bad Request: message is not modified")


#: By the names that the ledger gives people.
ACTORS = {f"telegram::{user}": role for user, role in ROLES.items()} | {
    f"slack:{TEAM}:{user}": role
    for user, role in ((slack.VERA, Role.VIEWER), (slack.OTTO, Role.OPERATOR), (slack.ADA, Role.ADMIN))
}


def rights_of(actor: str) -> frozenset[Right]:
    """What somebody of this name in the ledger may do."""
    return RIGHTS[ACTORS[actor]] if actor in ACTORS else frozenset()


def stranger_line(user: int) -> str:
    return f"You are not registered here.\nYour id: telegram::{user}"


class Troubles(logging.Handler):
    """Whatever is logged as a fault, and whatever a chat's adapter warns of."""

    def __init__(self, *, of_adapters: bool) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []
        self._of_adapters = of_adapters

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or (self._of_adapters and record.name.startswith("bot.chats")):
            self.found.append(f"{record.name}: {self.format(record)}")


@contextmanager
def no_troubles(*, of_adapters: bool = True) -> Iterator[None]:
    """Fails when one is logged."""
    troubles = Troubles(of_adapters=of_adapters)
    logging.getLogger().addHandler(troubles)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(troubles)
    assert not troubles.found, troubles.found


_DONE = tables.approvals.c.decision != ""
#: Who did what, each row with its number, and the right that it took.
_DEEDS = (
    (select(tables.tasks.c.id, tables.tasks.c.requester), Right.RUN),
    (select(tables.tasks.c.id, tables.tasks.c.stop_by).where(tables.tasks.c.stop_by != ""), Right.STOP),
    (select(tables.notes.c.id, tables.notes.c.actor), Right.STEER),
    (
        select(tables.approvals.c.id, tables.approvals.c.decided_by).where(
            _DONE, tables.approvals.c.kind != "hold"
        ),
        Right.APPROVE,
    ),
    (
        select(tables.approvals.c.id, tables.approvals.c.decided_by).where(
            _DONE, tables.approvals.c.kind == "hold"
        ),
        Right.RELEASE,
    ),
    (select(tables.actions.c.token, tables.actions.c.used_by).where(tables.actions.c.used_us != 0), Right.SEE),
)
Deed = tuple[Right, Any, str]


def deeds(tx: Tx) -> set[Deed]:
    """Everything in the store that somebody did."""
    return {(right, row[0], row[1]) for query, right in _DEEDS for row in tx.connection.execute(query)}


def wishes(tx: Tx) -> dict[str, str]:
    """Mutes, drafts and levels; the right to which the last word of a key does not say."""
    found = tx.connection.execute(select(tables.settings.c.key, tables.settings.c.value))
    return {key: value for key, value in found if key.split(":")[0] in ("mute", "draft", "notify")}


def judge(before: set[Deed], after: set[Deed], played: Counter[str]) -> None:
    """Everything that was done in between was done by somebody who may."""
    for right, thing, actor in after - before:
        assert right in rights_of(actor), f"{actor} did what takes {right}, to {thing}"
        played[right] += 1


def judge_wishes(before: dict[str, str], after: dict[str, str], actors: set[str]) -> None:
    """Wishes do not say whose they were, so somebody among ``actors`` must have had the right."""
    rights = frozenset().union(*map(rights_of, actors))
    changed = {key.split(":")[0] for key, _ in before.items() ^ after.items()}
    assert not changed or Right.SEE in rights, "nobody here may wish for anything"
    assert changed <= {"notify"} or Right.RUN in rights, "nobody here may mute, or begin a task"


def _unsettled(tx: Tx) -> int:
    query = "select count(*) from outbox where state in ('waiting', 'in_flight')"
    return int(tx.connection.execute(text(query)).scalar_one())


def faults(tx: Tx) -> list[Any]:
    """Updates whose handling broke, and cards that their chat refused."""
    queries = (
        "select update_id, why from inbox where state = 'failed'",
        "select id, why from outbox where state = 'gave_up'",
    )
    return [tuple(row) for query in queries for row in tx.connection.execute(text(query))]


def _payloads(tx: Tx, updates: Sequence[int]) -> dict[int, Any]:
    rows = tx.connection.execute(
        select(tables.inbox.c.update_id, tables.inbox.c.payload).where(
            tables.inbox.c.update_id.in_([str(update) for update in updates])
        )
    )
    return {int(number): json.loads(payload or b"{}") for number, payload in rows}  # forgotten: it was ignored


@dataclass(repr=False)
class Siege:
    """A house that is written to. ``played`` counts updates by what became of them."""

    house: House
    chats: dict[str, int]
    played: Counter[str] = field(default_factory=Counter)
    _looked: dict[tuple[int, int], str] = field(default_factory=dict)
    _errands: int = 0

    @classmethod
    async def lay(cls, house: House) -> Siege:
        """Groups of all kinds, and a den where only strangers are."""
        api = house.api
        kinds: dict[str, dict[str, Any]] = {
            "group": {"kind": "group"},
            "super": {},
            "forum": {"forum": True},
            "channel": {"kind": "channel"},
            "den": {},
        }
        chats = {name: api.group(name, **more).id for name, more in kinds.items()}
        for user in (*ROLES, *STRANGERS):
            api.world.person(user)
        return cls(house, chats)

    async def settled(self) -> None:
        """Until every update is confirmed, has its effect, and every card it led to was delivered."""
        api, store = self.house.api, self.house.store
        await api.until(lambda: not api.unconfirmed(), "every update is confirmed", seconds=20)
        while await store.read(inbox.pending):
            await asyncio.sleep(0.005)
        await self.house.notifier.caught_up()
        while await store.read(_unsettled):
            await asyncio.sleep(0.005)

    async def errand(self) -> None:
        """A task at work that asks for a yes, and a change of it that is held."""
        self._errands += 1
        place = ("group", "super", "forum", "")[self._errands % 4]
        api, store = self.house.api, self.house.store
        api.say(OTTO, f"/run@{BOT_NAME} errand {self._errands}", chat=self.chats.get(place, 0))
        await self.settled()
        task = (await self.house.tasks())[-1]

        def work(tx: Tx) -> None:
            session = sessions.create_session(
                tx,
                task=task.id,
                machine="macbook",
                agent="demo",
                base="b" * 40,
                isolation=Isolation.UNSAFE_SAME_USER,
            )
            for state in (TaskState.PREPARING, TaskState.RUNNING):
                tasks.move(tx, task_id=task.id, new=state, why="", actor="airboss")
            asked = PermissionAsked("q1", "Bash", "rm -rf @durov", (), "", "Bash needs a yes")
            refs = Refs(task=task.id, session=session.id)
            ledger.append(tx, asked, actor="agent:demo", source=Source.AGENT, refs=refs)
            approvals.open_ask(
                tx, session=session, ask="q1", tool="Bash", request="{}", command="rm -rf @durov https://evil.example",
                paths=(), reason="Bash needs a yes", expires_us=tx.now_us() + 3_600_000_000,
            )  # fmt: skip
            approvals.open_hold(tx, session=session, commit="c" * 40, tree="d" * 40, reason="touches tests/**")

        await store.write(work)
        await self.settled()

    def forge(self) -> Forge:
        """What the next updates can refer to."""
        api = self.house.api
        ours = {chat: api.screen(chat) for chat in api.world.chats}
        newest = sorted(
            (message for said in ours.values() for message in said[-60:]),
            key=lambda message: message.at,
            reverse=True,
        )
        buttons = [(message, button.data) for message in newest for row in message.buttons for button in row][:150]
        kinds = {"group": "group", "channel": "channel"}
        chats = {
            name: {"id": number, "type": kinds.get(name, "supergroup"), "title": name, "is_forum": name == "forum"}
            for name, number in self.chats.items()
        }
        topics = list(api.world.chats[self.chats["forum"]].topics)
        return Forge(chats, topics, buttons, ours, int(api.now()))

    async def play(self, plans: Sequence[Plan]) -> None:
        """Sends them all, then all of them again, and looks at what came of it."""
        store, api = self.house.store, self.house.api
        before, asked = await store.read(deeds), await store.read(wishes)
        forge = self.forge()
        numbers = api.post([forge.update(plan) for plan in plans])
        after, shown = await self._quiet()
        wished = await store.read(wishes)
        judge(before, after, self.played)
        judge_wishes(asked, wished, {f"telegram::{forge.voice(plan)}" for plan in plans})
        await self._voices(forge, numbers, plans)
        await self._screens()
        kept = await store.read(lambda tx: _payloads(tx, numbers))
        for number in numbers:
            api.redeliver(number)
        api.post([{}])
        await self.settled()
        anew = {number for number in await store.read(lambda tx: _payloads(tx, numbers)) if number not in kept}
        assert not anew, f"what was for others is not for us when it comes again: {anew}"
        again = await store.read(deeds)
        assert again == after, f"what comes again has no effect, not {again} after {after}"
        more = {text for place, text in self._shown().items() if place not in shown}
        assert not more, f"what comes again is not answered: {more}"
        found = await store.read(faults)
        assert not found, found
        refused = [line for line in map(" ".join, api.refused) if not line.startswith(EXCUSED)]
        assert not refused, f"Telegram refuses {refused}"
        self.played["updates"] += len(plans)

    async def _quiet(self) -> tuple[set[Deed], dict[tuple[int, int], str]]:
        """What was done and what is shown, once both stay the same: some answers come by themselves, later."""
        found: list[tuple[set[Deed], dict[tuple[int, int], str]]] = []
        while len(found) < 2 or found[-1] != found[-2]:
            await asyncio.sleep(0.1)
            await self.settled()
            found.append((await self.house.store.read(deeds), self._shown()))
        return found[-1]

    async def _voices(self, forge: Forge, numbers: Sequence[int], plans: Sequence[Plan]) -> None:
        """Whatever was kept was taken for its own sender's word, in its own chat; files are on the disk for none
        but those who may hand some to an agent."""
        kept = await self.house.store.read(lambda tx: _payloads(tx, numbers))
        for number, plan in zip(numbers, plans, strict=True):
            voice, row = forge.voice(plan), kept.get(number)
            self.played[plan.how if plan.how in ("says", "presses") else "others"] += 1
            if row:
                self.played["kept"] += 1
                chat = forge.pressed_in(plan) if plan.how == "presses" else forge.chat(plan)["id"]
                assert (row["sender"]["user"], row["chat"]["chat"]) == (str(voice), str(chat)), plan
            assert row is not None or not voice or plan.how != "presses", f"a press was lost: {plan}"
            files = self.house.home / "files" / "telegram" / str(number)
            assert not files.exists() or Right.SEE in rights_of(f"telegram::{voice}"), (
                f"fetched for a stranger: {plan}"
            )

    async def _screens(self) -> None:
        """What is new on any screen: nothing alive in it, and for strangers nothing but their line."""
        api = self.house.api
        alone = {self.chats["den"], *STRANGERS}
        lines = {stranger_line(user) for user in STRANGERS}
        for chat in list(api.world.chats):
            for message in api.screen(chat):
                if self._looked.get((chat, message.id)) == message.text:
                    continue
                self._looked[chat, message.id] = message.text
                self.played["shown"] += 1
                assert chat not in alone or (message.text in lines and not message.buttons), (
                    f"a stranger reads: {message.text}"
                )
                assert chat not in STRANGERS or message.text == stranger_line(chat), (
                    f"another's line: {message.text}"
                )
                assert self._dead(message), f"alive: {message.live} in {message.text!r}"

    def _dead(self, message: Said) -> bool:
        calm = not message.previewed and "\x1b" not in message.text and "\u202e" not in message.text
        mentions = [entity.extra for entity in message.formatted.entities if entity.kind == "text_mention"]
        known = all(extra in {f"tg://user?id={user}" for user in ROLES} for extra in mentions)
        return calm and known and all(found in OWN_COMMANDS or found in MENTIONS for found in message.live)

    def _shown(self) -> dict[tuple[int, int], str]:
        """Every message of every chat, by its place."""
        api = self.house.api
        return {(chat, message.id): message.text for chat in list(api.world.chats) for message in api.screen(chat)}

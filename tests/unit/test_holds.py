"""A held change: who is asked, once a person; what a press by somebody else does; what follows a no."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot.cards import Card, shown
from bot.telling.reminders import Reminders, next_reminder_us
from fleet.config import parse_fleet
from fleet.events import HoldReleased
from fleet.flight import prompts
from fleet.flight.moves import NoSlot, to_running
from fleet.model import ChatRef, Isolation, PersonId, TaskState
from fleet.store import approvals, refusals, sessions, tasks
from fleet.store.core import Tx
from tests.chat_flight import Flight, everything
from tests.chat_house import ADA, CHAT, FLEET, OTTO, VERA, House, house, quiet_now

ANNA = PersonId("phone", "", "anna")
TWO = (
    FLEET
    + """
[[people]]
name = "Anna"
role = "admin"
ids = ["slack:T1:U1", "phone::anna"]
"""
)
DIRECT = {name: ChatRef("phone", name) for name in ("ada", "anna", "otto", "vera")}


async def held(there: House, by: PersonId = OTTO) -> Flight:
    """A change that ``by`` asked for is held."""
    await there.say("/run fix it", by)
    flight = await Flight.begin(there, begun=True)
    await flight.hold(by_hours=7 * 24)
    for chat in DIRECT.values():
        await there.deliverer.drained(chat)
    return flight


def asked_in(there: House, chat: ChatRef) -> list[Card]:
    return [out.card for out in there.phone.sent if out.chat == chat and out.key == "ask:a1" and not out.edits]


def pings_in(there: House, chat: ChatRef) -> int:
    return sum(out.ping for out in there.phone.sent if out.chat == chat)


async def test_everyone_who_may_release_is_asked_in_their_own_chat_and_the_requester_where_they_asked(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await held(there)
        for chat in (CHAT, DIRECT["ada"], DIRECT["anna"]):
            (card,) = asked_in(there, chat)
            assert [action.label for action in card.actions] == ["Approve", "Deny", "Diff"]
            assert pings_in(there, chat) == 1
        assert not asked_in(there, DIRECT["otto"]) and not asked_in(there, DIRECT["vera"])
        assert asked_in(there, DIRECT["anna"])[0].mention == "phone::anna"


async def test_a_requester_who_may_release_is_asked_once(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await held(there, ADA)
        assert len(asked_in(there, CHAT)) == 1
        assert not asked_in(there, DIRECT["ada"])
        assert len(asked_in(there, DIRECT["anna"])) == 1


async def test_a_decision_in_an_own_chat_closes_every_card(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await held(there)
        (card,) = asked_in(there, DIRECT["anna"])
        token = next(action.token for action in card.actions if action.label == "Approve")
        result, _ = await there.hand_over(there.message(pressed=token, sender=ANNA, chat=DIRECT["anna"]))
        assert result.status == 0
        for chat in (CHAT, DIRECT["ada"], DIRECT["anna"]):
            await there.deliverer.drained(chat)
            last = [out.card for out in there.phone.sent if out.chat == chat and out.key == "ask:a1"][-1]
            assert "approved" in shown(last.title) and not last.actions


async def test_whoever_may_not_release_is_told_so_and_an_admin_is_asked_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await held(there)
        (card,) = asked_in(there, CHAT)
        for sender in (OTTO, VERA, OTTO):
            for label in ("Approve", "Deny"):
                result, (told,) = await there.press(card, label, sender)
                assert result.status == 2
                assert "You cannot release this; an admin was asked." in everything(told)
                assert "Ada" in everything(told)
        await there.deliverer.drained(DIRECT["ada"])
        assert len(asked_in(there, DIRECT["ada"])) == 1
        result, _ = await there.press(card, "Approve", ADA)
        assert result.status == 0, "the button still works for who may"


async def test_an_admin_who_was_not_asked_yet_is_asked_by_the_press(tmp_path: Path) -> None:
    nobody = FLEET.replace("phone::ada", "telegram::7")
    async with house(tmp_path, fleet_toml=nobody) as there:
        await held(there)
        (card,) = asked_in(there, CHAT)
        result, (told,) = await there.press(card, "Approve", OTTO)
        assert result.status == 2
        assert "no admin has a chat here" in everything(told)
        there.configured(there.config.model_copy(update={"people": house_people(TWO)}))
        for _ in range(2):
            _, (told,) = await there.press(card, "Approve", OTTO)
            assert "an admin was asked" in everything(told)
            await there.deliverer.drained(DIRECT["ada"])
        assert len(asked_in(there, DIRECT["ada"])) == 1
        assert pings_in(there, DIRECT["ada"]) == 1


def house_people(text: str) -> object:
    return parse_fleet(text, "fleet.toml").people


async def test_no_with_a_reason_reaches_the_card_and_a_reply_lets_the_agent_fix_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await held(there)
        await there.say("/deny a1 keep the old test", ADA)
        closed = flight.edits("ask:a1")[-1]
        assert "keep the old test" in everything(closed)
        assert "Reply to this card, and the agent fixes it" in everything(closed)
        await flight.move(TaskState.REFUSED, why="phone::ada denied it: keep the old test")
        end = next(out.card for out in there.phone.sent if shown(out.card.title) == "t1 · refused")
        assert "Ada denied it: keep the old test" in everything(end)
        assert "Reply to this card" in everything(end)
        result, (early,) = await there.say("/say t1 restore it then", OTTO)
        assert result.status == 2 and "Try again in a moment" in everything(early)
        await there.store.write(lambda tx: sessions.update(tx, "t1.1", ended_us=tx.now_us()))
        result, (told,) = await there.say("/say t1 restore it then", OTTO)
        assert result.status == 0
        assert "the agent fixes the denied change" in everything(told)

        def now(tx: Tx) -> tuple[TaskState, list[tuple[str, str]], int]:
            words = [(note.actor, note.text) for note in sessions.waiting_notes(tx, "t1.1")]
            return tasks.task(tx, "t1").state, words, sessions.session(tx, "t1.1").ended_us

        state, words, ended = await there.store.read(now)
        assert state is TaskState.STALLED and ended == 0
        assert words == [
            ("phone::ada", "Your change was not released: keep the old test"),
            ("phone::otto", "restore it then"),
        ]
        assert "t1" in there.fleet.woken
        assert not await there.store.read(approvals.waiting)


async def test_a_task_that_was_refused_otherwise_or_retried_stays_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.REFUSED, why="a rule forbids it")
        end = next(out.card for out in there.phone.sent if shown(out.card.title) == "t1 · refused")
        assert "Reply" not in everything(end)
        result, _ = await there.say("/say t1 fix it")
        assert result.status == 2


async def test_a_denied_task_that_was_retried_stays_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await held(there)
        await there.say("/deny a1", ADA)
        await flight.move(TaskState.REFUSED, why="phone::ada denied it")
        await there.store.write(lambda tx: sessions.update(tx, "t1.1", ended_us=tx.now_us()))
        await there.say("/retry t1")
        result, (told,) = await there.say("/say t1 fix it")
        assert result.status == 2 and "it has ended" in everything(told)


HOUR = 3_600_000_000
NOON = 1_700_049_600_000_000  # 2023-11-15 12:00 UTC


def test_reminders_come_after_four_hours_and_then_each_morning_where_the_person_is() -> None:
    assert next_reminder_us(NOON, 0, ZoneInfo("UTC")) == NOON + 4 * HOUR
    assert next_reminder_us(NOON, NOON + 4 * HOUR, ZoneInfo("UTC")) == NOON + 20 * HOUR
    assert next_reminder_us(NOON, NOON + 20 * HOUR, ZoneInfo("UTC")) == NOON + 44 * HOUR
    assert next_reminder_us(NOON, NOON + 4 * HOUR, ZoneInfo("Asia/Tokyo")) == NOON + 11 * HOUR
    assert next_reminder_us(NOON, NOON + 19 * HOUR, ZoneInfo("UTC")) == NOON + 44 * HOUR, "not twice in four hours"


def test_a_morning_stays_a_morning_when_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    saturday = int(datetime(2026, 3, 28, 18, tzinfo=berlin).timestamp()) * 1_000_000
    sunday = datetime.fromtimestamp(next_reminder_us(0, saturday, berlin) / 1e6, berlin)
    assert (sunday.day, sunday.hour) == (29, 8)


async def test_everyone_is_reminded_once_a_time_and_a_quiet_hour_waits(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        await there.say(f"/notify {quiet_now()}", ANNA)
        flight = await held(there)
        remind = Reminders(there.outbox, lambda: there.config, there.home / "files", ("phone",))

        async def reminders() -> dict[str, int]:
            for _ in range(2):
                await remind.look()
                for chat in (CHAT, *DIRECT.values()):
                    await there.deliverer.drained(chat)
            sent = [out for out in there.phone.sent if out.key == "remind:a1" and not out.edits]
            return {chat.chat: sum(out.chat == chat for out in sent) for chat in (CHAT, *DIRECT.values())}

        assert set((await reminders()).values()) == {0}
        await flight.ago(minutes=241)
        none = {"anna": 0, "otto": 0, "vera": 0}
        assert await reminders() == {"c1": 1, "ada": 1, **none}
        await flight.ago(minutes=29 * 60)
        assert await reminders() == {"c1": 2, "ada": 2, **none}
        await there.say("/notify off", ANNA)
        assert await reminders() == {"c1": 2, "ada": 2, **none, "anna": 1}


async def test_after_its_days_the_question_ends_and_the_card_says_that_the_work_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run fix it", OTTO)
        flight = await Flight.begin(there, begun=True)
        await flight.hold(by_hours=7 * 24)
        await flight.ago(minutes=7 * 24 * 60)
        assert await there.store.read(lambda tx: refusals.overdue(tx, "t1.1"))

        def end(tx: Tx) -> None:
            approvals.expire(tx, "t1.1")
            decision = approvals.hold_decision(tx, "t1")
            assert decision is not None
            flight.append(tx, HoldReleased(decision.commit, decision.allowed, decision.reason))
            tasks.move(tx, "t1", TaskState.REFUSED, prompts.denied(decision), "airboss")

        await there.store.write(end)
        await there.settle()
        closed = flight.edits("ask:a1")[-1]
        assert shown(closed.title) == "t1 · a1 · expired, not released"
        assert "The work is kept" in everything(closed) and "Reply to this card" in everything(closed)
        last = next(out.card for out in there.phone.sent if shown(out.card.title) == "t1 · refused")
        assert "nobody released it in time; the work is kept" in everything(last)


async def test_a_held_task_holds_no_slot_and_takes_one_to_continue(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await held(there)

        def continues(tx: Tx) -> None:
            to_running(tx, "t1", there.config)

        assert await there.store.read(sessions.busy) == {}
        await there.say("/run another")

        def other(tx: Tx) -> None:
            for _ in range(there.config.machines["macbook"].slots):
                sessions.create_session(
                    tx, task="t2", machine="macbook", agent="demo", base="b" * 40,
                    isolation=Isolation.UNSAFE_SAME_USER,
                )  # fmt: skip

        await there.store.write(other)
        with pytest.raises(NoSlot, match="slots busy"):
            await there.store.write(continues)
        state, still = await there.store.read(lambda tx: (tasks.task(tx, "t1").state, approvals.waiting(tx)))
        assert state is TaskState.HELD and still, "nothing changed"
        await there.store.write(lambda tx: sessions.update(tx, "t2.1", ended_us=tx.now_us()))
        await there.store.write(continues)
        assert (await there.store.read(lambda tx: tasks.task(tx, "t1"))).state is TaskState.RUNNING

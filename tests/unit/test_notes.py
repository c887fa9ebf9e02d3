"""What a person is told when they say more: when it is read, or that it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import Card, shown
from fleet.model import PersonId, TaskState, TurnCause
from fleet.store import approvals, sessions, tasks
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from tests.chat_flight import COMMIT, TREE, Flight, everything
from tests.chat_house import ADA, OTTO, VERA, house


async def _held(flight: Flight) -> None:
    await flight.move(TaskState.JUDGING)

    def work(tx: Tx) -> None:
        approvals.open_hold(tx, session=flight.session, commit=COMMIT, tree=TREE, reason="touches tests/**")
        tasks.move(tx, "t1", TaskState.HELD, "touches tests/**", "airboss")

    await flight.there.store.write(work)
    await flight.there.settle()


@pytest.mark.parametrize(("sender", "who"), [(ADA, "you"), (OTTO, "Otto")])
async def test_words_take_a_held_change_off_the_table_and_a_late_press_is_refused(
    tmp_path: Path, sender: PersonId, who: str
) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await _held(flight)
        (card,) = flight.pinged()
        result, (told,) = await there.say("/say t1 and the docs too", sender)
        assert result.status == 0
        assert shown(told.title) == "t1 · approval withdrawn; the agent continues"
        assert there.fleet.woken[-1] == "t1"
        closed = flight.edits("ask:a1")[-1]
        assert shown(closed.title) == f"t1 · withdrawn: {who} sent a message"
        assert not closed.actions
        result, (late,) = await there.press(card, "Approve")
        assert result.status == 2
        assert "it was withdrawn: a new message arrived" in everything(late)
        assert await there.store.read(lambda tx: approvals.hold_decision(tx, "t1")) is None


async def test_a_change_that_was_approved_or_denied_just_now_hears_what_is_still_true(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await _held(flight)
        await there.say("/approve a1")
        _, (told,) = await there.say("/say t1 wait")
        assert shown(told.title) == "t1 · queued: the agent reads it before anything lands"
        assert await there.store.read(lambda tx: sessions.words_wait(tx, "t1"))


async def test_a_denied_change_hears_nothing_more(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await _held(flight)
        await there.say("/deny a1")
        result, (told,) = await there.say("/say t1 wait")
        assert result.status == 2
        assert "denied just now" in everything(told) and "/retry t1" in everything(told)
        assert not await there.store.read(lambda tx: sessions.words_wait(tx, "t1"))


async def test_what_is_said_at_each_state_is_told_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        result, _ = await there.say("/say t1 too early")
        assert result.status == 2, "nobody is there to read it"
        flight = await Flight.of(there)
        await flight.move(TaskState.PREPARING)
        _, (begins,) = await there.say("/say t1 one")
        await flight.move(TaskState.RUNNING)
        _, (steers,) = await there.say("/say t1 two")

        def turn_over(tx: Tx) -> None:
            turn = sessions.create_turn(tx, flight.session, TurnCause.REQUEST, "mend it")
            sessions.update_turn(tx, turn.id, ended_us=tx.now_us())

        await there.store.write(turn_over)
        _, (queued,) = await there.say("/say t1 three")
        await there.say("/stop t1")
        result, _ = await there.say("/say t1 four")
        assert result.status == 2
        assert [shown(card.title).removeprefix("t1 · ") for card in (begins, steers, queued)] == [
            "queued: the agent reads it when it starts",
            "sent to the running agent",
            "queued: the agent reads it as its next turn",
        ]


async def test_a_nod_decides_nothing_and_starts_no_turn(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await _held(await Flight.begin(there))

        async def reply(words: str, *, edited: bool = False) -> tuple[int, Card]:
            at = await there.store.read(lambda tx: card_rows.by_key(tx, "ask:a1")[-1].message_id)
            message = replace(there.message(words, reply_to=at), own="m99", edited=edited)
            result, (card,) = await there.hand_over(message)
            return result.status, card

        for nod in (
            "👍🏽",
            "lgtm!",
            "Looks good to me, ship it",
            "ok, thanks",
            "好的",
            "👎",
            ":thumbsup::skin-tone-3: great",
        ):
            status, card = await reply(nod)
            assert status == 2
            assert f"“{nod}” decided nothing" in everything(card)
            assert [action.label for action in card.actions] == ["Approve", "Deny", "Diff"]
            assert not await there.store.read(lambda tx: sessions.words_wait(tx, "t1"))
        _, card = await reply("ok, but rename it", edited=True)
        assert shown(card.title) == "t1 · approval withdrawn; the agent continues", (
            "more than a nod is for the agent"
        )


async def test_a_nod_of_somebody_who_has_no_say_is_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        sent = len(there.phone.sent)
        result, cards = await there.hand_over(there.message("👍", VERA, reply_to="m1"))
        assert (result.status, cards, len(there.phone.sent)) == (0, [], sent)
        result, _ = await there.hand_over(there.message("no, mend that", VERA, reply_to="m1"))
        assert result.status == 2


async def test_a_nod_that_was_addressed_to_the_agent_reaches_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await _held(await Flight.begin(there))
        _, (told,) = await there.say("/say t1 ok")
        assert shown(told.title) == "t1 · approval withdrawn; the agent continues"

"""What waits for a person: shown exactly, answered once by who may, brought up again, closed when it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.cards import shown
from bot.telling import asks
from bot.telling.reminders import Reminders
from fleet.agent_events import Asked
from fleet.events import PermissionGranted, TurnClosed
from fleet.questions import Option, Question
from fleet.store import approvals, ledger, tables
from fleet.store.core import Tx
from gates.rulings.grants import Grants
from tests.chat_flight import Flight, everything
from tests.chat_house import OTTO, VERA, House, house

COLOURS = (Question("Which colour?", (Option("red", "like a fire engine"), Option("blue"))),)


def reminders(there: House) -> Reminders:
    return Reminders(there.outbox, lambda: there.config, there.home / "files")


async def test_the_card_shows_what_where_and_for_whom_and_a_yes_binds_to_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        asked = await flight.ask()
        (card,) = flight.pinged()
        told = everything(card)
        for piece in (
            "rm -rf build",
            "Approving covers this command line, not the files it reads",
            "macbook",
            "/w/t1",
            "Ada",
        ):
            assert piece in told
        assert [button.label for button in card.actions] == ["Allow once", "Allow for this session", "Deny"]
        assert {button.digest for button in card.actions} == {asks.binding(asked)}
        await there.store.write(
            lambda tx: tx.connection.execute(update(tables.approvals).values(directory="/somewhere/else"))
        )
        result, (answer,) = await there.press(card, "Allow once")
        assert result.status == 2
        assert "it changed since this button was shown" in everything(answer)
        assert await there.store.read(approvals.waiting)


async def test_what_cannot_be_seen_is_written_out(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("echo safe\u202e\x1b[2K\rrm -rf /")
        (card,) = flight.pinged()
        assert card.body is not None
        assert card.body.text() == "echo safe\\u202e\\u001b[2K\\u000drm -rf /"
        assert "Invisible characters" in everything(card)


async def test_a_secret_is_not_shown_and_that_is_said(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        there.store.redact = lambda text: text.replace("hunter2", "[secret]")
        await flight.ask("curl -u me:hunter2 host")
        (card,) = flight.pinged()
        assert "hunter2" not in everything(card)
        assert "A secret is hidden" in everything(card)


async def test_too_long_to_show_goes_as_a_document(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        flight = await Flight.begin(there)
        command = "\n".join(f"echo line {number}" for number in range(500))
        await flight.ask(command)
        (card,) = flight.pinged()
        assert Path(card.document).read_text(encoding="utf-8") == command
        assert "the buttons apply to the document" in everything(card)
        result, _ = await there.press(card, "Allow once")
        assert result.status == 0


async def test_without_a_place_for_the_document_nothing_says_yes(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("x" * 5_000)
        (card,) = flight.pinged()
        assert [button.label for button in card.actions] == ["Deny"]


async def test_a_yes_for_the_session_covers_the_identical_thing_only_and_survives(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        grants = Grants(there.store)
        await grants.load()
        await flight.ask()
        (card,) = flight.pinged()
        same = Asked("q2", "Bash", "rm -rf build", "rm -rf build", (), "/w/t1")
        assert not grants.cover(flight.session, same, there.config)
        result, _ = await there.press(card, "Allow for this session")
        assert result.status == 0
        later = Grants(there.store)
        await later.load()
        for known in (grants, later):
            assert known.cover(flight.session, same, there.config)
            for other in (
                Asked("q2", "Bash", "rm -rf builds", "rm -rf builds", (), "/w/t1"),
                Asked("q2", "Shell", "rm -rf build", "rm -rf build", (), "/w/t1"),
                Asked("q2", "Bash", "rm -rf build", "rm -rf build", (), "/w/t2"),
            ):
                assert not known.cover(flight.session, other, there.config)
            revoked = there.config.model_copy(update={"people": []})
            assert not known.cover(flight.session, same, revoked), "it ends with the rights of who gave it"
        (found,) = await there.store.read(lambda tx: ledger.read(tx, kinds=(PermissionGranted.KIND,)))
        assert (found.actor, found.refs.session) == ("phone::ada", "t1.1")
        assert "approved for this session" in everything(flight.edits("ask:a1")[-1])


async def test_a_viewer_presses_in_vain(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        (card,) = flight.pinged()
        for label in ("Allow once", "Allow for this session", "Deny"):
            result, _ = await there.press(card, label, VERA)
            assert result.status == 2
        assert len(await there.store.read(approvals.waiting)) == 1


async def test_an_agents_question_is_answered_by_a_button(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=COLOURS)
        (card,) = flight.pinged()
        assert "Which colour?" in everything(card)
        assert "like a fire engine" in everything(card)
        assert [button.label for button in card.actions] == ["1 · red", "2 · blue", "No answer"]
        result, _ = await there.press(card, "2 · blue", OTTO)
        assert result.status == 0
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert (answer.decision, answer.reason, answer.by) == ("answer", "blue", "phone::otto")
        assert "“blue”" in everything(flight.edits("ask:a1")[-1])


async def test_a_plain_reply_answers_a_question_too(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=COLOURS)
        result, _ = await there.hand_over(there.message("green, please", OTTO, reply_to="m1"))
        assert result.status == 0
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert answer.reason == "green, please"
        result, _ = await there.hand_over(there.message("green", VERA, reply_to="m1"))
        assert result.status == 2


async def test_an_options_number_alone_is_the_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=COLOURS)
        result, _ = await there.hand_over(there.message("2", OTTO, reply_to="m1"))
        assert result.status == 0
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert answer.reason == "blue"


@pytest.mark.parametrize("words", ["2 tests are missing", "too many files"])
async def test_where_no_request_is_named_all_words_are_the_reason(tmp_path: Path, words: str) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        result, _ = await there.hand_over(there.message(f"/deny {words}", OTTO, reply_to="m1"))
        assert result.status == 0
        (denied,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert (denied.allowed, denied.reason) == (False, words)


async def test_what_looks_like_an_id_and_is_none_decides_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        for command in ("/approve a7", "/approve b1", "/deny 7"):
            result, _ = await there.say(command)
            assert result.status == 2
        assert not await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))


async def test_several_options_are_chosen_by_their_numbers_and_one_by_its_button(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=(replace(COLOURS[0], many=True),))
        (card,) = flight.pinged()
        assert [button.label for button in card.actions] == ["1 · red", "2 · blue", "No answer"]
        assert "several numbers (1, 2)" in everything(card)
        await there.hand_over(there.message("1, 2", OTTO, reply_to="m1"))
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert answer.reason == "red, blue"


async def test_several_questions_are_answered_a_line_each_and_no_button_says_otherwise(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=(*COLOURS, Question("Why?")))
        (card,) = flight.pinged()
        assert [button.label for button in card.actions] == ["No answer"]
        assert "one line for each" in everything(card) and "Press a button" not in everything(card)
        await there.hand_over(there.message("2\nit fits", OTTO, reply_to="m1"))
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert answer.reason == "blue\nit fits"


async def test_a_yes_alone_answers_no_question(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=COLOURS)
        result, (card,) = await there.say("/approve a1")
        assert result.status == 2
        assert "it needs an answer" in everything(card)


async def test_half_an_hour_before_the_end_it_is_brought_up_once_with_a_sound(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        remind = reminders(there)
        await remind.look()
        await there.settle()
        assert len(flight.pings()) == 1
        await flight.ago(minutes=7.6 * 60)
        for _ in range(2):
            await remind.look()
            await there.settle()
        assert len(flight.pings()) == 2
        reminder = flight.pinged()[-1]
        assert "is still waiting for you: 2" in shown(reminder.title)
        result, _ = await there.press(reminder, "Deny")
        assert result.status == 0
        for key in ("ask:a1", "remind:a1"):
            closed = flight.edits(key)[-1]
            assert "denied" in everything(closed)
            assert not closed.actions


async def test_unanswered_it_is_denied_and_one_tap_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        asked = await flight.ask()
        await flight.ago(minutes=9 * 60)
        await there.store.write(lambda tx: approvals.expire(tx, "t1.1"))
        await flight.decided(asked.ask)
        closed = flight.edits("ask:a1")[-1]
        assert shown(closed.title) == "t1 · a1 · expired, denied"
        assert [button.label for button in closed.actions] == ["Go on", "Retry"]
        result, _ = await there.press(closed, "Go on")
        assert result.status == 0
        result, (late,) = await there.say("/approve a1")
        assert result.status == 2
        assert "airboss already denied it" in everything(late)


async def test_what_the_agent_takes_back_is_closed_at_its_turns_end(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()

        def over(tx: Tx) -> None:
            approvals.withdraw(tx, session="t1.1", why="the turn ended without an answer")
            flight.append(tx, TurnClosed("done", "completed", "", ""))

        await there.store.write(over)
        await there.settle()
        closed = flight.edits("ask:a1")[-1]
        assert "withdrawn" in everything(closed)
        assert not closed.actions


async def test_a_task_that_is_being_stopped_is_asked_about_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.hold()
        (card,) = flight.pinged()
        await there.say("/stop t1")
        result, (answer,) = await there.press(card, "Approve")
        assert result.status == 2
        assert "t1 is being stopped" in everything(answer)
        assert "/retry t1" in everything(answer)
        assert await there.store.read(approvals.waiting)

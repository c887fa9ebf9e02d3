"""Which events reach a person, which of them ping, and that each is told once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from bot.telling import notices
from bot.telling.notify import CURSOR
from fleet.events import (
    Event,
    GateOpened,
    LandingDone,
    LeftProcessEnded,
    LinkChanged,
    PermissionAsked,
    PermissionDecided,
    PersonSaid,
    ReceiptIssued,
    Refs,
    SessionPlaced,
    Source,
    Taken,
    TaskMoved,
    ToolCallStarted,
    TurnStarted,
)
from fleet.model import ChatRef, PersonId, TaskState
from fleet.store import approvals, ledger, tasks
from fleet.store.chat import settings
from fleet.store.core import Tx
from tests.chat_flight import COMMIT, TREE, Flight, everything
from tests.chat_house import ADA, FLEET, OTTO, House, house

ANNA = PersonId("phone", "", "anna")


async def test_a_gate_that_failed_although_its_command_ended_well_says_why(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.red(code=0, reason="tampering: 17 of 17 canaries did not fail")
        (card,) = flight.pinged()
        assert "gate tests failed: tampering: 17 of 17 canaries did not fail" in everything(card)
        assert "exit status 0" not in everything(card)


async def test_the_first_red_pings_with_all_that_matters_and_the_next_one_edits_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.red()
        (first,) = flight.pinged()
        assert first.mention == "phone::ada"
        for piece in (
            "gate tests failed: exit status 1",
            "python3 -m pytest",
            "evo-x2",
            "c" * 10,
            "3 tests, 1 failed",
            "assert 1 == 2",
            "unsafe-same-user",
        ):
            assert piece in everything(first)
        assert [action.label for action in first.actions] == ["Retry", "Log", "Diff", "Stop"]
        await flight.red("E   assert 3 == 4")
        assert len(flight.pings()) == 1
        assert "assert 3 == 4" in everything(flight.edits("red:t1")[-1])
        await flight.note(TurnStarted(2, "rework", "again"))
        assert "↩ sent back, turn 2" in everything(flight.edits("red:t1")[-1])
        await flight.move(TaskState.FAILED, why="tests: exit 1")
        assert flight.pings()[1:] == [], "one sound a cause"
        assert "t1 · failed" in there.phone.titles()


@pytest.mark.parametrize("end", [TaskState.REFUSED, TaskState.UNAVAILABLE, TaskState.LOST])
async def test_a_bad_end_pings_with_its_reason(tmp_path: Path, end: TaskState) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(end, why="because of that")
        assert flight.pings() == [f"t1 · {end}"]
        assert "because of that" in everything(flight.pinged()[0])


async def test_nobody_hears_of_a_red_after_a_stop_was_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await there.say("/stop t1")
        await flight.red()
        await flight.move(TaskState.STOPPED, why="stopped by phone::ada")
        assert flight.pings() == []
        assert not any("gate" in title for title in there.phone.titles())
        (end,) = (post.card for post in there.phone.sent if shown(post.card.title) == "t1 · stopped")
        assert "stopped by Ada" in everything(end), "a name, and no number"


@pytest.mark.parametrize(("by", "pings"), [(ADA, []), (ANNA, ["t1 · refused"])])
async def test_who_said_no_is_not_pinged_for_it(tmp_path: Path, by: PersonId, pings: list[str]) -> None:
    fleet = FLEET + '[[people]]\nname = "Anna"\nrole = "admin"\nids = ["phone::anna"]\n'
    async with house(tmp_path, fleet_toml=fleet) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.JUDGING)
        await flight.held()
        await flight.move(TaskState.HELD, why="touches tests/**")
        await there.deliverer.drained(ChatRef("phone", "anna"))
        asked = flight.pings()
        assert set(asked) == {"t1 · a1 · held for a person"} and len(asked) == 2, "Ada here, Anna in her own chat"
        await there.say("/deny t1", by)
        await flight.move(TaskState.REFUSED, why=f"{by} denied it")
        assert flight.pings() == [*asked, *pings]
        end = next(post.card for post in there.phone.sent if shown(post.card.title) == "t1 · refused")
        assert f"{'Ada' if by is ADA else 'Anna'} denied it" in everything(end)


async def test_what_ended_only_once_its_machine_was_back_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for what in ("agent", "interface"):
            await flight.note(LeftProcessEnded("i-t1.1-p1-n", what, 1_764_338_400_000_000))
        told = [everything(post.card) for post in there.phone.sent]
        for its in ("its agent", "the interface opened by hand"):
            (card,) = [card for card in told if f"t1 · {its} has ended on macbook" in card]
            assert "macbook was away when the task ended, at 14:00" in card


async def test_what_goes_well_makes_no_sound(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(ToolCallStarted("c1", "Bash", "pytest"), TurnStarted(2, "rework", "again"))
        await flight.note(PersonSaid("use tabs", Taken.STEERED), LinkChanged(False, "no route"))
        await flight.note(LandingDone("refs/heads/main", "a", COMMIT, TREE, 1))
        await flight.note(ReceiptIssued(COMMIT, "e" * 64, "/r/t1.json"))
        assert flight.pings() == []
        titles = there.phone.titles()
        for title in ("t1 · landed on main", "t1 · your message reached the running turn"):
            assert title in titles
        landed = next(post.card for post in there.phone.sent if shown(post.card.title) == "t1 · landed on main")
        assert [action.label for action in landed.actions] == ["Diff", "Receipt"]


async def test_progress_is_one_message_that_edits_itself(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for number in range(8):
            await flight.note(ToolCallStarted(f"c{number}", "Bash", f"step {number}\x1b[2J @all"))
        assert sum(1 for post in there.phone.sent if post.key == "task:t1" and not post.edits) == 1
        told = everything(flight.edits("task:t1")[-1])
        assert "step 7" in told
        assert "step 3" in told
        assert "step 2" not in told
        assert "\x1b" not in told


async def test_a_question_pings_is_answered_once_and_says_by_whom(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)

        def ask(tx: Tx) -> None:
            refs = Refs(task="t1", session="t1.1")
            asked = PermissionAsked("q1", "Bash", "rm -rf build", (), "", "Bash needs a yes")
            ledger.append(tx, asked, actor="agent:demo", source=Source.AGENT, refs=refs)
            approvals.open_ask(
                tx,
                session=flight.session,
                ask="q1",
                tool="Bash",
                request='{"command":"rm -rf build"}',
                command="rm -rf build",
                paths=(),
                reason="Bash needs a yes",
                expires_us=tx.now_us() + 3_600_000_000,
            )

        await there.store.write(ask)
        await there.settle()
        (card,) = flight.pinged()
        assert "rm -rf build" in everything(card)
        assert "Approving covers this command line, not the files it reads" in everything(card)
        result, _ = await there.press(card, "Allow once")
        assert (result.status, there.fleet.woken[-1]) == (0, "t1")
        await flight.note(PermissionDecided("q1", "Bash", "allow", "", ""))
        edited = flight.edits("ask:a1")[-1]
        assert "approved" in everything(edited)
        assert "by Ada at" in everything(edited)
        assert not edited.actions
        result, (again,) = await there.press(card, "Allow once")
        assert result.status == 2
        assert "pressed it already" in everything(again)
        result, _ = await there.press(card, "Deny")
        assert result.status == 2


async def test_a_hold_takes_an_admin(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.JUDGING)

        def hold(tx: Tx) -> None:
            approvals.open_hold(tx, session=flight.session, commit=COMMIT, tree=TREE, reason="touches tests/**")
            tasks.move(tx, "t1", TaskState.HELD, "touches tests/**", "airboss")

        await there.store.write(hold)
        await there.settle()
        (card,) = flight.pinged()
        assert "touches tests/**" in everything(card)
        result, _ = await there.press(card, "Approve", OTTO)
        assert result.status == 2
        assert len(await there.store.read(approvals.waiting)) == 1
        result, _ = await there.press(card, "Approve")
        assert result.status == 0
        assert await there.store.read(approvals.waiting) == []


async def test_a_muted_chat_gets_the_card_without_the_sound(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await there.say("/mute 2h")
        await flight.red()
        assert flight.pings() == []
        assert any("gate tests failed" in title for title in there.phone.titles())
        await there.say("/mute off")
        await flight.move(TaskState.FAILED)
        assert flight.pings() == ["t1 · failed"]


async def test_what_happened_while_nobody_notified_is_told_once_afterwards(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await Flight.begin(there)
        await there.notifier.close()
        refs = Refs(task="t1", session="t1.1")
        done = LandingDone("refs/heads/main", "a", COMMIT, TREE, 1)
        await there.store.write(
            lambda tx: ledger.append(tx, done, actor="airboss", source=Source.CONTROLLER, refs=refs)
        )
        assert "t1 · landed on main" not in there.phone.titles()
    for expected in (1, 0):
        async with house(tmp_path) as later:
            await later.settle()
            assert later.phone.titles().count("t1 · landed on main") == expected


async def test_a_bug_in_one_card_skips_its_event_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for _ in range(2):
            await flight.note(SessionPlaced("macbook", "demo", "b" * 40, "no such isolation", ()))
        await flight.move(TaskState.LOST, why="and the rest is told")
        titles = there.phone.titles()
        assert titles.count("t1 · internal error") == 1 and "t1 · lost" in titles
        assert not any(found.deaths for found in there.supervisor.health())
    assert "internal error: event" in caplog.text


async def test_what_only_a_card_shows_waits_for_the_next_form_of_it(tmp_path: Path) -> None:
    async with house(tmp_path, redraw=3_600) as there:
        await there.say("/run mend it")
        flight = await Flight.of(there)
        drawn, cursor = len(flight.edits("task:t1")), await _cursor(there)
        steps = [ToolCallStarted(f"c{number}", "Bash", f"make {number}") for number in range(5)]
        for step in (*steps, GateOpened("tests", COMMIT, TREE, "b" * 40, ("make",), "d" * 64, 1)):
            await there.store.write(partial(flight.append, event=step))
        for _ in range(5):  # what was woken by then has had its turn
            await there.store.write(lambda tx: None)
        assert await _cursor(there) == cursor, "no commit is spent on them"
        await there.notifier.caught_up("t2")  # now they are read
        assert await _cursor(there) > cursor
        assert len(flight.edits("task:t1")) == drawn
        await flight.note(LinkChanged(up=False, why="gone"))
        assert "make 4" in everything(flight.edits("task:t1")[-1]), "what matters is drawn at once"


@pytest.mark.parametrize(
    "event",
    [
        *(TaskMoved(TaskState.RUNNING, new, "") for new in (TaskState.LANDED, TaskState.STALLED, TaskState.ASKING)),
        TaskMoved(TaskState.STALLED, TaskState.RUNNING, ""),
        *(TurnStarted(2, cause, "") for cause in ("rework", "retry", "merge")),
        PersonSaid("go on", Taken.STEERED),
        LinkChanged(up=False, why="gone"),
    ],
)
def test_what_may_have_a_message_is_told_at_once(event: Event) -> None:
    assert notices.may_tell(event)


async def _cursor(there: House) -> int:
    return await there.store.read(lambda tx: int(settings.get(tx, CURSOR)))


async def test_a_card_that_waited_when_its_controller_died_is_drawn_by_the_next(tmp_path: Path) -> None:
    async with house(tmp_path, redraw=3_600) as there:
        await there.say("/run mend it")
        flight = await Flight.of(there)
        drawn = len(flight.edits("task:t1"))
        await there.store.write(partial(flight.append, event=ToolCallStarted("c1", "Bash", "make it")))
        await there.notifier.caught_up("t2")
        assert len(flight.edits("task:t1")) == drawn
    async with house(tmp_path, redraw=3_600) as later:
        await later.settle()
        assert "make it" in everything(later.last())

"""/logs: the ends of tools' outputs, and the last lines of a gate that runs now."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bot.cards import Card, line
from bot.message import Message
from bot.outbox.port import Outgoing
from bot.telling import gate_tail
from bot.telling.log_card import LIVES_US, MOST, LiveLog, LiveLogs, begin
from bot.telling.story import last_lines, story
from fleet.agents.lines import ends
from fleet.events import GateOpened, ToolCallEnded, ToolCallStarted, ToolCallStartedV2
from fleet.model import ChatRef, TaskState
from fleet.redact import Redactor
from fleet.store import tasks
from fleet.store.chat import settings
from fleet.store.core import Store, Tx
from tests.chat_flight import COMMIT, RUN, TREE, Flight, everything
from tests.chat_house import CHAT, House, house
from tests.rows import asked

CARD = Card(line("log"))
SECRET = "hunter2-hunter2-hunter2"


async def test_a_subagents_calls_are_below_its_own_call_and_counted(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(
            ToolCallStartedV2("c1", "Task", "look around", ""),
            ToolCallStartedV2("c2", "Bash", "ls", "c1"),
            ToolCallEnded("c2", "ok", 0, ""),
            ToolCallStartedV2("c3", "Grep", "needle", "c1"),
            ToolCallEnded("c3", "ok", 0, ""),
            ToolCallEnded("c1", "ok", None, ""),
        )
        _, (card,) = await there.say("/logs t1")
        rows = [row.partition(" ")[2] for row in everything(card).splitlines()]
        at = rows.index("$ Task look around")
        assert rows[at + 1 : at + 4] == ["  ↳ Bash ls", "  ↳ Grep needle", "  ↳ 2 calls of its subagent"]


async def test_an_end_of_a_log_that_lacks_a_subagents_start_gives_no_number_of_its_calls(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        calls = [f"s{number}" for number in range(80)]
        await flight.note(
            ToolCallStartedV2("c1", "Task", "look around", ""),
            *(ToolCallStartedV2(call, "Bash", call, "c1") for call in calls),
            ToolCallEnded("c1", "ok", None, ""),
        )
        whole = await there.store.read(lambda tx: story(tx, "t1", UTC))
        end = await there.store.read(lambda tx: "\n".join(last_lines(tx, "t1", UTC)))
        assert "↳ 80 calls of its subagent" in whole
        assert "↳ Bash s79" in end and "of its subagent" not in end


async def test_the_log_has_the_ends_of_outputs_and_the_tail_of_a_running_gate(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(
            ToolCallStarted("c1", "Bash", "make"), ToolCallEnded("c1", "ok", 0, "one\ntwo\n3 passed\n")
        )
        await flight.note(ToolCallStarted("c2", "Bash", "ls"), ToolCallEnded("c2", "failed", 2, "no such file"))
        _, (card,) = await there.say("/logs t1")
        for row in ("$ Bash make", "  │ 3 passed", "  failed (exit 2)", "  │ no such file"):
            assert any(shown.endswith(row) for shown in everything(card).splitlines())
        assert [action.label for action in card.actions] == ["As a file"]
        await flight.move(TaskState.JUDGING)
        await flight.note(GateOpened("tests", COMMIT, TREE, "b" * 40, ("make",), "", 1))
        log = tmp_path / "gates" / f"{RUN}.log"
        log.parent.mkdir()
        log.write_bytes(b"x" * 20_000 + b"\nsuite a\x1b[31m\nsuite b\n")
        _, (card,) = await there.say("/logs t1")
        rows = everything(card).splitlines()
        assert rows[(at := rows.index("— gate tests is running")) : at + 3][1:] == ["  │ suite a", "  │ suite b"]
        store = Store.open(f"sqlite:///{tmp_path / 'airboss.db'}", redact=Redactor([SECRET]))
        with store:
            log.write_text(f"{'y' * 15_990}{SECRET}\nuse {SECRET}\n")
            task = await store.read(lambda tx: tasks.task(tx, "t1"))
            shown = "\n".join(await gate_tail.of(store, tmp_path, task))
            assert "use ‹redacted:secret›" in shown and "hunter2" not in shown
        await flight.green()
        _, (card,) = await there.say("/logs t1")
        assert "is running" not in everything(card), "it ended"


def live(there: House) -> LiveLogs:
    return LiveLogs(there.outbox, lambda: there.config, there.home)


def edits(there: House) -> list[Outgoing]:
    return [post for post in there.phone.sent if post.key == "log:t1" and post.edits]


def older(us: int) -> Callable[[Tx], None]:
    """Every live card was asked for so long ago."""

    def work(tx: Tx) -> None:
        for key, stored in settings.beginning(tx, "live-log:").items():
            raw = json.loads(stored)
            settings.put(tx, key, json.dumps({**raw, "until_us": raw["until_us"] - us}))

    return work


async def test_the_card_of_an_open_task_edits_itself_without_a_sound_until_it_ends(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight, logs = await Flight.begin(there), live(there)
        assert await logs.refresh() == 0
        _, (card,) = await there.say("/logs t1")
        assert "Updates itself until" in everything(card)
        await logs.refresh()
        assert [await logs.refresh() for _ in range(2)] == [0, 0], "nothing is new"
        await flight.note(ToolCallStarted("c1", "Bash", "make"), ToolCallEnded("c1", "ok", 0, "3 passed\n"))
        assert await logs.refresh() == 1
        await flight.move(TaskState.JUDGING)
        await flight.note(GateOpened("tests", COMMIT, TREE, "b" * 40, ("make",), "", 1))
        log = tmp_path / "gates" / f"{RUN}.log"
        log.parent.mkdir()
        log.write_text("suite a\n")
        assert await logs.refresh() == 1
        log.write_text("suite a\nsuite b\n")
        assert await live(there).refresh() == 1, "a controller that begins anew goes on with it"
        await there.settle()
        assert "  │ suite b" in everything(edits(there)[-1].card)
        assert not any(post.ping for post in edits(there)) and len({post.edits for post in edits(there)}) == 1
        await flight.green()
        await flight.move(TaskState.FAILED)
        assert [await logs.refresh(), await logs.refresh()] == [1, 0]
        await there.settle()
        assert "nothing follows" in everything(edits(there)[-1].card)
        assert await there.store.read(lambda tx: settings.beginning(tx, "live-log:")) == {}


async def test_it_stops_after_a_while_and_goes_on_when_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight, logs = await Flight.begin(there), live(there)
        await there.say("/logs t1")
        await there.store.write(older(LIVES_US + 1))
        assert [await logs.refresh(), await logs.refresh()] == [1, 0]
        await there.settle()
        stopped = edits(there)[-1].card
        assert "Not updated since" in everything(stopped)
        known = len(there.phone.sent)
        await there.hand_over(pressing(there, stopped, "Keep updating"))
        await flight.note(ToolCallStarted("c1", "Bash", "make"))
        await logs.refresh()
        await there.settle()
        assert all(post.edits for post in there.phone.sent[known:]), "in the same message"
        assert "Updates itself until" in everything(edits(there)[-1].card)


def pressing(there: House, card: Card, label: str) -> Message:
    token = next(action.token for action in card.actions if action.label == label)
    return there.message(pressed=token)


async def test_only_the_newest_card_of_a_task_is_live_and_only_so_many_tasks_are(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await Flight.begin(there)
        await there.say("/logs t1")
        _, (newest,) = await there.say("/logs t1")
        assert "Newer lines are below." in everything(edits(there)[-1].card) and newest.body is not None

        def more(tx: Tx) -> None:
            for number in range(MOST):
                task = asked(tx, origin=CHAT)
                begin(
                    there.outbox.open(tx), LiveLog(task.id, CHAT, "UTC", tx.now_us() + LIVES_US + number), CARD, 0
                )

        await there.store.write(more)
        await live(there).refresh()
        kept = await there.store.read(lambda tx: settings.beginning(tx, "live-log:"))
        assert len(kept) == MOST and not any('"t1"' in key for key in kept), "the oldest stopped"


async def test_the_whole_log_comes_as_a_file_on_request_and_a_console_gets_no_edits(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(*(ToolCallStarted(f"c{n}", "Bash", f"step {n}") for n in range(60)))
        _, (card,) = await there.say("/logs t1")
        assert not card.document
        _, (card,) = await there.press(card, "As a file")
        text = Path(card.document).read_text()
        assert "step 0" in text and "step 59" in text
        at_a_console = replace(there.message("/logs t1"), chat=ChatRef("console", "c1"))
        result, _ = await there.hand_over(at_a_console)
        assert result.data is not None and result.data["document"] == card.document
        assert len(await there.store.read(lambda tx: settings.beginning(tx, "live-log:"))) == 1


@given(st.text("ab \n", max_size=400), st.integers(40, 120))
def test_an_outputs_start_and_end_are_kept_in_whole_words(text: str, limit: int) -> None:
    kept = ends(text, limit)
    if len(text) <= limit:
        assert kept == text
        return
    head, _, tail = kept.partition("…\n(")
    assert text.startswith(head)
    end = tail.partition(" more characters)\n…")[2]
    assert text.endswith(end) and len(head) + len(end) <= limit
    assert not end or text[len(text) - len(end) - 1] in " \n", "no half word, which may be half a secret"

"""/logs: the ends of tools' outputs, and the last lines of a gate that runs now."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bot.telling import gate_tail
from fleet.agents.lines import ends
from fleet.events import GateOpened, ToolCallEnded, ToolCallStarted
from fleet.model import TaskState
from fleet.redact import Redactor
from fleet.store import tasks
from fleet.store.core import Store
from tests.chat_flight import COMMIT, RUN, TREE, Flight, everything
from tests.chat_house import house

SECRET = "hunter2-hunter2-hunter2"


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
        assert not card.actions, "no gate runs"
        await flight.move(TaskState.JUDGING)
        await flight.note(GateOpened("tests", COMMIT, TREE, "b" * 40, ("make",), "", 1))
        log = tmp_path / "gates" / f"{RUN}.log"
        log.parent.mkdir()
        log.write_bytes(b"x" * 20_000 + b"\nsuite a\x1b[31m\nsuite b\n")
        _, (card,) = await there.say("/logs t1")
        assert everything(card).splitlines()[-4:-1] == ["— gate tests is running", "  │ suite a", "  │ suite b"]
        assert [action.label for action in card.actions] == ["Newer"]
        store = Store.open(f"sqlite:///{tmp_path / 'airboss.db'}", redact=Redactor([SECRET]))
        with store:
            log.write_text(f"{'y' * 15_990}{SECRET}\nuse {SECRET}\n")
            task = await store.read(lambda tx: tasks.task(tx, "t1"))
            shown = "\n".join(await gate_tail.of(store, tmp_path, task))
            assert "use ‹redacted:secret›" in shown and "hunter2" not in shown
        await flight.green()
        _, (card,) = await there.say("/logs t1")
        assert "is running" not in everything(card), "it ended"


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

"""The two sources of one session, its stream and the agent's own file, are compared call by call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.events import CallDisputed, CallUnobserved, Event, Recorded, Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.model import Session
from fleet.store import ledger, reconciling, sessions
from fleet.store.core import Store, Tx
from tests.empty_store import filled
from tests.rows import asked, placed
from tests.session_files import ClaudeSession
from tests.unit.test_import import Home, home

__all__ = ["home"]


def ran(tx: Tx, *events: Event, ended: bool = True) -> Session:
    """A session of this controller, with what its stream said."""
    task = asked(tx, agent="claude", machine="m")
    made = placed(tx, task.id, "m", agent="claude")
    sessions.update(tx, made.id, resume="its-own-id")
    if ended:
        sessions.update(tx, made.id, ended_us=tx.now_us())
    refs = Refs(task=task.id, session=made.id, machine="m")
    for event in events:
        ledger.append(tx, event, actor="agent", source=Source.AGENT, refs=refs)
    return made


def stream(number: int, tool: str = "Bash", outcome: str = "ok") -> list[Event]:
    call = f"toolu_{number}"
    started: list[Event] = [ToolCallStarted(call, tool, "")]
    return [*started, ToolCallEnded(call, outcome, None, "")] if outcome else started


def said(home: Home) -> list[Recorded]:
    with home.store() as store, store.transaction() as tx:
        return ledger.read(tx, kinds=(CallDisputed.KIND, CallUnobserved.KIND))


def test_what_differs_is_an_event_once(home: Home, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(home.path / 'airboss.db')}") as store, store.transaction() as tx:
        made = ran(
            tx, *stream(1), *stream(2, outcome="failed"), *stream(3, "Edit"), *stream(4, outcome=""), *stream(6)
        )
    file = ClaudeSession("its-own-id", datetime.now(UTC))
    for number in (1, 2, 3, 4, 5):
        file.call(number)
    file.write(tmp_path)
    for _ in range(2):
        home.load(tmp_path)
        found = said(home)
        assert [each.event for each in found] == [
            CallDisputed("toolu_2", "outcome", "failed", "ok"),
            CallDisputed("toolu_3", "tool", "Edit", "Bash"),
            CallDisputed("toolu_4", "outcome", "unfinished", "ok"),
            CallUnobserved("toolu_5", "Bash", "only in the file"),
            CallDisputed("toolu_6", "call", "Bash", "not there"),
        ]
        assert {each.refs.session for each in found} == {made.id}
    today = datetime.now(UTC).date()
    figures = home.days(str(today - timedelta(days=1)), str(today + timedelta(days=1)))
    assert (figures["disputed"], figures["unobserved"], figures["tool_calls"]) == (4, 1, 5)


@pytest.mark.parametrize("torn", [False, True])
def test_a_file_that_may_still_grow_lacks_nothing(home: Home, tmp_path: Path, torn: bool) -> None:
    """The session is still open, or the file's last line is being written."""
    with Store.open(f"sqlite:///{filled(home.path / 'airboss.db')}") as store, store.transaction() as tx:
        ran(tx, *stream(1), *stream(2), *stream(3, outcome=""), ended=torn)
    file = ClaudeSession("its-own-id", datetime.now(UTC))
    file.call(1)
    if not torn:
        file.call(3)
    path = file.write(tmp_path)
    if torn:
        path.write_text(path.read_text() + '{"type": "assi')
    home.load(tmp_path)
    assert said(home) == []


def test_an_end_without_a_start_is_unobserved(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store, store.transaction() as tx:
        made = ran(tx, *stream(1, outcome=""), ended=False)
        ends = [ToolCallEnded(f"toolu_{number}", "ok", None, "") for number in (1, 2, 2)]
        assert reconciling.without_start(tx, made.id, [*stream(3), *ends]) == [
            CallUnobserved("toolu_2", "", "an end without a start")
        ]

"""``airboss import`` and the figures of the days that it fills, by the commands that people give."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.cli import main
from bot.days import days_of
from bot.home_lock import only_one
from bot.local import importing
from fleet.agents.codex_files import CodexFile
from fleet.events import Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.range_figures import RangeFigures
from fleet.store import ledger, sessions
from fleet.store.core import Store
from tests import session_files
from tests.rows import asked, placed
from tests.session_files import MONTH, ClaudeSession, codex_line, reference_month_of_codex

AT = datetime(2026, 11, 3, 23, 59, 59, tzinfo=UTC)


class Home:
    """A home without a controller, and commands on it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys

    def run(self, *words: str, status: int = 0) -> Any:
        assert main(["--home", str(self.path), *words, "--json"]) == status
        return json.loads(self._capsys.readouterr().out)

    def load(self, directory: Path, agent: str = "claude", status: int = 0) -> Any:
        return self.run("import", agent, str(directory), "--machine", "laptop", status=status)

    def days(self, first: str, last: str, *more: str) -> Any:
        return self.run("digest", "--from", first, "--to", last, *more)

    def store(self) -> Store:
        return Store.open(f"sqlite:///{self.path / 'airboss.db'}", create=False)


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home(tmp_path / "home", capsys)


def kept(home: Home) -> list[bytes]:
    with home.store() as store, store.transaction() as tx:
        return [recorded.canonical for recorded in ledger.read(tx, limit=100_000)]


def test_codex_gives_the_same_figures_of_the_same_month(tmp_path: Path) -> None:
    reference_month_of_codex(tmp_path / "files")
    zone = ZoneInfo("Pacific/Auckland")
    figures = RangeFigures(zone, days_of("2026-11-01", "2026-12-01", zone.key).period)
    for path in sorted((tmp_path / "files").rglob("*.jsonl")):
        reader = CodexFile(path.stem)
        lines = path.read_bytes().splitlines(keepends=True)
        for fact in [*(fact for line in lines for fact in reader.feed(line)), *reader.close()]:
            figures.add(fact.event.KIND, fact.event, fact.time_us, fact.conversation, "laptop", imported=True)
    there, plain = counted_by_hand(tmp_path / "files", zone.key), figures.plain()
    assert plain["tool_calls"] == session_files.CALLS == there.total()
    assert plain["active_days"] == len(there)
    assert plain["peak"] == {"date": max(there, key=there.__getitem__), "calls": max(there.values())}
    assert plain["sessions"] == session_files.SESSIONS
    assert (plain["failed"], plain["subagents"]) == (session_files.FAILED, session_files.SUBAGENTS)
    assert (plain["denied"], plain["unfinished"]) == (0, 0)


def counted_by_hand(files: Path, zone: str) -> Counter[str]:
    """Results by local day, from the text of the files."""
    found = Counter[str]()
    for path in files.rglob("*.jsonl"):
        for text in path.read_text().splitlines():
            if '"tool_result"' in text or '"function_call_output"' in text:
                at = datetime.fromisoformat(json.loads(text)["timestamp"])
                found[at.astimezone(ZoneInfo(zone)).date().isoformat()] += 1
    return found


def test_twice_is_once_and_a_grown_file_adds_only_what_is_new(home: Home, tmp_path: Path) -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    session.call(2, end=False)
    path = session.write(tmp_path)
    home.load(tmp_path)
    before = kept(home)
    assert home.load(tmp_path)["added"] == 0
    assert kept(home) == before
    assert home.days("2026-11-03", "2026-11-03")["unfinished"] == 1
    session.lines.append({**session.lines[1], "uuid": "x", "timestamp": "2026-11-04T00:01:00.000Z"})
    result = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "ok", "is_error": False}
    session.lines[-1]["message"] = {"role": "user", "content": [result]}
    session.call(3)
    path.write_text(session.text())
    moved = tmp_path / "elsewhere"
    (tmp_path / "-home-ada-shop").rename(moved)  # it is the same session wherever its file is
    assert home.load(moved)["added"] == 4
    assert kept(home)[: len(before)] == before
    assert home.days("2026-11-03", "2026-11-04")["unfinished"] == 0
    assert home.days("2026-11-03", "2026-11-04")["tool_calls"] == 3


def test_events_are_marked_and_lie_on_their_own_days(home: Home, tmp_path: Path) -> None:
    session = ClaudeSession("s1", AT)  # its first call ends before midnight, its second after
    session.call(1)
    session.at += timedelta(seconds=2)
    session.call(2, failed="Exit code 1")
    session.write(tmp_path)
    home.load(tmp_path)
    first, second = (home.days(day, day) for day in ("2026-11-03", "2026-11-04"))
    assert (first["tool_calls"], first["failed"], first["sessions"]) == (1, 0, 1)
    assert (second["tool_calls"], second["failed"], second["sessions"]) == (1, 1, 1)
    assert home.days("2026-11-04", "2026-11-04", "--tz", "Europe/Berlin")["tool_calls"] == 2
    with home.store() as store, store.transaction() as tx:
        found = ledger.read(tx)
    assert {recorded.source for recorded in found[:-1]} == {Source.IMPORT}
    assert found[-1].event.KIND == "import.done"


def test_a_call_over_midnight_is_counted_once(home: Home, tmp_path: Path) -> None:
    session = ClaudeSession("s1", AT + timedelta(milliseconds=600))
    session.call(1, usage=False)
    session.write(tmp_path)
    home.load(tmp_path)
    first, second = (home.days(day, day) for day in ("2026-11-03", "2026-11-04"))
    assert (first["tool_calls"], first["unfinished"]) == (0, 0)
    assert second["tool_calls"] == 1


def test_bad_lines_are_counted_and_never_fatal(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    path = session.write(tmp_path)
    huge = json.dumps({"type": "user", "text": "x" * (importing.LINE_LIMIT + 10)})
    half = session.text().splitlines()[0][:-20]
    path.write_bytes(b"\xff\xfe{\n\n" + huge.encode() + b"\nnot json\n" + session.text().encode() + half.encode())
    said = home.load(tmp_path)
    assert (said["malformed"], said["half"], said["huge"]) == (2, 1, 1)
    assert said["added"] == 4


def test_a_file_that_cannot_be_read_is_said_and_the_others_are_imported(home: Home, tmp_path: Path) -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    session.write(tmp_path)
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone")
    (tmp_path / "c").symlink_to(tmp_path / "c")  # a folder that leads nowhere
    said = home.load(tmp_path, status=3)
    assert (said["unreadable"], said["added"]) == (2, 4)


def test_links_are_followed_and_what_is_read_twice_counts_once(home: Home, tmp_path: Path) -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    path = session.write(tmp_path / "elsewhere")
    projects = tmp_path / "projects"
    projects.mkdir()
    (projects / "linked").symlink_to(path.parent)
    (projects / "again").symlink_to(path.parent)
    (projects / "around").symlink_to(tmp_path)  # it contains this directory
    (path.parent / "copy.jsonl").write_bytes(path.read_bytes())
    (path.parent / "link.jsonl").symlink_to(path)
    said = home.load(projects)
    assert (said["files"], said["sessions"], said["added"], said["unreadable"]) == (3, 1, 4, 0)
    assert home.days(*MONTH)["tool_calls"] == 1


def test_a_session_that_was_forked_or_resumed_elsewhere_repeats_nothing(home: Home, tmp_path: Path) -> None:
    """The other file has the history under its own session's id, and goes on."""
    first = ClaudeSession("s1", AT)
    answer = {"id": "msg_01AbCdEfGhIjKlMnOpQrStUv", "role": "assistant", "content": []}
    first.call(1)
    first.call("01AbCdEfGhIjKlMnOpQrStUv")
    first.line("assistant", {**answer, "usage": session_files.USAGE}, costUSD=0.5)
    second = ClaudeSession("s2", first.at)
    second.lines = [{**line, "sessionId": "s2"} for line in first.lines]
    second.call(2)
    for session in (first, second):
        session.write(tmp_path / "claude")
    home.load(tmp_path / "claude")
    figures = home.days("2026-11-01", "2026-11-05")
    assert (figures["tool_calls"], figures["sessions"], figures["cost_usd"]) == (3, 2, 0.5)

    folder = tmp_path / "codex"
    folder.mkdir()
    call = codex_line("response_item", AT, type="function_call", name="exec_command", call_id="call_1")
    meta, fork = (
        codex_line("session_meta", AT, id="c1"),
        codex_line("session_meta", AT, id="c2", forked_from_id="c1"),
    )
    (folder / "rollout-1-c1.jsonl").write_text(meta + call)
    (folder / "rollout-2-c2.jsonl").write_text(fork + meta + call + call.replace("call_1", "call_2"))
    home.load(folder, "codex")
    figures = home.days("2026-11-01", "2026-11-05")
    assert (figures["tool_calls"], figures["sessions"], figures["unfinished"]) == (5, 4, 2)


def test_a_directory_that_is_none_is_refused(home: Home, tmp_path: Path) -> None:
    assert main(["--home", str(home.path), "import", "claude", str(tmp_path / "gone")]) == 2
    assert not home.path.exists()


def test_where_nothing_is_to_import_or_another_command_is_at_work_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path / "home"), "import"]
    ClaudeSession("s1", AT).write(tmp_path / "projects")
    assert main([*words, "codex", str(tmp_path / "projects")]) == 0
    assert "no session file of codex here: rollout-*.jsonl" in capsys.readouterr().out
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "rollout-1-c1.jsonl").write_text('{"type":"session_meta","payload":{"id":"c1"}}\n')
    assert main([*words, "claude", str(tmp_path / "sessions")]) == 0
    assert "No session of claude is in these 1 files." in capsys.readouterr().out
    session = ClaudeSession("s1", AT)
    session.call(1)
    session.write(tmp_path / "projects")
    (tmp_path / "home").mkdir()
    with only_one(tmp_path / "home"):
        assert main([*words, "claude", str(tmp_path / "projects")]) == 3
    assert "another command has this home" in capsys.readouterr().err


def test_the_same_ids_in_two_sessions_are_two_calls_and_a_copied_history_is_one(home: Home, tmp_path: Path) -> None:
    for name in ("s1", "s2"):  # a vendor's ids are unique; others need not be
        session = ClaudeSession(name, AT)
        session.call(1)
        session.call("01AbCdEfGhIjKlMnOpQrStUv")
        session.write(tmp_path)
    home.load(tmp_path)
    assert home.days(*MONTH)["tool_calls"] == 3


def test_codex_files_are_imported_too(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "sessions/2026/11/03"
    folder.mkdir(parents=True)
    lines = [
        codex_line("session_meta", AT, id="c1"),
        codex_line("response_item", AT, type="function_call", name="spawn_agent", call_id="c1"),
        codex_line("response_item", AT, type="function_call_output", call_id="c1", output="ok"),
    ]
    (folder / "rollout-2026-11-03T23-59-59-c1.jsonl").write_text("".join(lines))
    (tmp_path / "history.jsonl").write_text("not a session\n")
    said = home.load(tmp_path, "codex")
    assert (said["files"], said["malformed"], said["added"]) == (1, 0, 3)
    figures = home.days(*MONTH)
    assert (figures["tool_calls"], figures["sessions"], figures["subagents"]) == (1, 1, 1)


def test_ranges_by_number_and_spans_know_what_is_imported(home: Home, tmp_path: Path) -> None:
    """An import is no work of today: the last day's figures leave it out, all figures have it."""
    session = ClaudeSession("s1", datetime.now(UTC) - timedelta(days=40))
    session.call(1)
    session.write(tmp_path)
    home.load(tmp_path)
    (home.path / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    assert home.run("digest", "24h")["tool_calls"]["ok"] == 0
    assert home.run("digest", "60d")["tool_calls"]["ok"] == 1
    assert home.run("digest", "all")["tool_calls"]["ok"] == 1


def test_a_session_that_airboss_ran_is_not_counted_twice(home: Home, tmp_path: Path) -> None:
    """Its file has the calls that the controller saw, and one that a person made later by hand."""
    home.path.mkdir()
    with Store.open(f"sqlite:///{home.path / 'airboss.db'}") as store, store.transaction() as tx:
        task = asked(tx, agent="claude", machine="m")
        ran = placed(tx, task.id, "m", agent="claude")
        sessions.update(tx, ran.id, resume="its-own-id")
        refs = Refs(task=task.id, session=ran.id, machine="m")
        for event in (ToolCallStarted("toolu_1", "Bash", ""), ToolCallEnded("toolu_1", "ok", None, "")):
            ledger.append(tx, event, actor="agent", source=Source.AGENT, refs=refs)
    session = ClaudeSession("its-own-id", datetime.now(UTC))
    session.call(1)
    session.call(2)
    session.write(tmp_path)
    assert home.load(tmp_path)["added"] == 2
    today = datetime.now(UTC).date()
    assert home.days(str(today - timedelta(days=1)), str(today + timedelta(days=1)))["tool_calls"] == 2

"""The reference month of an agent's session files: imported once, counted exactly, and the same in each export."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bot.cards import shown
from bot.cli import main
from bot.days import days_of
from bot.digest import in_period
from bot.digest_card import digest_card, headline
from fleet.model import Isolation
from fleet.store.core import Store
from tests import recount, session_files
from tests.conftest import sampled
from tests.schema import load, problems
from tests.session_files import CALLS, FAILED, MONTH, SESSIONS, SUBAGENTS, reference_month
from tests.unit.test_call_files import spans_of
from tests.unit.test_import import counted_by_hand


@dataclass(frozen=True)
class Month:
    """A home into which its files were imported, and what the import said."""

    home: Path
    files: Path
    answer: Any

    def run(self, *words: str) -> Any:
        said = io.StringIO()
        with redirect_stdout(said):
            assert main(["--home", str(self.home), *words, "--json"]) == 0
        return json.loads(said.getvalue())

    def days(self, first: str, last: str, *more: str) -> Any:
        return self.run("digest", "--from", first, "--to", last, *more)

    def store(self) -> Store:
        return Store.open(f"sqlite:///{self.home / 'airboss.db'}", create=False)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """The import takes 4 s of CPU."""
    directory = tmp_path_factory.mktemp("month")
    reference_month(directory / "files")
    made = Month(directory / "home", directory / "files", None)
    answer = made.run("import", "claude", str(made.files), "--machine", "laptop")
    return Month(made.home, made.files, answer)


def test_the_reference_month_is_imported_once_and_counted_exactly(month: Month) -> None:
    first = month.answer
    assert not problems(first, load("import.json"))
    assert (first["sessions"], first["known"], first["malformed"]) == (session_files.SESSIONS, 0, 0)
    assert first["added"] > 2 * session_files.CALLS + session_files.SESSIONS
    figures = month.days(*MONTH)
    assert figures["tool_calls"] == session_files.CALLS
    assert figures["active_days"] == session_files.DAYS
    assert figures["sessions"] == session_files.SESSIONS
    assert figures["peak"] == {"date": "2026-11-03", "calls": session_files.PEAK}
    assert figures["failed"] == session_files.FAILED
    assert figures["subagents"] == session_files.SUBAGENTS
    assert figures["error_rate"] == session_files.FAILED / session_files.CALLS
    assert (figures["denied"], figures["unfinished"]) == (0, 0)
    assert figures["by_machine"] == {"laptop": session_files.CALLS}
    with month.store() as store:
        made = asyncio.run(in_period(store, days_of(*MONTH, "UTC").period))
    said = (
        "21,875 tool calls · 24 active days · 46 sessions · peak 4,004 · "
        "0.0046 % failed (1 in 21,875) · 128 subagents"
    )
    card = digest_card(made, Isolation.SEPARATE_LOGINS)
    assert headline(made.figures) == said == shown(card.lines[1])
    assert shown(card.lines[0]).startswith("2026-11-03 08:00 to 2026-11-"), "the first file is not the earliest"
    with month.store() as store, store.transaction() as tx:
        assert recount.kept(tx) == recount.computed(tx)
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):  # some of the sessions are on other days there
        there = counted_by_hand(month.files, zone)
        figures = month.days("2026-11-01", "2026-12-01", "--tz", zone)
        assert figures["tool_calls"] == session_files.CALLS == there.total()
        assert figures["active_days"] == len(there)
        assert figures["peak"] == {"date": max(there, key=there.__getitem__), "calls": max(there.values())}


def test_the_reference_month_is_the_same_in_each_form(month: Month, tmp_path: Path) -> None:
    for form in ("csv", "parquet", "otlp"):
        words = ("--from", MONTH[0], "--to", MONTH[1], "-o", str(tmp_path / form), "--as", form)
        assert month.run("export", *words)["calls"] == CALLS
    with duckdb.connect() as connection:
        for read in ("read_csv", "read_parquet"):
            query = (
                "SELECT count(*), count(*) FILTER (outcome = 'failed'), count(DISTINCT session), "
                f"count(*) FILTER (subagent) FROM {read}(?)"
            )
            file = str(tmp_path / read.removeprefix("read_"))
            assert connection.execute(query, [file]).fetchall() == [(CALLS, FAILED, SESSIONS, SUBAGENTS)]
    lines = (tmp_path / "otlp").read_text().splitlines()
    plain = {line: json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"] for line in lines}
    found = [span for line in lines for span in plain[line]]
    kinds = Counter(span["name"].split()[0] for span in found)
    assert kinds == {"execute_tool": CALLS, "invoke_agent": SESSIONS}
    assert len({(span["traceId"], span["spanId"]) for span in found}) == len(found)
    # OpenTelemetry's own definition takes 6 s for them all, which it reads in a whole campaign.
    for line in sampled(lines[:-1], 1) + lines[-1:]:
        theirs = [(span.name, span.trace_id.hex(), span.span_id.hex()) for span in spans_of(line)]
        assert theirs == [(span["name"], span["traceId"], span["spanId"]) for span in plain[line]]

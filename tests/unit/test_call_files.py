"""``airboss export --as csv|otlp|parquet``: what tools of others read of our calls; they count the same."""

from __future__ import annotations

import base64
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bot.cli import main
from fleet.events import PipeEnded, Refs, Source, ToolCallEnded, ToolCallEndedV2, ToolCallStarted, UsageReported
from fleet.exits import Exited
from fleet.store import ledger
from fleet.store.core import Store
from tests.empty_store import filled
from tests.unit.test_import import Home, home

__all__ = ["home"]
HOSTILE = '=cmd|" /C calc"!A0'


def export(home: Home, form: str, target: Path, first: str = "2020-01-01", last: str = "2099-12-31") -> Any:
    return home.run("export", "--from", first, "--to", last, "-o", str(target), "--as", form)


def lives(home: Home) -> None:
    """Calls of a live session: ok, failed, of a hostile name, and one that its process left."""
    refs = Refs(task="t1", session="t1.1", turn="t1.1.1", machine="evo-x2")
    with Store.open(f"sqlite:///{filled(home.path / 'airboss.db')}") as store, store.transaction() as tx:
        for number, (tool, outcome) in enumerate(
            [("Bash", "ok"), ("Task", "failed"), (HOSTILE, "denied"), ("Bash", "")]
        ):
            ledger.append(
                tx,
                ToolCallStarted(f"c{number}", tool, "rm secret"),
                actor="agent:claude",
                source=Source.AGENT,
                refs=refs,
            )
            if outcome:
                ended = ToolCallEndedV2(f"c{number}", outcome, number, "its output", number or None)
                ledger.append(tx, ended, actor="agent:claude", source=Source.AGENT, refs=refs)
        ledger.append(tx, UsageReported(7, 8, 9), actor="agent:claude", source=Source.AGENT, refs=refs)
        pipe = PipeEnded("p", Exited(0), 0, True, 0)
        ledger.append(tx, pipe, actor="airboss", source=Source.SUPERVISOR, refs=refs)


def _with_bytes(line: str) -> str:
    """OTLP writes ids in hex, where the JSON of protocol buffers has base64."""

    def base64_of(found: re.Match[str]) -> str:
        return f'"{found[1]}":"{base64.b64encode(bytes.fromhex(found[2])).decode()}"'

    return re.sub(r'"(traceId|spanId|parentSpanId)":"([0-9a-f]+)"', base64_of, line)


def spans(file: Path) -> list[Any]:
    """As OpenTelemetry's own definition reads the file."""
    return [span for line in file.read_text().splitlines() for span in spans_of(line)]


def spans_of(line: str) -> list[Any]:
    """As it reads one line."""
    request = Parse(_with_bytes(line), ExportTraceServiceRequest())
    return [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]


def test_a_row_says_who_what_when_and_how_and_no_words(home: Home, tmp_path: Path) -> None:
    lives(home)
    assert export(home, "csv", tmp_path / "c.csv")["calls"] == 4
    text = (tmp_path / "c.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["outcome"] for row in rows] == ["ok", "failed", "denied", "unfinished"]
    assert [row["tool"] for row in rows] == ["Bash", "Task", f"'{HOSTILE}", "Bash"]
    assert {(row["session"], row["task"], row["machine"], row["agent"], row["source"]) for row in rows[:3]} == {
        ("t1.1", "t1", "evo-x2", "claude", "agent")
    }
    assert rows[1]["exit_code"] == "1" and rows[1]["subagent"] == "True" and rows[3]["ended_us"] == ""
    assert int(rows[0]["ended_us"]) >= int(rows[0]["started_us"]) > 0
    assert [row["output_bytes"] for row in rows] == ["", "1", "2", ""]
    assert "secret" not in text and "its output" not in text


def test_parquet_is_the_same_table_with_types(home: Home, tmp_path: Path) -> None:
    lives(home)
    target = tmp_path / "it's calls.parquet"
    assert export(home, "parquet", target)["calls"] == 4
    assert target.stat().st_mode & 0o777 == 0o600
    with duckdb.connect() as connection:
        file = str(target)
        found = connection.execute(
            "SELECT outcome, exit_code, subagent, ended_us - started_us >= 0 FROM read_parquet(?)", [file]
        ).fetchall()
        types = connection.execute("DESCRIBE SELECT started_us, subagent, tool FROM read_parquet(?)", [file])
        assert [row[1] for row in types.fetchall()] == ["BIGINT", "BOOLEAN", "VARCHAR"]
    assert found == [
        ("ok", 0, False, True),
        ("failed", 1, True, True),
        ("denied", 2, False, True),
        ("unfinished", None, False, None),
    ]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [target.name], (
        "nothing is left beside it"
    )


def test_spans_have_the_names_of_the_genai_conventions(home: Home, tmp_path: Path) -> None:
    lives(home)
    export(home, "otlp", tmp_path / "spans.jsonl")
    found = spans(tmp_path / "spans.jsonl")
    tools, (session,) = (
        [span for span in found if span.parent_span_id],
        [span for span in found if not span.parent_span_id],
    )
    assert [span.name for span in tools] == [
        "execute_tool Bash",
        "execute_tool Task",
        f"execute_tool {HOSTILE}",
        "execute_tool Bash",
    ]
    assert {span.parent_span_id for span in tools} == {session.span_id} and len(session.trace_id) == 16
    assert [span.status.code for span in tools] == [1, 2, 2, 2]
    said = {each.key: each.value for each in tools[1].attributes}
    named = {name: said[name].string_value for name in said if said[name].HasField("string_value")}
    assert named == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "Task",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.agent.name": "claude",
        "gen_ai.conversation.id": "t1.1",
        "gen_ai.provider.name": "anthropic",
        "host.name": "evo-x2",
        "error.type": "tool_error",
        "airboss.outcome": "failed",
        "airboss.source": "agent",
        "airboss.task": "t1",
        "airboss.turn": "t1.1.1",
    }
    used = {each.key: each.value.int_value for each in session.attributes}
    assert session.name == "invoke_agent claude"
    assert (used["gen_ai.usage.input_tokens"], used["gen_ai.usage.output_tokens"]) == (7, 8)
    assert session.end_time_unix_nano >= session.start_time_unix_nano > 0


def test_a_call_over_the_first_midnight_keeps_its_start(home: Home, tmp_path: Path) -> None:
    refs = Refs(session="claude:s", machine="m")
    day = 1_793_491_200_000_000  # 2026-11-01 UTC
    with Store.open(f"sqlite:///{filled(home.path / 'airboss.db')}") as store, store.transaction() as tx:
        for event, at in (
            (ToolCallStarted("c", "Bash", ""), day - 1),
            (ToolCallEnded("c", "ok", None, ""), day + 1),
        ):
            ledger.append_all(tx, [ledger.Entry(event, "ada", Source.IMPORT, refs, at)])
    export(home, "csv", tmp_path / "c.csv", "2026-11-01", "2026-11-01")
    (row,) = csv.DictReader((tmp_path / "c.csv").read_text().splitlines())
    assert (row["tool"], row["started_us"]) == ("Bash", str(day - 1))
    assert export(home, "csv", tmp_path / "c.csv", "2026-10-31", "2026-10-31")["calls"] == 0


def test_without_the_extra_parquet_says_what_to_install(home: Home, tmp_path: Path) -> None:
    lives(home)
    words = ["--home", str(home.path), "export", "--from", "2020-01-01", "--to", "2099-12-31", "-o", "x", "--as"]
    script = (
        f"import sys; sys.modules['duckdb'] = None; from bot.cli import main; sys.exit(main({[*words, 'parquet']}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 2 and "pip install 'airboss[parquet]'" in done.stderr, done
    assert not (tmp_path / "x").exists()
    with pytest.raises(SystemExit):
        main([*words, "xml"])


def test_a_line_of_otlp_is_one_whole_request(home: Home, tmp_path: Path) -> None:
    lives(home)
    export(home, "otlp", tmp_path / "spans.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(list(line) == ["resourceSpans"] for line in lines)

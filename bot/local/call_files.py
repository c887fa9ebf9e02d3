"""``airboss export --as csv|otlp|parquet``: each tool call of some days as a row or a span, for tools of others.

CSV and Parquet have the fields of ``fleet.calls.CallRow``. OTLP is OpenTelemetry's own JSON, one request a line,
with the names of its conventions for generative AI: a span for each session, and under it one for each call.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import astuple, fields
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bot.days import Days
from fleet import files
from fleet.agent_events import ToolOutcome
from fleet.calls import KINDS, CallFold, CallRow, SessionTotals
from fleet.errors import Misused
from fleet.figures import UNFINISHED
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.recent import numbers_in

_PAGE: Final = 2_000
_BEFORE: Final = 10_000
_COLUMNS: Final = tuple(field.name for field in fields(CallRow))
_TYPES: Final = {"int | None": "BIGINT", "bool": "BOOLEAN", "str": "VARCHAR"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_PROVIDERS: Final = {"claude": "anthropic", "codex": "openai"}
_ERRORS: Final = {str(ToolOutcome.FAILED): "tool_error", str(ToolOutcome.DENIED): "denied", UNFINISHED: UNFINISHED}
_INTERNAL, _ERROR, _OK = 1, 2, 1


class FileForm(StrEnum):
    """What ``airboss export`` writes."""

    BUNDLE = "bundle"
    CSV = "csv"
    OTLP = "otlp"
    PARQUET = "parquet"


async def write(store: Store, days: Days, form: FileForm, target: Path) -> int:
    """Writes the calls of these days; returns how many. Raises ``Misused`` without what Parquet needs,
    ``Unavailable`` or ``DiskFull`` where the file cannot be written."""
    if form is FileForm.PARQUET:
        _duckdb()
    fold, count = CallFold(days.period), 0
    with files.scratch(target.parent, ".airboss-calls-") as partial_file:
        with files.writing("write the calls", target), files.Sink(partial_file) as sink:
            if form is not FileForm.OTLP:
                sink.write(_csv([_COLUMNS]))
            async for rows in _rows(store, days, fold):
                count += len(rows)
                sink.write(_otlp(store.instance, rows) if form is FileForm.OTLP else _csv(map(_cells, rows)))
            if form is FileForm.OTLP:
                sink.write(_sessions(store.instance, fold.sessions))
        if form is FileForm.PARQUET:
            with files.scratch(target.parent, ".airboss-parquet-") as parquet:
                _to_parquet(partial_file, parquet)
                parquet.chmod(0o600)
                with files.writing("write the calls", target):
                    files.move(parquet, target)
        else:
            with files.writing("write the calls", target):
                files.move(partial_file, target)
    return count


async def _rows(store: Store, days: Days, fold: CallFold) -> AsyncIterator[list[CallRow]]:
    """The rows of these days, in pages. Some events before them are read, for starts of calls that end later."""
    numbers = await store.read(lambda tx: numbers_in(tx, days.period.from_us, days.period.upto_us), long=True)
    first, last = numbers or (1, 0)
    first = max(1, first - _BEFORE)
    for after in range(first - 1, last, _PAGE):
        read = partial(ledger.read, after=after, upto=min(after + _PAGE, last), limit=_PAGE, kinds=KINDS)
        if rows := list(fold.fold(await store.read(read, long=True))):
            yield rows
    if left := list(fold.close()):
        yield left


# --- tables -----------------------------------------------------------------------------------------------------


def _cells(row: CallRow) -> list[object]:
    return [_harmless(cell) if isinstance(cell, str) else cell for cell in astuple(row)]


def _harmless(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: Any) -> bytes:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue().encode()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise Misused(
            attempted="write Parquet",
            cause="the package duckdb is not installed",
            hint="Install it: pip install 'airboss[parquet]'. Or write CSV: --as csv.",
        ) from error
    return duckdb


def _to_parquet(table: Path, target: Path) -> None:
    columns = {field.name: _TYPES[str(field.type)] for field in fields(CallRow)}
    read = f"read_csv({_quoted(table)}, header = true, nullstr = '', columns = {columns})"
    with _duckdb().connect() as connection:
        connection.execute(f"COPY (SELECT * FROM {read}) TO {_quoted(target)} (FORMAT parquet)")  # noqa: S608  both names are quoted


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


# --- traces -----------------------------------------------------------------------------------------------------


def _otlp(instance: str, rows: Sequence[CallRow]) -> bytes:
    return _request(instance, [_call_span(instance, row) for row in rows])


def _sessions(instance: str, sessions: dict[str, SessionTotals]) -> bytes:
    named = list(sessions.items())
    parts = (named[at : at + _PAGE] for at in range(0, len(named), _PAGE))
    return b"".join(_request(instance, [_session_span(instance, *each) for each in part]) for part in parts)


def _request(instance: str, spans: Sequence[dict[str, Any]]) -> bytes:
    resource = _attributes({"service.name": "airboss", "service.instance.id": instance})
    scope = {"name": "airboss", "version": version("airboss")}
    said = {
        "resourceSpans": [
            {"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": [*spans]}]}
        ]
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _call_span(instance: str, row: CallRow) -> dict[str, Any]:
    ends = [time for time in (row.started_us, row.ended_us) if time is not None]
    error = _ERRORS.get(row.outcome)
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": row.tool,
        "gen_ai.tool.call.id": row.call,
        "gen_ai.agent.name": row.agent,
        "gen_ai.conversation.id": row.session,
        "gen_ai.provider.name": _PROVIDERS.get(row.agent, row.agent),
        "host.name": row.machine,
        "error.type": error or "",
        "process.exit.code": row.exit_code,
        "airboss.outcome": row.outcome,
        "airboss.output_bytes": row.output_bytes,
        "airboss.source": row.source,
        "airboss.task": row.task,
        "airboss.turn": row.turn,
        "airboss.subagent": row.subagent,
    }
    return {
        "traceId": _id(16, instance, row.session),
        "spanId": _id(8, instance, row.session, row.call, row.started_us, row.ended_us),
        "parentSpanId": _id(8, instance, row.session),
        "name": f"execute_tool {row.tool}".strip(),
        **_span(ends[0], ends[-1], attributes, error or ""),
    }


def _session_span(instance: str, session: str, totals: SessionTotals) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": totals.agent,
        "gen_ai.conversation.id": session,
        "gen_ai.provider.name": _PROVIDERS.get(totals.agent, totals.agent),
        "gen_ai.usage.input_tokens": totals.input_tokens,
        "gen_ai.usage.output_tokens": totals.output_tokens,
        "airboss.cost_udollar": totals.cost_udollar,
    }
    return {
        "traceId": _id(16, instance, session),
        "spanId": _id(8, instance, session),
        "name": f"invoke_agent {totals.agent}",
        **_span(totals.first_us, totals.last_us, attributes, ""),
    }


def _span(first_us: int, last_us: int, attributes: dict[str, Any], error: str) -> dict[str, Any]:
    return {
        "kind": _INTERNAL,
        "startTimeUnixNano": str(first_us * 1_000),
        "endTimeUnixNano": str(last_us * 1_000),
        "attributes": _attributes(attributes),
        "status": {"code": _ERROR, "message": error} if error else {"code": _OK},
    }


def _attributes(named: dict[str, Any]) -> list[dict[str, Any]]:
    return list(_attribute(named))


def _attribute(named: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in named.items():
        match value:
            case None | "":
                continue
            case bool():
                yield {"key": name, "value": {"boolValue": value}}
            case int():
                yield {"key": name, "value": {"intValue": str(value)}}
            case _:
                yield {"key": name, "value": {"stringValue": str(value)}}


def _id(size: int, *parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[: 2 * size]

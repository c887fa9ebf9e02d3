"""Codex's session files: ``sessions/YYYY/MM/DD/rollout-TIME-ID.jsonl``.

A call failed when its item says so, its exit code is not 0, or its output says ``success: false``. It was denied
when its item was declined, or its output is the agent's own words for that. An output that only says that a person
aborted the call is no end. Codex reports no cost.

A subagent's thread has a file of its own; its calls belong to the session of the thread that started it. The files
of early 2025 have items without a time: theirs is that of the first line.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from fleet.agent_events import ToolOutcome
from fleet.agents.lines import count, decode, exit_status, mapping, size_of, string
from fleet.agents.session_files import Calls, Ending
from fleet.events import UsageReported
from fleet.imports import Fact, ImportedAgent, key_of, micros, plain

_DENIED: Final = re.compile(r"\s*(?:exec command|patch|command|mcp tool call)?\s*rejected by (?:the )?user", re.I)
_ABORTED: Final = re.compile(r"(?:Wall time: [\d.]+ seconds\n)?(?:command )?aborted by user\b[^\n]*\s*")
_EXIT_CODE: Final = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d{1,10})\s*$", re.MULTILINE)
_HEAD: Final = 500
_CALLS: Final = ("function_call", "custom_tool_call", "local_shell_call")
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")


class CodexFile:
    """One file. ``name`` is the session's id, when the file has no first line."""

    def __init__(self, name: str) -> None:
        self._session, self._named = plain(name), False
        self._origin, self._begin_us = "", 0
        self._calls = Calls(ImportedAgent.CODEX)
        self._ends: dict[str, Ending] = {}
        self._total = UsageReported(0, 0, 0)

    def feed(self, line: bytes) -> list[Fact]:
        """What a line reports."""
        record = decode(line)
        if "payload" not in record:
            return self._of_2025(record)
        payload, time_us = mapping(record["payload"]), micros(record["timestamp"])
        if record["type"] == "session_meta" and not self._named:
            self._named = True
            self._session = plain(string(_session_of(payload)))
            self._origin = str(payload.get("forked_from_id") or "")
        match record["type"]:
            case "response_item":
                facts = self._item(payload, time_us)
            case "event_msg":
                facts = self._event(payload, time_us)
            case _:
                facts = []
        return [*self._calls.session(self._session, time_us), *facts]

    def _of_2025(self, record: dict[str, Any]) -> list[Fact]:
        if self._named or "instructions" not in record:
            facts = self._item(record, self._begin_us) if self._begin_us else []
        else:
            self._session, self._begin_us = plain(string(record["id"])), micros(record["timestamp"])
            self._named, facts = True, []
        return [*self._calls.session(self._session, self._begin_us), *facts] if self._begin_us else []

    def close(self) -> list[Fact]:
        """Calls without an end."""
        return self._calls.close()

    def _item(self, payload: dict[str, Any], time_us: int) -> list[Fact]:
        kind = payload.get("type")
        if kind in _CALLS:
            call = string(payload.get("call_id") or payload["id"])
            return self._calls.start(
                self._session, call, string(payload.get("name") or kind), time_us, self._origin
            )
        if kind in _OUTPUTS:
            call = string(payload["call_id"])
            output = payload.get("output")
            said = self._ends.pop(call) if call in self._ends else _of_output(output)
            if said is None:
                return []
            return self._calls.end(self._session, call, replace(said, size=_size(output)), time_us, self._origin)
        if kind == "web_search_call":  # it is written when it is over
            call = string(payload.get("id") or f"web_search_{time_us}")
            outcome = ToolOutcome.FAILED if payload.get("status") == "failed" else ToolOutcome.OK
            self._calls.start(self._session, call, "web_search", time_us, self._origin)
            return self._calls.end(self._session, call, Ending(outcome), time_us, self._origin)
        return []

    def _event(self, payload: dict[str, Any], time_us: int) -> list[Fact]:
        match payload.get("type"):
            case "item_completed":
                item = mapping(payload["item"])
                self._hint(item.get("id"), item.get("status"), item.get("exit_code"))
            case "exec_command_end":
                self._hint(payload.get("call_id"), payload.get("status"), payload.get("exit_code"))
            case "patch_apply_end":
                said = "failed" if payload.get("success") is False else payload.get("status")
                self._hint(payload.get("call_id"), said, None)
            case "token_count":
                return self._used(payload, time_us)
        return []

    def _hint(self, call: Any, status: Any, code: Any) -> None:
        """How a call ended, which is said before its output."""
        if not isinstance(call, str) or not self._calls.is_open(self._session, call):
            return
        number = exit_status(code)
        if status == "declined":
            self._ends[call] = Ending(ToolOutcome.DENIED)
        elif status == "failed" or number not in (None, 0):
            self._ends[call] = Ending(ToolOutcome.FAILED, number)
        elif status is not None or number is not None:
            self._ends[call] = Ending(ToolOutcome.OK, number)

    def _used(self, payload: dict[str, Any], time_us: int) -> list[Fact]:
        """What was used since the last report; the same total may be reported several times."""
        info = payload.get("info")
        if not isinstance(info, dict):
            return []
        total, last = _tokens(info.get("total_token_usage")), _tokens(info.get("last_token_usage"))
        before, self._total = self._total, total
        fresh = not (before.input_tokens or before.output_tokens)
        used = UsageReported(
            max(0, last.input_tokens if fresh else total.input_tokens - before.input_tokens),
            max(0, last.output_tokens if fresh else total.output_tokens - before.output_tokens),
            0,
        )
        if not (used.input_tokens or used.output_tokens):
            return []
        key = key_of("codex", "usage", self._session, time_us, total.input_tokens, total.output_tokens)
        return [Fact(key, time_us, self._session, used)]


def _tokens(usage: Any) -> UsageReported:
    given = usage if isinstance(usage, dict) else {}
    return UsageReported(count(given.get("input_tokens")), count(given.get("output_tokens")), 0)


def _session_of(meta: dict[str, Any]) -> Any:
    """The session of a thread: that of the root, as newer versions say, else of the thread that started it."""
    source = meta.get("source")
    subagent = source.get("subagent") if isinstance(source, dict) else None
    spawned = subagent.get("thread_spawn") if isinstance(subagent, dict) else None
    parent = spawned.get("parent_thread_id") if isinstance(spawned, dict) else None
    return meta.get("session_id") or parent or meta["id"]


def _of_output(output: Any) -> Ending | None:
    """How a call ended; ``None`` when it was aborted."""
    if isinstance(output, dict):
        return Ending(ToolOutcome.FAILED) if output.get("success") is False else _of_output(output.get("content"))
    if not isinstance(output, str):
        return Ending(ToolOutcome.OK)
    if _ABORTED.fullmatch(output):
        return None
    if _DENIED.match(output):
        return Ending(ToolOutcome.DENIED)
    head = output.split("\nOutput:", 1)[0][:_HEAD]
    found = _EXIT_CODE.search(head)
    code = int(found[1]) if found else _in_metadata(output)
    return Ending(ToolOutcome.FAILED if code not in (None, 0) else ToolOutcome.OK, code)


def _size(output: Any) -> int | None:
    """The bytes of an output; ``None`` of one in another form than text."""
    if isinstance(output, dict):
        output = output.get("content")
    return size_of(output) if isinstance(output, str) else None


def _in_metadata(output: str) -> int | None:
    """The exit code of the older form: JSON text with ``metadata``."""
    if not output.startswith("{"):
        return None
    try:
        code = json.loads(output)["metadata"]["exit_code"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return exit_status(code)

"""Session files as the agents write them, made by the number: for tests of importing and of figures."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

#: The reference month.
CALLS, DAYS, SESSIONS, PEAK, FAILED, SUBAGENTS = 21_875, 24, 46, 4_004, 1, 128
MONTH = ("2026-11-01", "2026-11-30")

USAGE = {"input_tokens": 90, "cache_read_input_tokens": 10, "output_tokens": 20}
_TICK = timedelta(milliseconds=250)


def stamp(at: datetime) -> str:
    """A time as both agents write it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class ClaudeSession:
    """One session of Claude Code, line by line. ``uuid`` values are made from the session's id and a number."""

    id: str
    at: datetime
    agent: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)

    def line(self, kind: str, message: dict[str, Any], **more: Any) -> None:
        """Adds a line, a quarter of a second later."""
        self.at += _TICK
        name = f"{self.id}/{self.agent}/{len(self.lines)}"
        about = {"isSidechain": True, "agentId": self.agent} if self.agent else {"isSidechain": False}
        self.lines.append(
            {
                "type": kind,
                "message": message,
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
                "timestamp": stamp(self.at),
                "sessionId": self.id,
                **about,
                **more,
            }
        )

    def call(
        self, number: int | str, tool: str = "Bash", *, failed: str = "", end: bool = True, usage: bool = True
    ) -> None:
        """A call of a tool; ``failed``: the words of its error."""
        call = f"toolu_{self.agent}{number}"
        asked = {"type": "tool_use", "id": call, "name": tool, "input": {"command": "echo hello"}}
        answer = {"id": f"msg_{number}", "role": "assistant", "content": [asked]}
        self.line("assistant", {**answer, "usage": USAGE} if usage else answer)
        if end:
            result = {
                "type": "tool_result",
                "tool_use_id": call,
                "content": failed or "ok",
                "is_error": bool(failed),
            }
            self.line("user", {"role": "user", "content": [result]})

    def text(self) -> str:
        """The file."""
        return "".join(json.dumps(line) + "\n" for line in self.lines)

    def write(self, projects: Path) -> Path:
        """Writes the file where the agent would."""
        name = f"{self.id}/subagents/agent-{self.agent}.jsonl" if self.agent else f"{self.id}.jsonl"
        path = projects / "-home-ada-shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text())
        return path

    def write_codex(self, sessions: Path) -> Path:
        """Writes the same calls as a thread of Codex; a subagent's thread names the session of the root."""
        path = sessions / f"{self.at:%Y/%m/%d}" / f"rollout-{self.at:%Y-%m-%dT%H-%M-%S}-{self.id}{self.agent}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = codex_line("session_meta", self.at, id=f"{self.id}{self.agent}", session_id=self.id)
        path.write_text("".join([meta, *(text for line in self.lines for text in _codex(line))]))
        return path


def reference_month(projects: Path) -> None:
    """The files of a month with exactly the figures above."""
    for session in _month():
        session.write(projects)


def _month() -> Iterator[ClaudeSession]:
    day_calls = [PEAK, *_shares(CALLS - PEAK, DAYS - 1)]
    started = subagents = 0
    for day, calls in enumerate(day_calls):
        begin = datetime(2026, 11, 3 + day, 8, tzinfo=UTC)
        sessions = 2 if started + 2 + (DAYS - 1 - day) <= SESSIONS else 1
        for part, count in enumerate(_shares(calls, sessions)):
            started += 1
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"session {day}/{part}"))
            session = ClaudeSession(identity, begin + timedelta(hours=4 * part))
            wanted = 3 if started <= SUBAGENTS - 2 * SESSIONS else 2
            for number in range(count):
                inner = number < 2 * wanted and number % 2  # every other of the first calls is a subagent's own
                if inner:
                    helper = ClaudeSession(identity, session.at, agent=f"a{number}")
                    helper.call(number, "Read")
                    yield helper
                    continue
                tool = "Task" if number < 2 * wanted else "Bash"
                subagents += tool == "Task"
                broken = day == 5 and part == 0 and number == count - 1
                words = "Exit code 3\nbroken" if broken else ""
                session.call(number, tool, failed=words, usage=number % 10 == 0)
            yield session
    assert (started, subagents) == (SESSIONS, SUBAGENTS)


def reference_month_of_codex(sessions: Path) -> None:
    """The same month, as Codex writes it: a file for each session, and one for each subagent's thread."""
    for session in _month():
        session.write_codex(sessions)


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (number < total % parts) for number in range(parts)]


def _codex(line: dict[str, Any]) -> list[str]:
    """A line of Claude Code as Codex says the same."""
    at, made = datetime.fromisoformat(line["timestamp"]), []
    for block in line["message"]["content"]:
        if block["type"] == "tool_use":
            name = "spawn_agent" if block["name"] == "Task" else "exec_command"
            asked = {"type": "function_call", "name": name, "call_id": block["id"], "arguments": "{}"}
            made.append(codex_line("response_item", at, **asked))
        else:
            said = "Process exited with code 3\nOutput:\n" if block["is_error"] else "Output:\nok"
            ended = {"type": "function_call_output", "call_id": block["tool_use_id"], "output": said}
            made.append(codex_line("response_item", at, **ended))
    return made


def codex_line(kind: str, at: datetime, **payload: Any) -> str:
    """A line of a rollout file."""
    return json.dumps({"timestamp": stamp(at), "type": kind, "payload": payload}) + "\n"

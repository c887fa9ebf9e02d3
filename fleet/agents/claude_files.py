"""Claude Code's session files: ``projects/*/SESSION.jsonl``, and ``agent-*.jsonl`` of its subagents.

A call failed when its result has ``is_error``, and was denied when the result has the agent's own words for a
refused permission. A hook that denies in words of its own looks like a failure. A result that only says that a
person interrupted is no end. A subagent's calls belong to the session that started it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from fleet.agent_events import ToolOutcome
from fleet.agents.lines import count, decode, mapping, size_of, string
from fleet.agents.session_files import Calls, Ending
from fleet.events import UsageReported
from fleet.imports import Fact, ImportedAgent, key_of, micros, plain

_DENIED: Final = re.compile(
    r"\s*(?:<tool_use_error>)?\s*(?:Error: )?(?:"
    r"The user doesn't want to (?:proceed with this tool use|take this action right now)"
    r"|User rejected tool use"
    r"|Claude requested permissions to "
    r"|Permission to (?:use|read|edit|write|run) .{1,2000}has been denied"
    r"|Permission for this (?:action|tool use) (?:has been|was) denied"
    r"|Permission denied by "
    r"|Hook PreToolUse:.{1,200} (?:denied|blocked) this tool"
    r"|File is in a directory that is denied by your permission settings"
    r"|Agent type '.{1,200}' has been denied by permission rule)",
    re.DOTALL,
)
_INTERRUPTED: Final = "[Request interrupted by user"
_CALL_ID: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
_EXIT_CODE: Final = re.compile(r"(?:Error: )?Exit code (\d{1,3})\b")
_ANSWER: Final = re.compile(r"msg_[A-Za-z0-9]{20,}")
"""An answer's id that the vendor made: unique, wherever a resumed session copies it to."""
_MESSAGES: Final = 32
"""So many answers of the model may be read in turns; a longer one is counted when its next line comes."""


class ClaudeFile:
    """One file. ``name`` is the session's id for lines that give none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = Calls(ImportedAgent.CLAUDE)
        self._usage: dict[str, Fact] = {}

    def feed(self, line: bytes) -> list[Fact]:
        """What a line reports. The lines of one answer repeat its usage; it is counted once."""
        message = decode(line)
        if message.get("type") not in ("user", "assistant"):
            return []
        given = mapping(message["message"])
        session = plain(string(message.get("sessionId") or self._name))
        time_us = micros(message["timestamp"])
        uuid = f"{message.get('uuid') or ''}"
        content = given.get("content")
        blocks = [mapping(block) for block in content] if isinstance(content, list) else []
        said = [_call(block) for block in blocks if block.get("type") in _CALL_ID]
        facts = self._calls.session(session, time_us)  # from here on nothing is malformed
        for call, done in said:
            match done:
                case str(tool):
                    facts += self._calls.start(session, call, tool, time_us, uuid)
                case Ending():
                    facts += self._calls.end(session, call, done, time_us, uuid)
        if message["type"] == "assistant":
            facts += self._used(session, time_us, message, given)
        return facts

    def close(self) -> list[Fact]:
        """Calls without an end, and the usage of the last answers."""
        used = list(self._usage.values())
        self._usage.clear()
        return [*self._calls.close(), *used]

    def _used(self, session: str, time_us: int, message: dict[str, Any], given: dict[str, Any]) -> list[Fact]:
        usage = given.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        cost = _micro_dollars(message.get("costUSD"))
        used = UsageReported(sum(count(usage.get(name)) for name in read), count(usage.get("output_tokens")), cost)
        if not (used.input_tokens or used.output_tokens or used.cost_udollar):
            return []
        answer = str(given.get("id") or message.get("uuid") or time_us)
        before = self._usage.pop(answer, None)
        whose = () if _ANSWER.fullmatch(answer) else (session, message.get("agentId"), time_us)
        key, at = key_of("claude", "usage", answer, *whose), time_us
        if before is not None and isinstance(before.event, UsageReported):
            key, at = before.key, before.time_us
            used = UsageReported(used.input_tokens, used.output_tokens, max(cost, before.event.cost_udollar))
        self._usage[answer] = Fact(key, at, session, used)
        return [self._usage.pop(next(iter(self._usage)))] if len(self._usage) > _MESSAGES else []


def _call(block: dict[str, Any]) -> tuple[str, str | Ending | None]:
    """A call, and the tool that it starts or how it ended; ``None`` when somebody interrupted it."""
    kind = block["type"]
    return string(block[_CALL_ID[kind]]), string(block["name"]) if kind == "tool_use" else _ending(block)


def _ending(block: dict[str, Any]) -> Ending | None:
    words = _text(block.get("content"))
    size = size_of(words)
    if block.get("is_error") is not True:
        return Ending(ToolOutcome.OK, size=size)
    if words.startswith(_INTERRUPTED):
        return None
    if _DENIED.match(words):
        return Ending(ToolOutcome.DENIED, size=size)
    code = _EXIT_CODE.match(words)
    return Ending(ToolOutcome.FAILED, int(code[1]) if code else None, size)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _micro_dollars(dollars: Any) -> int:
    return count(int(Decimal(str(dollars)) * 1_000_000)) if type(dollars) in (int, float) else 0

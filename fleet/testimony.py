"""From what an agent's driver read to ledger events: cut to size, joined where many lines say one thing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fleet import happenings as h
from fleet.events import (
    AgentReady,
    AgentSaid,
    AgentUnknown,
    Event,
    PermissionAsked,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    UsageReported,
)

TEXT_LIMIT = 4_000
SUMMARY_LIMIT = 200


def sha256_of(text: str) -> str:
    """Hex digest of text: what an approval binds to."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def cut(text: str, limit: int) -> str:
    """``text``, or its beginning and its end around a note of how much is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def permission_asked(asked: h.Asked, reason: str) -> PermissionAsked:
    """The event for an in-band question."""
    return PermissionAsked(
        ask=asked.ask,
        tool=cut(asked.tool, SUMMARY_LIMIT),
        command=cut(asked.command, TEXT_LIMIT),
        paths=tuple(cut(path, SUMMARY_LIMIT) for path in asked.paths[:50]),
        request_sha256=sha256_of(asked.request),
        reason=reason,
    )


def events_of(happened: Iterable[h.Happening]) -> list[Event]:
    """The events for a batch. Words that follow each other become one event: a chatty program costs one row
    a batch, not one a line. ``Asked`` is recorded with its ruling, elsewhere."""
    events: list[Event] = []
    words: list[str] = []

    def flush() -> None:
        if words:
            events.append(AgentSaid(cut("\n".join(words), TEXT_LIMIT)))
            words.clear()

    for item in happened:
        if isinstance(item, h.Said):
            words.append(item.text)
            continue
        flush()
        match item:
            case h.Ready(resume, model):
                events.append(AgentReady(cut(resume, SUMMARY_LIMIT), cut(model, SUMMARY_LIMIT)))
            case h.ToolStarted(call, tool, summary):
                events.append(ToolCallStarted(call, cut(tool, SUMMARY_LIMIT), cut(summary, SUMMARY_LIMIT)))
            case h.ToolEnded(call, outcome, exit_code, detail):
                events.append(ToolCallEnded(call, str(outcome), exit_code, cut(detail, SUMMARY_LIMIT)))
            case h.Used(input_tokens, output_tokens, cost_udollar):
                events.append(UsageReported(input_tokens, output_tokens, cost_udollar))
            case h.TurnEnded(claim, ok, error):
                events.append(TurnClosed(cut(claim, TEXT_LIMIT), ok, cut(error, TEXT_LIMIT)))
            case h.Unknown(raw):
                events.append(AgentUnknown(cut(raw, 2_000)))
            case h.Asked():
                pass
    flush()
    return events

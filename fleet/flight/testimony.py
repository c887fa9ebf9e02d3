"""From what an agent's driver read to ledger events: cut to size, joined where many lines say one thing.

Whatever is cut or parted is redacted before: a redactor does not know half a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from fleet import agent_events as h
from fleet.agents.lines import WORDS_LIMIT
from fleet.events import (
    AgentContinued,
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
from fleet.untrusted import clean, shortened

TEXT_LIMIT = 4_000
"""Characters of one event's text; longer words become several events."""

SUMMARY_LIMIT = 200

Redact = Callable[[str], str]


def sha256_of(text: str) -> str:
    """Hex digest of text: what an approval binds to."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def permission_asked(asked: h.Asked, reason: str) -> PermissionAsked:
    """The event for an in-band question."""
    return PermissionAsked(
        ask=asked.ask,
        tool=shortened(asked.tool, SUMMARY_LIMIT),
        command=shortened(asked.command, TEXT_LIMIT),
        paths=tuple(shortened(path, SUMMARY_LIMIT) for path in asked.paths[:50]),
        request_sha256=sha256_of(asked.request),
        reason=reason,
    )


def hidden(text: str, redact: Redact | None) -> str:
    """An agent's words without secrets: cleaned before, for a terminal code inside a secret would hide it."""
    whole = clean(text, len(text) + 1)
    return redact(whole) if redact else whole


def claim_of(ended: h.TurnEnded, redact: Redact | None) -> str:
    """A turn's closing words, as the store keeps them."""
    return shortened(hidden(ended.claim, redact), WORDS_LIMIT)


def error_of(ended: h.TurnEnded, redact: Redact | None) -> str:
    """The vendor's words for what ended a turn, as the store keeps them."""
    return shortened(hidden(ended.error, redact), TEXT_LIMIT)


def words_of(text: str) -> list[Event]:
    """Words as events that hold all of them: joined by newlines, an ``AgentContinued`` by nothing, they are
    ``text``."""
    events: list[Event] = []
    kind: type[AgentSaid | AgentContinued] = AgentSaid
    at = 0
    while len(text) - at > TEXT_LIMIT:
        newline = text.rfind("\n", at + TEXT_LIMIT // 2, at + TEXT_LIMIT + 1)
        end = newline if newline >= 0 else at + TEXT_LIMIT
        events.append(kind(text[at:end]))
        kind, at = (AgentSaid, end + 1) if newline >= 0 else (AgentContinued, end)
    return [*events, kind(text[at:])]


def events_of(happened: Iterable[h.Happening], redact: Redact | None = None) -> list[Event]:
    """The events for a batch. Words that follow each other are told together: a chatty program costs a row a
    batch and ``TEXT_LIMIT`` characters, not one a line. ``Asked`` is recorded with its ruling, elsewhere."""
    events: list[Event] = []
    words: list[str] = []

    def short(text: str, limit: int) -> str:
        return shortened(hidden(text, redact), limit)

    def flush() -> None:
        if words:
            events.extend(words_of(short("\n".join(words), WORDS_LIMIT)))
            words.clear()

    for item in happened:
        if isinstance(item, h.Said):
            words.append(item.text)
            continue
        flush()
        match item:
            case h.Ready(resume, model):
                events.append(AgentReady(shortened(resume, SUMMARY_LIMIT), shortened(model, SUMMARY_LIMIT)))
            case h.ToolStarted(call, tool, summary):
                events.append(ToolCallStarted(call, short(tool, SUMMARY_LIMIT), short(summary, SUMMARY_LIMIT)))
            case h.ToolEnded(call, outcome, exit_code, detail):
                events.append(ToolCallEnded(call, str(outcome), exit_code, short(detail, SUMMARY_LIMIT)))
            case h.Used(input_tokens, output_tokens, cost_udollar):
                events.append(UsageReported(input_tokens, output_tokens, cost_udollar))
            case h.TurnEnded(claim, outcome, _, exit_):
                how = str(exit_) if exit_ else ""
                events.append(TurnClosed(short(claim, TEXT_LIMIT), str(outcome), error_of(item, redact), how))
            case h.Unknown(raw):
                events.append(AgentUnknown(shortened(raw, 2_000)))
            case h.Asked():
                pass
    flush()
    return events

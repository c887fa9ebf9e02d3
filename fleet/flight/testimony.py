"""Turns what an agent's driver read into ledger events: shortened, and joined where consecutive lines say one
thing.

Text is redacted before it is cut or split: a redactor does not recognize half a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fleet import agent_events as h
from fleet.agents.lines import WORDS_LIMIT
from fleet.events import (
    AgentContinued,
    AgentReady,
    AgentSaid,
    AgentUnknown,
    Event,
    PermissionAsked,
    ToolCallEndedV2,
    ToolCallStartedV2,
    TurnClosed,
    UsageReported,
)
from fleet.limits import Reached, words_for
from fleet.untrusted import clean, shortened

TEXT_LIMIT = 4_000
"""The most characters of one event's text; longer text becomes several events."""

SUMMARY_LIMIT = 200

USED_LIMIT = 2**40
"""The most of anything that one report of use may add: the sums stay whole numbers of the store."""

Redact = Callable[[str], str]


def sha256_of(text: str) -> str:
    """Hex digest of a text: what an approval binds to."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def permission_asked(asked: h.Asked, reason: str) -> PermissionAsked:
    """The ledger event for an in-band question."""
    return PermissionAsked(
        ask=asked.ask,
        tool=shortened(asked.tool, SUMMARY_LIMIT),
        command=shortened(asked.command, TEXT_LIMIT),
        paths=tuple(shortened(path, SUMMARY_LIMIT) for path in asked.paths[:50]),
        request_sha256=sha256_of(asked.request),
        reason=reason,
    )


def redacted(text: str, redact: Redact | None) -> str:
    """An agent's text without secrets; cleaned first, since a terminal code inside a secret would hide it."""
    whole = clean(text, len(text) + 1)
    return redact(whole) if redact else whole


def claim_of(ended: h.TurnEnded, redact: Redact | None) -> str:
    """A turn's closing message, as the store keeps it."""
    return shortened(redacted(ended.claim, redact), WORDS_LIMIT)


def error_of(ended: h.TurnEnded, redact: Redact | None) -> str:
    """The vendor's words for what ended a turn, as the store keeps them."""
    return shortened(redacted(ended.error, redact), TEXT_LIMIT)


def words_of(text: str) -> list[Event]:
    """Splits a text into events. Joined by newlines (an ``AgentContinued`` directly), their texts are ``text``."""
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
    """The events for a batch. Consecutive texts become one event, so that a chatty program costs one row a batch
    and ``TEXT_LIMIT`` characters, not one row a line. ``Asked`` is recorded elsewhere, with its ruling."""
    events: list[Event] = []
    words: list[str] = []

    def short(text: str, limit: int) -> str:
        return shortened(redacted(text, redact), limit)

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
            case h.ToolStarted(call, tool, summary, parent=parent):
                told = (short(each, SUMMARY_LIMIT) for each in (tool, summary, parent))
                events.append(ToolCallStartedV2(call, *told))
            case h.ToolEnded(call, outcome, exit_code, detail, size):
                shown = None if size is None else min(size, USED_LIMIT)
                events.append(ToolCallEndedV2(call, str(outcome), exit_code, short(detail, SUMMARY_LIMIT), shown))
            case h.Used(input_tokens, output_tokens, cost_udollar):
                events.append(
                    UsageReported(*(min(each, USED_LIMIT) for each in (input_tokens, output_tokens, cost_udollar)))
                )
            case h.TurnEnded(claim, outcome, _, exit_):
                how = str(exit_) if exit_ else ""
                events.append(TurnClosed(short(claim, TEXT_LIMIT), str(outcome), error_of(item, redact), how))
            case h.Unknown(raw):
                events.append(AgentUnknown(shortened(raw, 2_000)))
            case h.Asked() | h.TakenBack() | h.Window():
                pass
    flush()
    return events


def with_limits(item: h.Happening, reached: Sequence[Reached]) -> h.Happening:
    """A turn that ended with its process also says which limits that had reached."""
    if not isinstance(item, h.TurnEnded) or not reached:
        return item
    return replace(item, error="; ".join(part for part in (item.error, words_for(reached)) if part))

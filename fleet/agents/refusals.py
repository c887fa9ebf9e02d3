"""Why a turn stopped, from the vendor's own status, kind of error or words, in this order.

An unknown error is ``FAILED``, with the vendor's words.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fleet.agent_events import TurnOutcome
from fleet.agents.lines import RAW_LIMIT, WORDS_LIMIT, cut

_BY_WORDS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), outcome)
    for pattern, outcome in (
        (r"no conversation found|no rollout found|(thread|session) not found", TurnOutcome.CONVERSATION_LOST),
        (
            r"(prompt|request|payload) (is )?too l(ong|arge)|context[ _](window|length)|maximum context"
            r"|exceeds? the context",
            TurnOutcome.CONTEXT_FULL,
        ),
        (
            r"/login\b|\bcodex login\b|not logged in|invalid (x-)?api[- ]key|(failed|unable) to authenticate"
            r"|token (has )?(expired|been revoked)|token revoked|unauthorized",
            TurnOutcome.NOT_LOGGED_IN,
        ),
        (
            r"(session|usage|weekly|spend|rate|opus|sonnet|hour) limit|(hit|reached) your [\w -]{0,80}limit"
            r"|credit balance|quota|out of (extra usage|credits)|too many requests",
            TurnOutcome.LIMITED,
        ),
        (r"content_filter", TurnOutcome.FAILED),
        (
            r"overloaded|high demand|at capacity|(service|temporarily) unavailable|request timed out"
            # No answer, half of one, or that of somebody in between: a gateway, a train's own page.
            r"|unable to connect|error sending request|network error|fetch failed|socket hang up|malformed response"
            r"|connection (error|reset|refused|closed)|(stream|response) (disconnected|closed|ended)"
            r"|\b(ECONN(RESET|REFUSED|ABORTED)|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EPIPE)\b",
            TurnOutcome.OVERLOADED,
        ),
    )
)


#: Claude Code: the ``terminal_reason`` of a result.
_TOO_LONG: Final = ("prompt_too_long", "blocking_limit")

#: Claude Code: the ``error`` of an assistant message that the agent wrote in place of the model.
_CLAUDE_KINDS: Final = {
    "authentication_failed": TurnOutcome.NOT_LOGGED_IN,
    "oauth_org_not_allowed": TurnOutcome.NOT_LOGGED_IN,
    "billing_error": TurnOutcome.LIMITED,
    "rate_limit": TurnOutcome.LIMITED,
    "overloaded": TurnOutcome.OVERLOADED,
}

#: Codex: the ``codexErrorInfo`` of a failed turn.
_CODEX_KINDS: Final = {
    "contextWindowExceeded": TurnOutcome.CONTEXT_FULL,
    "sessionBudgetExceeded": TurnOutcome.LIMITED,
    "usageLimitExceeded": TurnOutcome.LIMITED,
    "rateLimitExceeded": TurnOutcome.LIMITED,
    "unauthorized": TurnOutcome.NOT_LOGGED_IN,
    "serverOverloaded": TurnOutcome.OVERLOADED,
    "flexUnavailable": TurnOutcome.OVERLOADED,
    "policyCapacityUnavailable": TurnOutcome.OVERLOADED,
    "internalServerError": TurnOutcome.OVERLOADED,
}


_AUTH_REQUIRED: Final = -32000
"""The Agent Client Protocol's code for an agent that wants to be logged in first."""

_API_ERROR: Final = re.compile(r"API Error: (\d{3})\b")
_UNPAID: Final = re.compile(r"\bbilling\b|\bpayment\b|past due|credit balance", re.IGNORECASE)


def of_claude(result: dict[str, Any], claim: str, kind: str) -> tuple[TurnOutcome, str]:
    """What a ``result`` with an error means, and its words.

    ``claim`` is its text, ``kind`` the error of the last assistant message.
    """
    errors = result.get("errors")
    told = "; ".join(each for each in errors if isinstance(each, str)) if isinstance(errors, list) else ""
    words = cut(claim or told or kind or str(result.get("subtype", "error")), WORDS_LIMIT)
    if result.get("terminal_reason") in _TOO_LONG:
        return TurnOutcome.CONTEXT_FULL, words
    known = _by_status(result.get("api_error_status"), words) or _CLAUDE_KINDS.get(kind) or by_words(words)
    return known or TurnOutcome.FAILED, words


def of_codex(error: object, status: str) -> tuple[TurnOutcome, str]:
    """What the ``error`` of a turn whose ``status`` is not "completed" means, and its words."""
    if not isinstance(error, dict):
        return TurnOutcome.FAILED, status
    words = cut(_unwrapped(str(error.get("message", ""))), RAW_LIMIT) or status
    info, known = error.get("codexErrorInfo"), None
    if isinstance(info, str):
        known = _CODEX_KINDS.get(info)
    elif isinstance(info, dict):
        inner = next(iter(info.values()), None)
        known = _by_status(inner.get("httpStatusCode"), words) if isinstance(inner, dict) else None
    return known or by_words(words) or TurnOutcome.FAILED, words


def of_acp(error: dict[str, Any]) -> tuple[TurnOutcome, str]:
    """What an error of the Agent Client Protocol means, and its words: its code, else what it says."""
    data = error.get("data")
    details = data.get("details", data.get("message")) if isinstance(data, dict) else data
    parts = [str(part) for part in (error.get("message"), details) if isinstance(part, str) and part]
    words = cut(_unwrapped(": ".join(dict.fromkeys(parts))), RAW_LIMIT) or "error"
    if error.get("code") == _AUTH_REQUIRED:
        return TurnOutcome.NOT_LOGGED_IN, words
    status = _API_ERROR.search(words)
    known = by_words(words) or (_by_status(int(status[1]), words) if status else None)
    return known or TurnOutcome.FAILED, words


def by_words(words: str) -> TurnOutcome | None:
    """The outcome described by an error's words, if they are known."""
    return next((outcome for pattern, outcome in _BY_WORDS if pattern.search(words)), None)


def _by_status(status: object, words: str) -> TurnOutcome | None:
    """The outcome for an HTTP status of the model's API, if there is one. 403 may also mean that nobody paid."""
    if type(status) is not int:
        return None
    if status == 403 and _UNPAID.search(words):
        return TurnOutcome.LIMITED
    if status in (401, 403):
        return TurnOutcome.NOT_LOGGED_IN
    if status == 413:
        return TurnOutcome.CONTEXT_FULL
    if status in (402, 429):
        return TurnOutcome.LIMITED
    return TurnOutcome.OVERLOADED if status == 408 or 500 <= status <= 599 else None


def _unwrapped(message: str) -> str:
    """An error's message, without the JSON that some vendors wrap it in."""
    try:
        inner = json.loads(message)["error"]["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return message
    return inner if isinstance(inner, str) and inner else message

"""Translates Slack's errors: wait, unavailable for now, rejected, or wrong token."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError, SlackRequestError

from bot.outbox.port import RetryAfter, Undeliverable, Unsure
from fleet.errors import Misused, Unavailable

WRONG_TOKEN: Final = frozenset(
    ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type")
)
GONE: Final = frozenset(("message_not_found", "cant_update_message", "edit_window_closed", "cant_edit"))
NOT_HERE: Final = frozenset(("not_in_channel", "channel_not_found"))
_PATIENCE = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded"))
_AWAY = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "http_error")
)
_DEFAULT_PATIENCE: Final = 30.0


class Rejected(Exception):
    """Slack rejects this; ``code`` is Slack's own error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class WrongToken(Misused):
    """Slack rejects one of our tokens. Waiting does not help."""


def raised_by(error: BaseException, method: str) -> Exception:
    """What to raise for an error of a call of ``method``.

    ``RetryAfter``, ``Unavailable`` (``Unsure`` when it may have been done anyway), ``Rejected``, ``WrongToken``, or
    ``Misused`` for what the app may not do.
    """
    attempted = f"call Slack's {method}"
    if isinstance(error, SlackApiError):
        return _by_answer(error, method, attempted)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unavailable(attempted=attempted, cause="no connection to Slack")
    if isinstance(error, aiohttp.ClientError | asyncio.TimeoutError | OSError | SlackRequestError):
        return Unsure(attempted=attempted, cause=f"the connection broke: {type(error).__name__}")
    if isinstance(error, SlackClientError):
        return Unavailable(attempted=attempted, cause=type(error).__name__)
    if isinstance(error, AttributeError):  # the library takes every answer for an object
        return Unsure(attempted=attempted, cause="something else than Slack answers")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _by_answer(error: SlackApiError, method: str, attempted: str) -> Exception:
    status = int(getattr(error.response, "status_code", None) or getattr(error.response, "status", None) or 0)
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or code in _PATIENCE:
        return RetryAfter(_patience(getattr(error.response, "headers", None)))
    if status >= 500 or code in _AWAY or not code:
        return Unsure(attempted=attempted, cause=f"Slack answered {status} {code}".strip())
    if code in WRONG_TOKEN:
        return wrong_token(code, "SLACK_APP_TOKEN" if method == "apps.connections.open" else "SLACK_BOT_TOKEN")
    if code == "missing_scope":
        needed = str(data.get("needed", "")) if isinstance(data, dict) else ""
        return Misused(
            attempted=attempted,
            cause=f"the app lacks the scope {needed}".rstrip(),
            hint="Recreate the app from `airboss slack manifest`, or add the scope and reinstall it.",
        )
    return Rejected(code)


def _patience(headers: object) -> float:
    found = {str(name).lower(): value for name, value in dict(headers or {}).items()}.get("retry-after", "")  # type: ignore[call-overload] # the library returns the headers untyped
    text = found[0] if isinstance(found, list) and found else found
    try:
        return float(text)
    except (TypeError, ValueError):
        return _DEFAULT_PATIENCE


def wrong_token(code: str, name: str) -> WrongToken:
    """Slack rejects the token in ``.env`` under ``name``."""
    return WrongToken(
        attempted="connect to Slack",
        on=name,
        cause=f"Slack says {code}",
        hint=f"Put your app's token into .env as {name} (docs/slack.md), then start again. To run without Slack, "
        "remove SLACK_BOT_TOKEN.",
    )


def undeliverable(error: Rejected) -> Undeliverable:
    """What Slack will never accept."""
    return Undeliverable(f"Slack says {error.code}")

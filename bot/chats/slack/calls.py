"""Calls of Slack's methods, within their budgets, with Slack's errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.chats.slack.errors import raised_by
from bot.chats.slack.pace import RateLimiter
from bot.outbox.port import RetryAfter, Undeliverable
from fleet.errors import AirbossError

Call = Callable[[], Awaitable[Any]]


async def asked(method: str, call: Call) -> Mapping[str, Any]:
    """The answer's fields. Raises what ``errors.raised_by`` says."""
    try:
        answer = await call()
    except (AirbossError, Undeliverable, asyncio.CancelledError):
        raise
    except Exception as error:
        raise raised_by(error, method) from error
    data = getattr(answer, "data", None)
    return data if isinstance(data, dict) else {}


async def paced(pace: RateLimiter, method: str, key: str, call: Call) -> Mapping[str, Any]:
    """A call within its budget. Raises as :func:`asked`, and ``RetryAfter`` when the budget is spent."""
    name = f"{method} {key}"
    if (wait := pace.ask(name)) > 0:
        raise RetryAfter(wait)
    try:
        return await asked(method, call)
    except RetryAfter as later:
        pace.close(name, later.seconds)
        raise

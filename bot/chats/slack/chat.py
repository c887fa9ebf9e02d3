"""Turns Slack on when there is a token for it. Loads nothing heavy: the adapter imports the libraries."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.chats.slack.inbox import NAME
from bot.chats.slack.manifest import dialect, learn
from bot.registry import Registry
from fleet.config import Secrets
from fleet.errors import Misused

if TYPE_CHECKING:
    from bot.chats.slack.adapter import SlackAdapter

_log = logging.getLogger(__name__)

API: Final = "https://slack.com/api/"
LISTEN: Final = "127.0.0.1:3000"
OFF: Final = "Slack is off: .env has no SLACK_BOT_TOKEN (docs/slack.md says how to get one)"


def from_secrets(env: Secrets, home: Path, registry: Registry) -> SlackAdapter | None:
    """The adapter that ``.env`` configures; without ``SLACK_BOT_TOKEN`` ``None``, and one line in the log.

    With ``SLACK_APP_TOKEN`` it connects by Socket Mode; else with ``SLACK_SIGNING_SECRET`` it listens for HTTP at
    ``SLACK_LISTEN``. Raises ``Misused`` for tokens of the wrong kind.
    """
    bot, app, signing = (env.get(name) for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"))
    if not bot:
        _log.info(OFF)
        return None
    _check_prefix("SLACK_BOT_TOKEN", bot, "xoxb-", "OAuth & Permissions, Bot User OAuth Token")
    if app:
        _check_prefix(
            "SLACK_APP_TOKEN", app, "xapp-", "Basic Information, App-Level Tokens, scope connections:write"
        )
    if not app and not signing:
        raise Misused(
            attempted="connect to Slack",
            cause="SLACK_BOT_TOKEN is set, but neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is",
            hint="Add SLACK_APP_TOKEN=xapp-… for Socket Mode (docs/slack.md), or SLACK_SIGNING_SECRET for HTTP.",
        )
    from bot.chats.slack.adapter import SlackAdapter
    from bot.chats.slack.settings import Settings

    host, _, port = (env.get("SLACK_LISTEN") or LISTEN).rpartition(":")
    if not port.isdigit():
        raise Misused(attempted="listen for Slack", on="SLACK_LISTEN", hint="Write HOST:PORT, like 127.0.0.1:3000.")
    settings = Settings(
        bot_token=bot,
        app_token=app,
        signing_secret="" if app else signing,
        api=(env.get("SLACK_API") or API).rstrip("/") + "/",
        listen=(host, int(port)),
        files=home / "files" / NAME,
    )
    registry.dialects[NAME] = dialect(registry)
    return SlackAdapter(settings, registry.names, heard=partial(learn, registry))


def _check_prefix(name: str, token: str, prefix: str, where: str) -> None:
    if not token.startswith(prefix):
        raise Misused(
            attempted="connect to Slack",
            on=name,
            cause=f"it does not start with {prefix}",
            hint=f"Copy it from your app's page: {where}.",
        )

"""Turns Telegram on when ``.env`` has a token for it. Loads the library only then."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.chats.telegram.settings import OFFICIAL, TOKEN, Webhook
from bot.outbox.port import always
from bot.registry import Registry
from fleet.config import Secrets

if TYPE_CHECKING:
    from bot.chats.telegram.adapter import TelegramAdapter

log = logging.getLogger(__name__)

OFF: Final = f"Telegram is off: .env has no {TOKEN} (docs/telegram.md says how to get one)"


def from_secrets(
    env: Secrets, home: Path, registry: Registry, sure: Callable[[], Awaitable[None]] = always
) -> TelegramAdapter | None:
    """The adapter that ``.env`` configures; without a token ``None``, and a line in the log.

    It polls each time that ``sure`` comes back. The frequent commands of ``registry`` become the bot's menu. Raises
    ``Misused`` for an invalid webhook address.
    """
    token = env.get(TOKEN)
    if not token:
        log.info(OFF)
        return None
    from bot.chats.telegram.adapter import TelegramAdapter

    return TelegramAdapter(
        token,
        home=home,
        api=env.get("AIRBOSS_TELEGRAM_API") or OFFICIAL,
        webhook=Webhook.from_secrets(env),
        menu=[(command.verb, command.summary) for command in registry.menu],
        sure=sure,
    )

"""The door to the Telegram chat: reads what ``.env`` says of it, and loads the library only when it is wanted."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bot.registry import Registry
from fleet.config import Secrets
from fleet.errors import Misused

if TYPE_CHECKING:
    from bot.chats.telegram.adapter import TelegramAdapter

log = logging.getLogger(__name__)

OFFICIAL: Final = "https://api.telegram.org"
TOKEN: Final = "AIRBOSS_TELEGRAM_TOKEN"  # noqa: S105 the name of a secret, not a secret
OFF: Final = f"Telegram is off: .env has no {TOKEN} (docs/telegram.md tells how to get one)"
_LISTEN: Final = "127.0.0.1:8443"


@dataclass(frozen=True, slots=True)
class Webhook:
    """``url`` is what Telegram calls; we listen on ``host`` and ``port`` behind whatever ends its TLS."""

    url: str
    host: str
    port: int
    secret: str

    @classmethod
    def from_secrets(cls, env: Secrets) -> Webhook | None:
        """The webhook that ``.env`` asks for, if it does. Raises ``Misused`` for an address that is none."""
        url = env.get("AIRBOSS_TELEGRAM_WEBHOOK_URL")
        if not url:
            return None
        listen = env.get("AIRBOSS_TELEGRAM_WEBHOOK_LISTEN") or _LISTEN
        host, _, port = listen.rpartition(":")
        if not urlsplit(url).netloc or not host or not port.isdigit():
            raise Misused(
                attempted="listen for Telegram",
                cause="AIRBOSS_TELEGRAM_WEBHOOK_URL or AIRBOSS_TELEGRAM_WEBHOOK_LISTEN is no address",
                hint="For example https://bot.example.org/telegram and 127.0.0.1:8443",
            )
        secret = env.get("AIRBOSS_TELEGRAM_WEBHOOK_SECRET") or secrets.token_urlsafe(32)
        return cls(url, host.strip("[]"), int(port), secret)


def from_secrets(env: Secrets, home: Path, registry: Registry) -> TelegramAdapter | None:
    """The adapter that ``.env`` asks for; ``None``, and a line in the log, without a token.

    The commands of ``registry`` become the bot's menu. Raises ``Misused`` for a webhook that is no address.
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
        menu=[(command.verb, command.summary) for command in registry],
    )

"""The Telegram settings of ``.env``."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fleet.config import Secrets
from fleet.errors import Misused

OFFICIAL: Final = "https://api.telegram.org"
TOKEN: Final = "AIRBOSS_TELEGRAM_TOKEN"  # noqa: S105 the name of a secret, not a secret
_LISTEN: Final = "127.0.0.1:8443"


@dataclass(frozen=True, slots=True)
class Webhook:
    """``url`` is what Telegram calls; we listen on ``host`` and ``port`` behind a proxy that terminates TLS."""

    url: str
    host: str
    port: int
    secret: str

    @classmethod
    def from_secrets(cls, env: Secrets) -> Webhook | None:
        """The webhook that ``.env`` configures, if any. Raises ``Misused`` for an invalid address."""
        url = env.get("AIRBOSS_TELEGRAM_WEBHOOK_URL")
        if not url:
            return None
        listen = env.get("AIRBOSS_TELEGRAM_WEBHOOK_LISTEN") or _LISTEN
        host, _, port = listen.rpartition(":")
        if not urlsplit(url).netloc or not host or not port.isdigit():
            raise Misused(
                attempted="listen for Telegram",
                cause="AIRBOSS_TELEGRAM_WEBHOOK_URL or AIRBOSS_TELEGRAM_WEBHOOK_LISTEN is not a valid address",
                hint="For example https://bot.example.org/telegram and 127.0.0.1:8443",
            )
        secret = env.get("AIRBOSS_TELEGRAM_WEBHOOK_SECRET") or secrets.token_urlsafe(32)
        return cls(url, host.strip("[]"), int(port), secret)

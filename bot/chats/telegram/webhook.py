"""The webhook: Telegram posts its updates to us. The answer is 200 only once the update is stored."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from bot.chats.telegram.settings import Webhook
from fleet.errors import Unavailable

log = logging.getLogger(__name__)

HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
_BODY_LIMIT: Final = 4 << 20


class WebhookServer:
    """Listens until closed. ``take`` stores one update, and raises when it cannot."""

    def __init__(self, webhook: Webhook, take: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._webhook, self._take = webhook, take
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises ``Unavailable`` when the port is in use."""
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_post(urlsplit(self._webhook.url).path or "/", self._update)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._webhook.host, self._webhook.port).start()
        except OSError as error:
            await runner.cleanup()
            raise Unavailable(
                attempted="listen for Telegram",
                on=f"{self._webhook.host}:{self._webhook.port}",
                cause=error.strerror or "",
                hint="Set AIRBOSS_TELEGRAM_WEBHOOK_LISTEN to a free address.",
            ) from None
        self._runner = runner

    async def close(self) -> None:
        """Stops listening. Telegram keeps what it could not deliver for a day."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _update(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), self._webhook.secret.encode()):
            log.warning("refused a request to Telegram's webhook without the secret")
            return web.Response(status=403)
        try:
            update = json.loads(await request.read())
        except (ValueError, RecursionError):  # the latter for endlessly nested brackets
            return web.Response(status=400)
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            return web.Response(status=400)
        try:
            await self._take(update)
        except Exception:
            log.exception("could not store an update from Telegram; it will be sent again")
            return web.Response(status=503)
        return web.Response()

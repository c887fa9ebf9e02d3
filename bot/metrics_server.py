"""``/metrics`` on loopback, where ``fleet.toml`` names a port. It follows an edit of the file without a restart."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from bot.metrics import CONTENT_TYPE, Totals, metrics, text_of, totals
from bot.registry import Context
from bot.telemetry_view import FleetView, look
from fleet.errors import StoreUnavailable
from fleet.store.core import Tx

if TYPE_CHECKING:
    from aiohttp import web

HOST: Final = "127.0.0.1"
_NAMES: Final = frozenset({HOST, "localhost"})
_LOOK_S: Final = 2.0

log = logging.getLogger(__name__)


class MetricsServer:
    """Serves one controller's metrics."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """Until cancelled. A port that is in use is tried again."""
        runner, tried = None, 0
        try:
            while True:
                wanted = self._context.config().metrics.port
                if wanted != tried and runner is not None:
                    await runner.cleanup()
                    runner = None
                if wanted and runner is None:
                    runner = await self._listen(wanted, told=wanted == tried)
                tried = wanted
                await asyncio.sleep(_LOOK_S)
        finally:
            if runner is not None:
                await runner.cleanup()

    async def _listen(self, port: int, *, told: bool) -> web.AppRunner | None:
        """``told``: the log says already that the port is in use."""
        await asyncio.to_thread(import_module, "aiohttp.web")  # it takes a tenth of a second, and few need it
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/metrics", self._page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            if not told:
                log.warning("no metrics at %s:%s: %s", HOST, port, error.strerror or error)
            await runner.cleanup()
            return None
        return runner

    async def _page(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.host.partition(":")[0] not in _NAMES:  # a web page that has its own name point here
            return web.Response(status=403)
        context = self._context
        try:
            view, counted = await context.store.read(counts)
        except StoreUnavailable:
            return web.Response(status=503, text="the store is away\n")
        control = context.control
        found = metrics(
            context.config(),
            view,
            counted,
            control.machines(),
            troubles=len(control.troubles().lines),
            version=version("airboss"),
        )
        return web.Response(body=text_of(found).encode(), headers={"Content-Type": CONTENT_TYPE})


def counts(tx: Tx) -> tuple[FleetView, Totals]:
    """What the page shows of the store."""
    return look(tx), totals(tx)

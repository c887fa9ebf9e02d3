"""One headless Chromium, spoken to over its own DevTools protocol: pages, measures and pictures of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

WIDTH = 390
"""CSS pixels across: a phone held upright."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = ("Google Chrome.app/Contents/MacOS/Google Chrome", "Chromium.app/Contents/MacOS/Chromium")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_START_SECONDS = 60


def program() -> str:
    """The browser of this machine; ``AIRBOSS_BROWSER`` names another. Fails with the remedy when there is none."""
    found = [os.environ.get("AIRBOSS_BROWSER"), *map(shutil.which, _NAMES)]
    found += [str(path) for path in (Path("/Applications") / name for name in _MAC) if path.exists()]
    for path in found:
        if path:
            return path
    raise FileNotFoundError("the gallery needs Chromium (Debian and Ubuntu: apt-get install chromium)")


@dataclass
class Page:
    """One tab, as wide as a phone."""

    _socket: aiohttp.ClientWebSocketResponse
    _session: str = ""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def command(self, method: str, **params: Any) -> Any:
        """One command of the protocol and its result. Raises ``RuntimeError`` with the browser's own words."""
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        await self._socket.send_json(request)
        while True:
            answer = await self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    async def attach(self) -> None:
        """Opens the tab, twice as sharp as its CSS pixels."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self.command("Page.enable")
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=844, deviceScaleFactor=2, mobile=True
        )

    async def show(self, html: str) -> None:
        """Loads a page and waits for its fonts and pictures."""
        frame = (await self.command("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        await self.command("Page.setDocumentContent", frameId=frame, html=html)
        await self.evaluate(
            "document.fonts.ready.then(() => Promise.all([...document.images].map(i => i.decode())))"
        )

    async def evaluate(self, script: str) -> Any:
        """What a script comes to, as JSON."""
        done = await self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    async def picture(self, height: float, scale: float) -> bytes:
        """A PNG of the page from its top, ``scale`` times two pixels for each CSS pixel."""
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": scale}
        shot = await self.command("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def _next(self) -> Any:
        message = await self._socket.receive(timeout=60)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"the browser went away: {message.type}")
        return json.loads(message.data)


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Starts the browser with a profile of its own, gives its one tab, ends it all."""
    profile = Path(tempfile.mkdtemp(prefix="ab-browser-"))
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    log = profile / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program(),
            *_FLAGS,
            *sandbox,
            f"--user-data-dir={profile}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(profile)},
            start_new_session=True,
        )
    try:
        port, path = await _address(profile, log, process)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=64 << 20) as socket,
        ):
            page = Page(socket)
            await page.attach()
            yield page
    finally:
        await _end(process)
        shutil.rmtree(profile, ignore_errors=True)


async def _address(profile: Path, log: Path, process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Where the browser listens: port and path. Raises ``RuntimeError`` with what it said instead."""
    file = profile / "DevToolsActivePort"
    give_up = time.monotonic() + _START_SECONDS
    while process.returncode is None and time.monotonic() < give_up:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return int(lines[0]), lines[1]
        await asyncio.sleep(0.02)
    ended = "did not start" if process.returncode is None else f"ended with {process.returncode}"
    raise RuntimeError(f"{program()} {ended}; it said:\n{log.read_text(errors='replace')[-4000:]}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the browser with all its helpers, which write into the profile for as long as they live."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()

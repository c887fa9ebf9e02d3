"""The file of the control socket: who may open it. Only the controller's own login, or also one group."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bot.local.client import LINE_LIMIT, SOCKET
from bot.local.sockets import short
from bot.local.wire import somebody_answers
from fleet.errors import Misused, Unavailable
from fleet.logins import login_name

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Listening:
    """A home's socket. ``trouble``: why the group cannot open it; empty when it can, or none is named."""

    def __init__(self, home: Path) -> None:
        self.path, self.trouble = home / SOCKET, ""
        self._server: asyncio.Server | None = None
        self._accept: Accept = lambda reader, writer: None

    async def start(self, accept: Accept, group: str) -> None:
        """Raises ``Unavailable`` when another controller answers here; a dead one's socket is replaced."""
        if self.path.exists():
            if somebody_answers(self.path):
                raise Unavailable(
                    attempted="open the control socket",
                    on=str(self.path),
                    cause="another controller is using it",
                    hint="Use it (airboss chat), or stop it first.",
                )
            self.path.unlink()
        self._accept = accept
        await self._open(group)

    async def keep(self, group: Callable[[], str]) -> None:
        """Until cancelled: makes the socket anew where somebody removed it. Raises ``Misused`` as :meth:`start`."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self.path.exists():
                _log.warning("the control socket was removed: making it anew")
                if self._server is not None:
                    self._server.close()
                await self._open(group())

    async def _open(self, group: str) -> None:
        try:
            with short(self.path) as path:
                old = os.umask(0o177)
                try:
                    self._server = await asyncio.start_unix_server(self._accept, path, limit=LINE_LIMIT)
                finally:
                    os.umask(old)
        except OSError as error:
            raise Misused(
                attempted="open the control socket",
                on=str(self.path),
                cause=str(error),
                hint="AIRBOSS_HOME must be a directory on a local file system that takes sockets.",
            ) from error
        self.open_to(group)

    def open_to(self, group: str) -> None:
        """Lets ``group`` reach the socket, and nothing else in the home; empty: only our own login."""
        home = self.path.parent
        try:
            if group:
                number = grp.getgrnam(group).gr_gid
                os.chown(home, -1, number)
                home.chmod(0o710)  # to pass through; everything in it stays private
                os.chown(self.path, -1, number)
                self.path.chmod(0o660)
            else:
                self.path.chmod(0o600)
                if stat.S_IMODE(home.stat().st_mode) == 0o710:
                    home.chmod(0o700)
        except KeyError:
            self.trouble = f"fleet.toml, [console]: there is no group {group}: groupadd {group}"
        except PermissionError:
            login = login_name()
            self.trouble = (
                f"fleet.toml, [console]: {login} is not in the group {group}: "
                f"usermod -aG {group} {login}, then restart the controller"
            )
        else:
            self.trouble = ""

    def close(self) -> None:
        """Takes no further clients."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

"""Gate runs that wait until a test lets them go: each connects to a socket in a directory that gates may read."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

#: The beginning of a ``check.py`` that waits so; ``holds`` in the checkout names the directory.
WAIT = """\
import pathlib, socket, sys
with socket.socket(socket.AF_UNIX) as held:
    try:
        held.connect(pathlib.Path("holds").read_text().strip() + "/gate")
        held.recv(1)
    except OSError:
        pass  # nobody holds gates now
"""


class HeldGates:
    """The runs that began since :meth:`holding`, numbered from 1 in their order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs: list[socket.socket] = []
        self._came = threading.Condition()

    @contextlib.contextmanager
    def holding(self, runs: int) -> Iterator[HeldGates]:
        """The next so many runs wait until they are let go, at the latest at the end of the block."""
        place = self.directory / "gate"
        self._runs.clear()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
            server.listen()
            accepting = threading.Thread(target=self._accept, args=(server, runs), daemon=True)
            accepting.start()
            try:
                yield self
            finally:
                place.unlink()
                server.shutdown(socket.SHUT_RDWR)
                accepting.join()
                for run in self._runs:
                    run.close()

    def _accept(self, server: socket.socket, runs: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                run, _ = server.accept()
                with self._came:
                    self._runs.append(run)
                    if len(self._runs) > runs:
                        run.close()
                    self._came.notify_all()

    def wait_for(self, number: int, seconds: float = 120.0) -> None:
        """Waits until run ``number`` has begun; fails when it does not."""
        with self._came:
            assert self._came.wait_for(lambda: len(self._runs) >= number, seconds), f"run {number} did not begin"

    def let_go(self, number: int) -> None:
        """Run ``number`` goes on."""
        self._runs[number - 1].close()

"""A person's end of a terminal behind a pipe: what they type goes in, what is shown comes out."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from fleet.machines import runner
from fleet.ports import Ended, Executor, Output

_RELAY: Final = (Path(runner.__file__).parent / "terminal.py").read_text("utf-8")
_MOST: Final = 1 << 15


def in_terminal(python: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs ``argv`` in a terminal there."""
    return (python, "-I", "-S", "-c", _RELAY, *argv)


class HandTerminal:
    """One for each pipe, for as long as this controller runs: it counts what was typed and what was shown.

    ``shown`` begins where the last person stopped looking; the command redraws its window when its size changes.
    """

    def __init__(self, executor: Executor, pipe: str, nonce: str) -> None:
        self._executor, self._pipe, self._nonce = executor, pipe, nonce
        self._offset = 0
        self._position: int | None = None  # of the input; unknown after a start and after an error
        self._typing = asyncio.Lock()

    async def shown(self) -> AsyncIterator[bytes]:
        """What is shown from now on, until the command ends."""
        async for event in self._executor.attach(self._pipe, self._nonce, self._offset):
            match event:
                case Output(offset=offset, data=data):
                    self._offset = offset + len(data)
                    yield data
                case Ended():
                    return

    async def type(self, data: bytes) -> None:
        """Sends what was typed."""
        for at in range(0, len(data), _MOST):
            await self._send(b"d" + b64encode(data[at : at + _MOST]))

    async def resize(self, rows: int, columns: int) -> None:
        """Tells the size of the window; one that did not change is told all the same, to have it drawn again.

        As one piece: a key between the two is a key that the command may lose.
        """
        await self._send(b"r%d,%d\nr%d,%d" % (max(1, rows - 1), columns, rows, columns))

    async def _send(self, line: bytes) -> None:
        async with self._typing:
            at, self._position = self._position, None
            if at is None:  # what is in the pipe's file counts, whether or not the command has read it
                at = await self._executor.send(self._pipe, 0, b"")
            self._position = await self._executor.send(self._pipe, at, line + b"\n")

"""A person at a terminal: a real one, in which a command of ours runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_CODES = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]")

_AGAIN_SECONDS = 2.0


class PersonsTerminal:
    """Runs ``argv``; ``shown`` is all that it has written so far, without the codes that place it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._argv, self._env = argv, env
        self._raw, self._old = b"", 0
        self.status: int | None = None

    def __enter__(self) -> Self:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe(self._argv[0], list(self._argv), dict(self._env))
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._terminal)

    @property
    def shown(self) -> str:
        """Words that a program places one by one come without the spaces between them."""
        return _CODES.sub(b"", self._raw).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Types it, in one go."""
        os.write(self._terminal, text.encode())

    def until(self, *words: str, patience: float = 120, pressing: str = "") -> str:
        """Waits until one of the words is shown, spaces aside, and answers which. It and all before is old then.

        ``pressing`` is typed every two seconds until then: a program may draw itself before it listens.
        """
        started = time.monotonic()
        give_up, pressed = started + patience, started - _AGAIN_SECONDS
        while True:
            if pressing and time.monotonic() - pressed >= _AGAIN_SECONDS:
                self.type(pressing)
                pressed = time.monotonic()
            flat = "".join(self.shown.split())
            for word in words:
                sought = "".join(word.split())
                if (at := flat.find(sought, self._old)) >= 0:
                    self._old = at + len(sought)
                    return word
            assert time.monotonic() < give_up, f"none of {words} was shown:\n{self.shown[-3000:]}"
            assert self._read(1.0), f"it ended before {words}:\n{self.shown[-3000:]}"

    def end(self, patience: float = 120) -> int:
        """Waits until the command ends; its exit status."""
        give_up = time.monotonic() + patience
        while self._read(1.0):
            assert time.monotonic() < give_up, f"it does not end:\n{self.shown[-3000:]}"
        self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self.status

    def _read(self, seconds: float) -> bool:
        """False once the command has ended."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        self._raw += data
        return bool(data)

"""Controllers and commands as processes of their own, forked from one that has imported the product once.

The import is two thirds of a start, and the scenarios make more than a hundred. A controller with something in its
environment that counts from its first moment, or that is looked at from outside, is started as a person does it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

#: What the process that is forked has imported: what ``airboss serve`` imports, and what it makes once.
_PRELOADED = ["bot.cli", "bot.local.serving", "bot.app", "tests.scenarios.preloaded"]

#: What a process that has begun without it cannot be given any more: the import and the loader read it.
_FROM_THE_FIRST = frozenset({"AIRBOSS_FAULT", "LD_PRELOAD"})


class Controller(Protocol):
    """A running controller, or one that has ended."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Its return code, negative for a signal; ``None`` while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its return code. Raises ``subprocess.TimeoutExpired``."""

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class Forked:
    """A command in a child of the process that has imported it; ``airboss serve``, if no other is named.

    ``said`` and ``complained`` get its standard output and error; without ``complained``, both are in ``said``.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        said: Path,
        complained: Path | None = None,
        *,
        argv: Sequence[str] = ("serve",),
        heard: Path = Path(os.devnull),
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        streams = (str(heard), str(said), str(complained or said))
        self._process = context.Process(target=_run, args=(dict(environment), streams, list(argv)))
        with no_main_module():
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired("airboss serve", timeout or 0)
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def no_main_module() -> Iterator[None]:
    """The child would import the program that runs now, and run a script without a ``__main__`` guard once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run(environment: dict[str, str], streams: tuple[str, str, str], argv: list[str]) -> None:
    """What the child does: all that a new process would have had from its parent, then the command."""
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT if number else os.O_RDONLY, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - multiprocessing put another in its place
    os.environ.clear()
    os.environ.update(environment)
    from bot.cli import main

    sys.exit(main(argv))


def airboss(
    *argv: str, home: Path, stdin: str = "", timeout: float = 200.0, **environ: str
) -> subprocess.CompletedProcess[str]:
    """One command of the command line, whole. Raises ``subprocess.TimeoutExpired``."""
    with tempfile.TemporaryDirectory() as room:
        heard, said, complained = (Path(room) / name for name in ("stdin", "stdout", "stderr"))
        heard.write_text(stdin)
        environment = {**os.environ, **environ, "AIRBOSS_HOME": str(home)}
        status = Forked(environment, said, complained, argv=argv, heard=heard).wait(timeout)
        return subprocess.CompletedProcess(argv, status, said.read_text(), complained.read_text())


def begun(environment: Mapping[str, str], log: Path, *, argv: Sequence[str] = ("serve",)) -> Controller:
    """A controller, forked unless its environment asks for a new program."""
    begin = Forked if _FROM_THE_FIRST.isdisjoint(environment) else started
    return begin(environment, log, argv=argv)


def started(
    environment: Mapping[str, str], log: Path, *, argv: Sequence[str] = ("serve",)
) -> subprocess.Popen[bytes]:
    """``airboss serve`` as a person starts it."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "bot.cli", *argv], env=dict(environment), stdout=file, stderr=file
        )

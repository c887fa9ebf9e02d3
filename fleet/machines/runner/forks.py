"""The process that supervisors are forked from: it has the runner loaded, and nothing of any run.

Most of what a supervisor costs is a start of Python with its imports. ``serve`` cannot be forked instead: its
memory has nonces and environments of other runs. This process hears of a run only that there is one, and passes its
descriptors on unread.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time

from . import light_json as json
from .children import high_pipe, spawn_command
from .containment import harden
from .files import attempt, parse, write_all
from .frames import RequestError
from .jobs import Link, RunnerJob
from .light_signal import signal
from .start import START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn, Optional

    from .files import Json

START_SECONDS = 30.0
PAIR = struct.Struct("2i")


def fork_supervisors(image: bytes) -> NoReturn:
    """Forks a supervisor for each pair of descriptors, its standard input and output, until ``serve`` ends."""
    import _socket
    import gc
    import hashlib  # noqa: F401 - each supervisor needs it, and has it from here
    import hmac  # noqa: F401 - the same

    from . import supervise, trees  # noqa: F401 - the same

    harden()
    gc.freeze()
    link = _socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        told, passed, _, _ = link.recvmsg(1, _socket.CMSG_LEN(PAIR.size))
        if not told:
            os._exit(0)
        streams = PAIR.unpack(passed[0][2]) if passed and len(passed[0][2]) == PAIR.size else ()
        try:
            if streams and os.fork() == 0:
                become_supervisor(link.detach(), streams, image)
        except OSError as error:
            answer = {"error": "unavailable", "cause": "no supervisor: %s" % error.strerror}
            attempt(write_all, streams[1], json.dumps(answer).encode())
        for fd in streams:
            os.close(fd)


def become_supervisor(link: int, streams: tuple[int, ...], image: bytes) -> NoReturn:
    """In a fresh child."""
    from .supervise import supervise

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(link)
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
            os.close(fd)
        supervise(image)
    finally:
        os._exit(1)


class Forks:
    """That process, from ``serve``'s side. It is started for the first run, and again if somebody ended it."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.link: Optional[socket] = None
        self.pid = 0

    def begin(self, streams: tuple[int, int]) -> None:
        """Begins a supervisor with these as its standard input and output."""
        import _socket

        passed = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, PAIR.pack(*streams))]
        for _ in range(2):
            try:
                if self.link is None:
                    self.start()
                assert self.link is not None
                self.link.sendmsg([b"s"], passed)
                return
            except OSError as error:
                self.end()
                why = error.strerror
        raise RequestError("unavailable", "no supervisor: %s" % why)

    def start(self) -> None:
        import _socket  # socket itself makes enums

        self.link, theirs = _socket.socketpair()
        argv = [sys.executable, "-I", "-S", "-E", "-c", START, "runner", "forks"]
        null = os.open(os.devnull, os.O_RDWR)
        try:
            self.pid = spawn_command(argv, dict(os.environ), "/", (theirs.fileno(), null, null))
        finally:
            os.close(null)
            theirs.close()
        self.link.sendall(struct.pack(">I", len(self.image)) + self.image)

    def end(self) -> None:
        """Ends it. Supervisors that it began go on."""
        if self.link is not None:
            self.link.close()
            self.link = None
        if self.pid:
            attempt(os.kill, self.pid, signal.SIGKILL)
            attempt(os.waitpid, self.pid, 0)
            self.pid = 0


class StartJob(RunnerJob):
    """Gives a supervisor what it reads, and answers as it does once the pipe is claimed."""

    def __init__(self, serve: Link, number: int, forks: Forks, told: bytes) -> None:
        super().__init__(serve, number)
        self.forks, self.told, self.answer = forks, memoryview(told), b""
        theirs_in, self.stdin = high_pipe()
        self.out, theirs_out = high_pipe()
        self.wake = self.deadline = time.monotonic() + START_SECONDS
        try:
            forks.begin((theirs_in, theirs_out))
        except RequestError:
            self.clean()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        os.set_blocking(self.stdin, False)
        os.set_blocking(self.out, False)

    def interest(self) -> list[tuple[int, int]]:
        return [(self.out, select.POLLIN), *([(self.stdin, select.POLLOUT)] if self.stdin >= 0 else [])]

    def step(self, now: float) -> None:
        try:
            while self.stdin >= 0 and self.told:
                self.told = self.told[os.write(self.stdin, self.told) :]
            self.close_stdin()
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it says why, or nothing
            self.close_stdin()
        try:
            while data := os.read(self.out, 4096):
                self.answer += data
        except BlockingIOError:
            if now >= self.deadline:
                self.forks.end()  # somebody stopped it
                self.fail("no supervisor: no answer in %d s" % START_SECONDS)
            return
        self.end(parse(self.answer))

    def end(self, answer: Json) -> None:
        if not answer or "error" in answer:
            self.fail(answer.get("cause") or "the supervisor ended without an answer")
        else:
            self.clean()
            self.finish(answer)

    def fail(self, cause: str) -> None:
        self.clean()
        self.serve.fail(self.number, RequestError("unavailable", cause))

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def clean(self) -> None:
        self.close_stdin()
        os.close(self.out)

    def drop(self) -> None:
        self.clean()
        self.serve.jobs.pop(self.number, None)

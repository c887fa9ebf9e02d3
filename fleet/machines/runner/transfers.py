"""Files sent to and from the controller."""

from __future__ import annotations

import os
import stat

from .files import CHUNK, write_all
from .frames import RequestError
from .jobs import Link, RunnerJob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class ReadJob(RunnerJob):
    """Streams the first bytes of a file."""

    def __init__(self, serve: Link, number: int, path: str, limit: int, tail: bool = False) -> None:
        super().__init__(serve, number)
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            info = os.fstat(self.fd)
            if not stat.S_ISREG(info.st_mode):
                os.close(self.fd)
                raise RequestError("unavailable", "%s is not a file" % path)
        except OSError as error:
            raise RequestError("unavailable", "%s: %s" % (path, error.strerror)) from error
        if tail:
            os.lseek(self.fd, max(0, info.st_size - limit), os.SEEK_SET)
        self.left = limit

    def step(self, now: float) -> None:
        if not self.may_talk():
            self.wait_to_talk(now)
            return
        data = os.read(self.fd, min(CHUNK, self.left))
        self.left -= len(data)
        if data:
            self.say({"ev": "data"}, data)
        else:
            self.drop()
            self.finish({})

    def drop(self) -> None:
        os.close(self.fd)
        self.serve.jobs.pop(self.number, None)


class WriteJob(RunnerJob):
    """Receives a file and puts it in place atomically."""

    def __init__(self, serve: Link, number: int, path: str, mode: int) -> None:
        super().__init__(serve, number)
        self.path, self.wake = path, float("inf")
        self.temporary = "%s.%d-%d.tmp" % (path, os.getpid(), number)
        self.fd = -1
        self.guard(self.begin, mode)

    def begin(self, mode: int) -> None:
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self.fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(self.fd, mode)

    def guard(self, work: Callable[[Any], None], argument: Any) -> None:
        try:
            work(argument)
        except OSError as error:
            self.drop()
            raise RequestError("unavailable", "%s: %s" % (self.path, error.strerror)) from error

    def feed(self, data: bytes, last: bool) -> None:
        self.guard(lambda chunk: write_all(self.fd, chunk), data)
        if data:
            self.say({"ev": "credit", "n": len(data)})
        if last:
            self.guard(lambda _: os.rename(self.temporary, self.path), None)
            os.close(self.fd)
            self.fd = -1
            self.finish({})

    def drop(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.unlink(self.temporary)
        self.serve.jobs.pop(self.number, None)

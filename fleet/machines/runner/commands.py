"""Short commands, and our own helper processes beside the loop."""

from __future__ import annotations

import os
import select
import time

from . import light_json as json
from .children import default_signals, high_pipe, spawn_command
from .facts import signal_group
from .files import CHUNK, attempt, parse, read_all, write_all
from .frames import RequestError
from .jobs import Link, RunnerJob
from .light_signal import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .files import Json


class RunJob(RunnerJob):
    """A short command, or a function of ours in a child process so that it does not block the loop."""

    def __init__(self, serve: Link, number: int, request: Json, work: Optional[Callable[[], Any]] = None) -> None:
        super().__init__(serve, number)
        self.limit = request.get("limit", 1 << 20)
        self.strict = request.get("strict", False)
        self.sent = {"out": 0, "err": 0}
        self.kept = b""
        self.status: Optional[int] = None
        self.timed_out = self.dropped = False
        self.kill_at = 0.0
        self.stdin_pending = bytearray()
        self.stdin_last = not request.get("stdin", False)
        self.deadline = time.monotonic() + request.get("timeout", 60.0)
        self.wake = self.deadline
        out, out_writer = high_pipe()
        err, err_writer = high_pipe()
        stdin_reader, self.stdin = high_pipe()
        report, report_writer = high_pipe()
        for fd in (out, err, self.stdin):
            os.set_blocking(fd, False)
        self.sources = {"out": out, "err": err}
        self.report = report
        theirs = (stdin_reader, out_writer, err_writer)
        try:
            self.pid = self.fork(work, theirs, report_writer) if work else self.spawn(request, theirs)
        except RequestError:
            self.clean()
            raise
        finally:
            for fd in (*theirs, report_writer):
                os.close(fd)
        if self.stdin_last:
            self.close_stdin()

    def spawn(self, request: Json, theirs: tuple[int, int, int]) -> int:
        """Starts the command without a copy of this process, which takes longer than many commands."""
        env = {**self.serve.base_env(request.get("path", [])), **(request.get("env") or {})}
        cwd = self.serve.resolve(request.get("cwd") or self.serve.directory)
        return spawn_command(request["argv"], env, cwd, theirs)

    def fork(self, work: Callable[[], Any], theirs: tuple[int, int, int], report: int) -> int:
        """Runs a function of ours in a child."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                default_signals()
                os.close(self.stdin)
                os.dup2(theirs[0], 0)
                os.dup2(theirs[1], 1)
                write_all(1, json.dumps(work()).encode())
                os._exit(0)
            except BaseException as error:  # a child must never return into its parent's loop
                write_all(report, json.dumps({"failed": str(error)}).encode())
            finally:
                os._exit(1)
        return pid

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def interest(self) -> list[tuple[int, int]]:
        wanted = [(self.stdin, select.POLLOUT)] if self.stdin >= 0 and self.stdin_pending else []
        if self.may_talk():
            wanted += [(fd, select.POLLIN) for fd in self.sources.values()]
        return wanted

    def feed(self, data: bytes, last: bool) -> None:
        self.stdin_pending += data
        self.stdin_last = self.stdin_last or last

    def pump_stdin(self) -> None:
        taken = 0
        try:
            while self.stdin >= 0 and self.stdin_pending:
                count = os.write(self.stdin, self.stdin_pending[:CHUNK])
                del self.stdin_pending[:count]
                taken += count
        except BlockingIOError:
            pass
        except OSError:
            self.close_stdin()
        if self.stdin < 0 and self.stdin_pending:  # it closed its input: the rest is dropped
            taken += len(self.stdin_pending)
            self.stdin_pending.clear()
        if taken:
            self.say({"ev": "credit", "n": taken})
        if self.stdin_last and not self.stdin_pending:
            self.close_stdin()

    def step(self, now: float) -> None:
        self.pump_stdin()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                signal_group(self.pid, signal.SIGKILL)
            elif now >= self.deadline and not self.kill_at:
                self.timed_out, self.kill_at = True, now + 1.0
                signal_group(self.pid, signal.SIGTERM)
            elif self.kill_at and now >= self.kill_at:
                signal_group(self.pid, signal.SIGKILL)
        self.wake = (self.kill_at or self.deadline) if self.status is None else now
        for name in ("out", "err"):
            if name in self.sources:  # exceeding the limit drops both
                self.pump_source(name)
        if self.status is not None and not self.sources and not self.dropped:
            self.end()

    def pump_source(self, name: str) -> None:
        if not self.may_talk():
            self.wake = max(self.wake, time.monotonic() + 0.02) if self.status is not None else self.wake
            return
        try:
            data = os.read(self.sources[name], CHUNK)
        except BlockingIOError:
            if self.status is None:
                return
            data = b""  # only a daemon left behind still holds the pipe: do not wait for it
        if not data:
            os.close(self.sources.pop(name))
            return
        room = self.limit - self.sent[name]
        self.sent[name] += len(data)
        if len(data) > room and self.strict and name == "out":
            self.drop()
            self.serve.fail(
                self.number, RequestError("unavailable", "the output exceeded the limit of %d bytes" % self.limit)
            )
        elif room > 0:
            self.send_output(name, data[:room])

    def send_output(self, name: str, data: bytes) -> None:
        self.say({"ev": name}, data)

    def end(self) -> None:
        failed = parse(read_all(self.report)).get("failed", "")
        self.clean()
        if failed:
            self.serve.fail(self.number, RequestError("unavailable", failed))
        else:
            self.finish({"status": self.status, "timeout": self.timed_out})

    def clean(self) -> None:
        self.close_stdin()
        for fd in (self.report, *self.sources.values()):
            os.close(fd)
        self.sources = {}

    def drop(self) -> None:
        if self.dropped:
            return
        self.dropped = True
        signal_group(self.pid, signal.SIGKILL)
        self.clean()
        self.serve.jobs.pop(self.number, None)
        if self.status is None:
            attempt(os.kill, self.pid, signal.SIGKILL)  # it may not have its own group yet
            self.serve.orphans.append(self.pid)


class AnswerJob(RunJob):
    """A helper process whose whole output is a JSON answer."""

    def send_output(self, name: str, data: bytes) -> None:
        if name == "out":
            self.kept += data

    def end(self) -> None:
        failed = parse(read_all(self.report)).get("failed")
        self.clean()
        answer = parse(self.kept)
        if not answer or "error" in answer:
            cause = failed or answer.get("cause") or "the helper process ended without an answer"
            self.serve.fail(self.number, RequestError(answer.get("error", "unavailable"), cause))
        else:
            self.finish(answer)

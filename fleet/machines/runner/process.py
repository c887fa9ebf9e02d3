"""The supervised process: starting it, its status, and signals to it."""

from __future__ import annotations

import fcntl
import os
import time

from . import light_json as json
from .alone import inside
from .begin import UMASK, seal
from .children import exec_command, high_pipe
from .containment import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, contain
from .facts import MARK, signal_group
from .files import CHUNK, attempt, now_us, parse, write_all
from .light_signal import signal
from .limits import RunnerLimits, lower_priority
from .other_login import as_login, ordered, packed, signal_all, start_env
from .spool import Feed, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

    from .files import Json
    from .libc import Libc
    from .pipes import Directory
    from .proxy import ProxyDoor


class Process:
    """One command behind a pipe, contained or not. ``main`` is 0 before it is launched.

    Contained, ``main`` is the parent of the namespace, and the wait status comes from its process 1. As another
    login, ``main`` is sudo, which passes the status on; signals go through sudo too.
    """

    def __init__(self, spec: Json, directory: Directory, libc: Optional[Libc], image: bytes) -> None:
        self.spec, self.directory, self.libc, self.image = spec, directory, libc, image
        self.alone: Json = spec["alone"] or {}
        self.login: str = self.alone.get("login", "")
        self.tree = ""
        self.main = 0
        self.contained = False
        self.walls: Json = {}
        self.limits = RunnerLimits(spec["limits"]) if spec["limits"] else None
        self.status: Optional[int] = None
        self.unavailable = ""
        self.started_us = now_us()
        self.spools: list[Spool] = []
        self.feed: Optional[Feed] = None
        self.door: Optional[ProxyDoor] = None
        self.report = self.control = -1
        self.report_buffer = b""

    def write_status(self, stalled: str = "") -> None:
        """Updates the pipe's ``status``; ``stalled`` is what the supervisor itself waits for."""
        stalled = stalled or next((spool.stalled for spool in self.spools if spool.stalled), "")
        self.directory.write_status(self.feed.accepted if self.feed else 0, stalled, self.main)

    def launch(self, contained: bool) -> None:
        """Forks the process. Its memory holds no secret yet except its environment."""
        spec = self.spec
        contained = contained and not self.login
        out, out_writer = high_pipe()
        err, err_writer = high_pipe()
        if spec["merge"]:
            os.close(err_writer)
            err_writer = os.dup(out_writer)
        stdin = -1
        if spec["stdin"] or self.login:
            stdin_reader, stdin = high_pipe()
        else:
            stdin_reader = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 3)
        self.report, report_writer = high_pipe()
        control, self.control = high_pipe()
        theirs = (stdin_reader, out_writer, err_writer)
        env = {**spec["env"], MARK: spec["id"]}
        if self.door:
            env = {name: self.door.filled(value) for name, value in env.items()}
            spec["argv"] = [self.door.filled(word) for word in spec["argv"]]

        def start(report: int) -> NoReturn:
            self.exec_first(env, theirs, report, contained)

        self.main = os.fork()
        if self.main == 0:
            try:
                os.close(0)  # the nonce arrives here, and only the supervisor may read it
                os.open(os.devnull, os.O_RDONLY)
                ours = (out, err, stdin, self.report, self.control)
                for fd in (*ours, self.directory.control, self.directory.status):
                    if fd >= 0:
                        os.close(fd)
                os.setsid()
                if contained and self.libc:
                    contain(self.libc, spec["walls"], self.limits, (report_writer, control), start)
                if self.libc:
                    self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                start(report_writer)
            finally:
                os._exit(127)
        for fd in (*theirs, report_writer, control):
            os.close(fd)
        self.contained = contained
        if self.login:
            self.give_order(stdin, out, {**spec, "env": env})
        self.spools = [Spool(out, self.directory.at("out")), Spool(err, self.directory.at("err"))]
        if spec["stdin"]:
            self.feed = Feed(stdin, self.directory.at("in"), self.directory.at("eof"))
        self.started_us = now_us()
        self.write_status()
        self.read_report(wait=True)

    def exec_first(
        self, env: dict[str, str], stdio: tuple[int, int, int], report: int, contained: bool
    ) -> NoReturn:
        """In the run's first process. As another login, that is sudo."""
        spec = self.spec
        if self.door:
            self.door.open_inside()
        if self.login:
            exec_command(as_login(self.login, "begin"), start_env(), "/", stdio, report)
        if self.limits:
            self.limits.bind(contained)
        if not contained:
            write_all(report, json.dumps({"walls": inside(self.alone.get("links", []))}).encode() + b"\n")
        if self.libc:
            # As the command does when it is executed: otherwise /proc/self/oom_score_adj belongs to root.
            self.libc.prctl(PR_SET_DUMPABLE, 1)
        lower_priority()
        if self.alone:
            seal()
        exec_command(spec["argv"], env, spec["cwd"], stdio, report, UMASK if self.alone else 0o022)

    def give_order(self, stdin: int, out: int, spec: Json) -> None:
        """Tells the process that runs as another login what to become, and hears what is in force there."""
        told = ("argv", "env", "cwd", "limits", "expect_trees", "beside", "large", "submodules")
        order = {name: spec[name] for name in told}
        answer = ordered(packed(self.image, order), stdin, out)
        self.tree, self.walls = answer.get("tree", ""), answer.get("walls", {})
        if not self.walls:
            self.unavailable = "as %s: %s" % (self.login, answer["failed"])
        if not spec["stdin"]:
            os.close(stdin)

    def launch_uncontained(self, why: str) -> None:
        """Launches it uncontained, unless it needs walls: its paths exist only inside them."""
        if self.spec["walls"]:
            self.unavailable = "the walls of this run could not be built: %s" % why
            return
        os.waitpid(self.main, 0)
        for spool in self.spools:
            spool.close()
        self.close_stdin()
        for fd in (self.report, self.control):
            if fd >= 0:
                os.close(fd)
        self.report_buffer = b""
        self.launch(False)

    def read_report(self, wait: bool = False) -> None:
        """Reads the child's reports: uncontained, started, failed, or a wait status."""
        while self.report >= 0:
            data = os.read(self.report, CHUNK)
            if not data:
                os.close(self.report)
                self.report = -1
            self.report_buffer += data
            *lines, self.report_buffer = self.report_buffer.split(b"\n")
            for line in lines:
                message = parse(line)
                if "uncontained" in message:
                    return self.launch_uncontained(message["uncontained"])
                self.walls = message.get("walls", self.walls)
                self.unavailable = message.get("failed", self.unavailable)
                if "status" in message:
                    self.status = message["status"]
                    if self.limits:
                        self.limits.at_the_end(message["tasks"])
            if not wait or (lines and self.contained):
                return None
        return None

    def keep_limits(self) -> bool:
        """Looks whether the run keeps its limits, where it is time to; False when it has to end."""
        if not self.limits:
            return True
        spooled = sum(spool.size() for spool in self.spools)
        ours = 2 if self.contained else 0  # the namespace's parent and its process 1
        return not self.limits.step(time.monotonic(), self.main, ours, spooled)

    def close_stdin(self) -> None:
        if self.feed:
            self.feed.close()

    def terminate(self) -> None:
        if self.login:
            signal_all(self.login, signal.SIGTERM)
        elif self.contained:
            attempt(os.write, self.control, b"T")
        else:
            signal_group(self.main, signal.SIGTERM)

    def kill(self) -> None:
        if self.login:
            signal_all(self.login, signal.SIGKILL)
        elif self.contained:
            attempt(os.write, self.control, b"K")
        else:
            signal_group(self.main, signal.SIGKILL)

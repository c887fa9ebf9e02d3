"""The process behind one pipe: starts a command, moves its output and input, and signs how it ended."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import time

from . import light_json as json
from .alone import clear
from .awake import Awake
from .children import wake_on_child
from .containment import PR_SET_CHILD_SUBREAPER, PR_SET_NAME, harden
from .facts import LINUX, kill_each, login_name, tree_of
from .files import attempt, behind_link, now_us, read_all, read_exactly, write_all
from .other_login import clear_as
from .pipes import Directory
from .process import Process
from .sweeping import ENOUGH_KILLS, Deadline, described, kill_what_is_left, refuses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

    from .files import Json
    from .libc import Libc


class PipeSupervisor:
    """Starts one process, moves its output and input, ends its whole tree, and signs how it ended."""

    def __init__(self, root: str, spec: Json, libc: Optional[Libc], image: bytes) -> None:
        self.root, self.spec, self.libc, self.image = root, spec, libc, image
        self.directory = Directory(root, spec["id"])
        self.process = Process(spec, self.directory, libc, image)
        self.proxy: Json = spec.pop("proxy") or {}  # not in the pipe's directory: the run could read it there
        self.alone: Json = spec["alone"] or {}
        self.awake: Optional[Awake] = None
        self.left: list[str] = []
        self.how = "ended"
        self.tree = ""
        self.ended_us = 0
        self.kill_at = 0.0
        self.deadline = Deadline()
        self.main_ended = False
        self.gone = True

    def clear_login(self, since: float) -> bool:
        """Ends what else runs as the run's own login and removes what is left of it; whether it is alone now."""
        order = {**self.alone, "since": since}
        if self.deadline.at:
            order["patience"] = self.deadline.left(time.monotonic())
        answer = clear_as(order, self.image) if self.alone["login"] else clear(order, self.libc)
        self.left += answer["left"]
        return bool(answer["alone"])

    def check_trees(self) -> None:
        from .trees import check

        kept = (self.spec["walls"] or {}).get("kept", "")
        spec = self.spec
        self.tree, self.process.unavailable = check(
            spec["expect_trees"], spec["beside"], spec["large"], kept and kept + "/tree", spec["submodules"]
        )

    def read_control(self) -> None:
        try:
            words = os.read(self.directory.control, 4096).decode("ascii", "replace").split()
        except BlockingIOError:
            return
        for word in words:
            if word[0] == "s" and word[1:].isdigit():
                self.terminate(int(word[1:]) / 1e6)

    def terminate(self, grace: float) -> None:
        """TERM now and KILL after ``grace`` seconds; a second call can only shorten the wait."""
        if self.kill_at:
            self.kill_at = min(self.kill_at, time.monotonic() + grace)
            return
        self.kill_at = time.monotonic() + grace
        self.deadline.begin(time.monotonic(), grace)
        self.process.terminate()

    def reap(self) -> bool:
        """Reaps every ended child; true when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if self.awake and pid == self.awake.pid:
                self.awake.pid = 0
            if pid == self.process.main:
                if self.process.contained:
                    self.process.read_report()
                else:
                    self.process.status = status
                self.how = "killed-init" if self.process.status is None else self.how
                self.main_ended = True

    def run(self) -> None:
        """Runs from the start of the process to the end of its tree."""
        wake = wake_on_child()
        deadline = time.monotonic() + self.spec["timeout_us"] / 1e6 if self.spec["timeout_us"] else 0.0
        self.reap()
        kills = 0
        while not self.main_ended:
            now = time.monotonic()
            if deadline and now >= deadline and not self.kill_at:
                self.how = "timeout"
                self.terminate(self.spec["grace_us"] / 1e6)
            if not self.process.keep_limits():
                self.kill_at = now
                self.deadline.begin(now)
            if kills and self.outlives(kills, now):
                self.how = "unended"  # the record says what runs on
                break
            if self.kill_at and now >= self.kill_at:
                self.process.kill()
                self.kill_at, kills = now + 1.0, kills + 1
            limits = self.process.limits
            self.pump(wake, [self.kill_at or deadline, limits.due if limits else 0.0])
            self.reap()
        self.ended_us = now_us()
        self.deadline.extend(time.monotonic())
        self.process.close_stdin()
        if self.process.door:
            self.process.door.end()
        if self.awake:
            self.awake.end()
        alone = self.clear_login(self.process.started_us / 1e6 - 1) if self.alone else True
        self.gone = self.sweep(wake) and alone
        quiet_at, spools = time.monotonic() + 2, self.process.spools
        while not all(spool.ended and not spool.pending for spool in spools):
            before = [spool.size() for spool in spools]
            self.pump(wake, [quiet_at])
            if before != [spool.size() for spool in spools] or any(spool.pending for spool in spools):
                quiet_at = time.monotonic() + 2
            elif time.monotonic() >= quiet_at:
                break  # a process outside the tree holds the pipe open but writes nothing
        self.process.write_status()

    def outlives(self, kills: int, now: float) -> bool:
        """Whether the command cannot be killed: it became another login's, or nothing ended it in all the time."""
        became = not self.process.login and refuses(self.process.main)
        return became or (kills >= ENOUGH_KILLS and self.deadline.passed(now))

    def pump(self, wake: int, times: list[float]) -> None:
        """Waits for the next event and handles it."""
        process, now = self.process, time.monotonic()
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(self.directory.control, select.POLLIN)
        if process.report >= 0 and process.contained:
            poller.register(process.report, select.POLLIN)
        if process.door and process.door.pid:
            poller.register(process.door.told, select.POLLIN)
        if process.feed and process.feed.stdin >= 0:
            poller.register(process.feed.stdin, select.POLLOUT if process.feed.pending else 0)
        for spool in process.spools:
            if spool.stalled:
                times.append(spool.retry_at)
            elif not spool.ended:
                poller.register(spool.source, select.POLLIN)
        waits = [moment - now for moment in times if moment]
        ready = dict(poller.poll(max(0.0, min([*waits, 5.0])) * 1000 + 1))
        now = time.monotonic()
        if wake in ready:
            os.read(wake, 4096)
        if self.directory.control in ready:
            self.read_control()
        if process.report in ready:
            process.read_report()
        if process.door and process.door.told in ready and not process.door.hear():
            process.door.pid = 0
        if process.feed:
            process.feed.step(process.write_status)
        for spool in process.spools:
            if spool.source in ready or (spool.stalled and now >= spool.retry_at):
                spool.step(now)
        process.write_status()

    def sweep(self, wake: int) -> bool:
        """Kills what is left. On Linux every orphan of the tree is our child, so ECHILD means all have ended."""
        if not LINUX:
            return self.sweep_by_listing()
        while not self.reap():
            left, all_refuse = kill_what_is_left(self.process.main)
            if all_refuse or self.deadline.passed(time.monotonic()):
                self.left += described(left)
                return False
            self.pump(wake, [time.monotonic() + 0.02])
        return True

    def sweep_by_listing(self) -> bool:
        for _ in range(20):
            left = tree_of(self.process.main)
            if not left:
                return True
            kill_each(left)
            time.sleep(0.05)
        return False

    def apart(self) -> Json:
        """Whose the login is, and whether the run could reach this supervisor."""
        walled = self.process.contained and bool(self.spec["walls"])
        account = (
            "own" if self.alone and (self.process.contained or self.process.walls["account"] == "own") else "shared"
        )
        own = walled or self.process.walls.get("user", login_name()) != login_name()
        return {"account": account, "supervisor": "own" if own else "shared"}

    def record(self, nonce: bytes) -> None:
        """Signs and writes the exit record; waits for disk space rather than give up."""
        import hashlib
        import hmac

        process = self.process
        body = {
            "pipe": self.spec["id"],
            "how": "unavailable" if process.unavailable else self.how,
            "status": None if process.unavailable else process.status,
            "started_us": process.started_us,
            "ended_us": self.ended_us or now_us(),
            "timeout_us": self.spec["timeout_us"],
            "contained": process.contained,
            "walls": {**process.walls, **self.apart()} if process.walls else None,
            "left": self.left,
            "limits": process.limits.in_force() if process.limits else None,
            "reached": process.limits.reached if process.limits else [],
            "egress": process.door.seen(process.walls.get("network", "shared")) if process.door else None,
            "gone": self.gone,
            "said": process.spools[0].passed.told() if process.spools else None,
            "fed": process.feed.passed.told() if process.feed else None,
            "tree": self.tree,
            "unavailable": process.unavailable,
        }
        line = json.dumps(body).encode()
        data = line + b"\n" + hmac.new(nonce, line, hashlib.sha256).hexdigest().encode() + b"\n"
        pause = 0.05
        while True:
            try:
                return self.directory.record(data, [spool.file for spool in process.spools])
            except FileNotFoundError:
                return None  # the directory was removed: the record is missing, so the run is Lost
            except OSError as error:
                self.process.write_status(error.strerror or str(error))
                time.sleep(pause)
                pause = min(1.0, pause * 2)


def shown(pipe: str) -> bytes:
    """How a process list names its supervisor: by what tells most, without the store."""
    return pipe.partition("-")[2].encode()[:15]


def supervise(image: bytes) -> NoReturn:
    """Reads ``length, spec, nonce`` from standard input; what it writes to standard output reports the result."""
    libc = harden()
    os.setsid()
    if libc:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    (size,) = struct.unpack(">I", read_exactly(0, 4))
    spec = json.loads(read_exactly(0, size))
    if libc:
        libc.call("prctl", PR_SET_NAME, shown(spec["id"]))
    os.environ.clear()
    os.environ.update(spec.pop("around"))
    supervisor = PipeSupervisor(spec.pop("root"), spec, libc, image)
    answer = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    try:
        supervisor.directory.claim(spec)
    except FileExistsError:
        write_all(answer, b'{"ok": "found"}')
        os._exit(0)
    except OSError as error:
        write_all(answer, json.dumps({"error": "unavailable", "cause": str(error)}).encode())
        os._exit(0)
    attempt(write_all, answer, b'{"ok": "started"}')  # who asked may be gone: it finds the pipe later
    os.close(answer)
    if spec["alone"] and not supervisor.clear_login(0.0):
        supervisor.process.unavailable = "its login could not be cleared: " + "; ".join(supervisor.left)
    elif behind_link(spec["cwd"], supervisor.root):
        supervisor.process.unavailable = "directory %s: it is a link, or behind one" % spec["cwd"]
    elif spec["expect_trees"] and not supervisor.process.login:
        supervisor.check_trees()
    if supervisor.proxy:
        from .proxy import ProxyDoor

        supervisor.process.door = ProxyDoor(supervisor.proxy, bool(spec["walls"] and not spec["walls"]["network"]))
    if not supervisor.process.unavailable:
        supervisor.process.launch(spec["contain"])
        if spec["keep_awake"] and supervisor.process.main:
            supervisor.awake = Awake(os.environ.get("PATH", ""), os.environ.get("HOME", "/"))
    nonce, _, key = read_all(0).partition(b"\n")
    os.dup2(null, 0)
    if supervisor.process.main:
        if supervisor.process.door:
            supervisor.process.door.begin(key.decode(), libc)
        supervisor.run()
    supervisor.tree = supervisor.process.tree or supervisor.tree
    supervisor.record(nonce)
    os._exit(0)

"""The serve loop: one channel to the controller."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time

from . import kept_trees
from . import light_json as json
from .children import wake_on_child
from .commands import AnswerJob, RunJob
from .containment import can_contain, harden
from .facts import LINUX, boot, start_time
from .files import attempt, now_us, remove, write_all, write_path
from .follow import AttachJob, StopJob
from .forks import Forks, StartJob
from .frames import RequestError, whole_frames
from .jobs import Link, RunnerJob
from .offers import look, memory, release
from .own_places import own_places
from .pipes import forget, notify
from .transfers import ReadJob, WriteJob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from .files import Json


def serve(root: str, image: bytes) -> None:
    """Serves the controller on standard input and output until the link ends. ``image``: the compiled runner."""
    harden()
    os.makedirs(root, 0o700, exist_ok=True)
    Serve(os.path.realpath(root), image).loop()


def error_of(error: Exception) -> RequestError:
    """The error that the controller gets for an unexpected exception."""
    if isinstance(error, OSError):
        return RequestError("unavailable", str(error))
    return RequestError("unavailable", "the runner failed at this request: %s: %s" % (type(error).__name__, error))


class Serve(Link):
    """The loop: one thread; no request blocks another, and all share the link."""

    def __init__(self, root: str, image: bytes) -> None:
        super().__init__(root)
        self.forks = Forks(image)
        self.incoming = bytearray()
        self.contained: Optional[bool] = None
        self.walled = self.layered = False
        self.release = release()

    def pipe(self, name: str) -> str:
        plain = name.replace("-", "").replace("_", "").replace(".", "")
        if not plain.isalnum() or not plain.isascii() or name.startswith((".", "-")) or len(name) > 120:
            raise RequestError("refused", "%r is not a valid pipe name" % name)
        return os.path.join(self.root, "pipes", name)

    def handle(self, request: Json, payload: bytes) -> None:
        number = request["id"]
        job = self.jobs.get(number)
        operation = request["op"]
        try:
            if operation == "credit":
                if job:
                    job.credit += request["n"]
                    job.wake = 0.0
            elif operation == "data":
                if job:
                    job.feed(payload, request.get("last", False))
                    job.wake = 0.0
            elif operation == "cancel":
                if job:
                    job.drop()
            else:
                answer = getattr(self, "do_" + operation)(request, payload)
                if isinstance(answer, RunnerJob):
                    self.jobs[number] = answer
                else:
                    self.send({"id": number, "done": True, **answer})
        except RequestError as problem:
            self.fail(number, problem)
        except Exception as error:  # a broken request must not end the link for the others
            self.fail(number, error_of(error))

    def do_ping(self, request: Json, payload: bytes) -> Json:
        return {}

    def do_facts(self, request: Json, payload: bytes) -> Json:
        if self.contained is None:
            self.contained = can_contain()
            self.walled = self.contained and self.can_build_walls()
            self.layered = self.walled and self.can_build_walls(self.home)
        os.makedirs(self.root, 0o700, exist_ok=True)  # somebody may have removed it
        disk = os.statvfs(self.root)
        whole, available = memory()
        return {
            "user": self.user,
            "uid": os.getuid(),
            "home": self.home,
            "root": self.root,
            "host": os.uname().nodename,
            "boot": boot(),
            "system": "linux" if LINUX else sys.platform,
            "arch": os.uname().machine,
            "release": self.release,
            "memory": whole,
            "memory_free": available,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "cpus": os.cpu_count() or 1,
            "load_milli": int(os.getloadavg()[0] * 1000),
            "disk_free": disk.f_bavail * disk.f_frsize,
            "clock_us": now_us(),
            "contained": self.contained,
            "walled": self.walled,
            "layered": self.layered,
        }

    def do_offers(self, request: Json, payload: bytes) -> RunnerJob:
        programs, env = request["programs"], self.base_env(request.get("path", []))
        work = {"timeout": 120.0, "limit": 1 << 16}
        return AnswerJob(self, request["id"], work, lambda: look(programs, env, self.directory))

    def can_build_walls(self, home: str = "") -> bool:
        """Tries once whether a run's walls can be built here; with ``home``, a session's, over that directory."""
        room = os.path.join(self.root, "walls-probe")
        os.makedirs(os.path.join(room, "scratch"), 0o700, exist_ok=True)
        session = None
        if home:
            parts = {"layered": [home], "seen": [], "logins": [], "linked": [], "others": [], "emptied": []}
            session = {"root": self.root, "workspace": room, "clone": room, "vault": "", **parts}
        try:
            return can_contain({"room": room, "read": [], "network": bool(home), "session": session})
        finally:
            remove(room)

    def do_run(self, request: Json, payload: bytes) -> RunnerJob:
        return RunJob(self, request["id"], request)

    def do_start(self, request: Json, payload: bytes) -> Any:
        spec = json.loads(payload)
        secrets = spec.pop("nonce").encode()
        if spec["proxy"]:
            secrets += b"\n" + spec["proxy"].pop("key").encode()
        if os.path.isdir(self.pipe(spec["id"])):
            return {"ok": "found"}
        if not spec.pop("bare_env"):
            path = [*request.get("path", []), *own_places(self.home)]
            spec["env"] = {**self.base_env(path), **spec["env"]}
        if spec["walls"] and spec["walls"]["session"]:
            spec["walls"]["read"] += spec["env"]["PATH"].split(":")
        if spec["alone"]:
            spec["alone"]["links"] = [[os.getpid(), start_time(os.getpid())]] if not spec["alone"]["login"] else []
        spec["root"], spec["cwd"] = self.root, self.resolve(spec["cwd"] or self.directory)
        spec["around"] = self.base_env(request.get("path", []))
        text = json.dumps(spec).encode()
        return StartJob(self, request["id"], self.forks, struct.pack(">I", len(text)) + text + secrets)

    def do_attach(self, request: Json, payload: bytes) -> RunnerJob:
        return AttachJob(self, request["id"], self.pipe(request["pipe"]), request["offset"])

    def do_send(self, request: Json, payload: bytes) -> Json:
        directory = self.pipe(request["pipe"])
        position, path = request["position"], os.path.join(directory, "in")
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise RequestError("refused", "the pipe does not exist or takes no input") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            size = os.fstat(fd).st_size
            if position > size:
                raise RequestError(
                    "refused", "input is known up to byte %d, but this starts at %d" % (size, position)
                )
            fresh = payload[size - position :]
            if fresh and os.path.exists(os.path.join(directory, "eof")):
                raise RequestError("refused", "the input was closed at byte %d" % size)
            try:
                os.lseek(fd, size, os.SEEK_SET)
                write_all(fd, fresh)
            except OSError:
                os.ftruncate(fd, size)
                raise
            if request.get("eof"):
                write_path(os.path.join(directory, "eof"), b"%d" % (size + len(fresh)))
        finally:
            os.close(fd)
        notify(directory, b"i\n")
        return {"size": size + len(fresh)}

    def do_stop(self, request: Json, payload: bytes) -> RunnerJob:
        return StopJob(self, request["id"], self.pipe(request["pipe"]), request["grace"])

    def do_tail(self, request: Json, payload: bytes) -> RunnerJob:
        if request["stream"] not in ("out", "err"):
            raise RequestError("refused", "a pipe's streams are out and err")
        path = os.path.join(self.pipe(request["pipe"]), request["stream"])
        return ReadJob(self, request["id"], path, request["limit"], tail=True)

    def do_read(self, request: Json, payload: bytes) -> RunnerJob:
        return ReadJob(self, request["id"], self.resolve(request["path"]), request["limit"])

    def do_write(self, request: Json, payload: bytes) -> RunnerJob:
        return WriteJob(self, request["id"], self.resolve(request["path"]), request["mode"])

    def do_remove(self, request: Json, payload: bytes) -> Any:
        path = self.resolve(request["path"])
        parent = os.path.realpath(os.path.dirname(path))
        if not (parent + "/").startswith(os.path.realpath(self.root) + "/"):
            raise RequestError("refused", "%s is not under %s" % (path, self.root))
        if not os.path.lexists(path):
            return {}
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: remove(path))

    def inside(self, path: str) -> str:
        """A directory two levels below ours at least, with no link in the way."""
        whole = self.resolve(path)
        above = os.path.dirname(whole)
        if not whole.startswith(self.root + "/") or above == self.root or os.path.realpath(above) != above:
            raise RequestError("refused", "%s is not below %s" % (path, self.root))
        return whole

    def do_take_tree(self, request: Json, payload: bytes) -> RunnerJob:
        store, place, wanted = self.inside(request["store"]), self.inside(request["place"]), request["wanted"]
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: kept_trees.take(store, place, wanted))

    def do_move_tree(self, request: Json, payload: bytes) -> RunnerJob:
        place, work = self.inside(request["place"]), {"timeout": 600.0, "stdin": True}
        return AnswerJob(self, request["id"], work, lambda: kept_trees.move(place, kept_trees.Reader(0)))

    def do_put_back_tree(self, request: Json, payload: bytes) -> Any:
        store, place, tree = self.inside(request["store"]), self.inside(request["place"]), request["tree"]
        if not os.path.isdir(place):
            return {}
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: kept_trees.put_back(store, place, tree))

    def do_forget(self, request: Json, payload: bytes) -> RunnerJob:
        age, keep = request["older_than_us"], request["keep"]
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: forget(self.root, age, keep))

    def receive(self) -> bool:
        """Reads and handles input; false at the end of the link."""
        try:
            data = os.read(0, 1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.incoming += data
        for header, payload in whole_frames(self.incoming):
            self.handle(header, payload)
        return bool(data)

    def transmit(self) -> bool:
        try:
            while self.outgoing:
                del self.outgoing[: os.write(1, self.outgoing[: 1 << 18])]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def reap_orphans(self) -> None:
        for pid in list(self.orphans):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.orphans.remove(pid)

    def loop(self) -> None:
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        wake = wake_on_child()
        self.send({"id": 0, "ev": "ready", "root": self.root})
        linked = self.transmit()
        while linked:
            poller = select.poll()
            poller.register(0, select.POLLIN)
            poller.register(wake, select.POLLIN)
            if self.outgoing:
                poller.register(1, select.POLLOUT)
            now = time.monotonic()
            pause, waiting = 5.0, {}
            for job in self.jobs.values():
                for fd, events in job.interest():
                    poller.register(fd, events)
                    waiting[fd] = job
                pause = min(pause, max(0.0, job.wake - now))
            ready = dict(poller.poll(pause * 1000 + (0.5 if pause else 0)))
            if wake in ready:
                os.read(wake, 4096)
                self.reap_orphans()
            for fd in ready.keys() & waiting.keys():
                waiting[fd].woken()
            if 0 in ready:
                linked = self.receive()
            now = time.monotonic()
            for job in list(self.jobs.values()):
                try:
                    job.step(now)
                except Exception as error:  # as above: it ends one request, not the link
                    attempt(job.drop)
                    self.fail(job.number, error_of(error))
            linked = self.transmit() and linked
            self.wake_waiting()
        for job in list(self.jobs.values()):
            job.drop()

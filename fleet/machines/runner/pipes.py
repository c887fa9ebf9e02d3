"""The directory of one pipe: written by its supervisor, read by the others."""

from __future__ import annotations

import os
import time

from . import light_json as json
from .facts import LINUX, boot, start_time, stat_fields
from .files import attempt, now_us, parse, read_path, remove, write_all, write_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Json

STATUS_SIZE = 256
START_SECONDS = 10.0  # a pipe without state.json counts as starting for this long


class Directory:
    """A pipe's directory, for its supervisor. Raises ``OSError`` when the disk fails."""

    def __init__(self, root: str, pipe: str) -> None:
        self.path = os.path.join(root, "pipes", pipe)
        self.control = self.status = -1
        self.told = b""

    def at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def claim(self, spec: Json) -> None:
        """Takes the id (FileExistsError: it is taken) and creates the directory's files."""
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        os.mkdir(self.path, 0o700)
        try:
            names = ["out", "err"] + (["in"] if spec["stdin"] else [])
            for name in names:
                os.close(os.open(self.at(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            kept = {key: value for key, value in spec.items() if key != "env"}
            write_path(self.at("spec.json"), json.dumps(kept).encode())
            os.mkfifo(self.at("ctl"), 0o600)
            self.control = os.open(self.at("ctl"), os.O_RDWR | os.O_NONBLOCK)
            self.status = os.open(self.at("status"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self.write_status(0, "", 0)
            pid = os.getpid()
            state = {"pid": pid, "start": start_time(pid), "boot": boot()}
            write_path(self.at("state.json"), json.dumps(state).encode())
        except OSError:
            remove(self.path)
            raise

    def write_status(self, accepted: int, stalled: str, main: int) -> None:
        """Writes the status: input accepted, what stalls, and the main process of the tree (0: none)."""
        start = start_time(main) if main else ""
        body = {"accepted": accepted, "stalled": stalled[:80], "main": main, "start": start}
        line = json.dumps(body).encode().ljust(STATUS_SIZE)
        if line != self.told:
            os.pwrite(self.status, line, 0)
            self.told = line

    def record(self, data: bytes, files: list[int]) -> None:
        """Puts the exit record in place after it and ``files`` are synced; no record may exist yet."""
        temporary = self.at("exit.%d" % os.getpid())
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(fd, data)
            for written in (fd, *files):
                os.fsync(written)
        finally:
            os.close(fd)
        try:
            os.link(temporary, self.at("exit"))
        except FileExistsError:
            # Written by someone else. Leave it and add a mark: the controller then accepts neither.
            os.close(os.open(self.at("doubled"), os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(temporary)


def state(directory: str) -> Json:
    """The supervisor's pid, start time and boot; empty until it has written them."""
    return parse(read_path(os.path.join(directory, "state.json")))


def status(directory: str) -> Json:
    """The status the supervisor wrote last; empty before the first."""
    return parse(read_path(os.path.join(directory, "status"), STATUS_SIZE))


def alive(directory: str) -> bool:
    """Whether the supervisor that made this pipe is still running."""
    known = state(directory)
    if not known:
        return starting(directory)
    return bool(known.get("start")) and start_time(known["pid"]) == known["start"] and known["boot"] == boot()


def watch(directory: str) -> int:
    """A descriptor that is readable once that supervisor has ended; -1 where the system has none."""
    try:
        fd = os.pidfd_open(state(directory)["pid"])
    except (AttributeError, KeyError, TypeError, OverflowError, OSError):  # no Linux, an old one, or no such state
        return -1
    if alive(directory):  # so it is not that of another process with its number
        return fd
    os.close(fd)
    return -1


def frozen(directory: str) -> bool:
    """Whether the supervisor was stopped by a signal, as only a process of its own login or root can do."""
    if not (LINUX and state(directory) and alive(directory)):
        return False
    fields = stat_fields(state(directory)["pid"])
    return fields is not None and fields[0] in ("T", "t")


def starting(directory: str) -> bool:
    """Whether the pipe's supervisor has just made the directory and not yet written its state."""
    try:
        age = time.time() - os.stat(directory).st_mtime
    except OSError:
        return False
    return age < START_SECONDS and not os.path.exists(os.path.join(directory, "state.json"))


def notify(directory: str, order: bytes) -> bool:
    """Sends an order through the pipe's FIFO; returns whether a process received it."""
    try:
        fd = os.open(os.path.join(directory, "ctl"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return attempt(os.write, fd, order)
    finally:
        os.close(fd)


def forget(root: str, older_than_us: int, keep: list[str]) -> Json:
    """Retention: removes pipes that ended before that time, except those in ``keep``."""
    count, kept = 0, frozenset(keep)
    pipes = os.path.join(root, "pipes")
    for name in os.listdir(pipes) if os.path.isdir(pipes) else []:
        directory = os.path.join(pipes, name)
        if name in kept or alive(directory):
            continue
        ended = parse((read_path(os.path.join(directory, "exit")) or b"").split(b"\n")[0]).get("ended_us")
        try:
            moment = ended if isinstance(ended, int) else int(os.stat(directory).st_mtime * 1e6)
        except OSError:
            continue
        if now_us() - moment >= older_than_us and "ok" in remove(directory):
            count += 1
    forget_checkouts(os.path.join(root, "gates"), pipes, older_than_us)
    return {"ok": True, "count": count}


def forget_checkouts(gates: str, pipes: str, older_than_us: int) -> None:
    """Removes checkouts of gates whose pipes are gone: whoever judged could not reach this machine afterwards."""
    for name in os.listdir(gates) if os.path.isdir(gates) else []:
        place, known = os.path.join(gates, name), (name, name.rpartition(".")[0] or name)
        try:
            age = now_us() - int(os.lstat(place).st_mtime * 1e6)
        except OSError:
            continue
        if age >= older_than_us and not any(os.path.lexists(os.path.join(pipes, each)) for each in known):
            remove(place)

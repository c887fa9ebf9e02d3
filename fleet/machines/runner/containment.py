"""Containment: a run's own namespaces, and memory that other processes of the login cannot read."""

from __future__ import annotations

import os
import select

from . import light_json as json
from . import seccomp
from .children import default_signals, high_pipe, wake_on_child
from .facts import LINUX, login_name, signal_group
from .files import parse, read_all, write_all
from .libc import Libc
from .light_signal import signal
from .session import SessionWallBuilder
from .usage import tasks_below
from .walls import WallBuilder, loopback_up, probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Optional

    from .files import Json
    from .limits import RunnerLimits

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 4, 15, 36
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000


def harden() -> Libc | None:
    """Keeps other processes of this login from reading our memory, which holds nonces and environments."""
    if not LINUX:
        return None
    libc = Libc()
    libc.prctl(PR_SET_DUMPABLE, 0)
    return libc


def enter_namespaces(libc: Libc, walls: Optional[Json]) -> None:
    """A new PID namespace for our children, and a new user namespace with the same ids unless we are root.

    With ``walls`` also an IPC namespace, and a network namespace unless the run shares the network.
    """
    uid, gid = os.geteuid(), os.getegid()
    wanted = CLONE_NEWPID | CLONE_NEWNS
    if walls:
        wanted |= CLONE_NEWIPC | (0 if walls["network"] else CLONE_NEWNET)
    if uid == 0:
        libc.call("unshare", wanted)
        return
    libc.prctl(PR_SET_DUMPABLE, 1)  # otherwise /proc/self/uid_map belongs to root; this memory holds no nonce yet
    libc.call("unshare", CLONE_NEWUSER | wanted)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (uid, uid)),
        ("gid_map", "%d %d 1" % (gid, gid)),
    ):
        fd = os.open("/proc/self/" + name, os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)
    libc.prctl(PR_SET_DUMPABLE, 0)


def set_up_namespace(libc: Libc, walls: Optional[Json], limits: Optional[RunnerLimits] = None) -> Json:
    """As process 1 of the new namespace: mounts a /proc of its own, changes the root, and drops all ways back.

    Returns the isolation in force, as seen from inside.
    """
    user = login_name()  # while the machine's own user database is in sight
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.mount(b"none", b"/", b"none", MS_REC | MS_PRIVATE)
    built: Optional[WallBuilder] = None
    if walls:
        if not walls["network"]:
            loopback_up()
        built = SessionWallBuilder(libc, walls) if walls["session"] else WallBuilder(libc, walls)
        built.build()
    else:
        libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if limits:
        limits.bind_namespace()
    libc.drop_capabilities()
    if walls:
        # Some agents have a sandbox of their own, made of namespaces.
        seccomp.install(libc, namespaces=bool(walls["session"]))
    return {**probe(built), "user": user}


def can_contain(walls: Optional[Json] = None) -> bool:
    """Tries it in a child process."""
    if not LINUX:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            libc = Libc()
            enter_namespaces(libc, walls)
            init = os.fork()
            if init == 0:
                try:
                    set_up_namespace(libc, walls)
                    os._exit(0)
                finally:
                    os._exit(1)
            os._exit(0 if os.waitpid(init, 0)[1] == 0 else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def contain(
    libc: Libc,
    walls: Optional[Json],
    limits: Optional[RunnerLimits],
    ends: tuple[int, int],
    start: Callable[[int], NoReturn],
) -> NoReturn:
    """In a fresh child: becomes the parent of a namespace whose process 1 runs ``start``, and reports on it.

    ``ends``: the pipes for its reports and for orders to it.
    """
    report, control = ends

    def send(message: Json) -> None:
        write_all(report, json.dumps(message).encode() + b"\n")

    try:
        default_signals()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        enter_namespaces(libc, walls)
        init = os.fork()
        if init:
            os.close(report)
            os.close(control)
            os.waitpid(init, 0)
            os._exit(0)
        if os.getpid() != 1:  # kill(-1) below must mean this namespace, never the whole machine
            raise OSError("the new process is not the first of its namespace")
        send({"walls": set_up_namespace(libc, walls, limits)})
    except OSError as error:
        send({"uncontained": str(error)})
        os._exit(0)
    wake = wake_on_child()
    failure, failure_writer = high_pipe()
    command = os.fork()
    if command == 0:
        os.setsid()
        start(failure_writer)
    os.close(failure_writer)
    failed = read_all(failure)
    send(parse(failed) if failed else {"started": True})
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    poller.register(control, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            order = os.read(fd, 64)
            if fd == control and not order:
                os._exit(1)  # the supervisor is gone; our exit ends the whole namespace
            if fd == control and b"K" in order:
                os.kill(-1, signal.SIGKILL)
            elif fd == control:
                signal_group(command, signal.SIGTERM)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == command:
                send({"status": status, "tasks": tasks_below() if limits else 0})
                os._exit(0)

"""The walls of a contained run: its own root file system, with only what it needs and little that is writable.

A run sees the system's directories (read-only), its own directory under one fixed path, and a fresh ``/tmp``,
``/dev``, ``/proc`` and home. It sees no other run and no start-up file of its login. The isolation in force is
checked from inside, not taken from the configuration, and goes into the exit record.
"""

from __future__ import annotations

import os
import struct

from .kept_trees import SPOILED, TREE, UPPER, WORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .files import Json
    from .libc import Libc

INSIDE = "/airboss"
"""Where a run finds its own directory: ``tree``, ``home``, ``report``."""

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "nix")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
CPUS = "sys/devices/system"
STAGE = "/tmp"  # in the new namespace only: mounts here are invisible elsewhere
OLD = "/old"

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC = 32, 1024, 2048, 4096, 0x4000
MS_RELATIME = 1 << 21
MNT_DETACH = 2
KEPT = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
}
"""Flags that a remount in a user namespace must repeat: the kernel refuses to drop them."""

WRITABLE = frozenset((INSIDE, INSIDE + "/tree", "/tmp", "/var/tmp", "/proc", "/dev"))


class WallBuilder:
    """Builds the walls around process 1 of the new namespaces, which keeps its memory and descriptors."""

    def __init__(self, libc: Libc, spec: Json) -> None:
        self.libc = libc
        self.room: str = os.path.realpath(spec["room"])
        self.network: bool = spec["network"]
        self.login = "none"  # of a vendor: there is none in a gate run
        # Resolved before the root changes: afterwards a link would lead into the new root.
        self.readable = outermost({os.path.realpath(path) for path in spec["read"] if os.path.isdir(path)})
        self.kept = os.path.realpath(spec["kept"]) if spec.get("kept") else ""
        self.given = [(os.path.realpath(directory), place) for directory, place in spec.get("given", ())]
        resolver = os.path.realpath("/etc/resolv.conf")
        self.resolver = resolver if self.network and os.path.isfile(resolver) else ""

    def build(self) -> None:
        """Moves the process into the new root, with the old one out of reach. Raises ``OSError``."""
        mount, libc = self.mount, self.libc
        mount("none", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
        for name in ("new", "old"):
            os.mkdir(STAGE + "/" + name, 0o755)
        libc.pivot_root(STAGE, STAGE + OLD)
        os.chdir("/")
        mount("none", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
        for name in SYSTEM:
            self.system(name)
        if self.resolver and not self.resolver.startswith("/etc/"):
            self.bind(self.resolver, self.resolver)
        if os.path.isdir("%s/%s" % (OLD, CPUS)):
            self.bind("/" + CPUS, "/" + CPUS)
        for each in SYSTEM:
            self.read_only("/new/" + each)
        self.read_only("/new/" + CPUS)
        if self.resolver:
            self.read_only("/new" + self.resolver)
        self.bind(self.room + "/scratch", "/tmp")
        self.bind(self.room + "/scratch", "/var/tmp")
        self.furnish()
        self.devices()
        os.mkdir("/new/proc", 0o755)
        mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.chdir("/new")
        libc.unmount(OLD, MNT_DETACH)
        libc.pivot_root(".", ".")
        libc.unmount(".", MNT_DETACH)
        os.chdir("/")
        mount("none", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)

    def furnish(self) -> None:
        """What a gate run has of its own, and what it may read."""
        self.bind(self.room, INSIDE)
        if self.kept:
            self.lay_over()
        for path in self.readable:
            self.show(path)
        for directory, place in self.given:
            self.lay_in(directory, place)

    def lay_over(self) -> None:
        """Shows a kept checkout as the run's tree, with a layer of the run's own over it (overlayfs).

        Where the kernel refuses one, the run has the checkout itself, which is then of no further use.
        """
        place, tree = OLD + self.kept, INSIDE + "/tree"
        os.mkdir("/new" + tree, 0o755)
        for name in (UPPER, WORK):
            os.mkdir("%s/%s" % (place, name), 0o755)
        try:
            self.overlay(tree, "%s/%s" % (place, TREE), place, ",volatile")
        except OSError:
            os.close(os.open("%s/%s" % (place, SPOILED), os.O_WRONLY | os.O_CREAT, 0o600))
            self.bind("%s/%s" % (self.kept, TREE), tree)

    def overlay(self, target: str, lower: str, place: str, more: str = "") -> None:
        """Mounts ``lower`` at ``target`` of the new root, with what is changed there in ``place``."""
        parts = [escaped(path) for path in (lower, "%s/%s" % (place, UPPER), "%s/%s" % (place, WORK))]
        options = "lowerdir=%s,upperdir=%s,workdir=%s,userxattr%s" % (*parts, more)
        self.mount("overlay", "/new" + target, "overlay", MS_NOSUID | MS_NODEV, options)

    def lay_in(self, directory: str, place: str) -> None:
        """Shows a directory at a place inside, which may be missing. No part of the way there may be a link."""
        if os.path.realpath("/new" + place) != "/new" + place:
            raise OSError("%s is behind a link" % place)
        self.show(place, directory)

    def writable(self, path: str) -> bool:
        """Whether a mount that can be written belongs to it alone."""
        return path in WRITABLE or path.startswith("/dev/")

    def show(self, path: str, source: str = "") -> None:
        """Lets it read what is at ``path``, at the same place. ``source``: where that really is."""
        self.bind(source or path, path)
        self.read_only("/new" + path)

    def mount(self, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        self.libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode() or None)

    def bind(self, source: str, target: str) -> None:
        """Mounts ``source`` of the old root at ``target`` of the new one."""
        inside = "/new" + target
        if os.path.isdir(OLD + source):
            os.makedirs(inside, 0o755, exist_ok=True)
        elif not os.path.lexists(inside):
            os.makedirs(os.path.dirname(inside), 0o755, exist_ok=True)
            os.close(os.open(inside, os.O_WRONLY | os.O_CREAT, 0o644))
        self.mount(OLD + source, inside, "", MS_BIND | MS_REC)

    def system(self, name: str) -> None:
        old = "%s/%s" % (OLD, name)
        if os.path.islink(old):
            os.symlink(os.readlink(old), "/new/" + name)
        elif os.path.isdir(old):
            self.bind("/" + name, "/" + name)

    def read_only(self, place: str) -> None:
        """Makes the mount at this path and every mount below it read-only."""
        for path, options in mounts():
            if (path + "/").startswith(place + "/"):
                kept = sum(KEPT.get(option, 0) for option in options)
                self.mount("none", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | kept)

    def devices(self) -> None:
        os.mkdir("/new/dev", 0o755)
        self.mount("none", "/new/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755")
        for name in DEVICES:
            if os.path.exists("%s/dev/%s" % (OLD, name)):
                self.bind("/dev/" + name, "/dev/" + name)
        for name, flags, options in (
            ("shm", MS_NODEV, "mode=1777"),
            ("pts", MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"),
        ):
            os.mkdir("/new/dev/" + name, 0o755)
            kind = "devpts" if name == "pts" else "tmpfs"
            self.mount("none", "/new/dev/" + name, kind, flags | MS_NOSUID, options)
        os.symlink("pts/ptmx", "/new/dev/ptmx")
        os.symlink("/proc/self/fd", "/new/dev/fd")
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.symlink("/proc/self/fd/%d" % number, "/new/dev/" + name)
        self.mount("none", "/new/dev", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def escaped(path: str) -> str:
    """A path among the options of an overlay."""
    for sign in ("\\", ":", ","):
        path = path.replace(sign, "\\" + sign)
    return path


def outermost(paths: set[str]) -> list[str]:
    """Drops paths inside other paths or system directories: a mount on top of a mount hides it."""
    kept: list[str] = []
    for path in sorted(paths):
        if not (path + "/").startswith(tuple(["/%s/" % name for name in SYSTEM] + [each + "/" for each in kept])):
            kept.append(path)
    return kept


def mounts() -> list[tuple[str, list[str]]]:
    """The mount points of this namespace and their options, from the kernel."""
    found = []
    listed = "/proc/self/mountinfo"
    with open(listed if os.path.exists(listed) else OLD + listed, "rb") as file:
        for line in file.read().decode("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            found.append((unescaped(fields[4]), fields[5].split(",")))
    return found


def unescaped(path: str) -> str:
    """A path of the kernel's, in which some characters are three octal digits."""
    plain, *escaped = path.split("\\")
    for part in escaped:
        plain += chr(int(part[:3], 8)) + part[3:]
    return plain


def loopback_up() -> None:
    """Brings up loopback, which is down in a new network namespace; tests of servers need it."""
    import _socket  # socket itself makes enums
    import fcntl

    get_flags, set_flags, is_up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        name = b"lo".ljust(16, b"\0")
        answer = fcntl.ioctl(any_socket, get_flags, name + bytes(16))
        (flags,) = struct.unpack_from("=h", answer, 16)
        fcntl.ioctl(any_socket, set_flags, name + struct.pack("=h", flags | is_up) + bytes(14))
    finally:
        any_socket.close()


def probe(walls: Optional[WallBuilder]) -> Json:
    """The isolation in force, seen from inside: processes and files ``own`` or ``shared``, network ``none`` or
    not."""
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    files = "shared"
    if walls and all("ro" in options or walls.writable(path) for path, options in mounts()):
        files = "own"
    with open("/proc/net/dev", "rb") as file:
        links = {line.split(b":")[0].strip() for line in file if b":" in line}
    return {
        "processes": "own" if os.getpid() == 1 and not others else "shared",
        "files": files,
        "network": "none" if links <= {b"lo"} else "shared",
        "login": walls.login if walls else "shared",
    }

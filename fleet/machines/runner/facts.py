"""Facts about this machine: its boot, its processes, and which of them belong to a pipe."""

from __future__ import annotations

import os
import pwd
import sys

from .files import attempt, read_path
from .light_signal import signal

LINUX = sys.platform.startswith("linux")
MARK = "AIRBOSS_PIPE"  # in the environment of every process of a pipe: the pipe's id
LONGEST_ENVIRONMENT = 1 << 22
_BOOT: list[str] = []  # read once


def login_name() -> str:
    """Whose login this process has, by its effective uid; its number where the system has no name for it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def login_home() -> str:
    """Where this login is at home, whatever its environment says; that counts where the system has no entry."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")


def boot() -> str:
    """A text that changes with every boot."""
    if not _BOOT and LINUX:
        _BOOT.append((read_path("/proc/sys/kernel/random/boot_id") or b"").decode().strip())
    elif not _BOOT:
        _BOOT.append(command_output(["sysctl", "-n", "kern.boottime"]))
    return _BOOT[0]


def command_output(argv: list[str]) -> str:
    import subprocess

    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def processes() -> list[tuple[int, int, int, int, str]]:
    """(pid, parent, group, session, start time) of every process that is not a zombie."""
    found = []
    if LINUX:
        for name in os.listdir("/proc"):
            if name.isdigit():
                fields = stat_fields(int(name))
                if fields:
                    found.append((int(name), int(fields[1]), int(fields[2]), int(fields[3]), fields[19]))
        return found
    for line in command_output(["ps", "-axo", "pid=,ppid=,pgid=,sess=,stat=,lstart="]).splitlines():
        part = line.split(None, 5)
        if len(part) == 6 and "Z" not in part[4]:
            session = int(part[3]) if part[3].isdigit() else 0
            found.append((int(part[0]), int(part[1]), int(part[2]), session, part[5]))
    return found


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name (which may hold anything); None for a zombie."""
    data = read_path("/proc/%d/stat" % pid)
    if not data:
        return None
    fields = data[data.rindex(b")") + 1 :].decode().split()
    return None if fields[0] in ("Z", "X") else fields


def start_time(pid: int) -> str:
    """A process's start time in the system's own format, empty when it does not exist. Detects a reused pid."""
    if LINUX:
        fields = stat_fields(pid)
        return fields[19] if fields else ""
    line = command_output(["ps", "-o", "stat=,lstart=", "-p", str(pid)])
    return "" if not line or "Z" in line.split()[0] else line.split(None, 1)[1]


def tree_of(main: int) -> list[int]:
    """The processes of a group or session, and their descendants, from the process list."""
    listing = processes()
    found = {main}
    grown = True
    while grown:
        grown = False
        for pid, parent, group, session, _ in listing:
            if pid not in found and (parent in found or main in (group, session)):
                found.add(pid)
                grown = True
    return [pid for pid, *_ in listing if pid in found]


def descendants(root: int, group: int) -> list[int]:
    """The processes below ``root``, itself not counted, and those of a group."""
    listing = processes()
    below = {root}
    grown = True
    while grown:
        more = {pid for pid, parent, *_ in listing if parent in below} - below
        below |= more
        grown = bool(more)
    return [pid for pid, _, of_group, *_ in listing if pid != root and (pid in below or of_group == group)]


def marked() -> dict[str, list[int]]:
    """This login's processes by the pipes whose marks they carry; empty on systems without /proc."""
    found: dict[str, list[int]] = {}
    mark = b"%s=" % MARK.encode()
    for name in os.listdir("/proc") if LINUX else []:
        # The kernel shows environments only to their own login, and all of them to root; so the owner is checked.
        if name.isdigit() and int(name) != os.getpid() and owner("/proc/" + name) == os.getuid():
            environment = read_path("/proc/%s/environ" % name, LONGEST_ENVIRONMENT) or b""
            for word in {word for word in environment.split(b"\0") if word.startswith(mark)}:
                found.setdefault(word[len(mark) :].decode("utf-8", "replace"), []).append(int(name))
    return found


def owner(path: str) -> int:
    try:
        return os.stat(path).st_uid
    except OSError:
        return -1


def signal_group(group: int, number: int) -> None:
    attempt(os.killpg, group, number)


def kill_each(pids: list[int]) -> None:
    for pid in pids:
        attempt(os.kill, pid, signal.SIGKILL)

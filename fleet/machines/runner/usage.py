"""What a run uses of its machine: its processes, their memory, the bytes it put on the disk."""

from __future__ import annotations

import os
import time

from .facts import LINUX, owner, stat_fields, tree_of
from .files import read_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Optional

ENTRIES = 1000  # counted at one look: the supervisor has pipes to empty
RECOUNT_SECONDS = 60.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class Member:
    """One process of a run. ``depth``: generations below its first process."""

    def __init__(self, pid: int, depth: int) -> None:
        self.pid, self.depth = pid, depth
        fields = stat_fields(pid) if LINUX else None
        self.threads = int(fields[17]) if fields else 1
        self.resident = int(fields[21]) * PAGE if fields else 0
        self.life = (pid, fields[19] if fields else "")  # a pid may be used again

    def held(self) -> int:
        """Bytes that it really holds, swapped ones too: its share of pages that several processes have."""
        total = 0
        rollup = read_path("/proc/%d/smaps_rollup" % self.pid)
        if rollup is None:
            return self.resident if stat_fields(self.pid) else 0  # it ended meanwhile: it holds nothing
        for line in rollup.splitlines():
            if line.startswith((b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")):
                total += int(line.split()[1]) << 10
        return total

    def name(self) -> str:
        return (read_path("/proc/%d/comm" % self.pid) or b"").decode("utf-8", "replace").strip()

    def unlinked(self) -> int:
        """Bytes of files that it has open and that no directory shows any more."""
        total, place = 0, "/proc/%d/fd" % self.pid
        try:
            for name in os.listdir(place):
                file = os.stat("%s/%s" % (place, name))
                total += file.st_blocks * 512 if file.st_nlink == 0 else 0
        except OSError:
            pass  # it closed the file or ended meanwhile
        return total


def members_of(main: int) -> list[Member]:
    """The processes from ``main`` down."""
    if not LINUX:
        return [Member(pid, 0) for pid in tree_of(main)]
    found = [Member(main, 0)]
    for member in found:  # grows while it is read
        found += [Member(pid, member.depth + 1) for pid in children_of(member.pid)]
    return found


def children_of(pid: int) -> list[int]:
    """The children of each of its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            listed = read_path("/proc/%d/task/%s/children" % (pid, thread), 1 << 20) or b""
            found += [int(word) for word in listed.split()]
    except OSError:
        pass  # it ended meanwhile
    return found


def tasks_below() -> int:
    """As process 1 of a PID namespace: the other processes in it, each thread counted."""
    return sum(Member(int(name), 0).threads for name in os.listdir("/proc") if name.isdigit() and name != "1")


def tasks_of_login() -> int:
    """The processes of this login on the whole machine, each thread counted."""
    mine = [name for name in os.listdir("/proc") if name.isdigit() and owner("/proc/" + name) == os.getuid()]
    return sum(Member(int(name), 0).threads for name in mine)


class DiskUse:
    """Bytes under ``directories`` beyond what was there at the start.

    Counting takes a piece at each look. After the first count, the next begins once the disk has filled up by half
    of what the run may still write: it cannot have passed its limit before.
    """

    def __init__(self, directories: list[str]) -> None:
        self.directories = directories
        self.free = self.free_bytes()
        self.before = -1  # not counted yet
        self.grown = self.sum = 0
        self.counted_at = 0.0
        self.pieces: Optional[Iterator[int]] = sizes(directories)

    def free_bytes(self) -> int:
        try:
            disk = os.statvfs(self.directories[0])
        except (OSError, IndexError):
            return 0
        return disk.f_bavail * disk.f_frsize

    def step(self, limit: int, members: list[Member]) -> int:
        """Bytes that the run has added, as last counted."""
        now = time.monotonic()
        if self.pieces is None:
            free = self.free_bytes()
            if self.free - free < max(0, limit - self.grown) // 2 and now - self.counted_at < RECOUNT_SECONDS:
                return self.grown
            self.free, self.sum, self.pieces = free, 0, sizes(self.directories)
        for _ in range(ENTRIES):
            size = next(self.pieces, -1)
            if size < 0:
                self.pieces, self.counted_at = None, now
                self.before = self.sum if self.before < 0 else self.before
                self.grown = self.sum - self.before + sum(member.unlinked() for member in members)
                break
            self.sum += size
        return self.grown


def sizes(directories: list[str]) -> Iterator[int]:
    """The bytes of one file after the other, links not followed."""
    waiting = list(directories)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # what the run removes, or hides from us, while it is counted

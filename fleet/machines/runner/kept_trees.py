"""Checkouts that outlive their gate runs: taken by one run at a time, moved to its tree, and put back.

A run takes one by a rename, so that no two runs ever have the same, and one that was being moved when something was
killed is in no run's way. What it holds is only a hint: the supervisor hashes all of it before each run.
"""

from __future__ import annotations

import os
import stat
import time

from .files import read_exactly, read_path, remove, write_all, write_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .files import Json

TREE, UPPER, WORK, SPOILED = "tree", "upper", "work", "spoiled"
HOLDS = "holds"
MOST, UNUSED_DAYS = 4, 14
SPARE = 10  # per cent of the disk that stay free


def take(store: str, place: str, wanted: str) -> Json:
    """Makes one of the store's checkouts that of ``place``: one that holds the wanted tree, or the one used last.

    Returns the tree that it holds; empty: there was none.
    """
    remove_quietly(place)
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    for holds, _, path in sorted(listed(store), key=lambda each: (each[0] != wanted, -each[1])):
        try:
            os.rename(path, place)
        except OSError:
            continue  # another run was faster
        return {"tree": holds}
    return {"tree": ""}


def listed(store: str) -> list[tuple[str, float, str]]:
    """Each checkout of a store: the tree that it holds, when it was put there, and where it is."""
    found = []
    for name in names(store):
        path = os.path.join(store, name)
        holds = (read_path(os.path.join(path, HOLDS), 100) or b"").decode("ascii", "replace")
        try:
            found.append((holds, os.lstat(os.path.join(path, HOLDS)).st_mtime, path))
        except OSError:
            remove_quietly(path)  # half of one
    return found


def names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def put_back(store: str, place: str, tree: str) -> Json:
    """Keeps the checkout of a run that has ended, if it holds ``tree``. Otherwise removes it.

    What the run changed is in a layer of its own and goes. Without one, it could change the checkout.
    """
    if not tree or os.path.lexists(os.path.join(place, SPOILED)) or not room_left(place):
        return remove(place)
    for name in (UPPER, WORK):
        remove_quietly(os.path.join(place, name))
        if os.path.lexists(os.path.join(place, name)):
            return remove(place)
    try:
        write_path(os.path.join(place, HOLDS), tree.encode())
        os.makedirs(store, 0o700, exist_ok=True)
        os.rename(place, os.path.join(store, os.path.basename(place)))
    except OSError:
        return remove(place)
    trim(os.path.dirname(store))
    return {"ok": True}


def room_left(place: str) -> bool:
    disk = os.statvfs(place)
    return disk.f_bavail * 100 > disk.f_blocks * SPARE


def trim(stores: str) -> None:
    """Removes what was not used for long, and all but the newest of each repository."""
    oldest = time.time() - UNUSED_DAYS * 86400
    for repository in names(stores):
        newest_first = sorted(listed(os.path.join(stores, repository)), key=lambda each: -each[1])
        for number, (_, used, path) in enumerate(newest_first):
            if number >= MOST or used < oldest:
                gone = path + ".old"
                try:
                    os.rename(path, gone)
                except OSError:
                    continue  # a run has taken it
                remove_quietly(gone)


def remove_quietly(path: str) -> None:
    if os.path.lexists(path):
        remove(path)


# --- moving one to another tree ------------------------------------------------------------------------


def move(place: str, read: Callable[[int], bytes]) -> Json:
    """Changes a checkout as the controller says: for each path a line ``MODE LENGTH SIZE``, the path, the bytes.

    The mode 0 removes; all that is removed comes first. A line without words ends it.
    """
    os.umask(0o022)
    remove_quietly(os.path.join(place, HOLDS))
    tree = Tree(os.path.join(place, TREE))
    while True:
        line = b""
        while not line.endswith(b"\n"):
            more = read(1)
            if not more:
                return {"error": "unavailable", "cause": "the difference between the trees was cut short"}
            line += more
        words = line.split()
        if not words:
            return {"ok": True}
        mode, length, size = (int(word) for word in words)
        path = os.fsdecode(read(length))
        if mode:
            tree.put(path, mode, size, read)
        else:
            tree.drop(path)


class Tree:
    """A checkout that is being changed. No path of it may lead out of it."""

    def __init__(self, top: str) -> None:
        self.top = os.path.realpath(top)
        self.known = {""}

    def within(self, path: str, make: bool) -> str:
        """The full path, its directories made where they are missing."""
        parts = path.split("/")
        if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
            raise OSError("%r cannot be a path of a checkout" % path)
        directory = os.path.dirname(path)
        if directory not in self.known:
            whole = os.path.join(self.top, directory)
            if make:
                os.makedirs(whole, exist_ok=True)
            if os.path.realpath(whole) != whole:
                raise OSError("%r is behind a link" % path)
            self.known.add(directory)
        return os.path.join(self.top, path)

    def drop(self, path: str) -> None:
        """Removes a file, and the directories that are empty without it."""
        whole = self.within(path, make=False)
        os.unlink(whole)
        above = os.path.dirname(whole)
        while above != self.top:
            try:
                os.rmdir(above)
            except OSError:
                break
            self.known.discard(os.path.relpath(above, self.top))
            above = os.path.dirname(above)

    def put(self, path: str, mode: int, size: int, read: Callable[[int], bytes]) -> None:
        """Writes a file or a link anew."""
        whole = self.within(path, make=True)
        if os.path.lexists(whole):
            os.unlink(whole)
        if stat.S_ISLNK(mode):
            return os.symlink(read(size), os.fsencode(whole))
        fd = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o777 if mode & 0o100 else 0o666)
        try:
            while size:
                data = read(min(size, 1 << 20))
                if not data:
                    raise OSError("the difference between the trees was cut short")
                write_all(fd, data)
                size -= len(data)
        finally:
            os.close(fd)
        return None


class Reader:
    """Reads a descriptor in large pieces, and gives exactly what is asked for."""

    def __init__(self, fd: int) -> None:
        self.fd, self.data, self.at = fd, b"", 0

    def __call__(self, size: int) -> bytes:
        if self.at == len(self.data):
            self.data, self.at = os.read(self.fd, 1 << 16), 0
        found = self.data[self.at : self.at + size]
        self.at += len(found)
        return found if len(found) == size else found + self.rest(size - len(found))

    def rest(self, size: int) -> bytes:
        """What is still missing when a piece has ended."""
        return read_exactly(self.fd, size) if self.at == len(self.data) else b""

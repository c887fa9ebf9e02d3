"""The tree check: a directory's git object ids, computed with hashlib, by several processes for many files."""

from __future__ import annotations

import os
import stat
import time

from .files import read_exactly, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    Hashed = tuple[bytes, str, os.stat_result]
    """A file's path in bytes and in text, and what the listing found."""

MANY, MOST_PROCESSES = 1_000, 4
IN_ONE_PIECE = 1 << 20
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def check(
    expected: Sequence[Sequence[str]],
    beside: Collection[str] = (),
    large: Collection[str] = (),
    kept: str = "",
    submodules: Sequence[Sequence[str]] = (),
) -> tuple[str, str]:
    """The first directory's tree id, and why one of them is not what it should be; empty where all are.

    ``beside``: paths in them that are left out. ``large``: full paths of files that the tree has pointers of Git
    LFS for. ``kept``: a directory that was there before, whose files are made to look as just written.
    ``submodules``: full path, commit and that commit's tree of each directory that the tree has a commit for; an
    empty tree: nothing is in its place.
    """
    first, links = "", {path: (commit, tree) for path, commit, tree in submodules}
    for number, (directory, wanted) in enumerate(expected):
        now = time.time_ns() if kept and directory == kept else 0
        try:
            found = TreeHash(len(wanted), beside, frozenset(large), now, links).of(directory)
        except OSError as error:
            return first, "the tree could not be read: %s" % error
        first = found if number == 0 else first
        if found != wanted:
            return first, "the directory holds tree %s, not %s" % (found or "(empty)", wanted)
    return first, ""


def pointer_to(path: str) -> bytes:
    """What Git LFS stores in a tree for this file."""
    import hashlib

    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
            size += len(chunk)
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (digest.hexdigest(), size)
    return text.encode()


class TreeHash:
    """Computes the git tree id of a directory on disk, unfiltered; "" when it has no files.

    The directory is listed first, then the files are hashed, then the trees. ``now``: in nanoseconds, the time of
    change that each file gets; 0: it keeps its own. ``links``: the commit and its tree of each submodule, by full
    path.
    """

    def __init__(
        self,
        length: int,
        beside: Collection[str],
        large: Collection[str],
        now: int,
        links: Mapping[str, tuple[str, str]],
    ) -> None:
        import hashlib

        self.new: Any = hashlib.sha1 if length == 40 else hashlib.sha256
        self.length, self.beside, self.large, self.now, self.links = length, beside, large, now, links
        self.files: list[Hashed] = []

    def of(self, directory: str) -> str:
        listed = self.listed(directory, "")
        return self.tree(listed, iter(self.hashed()), top=True)

    def listed(self, directory: str, at: str) -> list[Any]:
        """The entries of a directory, in the listing's order: name, mode, and for a directory its own entries; for
        a submodule its commit and tree, and these.

        ``at``: where it is in the whole tree, with a slash at the end.
        """
        entries: list[Any] = []
        with os.scandir(os.fsencode(directory)) as listing:
            for entry in listing:
                name = os.fsdecode(entry.name)
                path = at + name
                if path == ".git" or path in self.beside:
                    continue
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    whole = os.path.join(directory, name)
                    inside = self.listed(whole, path + "/")
                    if whole in self.links:
                        entries.append((entry.name, b"160000", (self.links[whole], inside)))
                    else:
                        entries.append((entry.name, b"40000", inside))
                elif stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                    mode = b"100755" if info.st_mode & stat.S_IXUSR else b"100644"
                    entries.append((entry.name, b"120000" if stat.S_ISLNK(info.st_mode) else mode, None))
                    self.files.append((entry.path, os.path.join(directory, name), info))
                else:
                    # A device or socket: not possible in a git tree, so the ids must differ
                    entries.append((entry.name, b"0", None))
        return entries

    def hashed(self) -> list[bytes]:
        """The digest of each file, in the order of the listing. Each process has every so many-th of them."""
        processes = min(MOST_PROCESSES, os.cpu_count() or 1) if len(self.files) >= MANY else 1
        others = []
        for number in range(1, processes):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    write_all(writer, b"".join(map(self.digest, self.files[number::processes])))
                finally:
                    os._exit(0)  # what it could not hash is missing from what it wrote
            os.close(writer)
            others.append((number, pid, reader))
        found: list[bytes] = [b""] * len(self.files)
        try:
            found[0::processes] = map(self.digest, self.files[0::processes])
        finally:
            size = self.length // 2
            for number, pid, reader in others:
                count = len(self.files[number::processes])
                data = read_exactly(reader, count * size)
                os.close(reader)
                os.waitpid(pid, 0)
                digests = [data[at : at + size] for at in range(0, len(data), size)]
                if len(data) != count * size:
                    digests = list(map(self.digest, self.files[number::processes]))  # its error, or the right ones
                found[number::processes] = digests
        return found

    def digest(self, file: Hashed) -> bytes:
        """A file's blob id."""
        path, text, info = file
        if stat.S_ISLNK(info.st_mode):
            target = os.readlink(path)
            return bytes(self.new(b"blob %d\0" % len(target) + target).digest())
        if text in self.large:
            pointer = pointer_to(text)
            return bytes(self.new(b"blob %d\0" % len(pointer) + pointer).digest())
        fd = os.open(path, READ)
        try:
            digest = self.new(b"blob %d\0" % info.st_size)
            wanted = min(info.st_size, IN_ONE_PIECE) + 1
            data = os.read(fd, wanted)
            while len(data) == wanted:
                digest.update(data)
                data = os.read(fd, wanted)
            digest.update(data)  # less than was asked for: the end of the file
            if self.now:
                os.utime(fd, ns=(self.now, self.now))
        finally:
            os.close(fd)
        return bytes(digest.digest())

    def tree(self, entries: list[Any], digests: Any, top: bool = False) -> str:
        """The id of a directory, from its entries and the digests of the files in it and below."""
        lines = []
        for name, mode, inside in entries:
            if mode == b"160000":
                (commit, recorded), listed = inside
                found = self.tree(listed, digests)
                link = bytes.fromhex(commit) if found == recorded else bytes(self.length // 2)
                lines.append((name, mode + b" " + name + b"\0" + link))
            elif inside is not None:
                found = self.tree(inside, digests)
                if found:
                    lines.append((name + b"/", mode + b" " + name + b"\0" + bytes.fromhex(found)))
            else:
                digest = bytes(self.length // 2) if mode == b"0" else next(digests)
                lines.append((name, mode + b" " + name + b"\0" + digest))
        if not lines and not top:
            return ""
        body = b"".join(line for _, line in sorted(lines))
        return str(self.new(b"tree %d\0" % len(body) + body).hexdigest())

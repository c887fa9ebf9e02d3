"""The tree check: a directory's git object ids, computed with hashlib."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def check(
    expected: Sequence[Sequence[str]], beside: Collection[str] = (), large: Collection[str] = ()
) -> tuple[str, str]:
    """The first directory's tree id, and why one of them is not what it should be; empty where all are.

    ``beside``: paths in them that are left out. ``large``: see ``tree_id``.
    """
    large = frozenset(large)
    first = ""
    for number, (directory, wanted) in enumerate(expected):
        try:
            found = tree_id(directory, len(wanted), beside, large)
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


def tree_id(
    directory: str, length: int, beside: Collection[str] = (), large: Collection[str] = (), at: str = ""
) -> str:
    """The git tree id of a directory on disk, unfiltered; "" when it has no files.

    ``beside``: paths in it that are left out. ``large``: full paths of files that the tree has pointers of Git LFS
    for. ``at``: where it is in the whole tree, with a slash at the end.
    """
    import hashlib

    new = hashlib.sha1 if length == 40 else hashlib.sha256
    entries = []
    with os.scandir(os.fsencode(directory)) as listing:
        for entry in listing:
            path = at + os.fsdecode(entry.name)
            if path == ".git" or path in beside:
                continue
            info = entry.stat(follow_symlinks=False)
            sort_name = entry.name
            if stat.S_ISDIR(info.st_mode):
                mode, name = b"40000", tree_id(os.fsdecode(entry.path), length, beside, large, path + "/")
                if not name:
                    continue
                sort_name += b"/"
            elif stat.S_ISLNK(info.st_mode):
                target = os.readlink(entry.path)
                mode, name = b"120000", new(b"blob %d\0" % len(target) + target).hexdigest()
            elif stat.S_ISREG(info.st_mode):
                mode = b"100755" if info.st_mode & stat.S_IXUSR else b"100644"
                if os.fsdecode(entry.path) in large:
                    text = pointer_to(os.fsdecode(entry.path))
                    digest = new(b"blob %d\0" % len(text) + text)
                else:
                    digest = new(b"blob %d\0" % info.st_size)
                    with open(entry.path, "rb") as file:
                        for chunk in iter(lambda: file.read(1 << 20), b""):
                            digest.update(chunk)
                name = digest.hexdigest()
            else:
                # A device or socket: not possible in a git tree, so the ids must differ
                mode, name = b"0", "0" * length
            entries.append((sort_name, mode + b" " + entry.name + b"\0" + bytes.fromhex(name)))
    if not entries and at:
        return ""
    body = b"".join(line for _, line in sorted(entries))
    return str(new(b"tree %d\0" % len(body) + body).hexdigest())

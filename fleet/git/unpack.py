"""Takes a tree out of a pack that an agent's login handed over: a process of its own, with limits.

Standard library only, and run by path with ``-I -S``, so that it starts in milliseconds and imports nothing from
outside. Parameters are one JSON object on standard input (see ``main``), the answer is one on standard output:
``{"new_objects": n, "paths": n}`` or ``{"refused": why}``. The caller bounds the time on the wall.

Nothing reaches the mirror before everything was checked, and then only the objects that the one expected tree
reaches. Objects are checked by what their bytes hash to; names and history from the machine are never looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TREE, _LINK, _SUBMODULE = b"40000", b"120000", b"160000"
_MODES = (_TREE, b"100644", b"100755", _LINK)
_PATH_LIMIT = 4096
_NAME_LIMIT = 255
_MEMORY = 3 << 30
#: Characters that HFS+ leaves out when it compares names.
_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


class No(Exception):
    """The pack is refused; the argument says why, for a person."""


def shown(path: bytes) -> str:
    """A path for a message: one line, no control characters, at most 200 characters."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)[:200]


def odd_name(name: bytes) -> str:
    """Why a file must not have this name in a tree we take; empty when it may.

    Anything that some file system reads as ``.git`` is refused, as are names that leave their directory.
    Control characters, quotes and invalid UTF-8 are legal in git and harmless to us.
    """
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return "is no file name"
    if len(name) > _NAME_LIMIT:
        return f"is longer than {_NAME_LIMIT} bytes"
    text = name.decode("utf-8", "ignore").translate(_HFS_IGNORED)
    for part in unicodedata.normalize("NFKC", text).casefold().split("\\"):
        plain = part.split(":")[0].rstrip(" .")
        if plain in (".git", "git~1") or part.rstrip(" ") == "..":
            return "is one that some file systems read as .git or as the parent directory"
    return ""


def leaves_tree(target: bytes, depth: int) -> bool:
    """Whether a symbolic link in a directory ``depth`` levels below the root points out of the tree.

    ``..`` is understood only at the beginning: after a name it would depend on what that name links to.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    return target.startswith(b"/") or b"\0" in target or ups > depth or b".." in parts[ups:]


def entries(tree: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    """Mode, name and object id of each entry of a raw tree object."""
    at = 0
    while at < len(tree):
        space, end = tree.find(b" ", at), tree.find(b"\0", at)
        if space < 0 or end < space or end + 21 > len(tree):
            raise No("a tree is malformed")
        yield tree[at:space], tree[space + 1 : end], tree[end + 1 : end + 21].hex()
        at = end + 21


class Objects:
    """Reads objects of the quarantine and the mirror through one ``git cat-file``."""

    def __init__(self, git: list[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*git, "cat-file", "--batch-command", "--buffer"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def _ask(self, verb: str, object_id: str) -> tuple[str, int]:
        talk, answer = self._process.stdin, self._process.stdout
        assert talk is not None and answer is not None
        talk.write(f"{verb} {object_id}\nflush\n".encode())
        talk.flush()
        words = answer.readline().decode("ascii", "replace").split()
        if len(words) != 3:
            return "missing", 0
        return words[1], int(words[2])

    def size(self, object_id: str, kind: str, path: bytes) -> int:
        """The object's size in bytes, when it is there and of the right kind."""
        found, size = self._ask("info", object_id)
        if found != kind:
            raise No(f"the tree is not complete: {shown(path) or 'its root'} is {found}, not a {kind}")
        return size

    def read(self, object_id: str, kind: str, path: bytes, limit: int) -> bytes:
        """The object's bytes, at most ``limit`` of them."""
        if self.size(object_id, kind, path) > limit:
            raise No(f"{shown(path) or 'the root tree'} is bigger than {limit} bytes")
        _, size = self._ask("contents", object_id)
        assert self._process.stdout is not None
        data = self._process.stdout.read(size + 1)
        return data[:-1]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def walk(objects: Objects, tree: str, base_tree: str, limits: dict[str, int]) -> tuple[list[str], int]:
    """Checks all that ``tree`` reaches and ``base_tree`` has not at the same path.

    Answers the ids it saw, the root's first, and how many paths there are. Bytes are counted once for each path,
    since that is what a checkout writes.
    """
    seen = {tree: None}
    paths = total = 0
    todo = [(b"", 0, tree, base_tree)]
    while todo:
        where, depth, new, old = todo.pop()
        before = _directory(objects, old, where, limits) if old else {}
        for name, (mode, object_id) in _directory(objects, new, where, limits).items():
            if before.get(name) == (mode, object_id):
                continue
            path = where + name
            paths += 1
            if paths > limits["paths"]:
                raise No(f"more than {limits['paths']} changed paths")
            if why := odd_name(name):
                raise No(f"the name {shown(path)!r} {why}")
            if len(path) > _PATH_LIMIT:
                raise No(f"a path is longer than {_PATH_LIMIT} bytes: {shown(path)!r}")
            if mode == _SUBMODULE:
                raise No(f"{shown(path)!r} is a git repository inside the workspace (a submodule)")
            if mode not in _MODES:
                raise No(f"{shown(path)!r} has the mode {shown(mode)}")
            seen[object_id] = None
            if mode == _TREE:
                old_mode, old_id = before.get(name, (b"", ""))
                todo.append((path + b"/", depth + 1, object_id, old_id if old_mode == _TREE else ""))
                continue
            total += objects.size(object_id, "blob", path)
            if total > limits["bytes"]:
                raise No(f"more than {limits['bytes']} bytes of changed files")
            if mode == _LINK and leaves_tree(objects.read(object_id, "blob", path, _PATH_LIMIT), depth):
                raise No(f"the symbolic link {shown(path)!r} points out of the repository")
    return list(seen), paths


def _directory(objects: Objects, tree: str, where: bytes, limits: dict[str, int]) -> dict[bytes, tuple[bytes, str]]:
    raw = objects.read(tree, "tree", where, 64 * limits["paths"] + (64 << 20))
    found = {name: (mode, object_id) for mode, name, object_id in entries(raw)}
    if len(found) != sum(1 for _ in entries(raw)):
        raise No(f"two files have one name in {shown(where)!r}")
    return found


def unpack(asked: dict[str, Any], quarantine: str) -> dict[str, int]:
    """Does the work; see ``main`` for what is asked. Raises ``No``."""
    limits: dict[str, int] = asked["limits"]
    git, mirror = asked["git"], Path(asked["mirror"])
    env = asked["env"] | {
        "GIT_DIR": str(mirror),
        "GIT_OBJECT_DIRECTORY": quarantine,
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(mirror / "objects"),
    }
    Path(quarantine, "pack").mkdir()
    with Path(asked["pack"]).open("rb") as pack:
        os.lseek(pack.fileno(), asked["offset"], os.SEEK_SET)
        header = os.read(pack.fileno(), 12)
        if len(header) != 12 or header[:4] != b"PACK" or struct.unpack(">I", header[4:8])[0] not in (2, 3):
            raise No("what came is not a pack")
        count = struct.unpack(">I", header[8:12])[0]
        if count > limits["objects"]:
            raise No(f"{count} objects, and {limits['objects']} are allowed")
        os.lseek(pack.fileno(), asked["offset"], os.SEEK_SET)
        if count:
            _git(
                [*git, "index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1",
                 f"--max-input-size={limits['bytes'] + 4096}"],
                env, stdin=pack,
            )  # fmt: skip
    objects = Objects(git, env)
    try:
        seen, paths = walk(objects, asked["tree"], asked["base_tree"], limits)
    finally:
        objects.close()
    packs = mirror / "objects" / "pack"
    packs.mkdir(exist_ok=True)
    listed = "".join(f"{object_id}\n" for object_id in seen).encode()
    made = _git(
        [*git, "pack-objects", "-q", "--local", "--non-empty", "--threads=1", str(packs / "pack")], env, data=listed
    )
    return {"new_objects": len(seen) if made else 0, "paths": paths}


def _git(argv: list[str], env: dict[str, str], *, stdin: Any = None, data: bytes | None = None) -> bytes:
    ended = subprocess.run(argv, env=env, stdin=stdin, input=data, capture_output=True, check=False)
    if ended.returncode:
        words = ended.stderr.decode("utf-8", "backslashreplace").strip()[-400:]
        raise No(words or f"git ended with status {ended.returncode}, most likely at a limit")
    return ended.stdout


def _limit(limits: dict[str, int]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * limits["bytes"] + (64 << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def main() -> int:
    """Reads ``{git: [argv], env, mirror, pack, offset, tree, base_tree, limits}`` and does it.

    ``limits`` are integers: bytes (of the pack, and of changed files), objects, paths, seconds (of CPU).
    """
    asked = json.load(sys.stdin)
    _limit(asked["limits"])
    quarantine = tempfile.mkdtemp(prefix="quarantine-", dir=asked["mirror"])
    try:
        answer: dict[str, Any] = unpack(asked, quarantine)
    except No as no:
        answer = {"refused": str(no)}
    finally:
        shutil.rmtree(quarantine, ignore_errors=True)
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Extracts a tree from a pack that an agent's login sent: a separate process with limits.

Run by path with ``-I -S -E``, so that it imports nothing from outside. It is started at the end of each turn, and a
start is mostly imports: it does without ``json``, ``subprocess``, ``pathlib`` and their like. Parameters are one
dictionary on standard input, as ``marshal`` writes it (see ``main``); the result is one of JSON on standard output:
``{"new_objects": n, "paths": n}`` or ``{"refused": why}``. The caller limits the wall-clock time.

Nothing reaches the mirror before everything is checked, and then only the objects that the expected tree reaches.
Objects are identified by the hash of their bytes; names and history from the machine are ignored.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_TREE, _LINK, _SUBMODULE = b"40000", b"120000", b"160000"
_MODES = (_TREE, b"100644", b"100755", _LINK)
_PATH_LIMIT = 4096
_NAME_LIMIT = 255
_MEMORY = 3 << 30
_IGNORED = (13, 25)  # SIGPIPE and SIGXFSZ: Python ignores them, and its children would too
#: Characters that HFS+ ignores when it compares names.
_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


class PackRefused(Exception):
    """The pack is refused; the argument says why, for a person."""


def printable(path: bytes) -> str:
    """A path for a message: one line, no control characters, at most 200 characters."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)[:200]


def name_problem(name: bytes) -> str:
    """Why a file must not have this name in a tree we accept; empty when it may.

    Refuses anything that some file system reads as ``.git``, and names that leave their directory. Control
    characters, quotes and invalid UTF-8 are legal in git and harmless to us.
    """
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return "is not a file name"
    if len(name) > _NAME_LIMIT:
        return f"is longer than {_NAME_LIMIT} bytes"
    text = name.decode("utf-8", "ignore").translate(_HFS_IGNORED)
    if not text.isascii():
        import unicodedata  # only where it matters: it is large

        text = unicodedata.normalize("NFKC", text)
    for part in text.casefold().split("\\"):
        plain = part.split(":")[0].rstrip(" .")
        if plain in (".git", "git~1") or part.rstrip(" ") == "..":
            return "is one that some file systems read as .git or as the parent directory"
    return ""


def leaves_tree(target: bytes, depth: int) -> bool:
    """Whether a symbolic link in a directory ``depth`` levels below the root points out of the tree.

    ``..`` is only understood at the start: after a name it would depend on what that name links to.
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
            raise PackRefused("a tree is malformed")
        yield tree[at:space], tree[space + 1 : end], tree[end + 1 : end + 21].hex()
        at = end + 21


class Objects:
    """Reads objects of the quarantine and the mirror through one ``git cat-file``."""

    def __init__(self, git: list[str], env: dict[str, str]) -> None:
        questions, self._talk = os.pipe()
        answers, said = os.pipe()
        self._pid = _spawn([*git, "cat-file", "--batch-command", "--buffer"], env, (questions, said, 2))
        os.close(questions)
        os.close(said)
        self._answers = open(answers, "rb")  # noqa: SIM115 - close() closes it

    def _ask(self, verb: str, object_id: str) -> tuple[str, int]:
        os.write(self._talk, f"{verb} {object_id}\nflush\n".encode())
        words = self._answers.readline().decode("ascii", "replace").split()
        if len(words) != 3:
            return "missing", 0
        return words[1], int(words[2])

    def size(self, object_id: str, kind: str, path: bytes) -> int:
        """The object's size in bytes; it must exist and have the right kind."""
        found, size = self._ask("info", object_id)
        if found != kind:
            raise PackRefused(f"the tree is not complete: {printable(path) or 'its root'} is {found}, not a {kind}")
        return size

    def read(self, object_id: str, kind: str, path: bytes, limit: int) -> bytes:
        """The object's bytes, at most ``limit`` of them."""
        if self.size(object_id, kind, path) > limit:
            raise PackRefused(f"{printable(path) or 'the root tree'} is bigger than {limit} bytes")
        _, size = self._ask("contents", object_id)
        data = self._answers.read(size + 1)
        return data[:-1]

    def close(self) -> None:
        os.close(self._talk)  # it ends at the end of its input
        self._answers.close()
        os.waitpid(self._pid, 0)


def walk(objects: Objects, tree: str, base_tree: str, limits: dict[str, int]) -> tuple[list[str], int]:
    """Checks everything that ``tree`` reaches and ``base_tree`` does not have at the same path.

    Returns the ids it saw, the root's first, and the number of paths. Bytes are counted once for each path, since
    that is what a checkout writes.
    """
    seen = {tree: None}
    paths = total = 0
    named = b".gitmodules" in _directory(objects, tree, b"", limits)
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
                raise PackRefused(f"more than {limits['paths']} changed paths")
            if why := name_problem(name):
                raise PackRefused(f"the name {printable(path)!r} {why}")
            if len(path) > _PATH_LIMIT:
                raise PackRefused(f"a path is longer than {_PATH_LIMIT} bytes: {printable(path)!r}")
            if mode == _SUBMODULE and named:
                continue  # its commit is no object of this repository: who asked knows what .gitmodules says
            if mode == _SUBMODULE:
                raise PackRefused(f"{printable(path)!r} is a git repository inside the workspace")
            if mode not in _MODES:
                raise PackRefused(f"{printable(path)!r} has the mode {printable(mode)}")
            seen[object_id] = None
            if mode == _TREE:
                old_mode, old_id = before.get(name, (b"", ""))
                todo.append((path + b"/", depth + 1, object_id, old_id if old_mode == _TREE else ""))
                continue
            total += objects.size(object_id, "blob", path)
            if total > limits["bytes"]:
                raise PackRefused(f"more than {limits['bytes']} bytes of changed files")
            if mode == _LINK and leaves_tree(objects.read(object_id, "blob", path, _PATH_LIMIT), depth):
                raise PackRefused(f"the symbolic link {printable(path)!r} points out of the repository")
    return list(seen), paths


def _directory(objects: Objects, tree: str, where: bytes, limits: dict[str, int]) -> dict[bytes, tuple[bytes, str]]:
    raw = objects.read(tree, "tree", where, 64 * limits["paths"] + (64 << 20))
    found = {name: (mode, object_id) for mode, name, object_id in entries(raw)}
    if len(found) != sum(1 for _ in entries(raw)):
        raise PackRefused(f"two files have the same name in {printable(where)!r}")
    return found


def unpack(asked: dict[str, Any]) -> dict[str, int]:
    """Does the work; ``main`` lists the parameters. Raises ``PackRefused``."""
    limits: dict[str, int] = asked["limits"]
    git, quarantine, objects_of = asked["git"], asked["quarantine"], os.path.join(asked["mirror"], "objects")
    env = asked["env"] | {
        "GIT_DIR": asked["mirror"],
        "GIT_OBJECT_DIRECTORY": os.path.join(quarantine, "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects_of,
    }
    os.makedirs(os.path.join(quarantine, "objects", "pack"))
    pack = os.open(asked["pack"], os.O_RDONLY)
    try:
        os.lseek(pack, asked["offset"], os.SEEK_SET)
        header = os.read(pack, 12)
        if len(header) != 12 or header[:4] != b"PACK" or int.from_bytes(header[4:8], "big") not in (2, 3):
            raise PackRefused("the data is not a pack")
        count = int.from_bytes(header[8:12], "big")
        if count > limits["objects"]:
            raise PackRefused(f"{count} objects; only {limits['objects']} are allowed")
        os.lseek(pack, asked["offset"], os.SEEK_SET)
        if count:
            _git(
                [*git, "index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1",
                 f"--max-input-size={limits['bytes'] + 4096}"],
                env, pack, quarantine,
            )  # fmt: skip
    finally:
        os.close(pack)
    objects = Objects(git, env)
    try:
        seen, paths = walk(objects, asked["tree"], asked["base_tree"], limits)
    finally:
        objects.close()
    packs = os.path.join(objects_of, "pack")
    os.makedirs(packs, exist_ok=True)
    listed = os.open(os.path.join(quarantine, "listed"), os.O_RDWR | os.O_CREAT, 0o600)
    with open(listed, "wb", closefd=False) as file:
        file.writelines(f"{object_id}\n".encode() for object_id in seen)
    os.lseek(listed, 0, os.SEEK_SET)
    made = _git(
        [*git, "pack-objects", "-q", "--local", "--non-empty", "--threads=1", os.path.join(packs, "pack")],
        env, listed, quarantine,
    )  # fmt: skip
    return {"new_objects": len(seen) if made else 0, "paths": paths}


def _git(argv: list[str], env: dict[str, str], stdin: int, room: str) -> bytes:
    """Runs git to its end, and answers its output. Raises ``PackRefused`` with its words."""
    out, err = (
        os.open(os.path.join(room, name), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) for name in ("out", "err")
    )
    _, status = os.waitpid(_spawn(argv, env, (stdin, out, err)), 0)
    said, words = (_whole(each) for each in (out, err))
    if status:
        code = os.waitstatus_to_exitcode(status)
        text = words.decode("utf-8", "backslashreplace").strip()[-400:]
        raise PackRefused(text or f"git ended with status {code}, most likely at a limit")
    return said


def _spawn(argv: list[str], env: dict[str, str], streams: tuple[int, int, int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in enumerate(streams)]
    return os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsigdef=_IGNORED)


def _whole(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read(1 << 20)


def _limit(limits: dict[str, int]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * limits["bytes"] + (64 << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ValueError, OSError):
        pass


def _as_json(text: str) -> str:
    """A string of JSON, in ASCII."""
    units = text.encode("utf-16-be", "surrogatepass")
    return '"%s"' % "".join("\\u%s" % units[at : at + 2].hex() for at in range(0, len(units), 2))


def main() -> int:
    """Reads ``{git: [argv], env, mirror, quarantine, pack, offset, tree, base_tree, limits}`` and does the work.

    ``quarantine`` is an empty directory of its own; the caller removes it, since a limit may end us anywhere.
    ``limits`` are integers: bytes (of the pack, and of changed files), objects, paths, seconds (of CPU).
    """
    asked: dict[str, Any] = marshal.load(sys.stdin.buffer)
    _limit(asked["limits"])
    try:
        done = unpack(asked)
        answer = '{"new_objects": %d, "paths": %d}' % (done["new_objects"], done["paths"])
    except PackRefused as no:
        answer = '{"refused": %s}' % _as_json(str(no))
    sys.stdout.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())

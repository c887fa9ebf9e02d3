"""Lists trees and compares them, from the bytes of their objects: no process a question.

An object's bytes follow from its id, so that what was found in a tree once is true for ever.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from fleet.errors import Refused, Unavailable
from fleet.git.changes import ChangedPath
from fleet.git.objects import COMMIT_BYTES, ObjectKind, ObjectReader, header

ATTRIBUTES: Final = ".gitattributes"
_TREE_BYTES: Final = 64 << 20
_MOST_PATHS: Final = 2_000_000  # directories too
_LONGEST_PATH: Final = 4096
_SURVEYS: Final = 32
SUBMODULE: Final = "160000"
_TREE, _LINK, _FILE, _PROGRAM = "040000", "120000", "100644", "100755"
_NO_FILES: Final = {"120000": "a symbolic link", "40000": "a directory", "160000": "a submodule"}

_Listed = dict[str, "TreeEntry"]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path of a tree: git's mode (``100644``, ``120000``, …) and the object's id."""

    mode: str
    id: str


@dataclass(frozen=True, slots=True)
class TreeSurvey:
    """What is looked for again and again in a tree: its ``.gitattributes``, and the commits of its submodules, both
    by path."""

    attributes: Mapping[str, str]
    submodules: Mapping[str, str]


async def listing(objects: ObjectReader, commit: str) -> dict[str, TreeEntry]:
    """Every path of a commit or tree, in git's order, without directories.

    Bytes that are not UTF-8 become surrogate escapes. Raises ``Refused`` for more paths, or a longer one, than
    anybody has: a few small trees can stand for billions.
    """
    root = await _root(objects, commit)
    trees: dict[str, _Listed] = {}
    level = [root]
    while level:
        trees |= await _read(objects, level)
        inside = (entry.id for each in level for entry in trees[each].values() if entry.mode == _TREE)
        level = [each for each in dict.fromkeys(inside) if each not in trees]
    paths: dict[str, TreeEntry] = {}
    for count, (path, entry) in enumerate(_walk(trees, root)):
        _check(commit, count, path)
        if entry.mode != _TREE:
            paths[path] = entry
    return paths


def _walk(trees: Mapping[str, _Listed], root: str) -> Iterator[tuple[str, TreeEntry]]:
    """Files and directories."""
    stack = [("", iter(trees[root].items()))]
    while stack:
        prefix, rest = stack[-1]
        for name, entry in rest:
            yield prefix + name, entry
            if entry.mode == _TREE:
                stack.append((f"{prefix}{name}/", iter(trees[entry.id].items())))
                break
        else:
            stack.pop()


async def entry_at(objects: ObjectReader, commit: str, path: str) -> TreeEntry | None:
    """What is at a path in a commit or tree; ``None``: nothing."""
    found = TreeEntry(_TREE, await _root(objects, commit))
    for name in path.split("/"):
        if found.mode != _TREE:
            return None
        inside = (await _read(objects, [found.id]))[found.id].get(name)
        if inside is None:
            return None
        found = inside
    return found


async def instead_of_file(objects: ObjectReader, commit: str, path: str) -> str:
    """What is at a path where no regular file is: a link, a directory or a submodule; empty: nothing."""
    entry = await entry_at(objects, commit, path)
    return "" if entry is None else _NO_FILES.get(entry.mode.lstrip("0"), "")


async def directory(objects: ObjectReader, tree: str) -> dict[str, TreeEntry]:
    """What is in one directory: files, links, submodules and other directories, by name."""
    return (await _read(objects, [tree]))[tree]


async def survey(objects: ObjectReader, commit: str) -> TreeSurvey:
    """What a commit or tree has of what is looked for again and again."""
    root = await _root(objects, commit)
    kept = _surveys.setdefault(objects, OrderedDict())
    if root not in kept:
        paths = await listing(objects, root)
        kept[root] = TreeSurvey(
            {
                path: entry.id
                for path, entry in paths.items()
                if path.rpartition("/")[2] == ATTRIBUTES and entry.mode.startswith("100")
            },
            {path: entry.id for path, entry in paths.items() if entry.mode == SUBMODULE},
        )
        while len(kept) > _SURVEYS:
            kept.popitem(last=False)
    kept.move_to_end(root)
    return kept[root]


_surveys: WeakKeyDictionary[ObjectReader, OrderedDict[str, TreeSurvey]] = WeakKeyDictionary()


async def differences(objects: ObjectReader, old: str, new: str) -> list[ChangedPath]:
    """What differs between two commits or trees, as ``git diff-tree -r --no-renames`` says it.

    Raises ``Refused`` as :func:`listing` does.
    """
    pairs = await _compared(objects, old, new)
    found = [ChangedPath(status, path) for path, was, now in pairs if (status := _status(was, now))]
    return sorted(found, key=lambda each: os.fsencode(each.path))


async def replaced(objects: ObjectReader, old: str, new: str) -> dict[str, TreeEntry | None]:
    """The paths of files and links that differ between two trees, and what the new one has there."""
    pairs = await _compared(objects, old, new)
    return {path: _file(now) for path, was, now in pairs if _file(was) or _file(now)}


async def _compared(
    objects: ObjectReader, old: str, new: str
) -> list[tuple[str, TreeEntry | None, TreeEntry | None]]:
    """Each path at which two trees differ, directories too, with what is there before and after."""
    found: list[tuple[str, TreeEntry | None, TreeEntry | None]] = []
    level = [("", await _root(objects, old), await _root(objects, new))]
    if level[0][1] == level[0][2]:
        return []
    count = 0
    while level:
        trees = await _read(objects, [each for _, *both in level for each in both if each])
        inside = []
        for prefix, before, after in level:
            for name, was, now in _pairs(trees.get(before, {}), trees.get(after, {})):
                path, deep = prefix + name, (_tree(was), _tree(now))
                _check(new, count := count + 1, path)
                if any(deep):
                    inside.append((f"{path}/", *deep))
                found.append((path, was, now))
        level = inside
    return found


def _pairs(before: _Listed, after: _Listed) -> Iterable[tuple[str, TreeEntry | None, TreeEntry | None]]:
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if was != now:
            yield name, was, now


def _tree(entry: TreeEntry | None) -> str:
    return entry.id if entry is not None and entry.mode == _TREE else ""


def _file(entry: TreeEntry | None) -> TreeEntry | None:
    return entry if entry is not None and entry.mode != _TREE else None


def _status(was: TreeEntry | None, now: TreeEntry | None) -> str:
    """Git's letter for two different entries; empty where neither is a file."""
    old, new = _file(was), _file(now)
    if old is None or new is None:
        return "D" if old else "A" if new else ""
    return "M" if old.mode[:3] == new.mode[:3] else "T"


async def _root(objects: ObjectReader, commit: str) -> str:
    """The id of a commit's tree; a tree's own."""
    found = (await objects.read([commit], max(COMMIT_BYTES, _TREE_BYTES))).get(commit)
    if found is not None and found.kind is ObjectKind.TREE:
        return commit
    trees = header(found.data, "tree") if found is not None and found.kind is ObjectKind.COMMIT else []
    if not trees:
        raise _missing(commit)
    return trees[0]


async def _read(objects: ObjectReader, ids: Sequence[str]) -> dict[str, _Listed]:
    """These trees, each as its entries by name. Raises ``Unavailable`` when one is missing."""
    found = await objects.read(ids, _TREE_BYTES)
    for each in ids:
        if each not in found or found[each].kind is not ObjectKind.TREE:
            raise _missing(each)
    return {each: dict(_entries(read.data)) for each, read in found.items()}


def _entries(data: bytes) -> Iterator[tuple[str, TreeEntry]]:
    at = 0
    while at < len(data):
        space, end = data.index(b" ", at), data.index(b"\0", at)
        name = data[space + 1 : end].decode("utf-8", "surrogateescape")
        yield name, TreeEntry(_mode(data[at:space]), data[end + 1 : end + 21].hex())
        at = end + 21


def _mode(written: bytes) -> str:
    """A mode as git reads it: old versions wrote others."""
    kind = int(written, 8) & 0o170000
    if kind == 0o100000:
        return _PROGRAM if int(written, 8) & 0o100 else _FILE
    return {0o040000: _TREE, 0o120000: _LINK}.get(kind, SUBMODULE)


def _missing(object_id: str) -> Unavailable:
    return Unavailable(attempted="read a tree", on=object_id, cause="the mirror does not have it")


def _check(commit: str, count: int, path: str) -> None:
    if count >= _MOST_PATHS or len(path) > _LONGEST_PATH:
        why = "too many paths" if count >= _MOST_PATHS else f"a path of more than {_LONGEST_PATH} characters"
        raise Refused(attempted="list a tree", on=commit, cause=why)

"""What a change does to the inputs of setups: which packages it adds, and whether a person has released them.

Lock files are read as far as they are understood. What is not understood is held as a changed file.
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from fleet.git.repository import Repository
from fleet.git.trees import blobs
from fleet.setup.site import WantedSetup
from fleet.untrusted import clean
from fleet.verdict import HeldPlace
from gates.layers.protocol import Change

Packages = dict[str, str]
"""Versions by the packages' names."""

_LIMIT: Final = 32 << 20
_SHOWN: Final = 10
_LINE: Final = 1_000
"""A longer line names no package: the patterns take their time on one, and a change may contain any."""
_REQUIREMENT: Final = re.compile(
    r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]\n]*\])?[ \t]*(?:===?[ \t]*([^\s;\\]+))?", re.MULTILINE
)
_YARN: Final = re.compile(r'^"?(@?[^@\s"]+)@[^\n]*:\n  version:? "?([^"\n]+)"?', re.MULTILINE)
_PNPM: Final = re.compile(r"^  '?/?(@?[^@\s'(]+)@([^:('\s]++)[^\n]*:$", re.MULTILINE)
_GO: Final = re.compile(r"^(?:require )?[ \t]*([\w.-]+\.[\w./~-]+) (v[^\s/]+)(?: //.*)?$", re.MULTILINE)
_GEM: Final = re.compile(r"^    ([\w.-]+) \(([^)\n]+)\)$", re.MULTILINE)


async def held_places(
    repository: Repository, change: Change, changed: Iterable[WantedSetup]
) -> tuple[HeldPlace, ...]:
    """What a person must see of the inputs that a change has changed."""
    differing = {path for path in change.base.keys() | change.head.keys() if _id(change, path)}
    owners = {path: wanted for wanted in changed for path in wanted.setup.inputs_in(differing)}
    ids = [tree[path].id for path in owners for tree in (change.base, change.head) if path in tree]
    data = await blobs(repository, ids, _LIMIT)
    found: list[HeldPlace] = []
    for path, wanted in sorted(owners.items()):
        old, new = (data.get(tree[path].id, b"") if path in tree else b"" for tree in (change.base, change.head))
        added = added_places(path, old, new)
        found += added or [HeldPlace(path, 0, f"decides what [setup.{wanted.setup.name}] installs")]
    return tuple(found)


def packages(path: str, data: bytes) -> Packages:
    """The packages that a file names, with their versions; empty where it is not understood."""
    name = posixpath.basename(path).lower()
    reader = _READERS.get(name) or (_requirements if re.fullmatch(r"requirements.*\.txt", name) else None)
    if reader is None:
        return {}
    try:
        return {str(found): version for found, version in reader(data.decode("utf-8")).items()}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {}


def _id(change: Change, path: str) -> bool:
    """Whether a path differs between the two trees."""
    return change.base.get(path) != change.head.get(path)


def added_places(path: str, old: bytes, new: bytes) -> list[HeldPlace]:
    """The packages that a file newly names, or names with another version: the first of them, and how many more."""
    before, after = packages(path, old), packages(path, new)
    lines = new.decode("utf-8", "replace").splitlines()
    news = {name: version for name, version in after.items() if before.get(name) != version}
    found = []
    for name, version in itertools.islice(news.items(), _SHOWN):
        was = f" (was {before[name]})" if name in before else ""
        kind = "dependency" if name in before else "new dependency"
        found.append(HeldPlace(path, _line(lines, name), clean(f"{kind}: {name} {version}".rstrip() + was, 200)))
    more = len(news) - len(found)
    return [*found, *([HeldPlace(path, 1, f"and {more} more dependencies")] if more > 0 else [])]


def _line(lines: list[str], name: str) -> int:
    """Where a package is named first; 1 where it cannot be told, so that the place is always shown."""
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", re.IGNORECASE)
    return next((number for number, line in enumerate(lines, 1) if word.search(line)), 1)


def _toml(text: str) -> Packages:
    return {each["name"]: str(each.get("version", "")) for each in tomllib.loads(text)["package"]}


def _npm(text: str) -> Packages:
    body: dict[str, Any] = json.loads(text)
    found = body.get("packages")
    if found is None:
        return {name: str(each["version"]) for name, each in body["dependencies"].items()}
    named = {path.rpartition("node_modules/")[2]: each for path, each in found.items() if "node_modules/" in path}
    return {name: str(each.get("version", "")) for name, each in named.items()}


def _composer(text: str) -> Packages:
    body = json.loads(text)
    every = (*body["packages"], *body.get("packages-dev", ()))
    return {each["name"]: str(each["version"]) for each in every}


def _requirements(text: str) -> Packages:
    return dict(_REQUIREMENT.findall(_short_lines(text)))


def _by(pattern: re.Pattern[str]) -> Callable[[str], Packages]:
    return lambda text: dict(pattern.findall(_short_lines(text)))


def _short_lines(text: str) -> str:
    return "\n".join(line if len(line) <= _LINE else "" for line in text.split("\n"))


_READERS: Final[Mapping[str, Callable[[str], Packages]]] = {
    **dict.fromkeys(("uv.lock", "poetry.lock", "pdm.lock", "cargo.lock"), _toml),
    **dict.fromkeys(("package-lock.json", "npm-shrinkwrap.json"), _npm),
    "composer.lock": _composer,
    "yarn.lock": _by(_YARN),
    "pnpm-lock.yaml": _by(_PNPM),
    "go.mod": _by(_GO),
    "gemfile.lock": _by(_GEM),
}

"""What ``.gitmodules`` says: where the submodules of a commit come from. Nothing of it is trusted to be sane.

A submodule's name is used for nothing, so that none can lead anywhere. Its path comes from the tree. Its address is
given to git only if it is one that this controller may ask: see :func:`resolved`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from fleet.git.command import without_credentials
from fleet.git.origin import is_url, local_path
from fleet.git.unpack import name_problem

GITMODULES: Final = ".gitmodules"
_KEY: Final = re.compile(r"submodule\.(?P<name>.*)\.(?P<what>path|url)", re.DOTALL)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONGEST: Final = 2000


class Unusable(Exception):
    """A submodule cannot be used as ``.gitmodules`` or the tree has it; the argument says why, for a person."""


@dataclass(frozen=True, slots=True)
class Named:
    """What ``.gitmodules`` says of one submodule."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Above:
    """The repository that a submodule is recorded in: its address, and whether paths of this machine may be asked,
    as they may where ``fleet.toml`` itself names one."""

    url: str
    local: bool


def read(listed: bytes) -> Mapping[str, Named]:
    """The submodules by path, from what ``git config --list -z`` says of the file.

    Raises ``Unusable`` where two of them have the same path: which one counts would depend on who reads it.
    """
    values: dict[tuple[str, str], str] = {}
    for entry in listed.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = entry.partition("\n")
        found = _KEY.fullmatch(key)
        if found and values.setdefault((found["name"], found["what"]), value) != value:
            raise Unusable(f"{GITMODULES} says two things of the submodule {found['name']!r}")
    named: dict[str, Named] = {}
    for (name, what), path in values.items():
        if what != "path":
            continue
        if path in named:
            raise Unusable(f"{GITMODULES} has two submodules at {path!r}")
        named[path] = Named(name, values.get((name, "url"), ""))
    return named


def path_problem(path: str) -> str:
    """Why no submodule may be at this path of a tree; empty when one may."""
    if path.startswith("-"):
        return "its path looks like an option"
    if not path.isprintable():
        return "its path has characters that are not printable"
    problems = (name_problem(part.encode("utf-8", "surrogateescape")) for part in path.split("/"))
    return next((f"its path {why}" for why in problems if why), "")


def resolved(named: Named, above: Above) -> str:
    """The address to ask git for, relative ones resolved as git does. Raises ``Unusable``."""
    url = named.url
    if named.name.startswith("/") or ".." in named.name.replace("\\", "/").split("/"):
        raise Unusable("its name would lead out of a directory")
    if not url:
        raise Unusable(f"{GITMODULES} does not say where it comes from")
    decoded = unquote(url)
    if len(url) > _LONGEST or any(not text.isprintable() for text in (url, decoded)):
        raise Unusable("its address is too long, or has characters that are not printable")
    if url.startswith(("./", "../")) or url in (".", ".."):
        url = _relative(above.url, url)
    if url.startswith("~"):
        raise Unusable("its address is in somebody's home directory")
    if local_path(url) is not None:
        if above.local:
            return url
        raise Unusable(f"its address {url!r} is a path of this machine, and the repository is on another one")
    if not is_url(url):
        raise Unusable(
            f"its address {without_credentials(url)!r} is not usable: only https, ssh and user@host:path are"
        )
    return url


def _relative(above: str, url: str) -> str:
    """A relative address, from that of the repository that it is recorded in. Never above its host."""
    scheme = _SCHEME.match(above)
    if scheme:
        host, slash, path = above[scheme.end() :].partition("/")
        root = f"{scheme[0]}{host}{slash}"
    elif local_path(above) is not None:
        root, path = "/", above
    else:
        host, colon, path = above.partition(":")
        root = f"{host}{colon}"
        if path.startswith("/"):
            root += "/"
    parts = [part for part in path.split("/") if part]
    for part in url.split("/"):
        if part == "..":
            if not parts:
                raise Unusable(f"its address {url!r} leads above that of the repository")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise Unusable(f"its address {url!r} leads above that of the repository")
    return root + "/".join(parts)

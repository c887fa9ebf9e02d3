"""The walls of an agent's session: its workspace, its own layer over the login's home, and the machine's network.

An agent needs its login's home: tools, settings, an earlier conversation. It sees all of that, and what it changes
lies in a layer of the session's own (overlayfs), so that no session finds what another one wrote. Our directory is
empty but for the session's part of it. The files of the vendor's login are the exception: they are bound, not
layered, because vendors rotate what is in them, and two copies would log each other out. Codex replaces its file by
a rename and follows a link to it: its directory is bound. Claude Code copies over a file that it cannot replace.
"""

from __future__ import annotations

import os

from .facts import login_home
from .logins import gather
from .walls import (
    INSIDE,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    OLD,
    SYSTEM,
    WallBuilder,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

    from .files import Json
    from .libc import Libc

BINARIES = ("bin", ".bin", "sbin")
TREE = INSIDE + "/tree"


class SessionWallBuilder(WallBuilder):
    """Builds them around a session. Paths are looked up while the old root is there.

    ``vault``: a directory that all sessions of the login share, for the vendor's login files and their locks.
    """

    def __init__(self, libc: Libc, spec: Json) -> None:
        session = spec["session"]
        for path in (spec["room"] + "/scratch", spec["room"] + "/layers", *session["seen"]):
            os.makedirs(path, 0o700, exist_ok=True)
        super().__init__(libc, spec)
        self.root: str = os.path.realpath(session["root"])
        self.layered = outermost_of(os.path.realpath(path) for path in session["layered"])
        self.links = {path: os.path.realpath(path) for path in session["layered"] if os.path.isdir(path)}
        workspace, clone = os.path.realpath(session["workspace"]), os.path.realpath(session["clone"])
        self.own, self.seen = [workspace], [os.path.realpath(path) for path in session["seen"]]
        # A worktree of an earlier version is part of the clone, which all sessions of the repository share.
        self.shared_clone = [clone] if os.path.isfile(workspace + "/.git") else []
        if not self.shared_clone:
            self.seen.append(clone + "/objects")
        self.logins = [os.path.realpath(path) for path in session["logins"] if os.path.isfile(path)]
        self.others = [os.path.realpath(path) for path in session["others"] if os.path.isfile(path)]
        places = [
            os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            for path in session["emptied"]
        ]
        self.emptied = [path for path in places if os.path.isdir(os.path.dirname(path))]
        self.kept: dict[str, str] = {}
        if session["vault"] and self.logins:
            os.makedirs(session["vault"], 0o700, exist_ok=True)
            vault = os.path.realpath(session["vault"])
            self.own.append(vault)
            self.kept = {os.path.join(vault, os.path.basename(path)): path for path in self.logins}
        gathered = [place for place in map(gather, session["linked"]) if place]
        self.own += [os.path.realpath(place) for place in gathered]
        self.login = "shared" if self.logins or gathered else "none"
        self.workspace = workspace
        self.tools = tools_of(spec["read"], self.root, self.layered)

    def furnish(self) -> None:
        """From the outside in: what lies in another directory comes after it."""
        steps: list[tuple[str, Callable[[str], None]]] = [(path, self.show_tool) for path in self.tools]
        steps += [(path, self.layer) for path in self.layered]
        steps += [(path, self.show) for path in self.seen if os.path.isdir(OLD + path)]
        steps += [(path, self.keep) for path in (*self.own, *self.shared_clone)]
        steps.append((self.root, self.empty))
        for path, step in sorted(steps, key=lambda pair: pair[0].count("/")):
            step(path)
        for directory, place in self.given:
            if os.path.realpath("/new" + place) == "/new" + place:  # else the agent has put a link in its way
                self.layer(place, directory)
        if self.given:
            self.alias()
        for path in self.logins:
            self.bind(path, path)
        for place, path in self.kept.items():
            self.bind(path, place)
        for path in self.others:
            self.bind("/dev/null", path)
        for path in self.emptied:
            self.empty(path)
        for given, real in self.links.items():
            if given != real and not os.path.lexists("/new" + given):
                os.makedirs("/new" + os.path.dirname(given), 0o755, exist_ok=True)
                os.symlink(real, "/new" + given)
        self.mount("none", "/new" + self.root, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)

    def writable(self, path: str) -> bool:
        places = [place for _, place in self.given]
        mine = {*self.layered, *self.own, *self.kept, *self.logins, *self.others, *self.emptied, *places}
        return path in mine or covered(path, [INSIDE]) or super().writable(path)

    def keep(self, path: str) -> None:
        self.bind(path, path)

    def show_tool(self, path: str) -> None:
        self.show(path, self.tools[path])

    def empty(self, path: str) -> None:
        os.makedirs("/new" + path, 0o755, exist_ok=True)
        self.mount("none", "/new" + path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")

    def alias(self) -> None:
        """Shows the workspace where gates and setups see their tree, too: what setups made refers to that path."""
        os.makedirs("/new" + TREE, 0o755)
        self.mount("/new" + self.workspace, "/new" + TREE, "", MS_BIND | MS_REC)

    def layer(self, path: str, lower: str = "") -> None:
        """Shows a directory, ``lower`` if it is another; what is changed in it lies in the session's room."""
        place = "%s%s/layers/%s" % (OLD, self.room, path.replace("%", "%25").replace("/", "%2f"))
        for name in ("upper", "work"):
            os.makedirs("%s/%s" % (place, name), 0o700, exist_ok=True)
        os.makedirs("/new" + path, 0o755, exist_ok=True)
        self.overlay(path, OLD + (lower or path), place)


def covered(path: str, directories: Iterable[str]) -> bool:
    return any((path + "/").startswith(each.rstrip("/") + "/") for each in directories)


def outermost_of(paths: Iterable[str]) -> list[str]:
    """The directories among them that lie in no other one."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if os.path.isdir(path) and not covered(path, kept):
            kept.append(path)
    return kept


def tools_of(paths: list[str], root: str, layered: list[str]) -> dict[str, str]:
    """What programs at those paths need, and where it really is: with a ``bin``, all that lies beside it."""
    home = os.path.realpath(login_home())
    found: dict[str, str] = {}
    for given in paths:
        for path in {os.path.abspath(given), os.path.realpath(given)}:
            place = path if os.path.isdir(path) else os.path.dirname(path)
            above = os.path.dirname(place)
            if os.path.basename(place) in BINARIES and above not in ("/", home) and not covered(root, [above]):
                place = above
            elif place != path:
                place = path
            known = (*layered, *("/" + name for name in SYSTEM))
            if os.path.exists(place) and place != "/" and not covered(place, known):
                found[place] = os.path.realpath(place)
    return {
        path: real for path, real in found.items() if not covered(path, [each for each in found if each != path])
    }

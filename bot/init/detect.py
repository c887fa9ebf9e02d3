"""What a repository is made of, and the gates and setups to propose for it. The data is in ``ecosystems.toml``."""

from __future__ import annotations

import posixpath
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files as package_files
from typing import Any, Final

import pathspec

#: Directories whose projects are not the repository's own.
_FOREIGN: Final = frozenset(
    {
        "node_modules",
        "vendor",
        "third_party",
        "third-party",
        "external",
        "testdata",
        "fixtures",
        "examples",
        "example",
    }
    | {"templates", "template", "docs", "doc"}
)
_DEEPEST: Final = 3
_FILES_READ: Final = 200

Read = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Proposed:
    """A gate, or a setup (then ``argv`` are several commands)."""

    name: str
    ecosystem: str
    directory: str
    argv: tuple[tuple[str, ...], ...]
    env: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    inputs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """A gate's command."""
        return self.argv[0]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write, what is missing in words, and the programs that the machines need."""

    gates: tuple[Proposed, ...]
    setups: tuple[Proposed, ...]
    missing: tuple[str, ...]
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Project:
    ecosystem: Mapping[str, Any]
    directory: str
    files: tuple[str, ...]
    read: Read

    def __str__(self) -> str:
        return f"{self.ecosystem['name']} in {self.directory or 'the root'}"

    def holds(self, conditions: Mapping[str, str]) -> list[bool]:
        """For each condition, whether a file of the project contains the expression."""
        return [self.contains(name, expression) for name, expression in conditions.items()]

    def contains(self, name: str, expression: str) -> bool:
        found = [path for path in self.files if fnmatchcase(path, name)][:_FILES_READ]
        return (
            bool(found)
            if expression == "."
            else any(re.search(expression, self.read(posixpath.join(self.directory, path))) for path in found)
        )

    def first(self, kind: str) -> Mapping[str, Any] | None:
        """The first entry of the ecosystem's gates or setups that fits."""
        for entry in self.ecosystem.get(kind, ()):
            fits = all(self.holds(entry.get("when", {}))) and not any(self.holds(entry.get("unless", {})))
            if fits and set(entry.get("absent", ())).isdisjoint(self.files):
                found: Mapping[str, Any] = entry
                return found
        return None


@cache
def ecosystems() -> tuple[Mapping[str, Any], ...]:
    """Every ecosystem that we know, in order."""
    data = (package_files("bot.init") / "ecosystems.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(data)["ecosystem"])


def propose(paths: Iterable[str], read: Read) -> Proposal:
    """What fits a repository with these files; ``read`` gives the text of one of them."""
    every = sorted(paths)
    projects = _projects(every, read)
    gates, setups, missing = [], [], []
    for project in projects:
        gate, setup = project.first("gate"), project.first("setup")
        words = [entry["missing"] for entry in (setup, gate) if entry is not None and "missing" in entry]
        missing += [f"{project}: {said}" for said in words]
        if gate is None or not _commands(gate):
            continue
        name = _name(project, projects)
        gates.append(_proposed(name, project, gate))
        if setup is not None and _commands(setup):
            proposed = _proposed(_setup_name(project), project, setup)
            if any(pathspec.GitIgnoreSpec.from_lines(proposed.inputs).match_files(every)):
                setups.append(proposed)
    tools = dict.fromkeys(str(project.ecosystem["tool"]) for project in projects)
    return Proposal(tuple(gates), tuple(setups), tuple(missing), tuple(tools))


def _projects(paths: Sequence[str], read: Read) -> list[_Project]:
    found: list[_Project] = []
    for ecosystem in ecosystems():
        directories = {
            directory
            for path in paths
            for mark in ecosystem["marks"]
            if (directory := _directory(path, mark)) is not None and not _foreign(directory)
        }
        for directory in sorted(directories, key=lambda each: (each.count("/") + bool(each), each)):
            if _covered(directory, ecosystem, found):
                continue
            prefix = f"{directory}/" if directory else ""
            inside = tuple(path.removeprefix(prefix) for path in paths if path.startswith(prefix))
            project = _Project(ecosystem, directory, inside, read)
            if "where" not in ecosystem or any(
                project.contains(mark, ecosystem["where"]) for mark in ecosystem["marks"]
            ):
                found.append(project)
    return sorted(found, key=lambda each: each.directory)


def _directory(path: str, mark: str) -> str | None:
    """The project's directory when ``path`` is a file that the mark means."""
    parts, wanted = path.split("/"), mark.split("/")
    if len(parts) < len(wanted) or not all(map(fnmatchcase, parts[-len(wanted) :], wanted)):
        return None
    return "/".join(parts[: -len(wanted)])


def _foreign(directory: str) -> bool:
    parts = directory.split("/") if directory else []
    return len(parts) > _DEEPEST or any(part in _FOREIGN or part.startswith(".") for part in parts)


def _covered(directory: str, ecosystem: Mapping[str, Any], found: Sequence[_Project]) -> bool:
    """Whether a project found before is judged together with this directory."""
    for project in found:
        same = project.directory == directory
        above = not same and (not project.directory or directory.startswith(f"{project.directory}/"))
        if ecosystem.get("last") and (same or above):
            return True
        if project.ecosystem["group"] == ecosystem["group"] and (same or (above and not ecosystem.get("nested"))):
            return True
    return False


def _commands(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    if "sh" in entry:
        return (("sh", "-c", str(entry["sh"])),)
    run = entry.get("run", [])
    return tuple(map(tuple, run)) if run and isinstance(run[0], list) else (tuple(run),) if run else ()


def _proposed(name: str, project: _Project, entry: Mapping[str, Any]) -> Proposed:
    directory = project.directory
    return Proposed(
        name,
        str(project.ecosystem["name"]),
        directory,
        tuple(_inside(directory, argv) for argv in _commands(entry)),
        dict(entry.get("env", {})),
        bool(entry.get("network")),
        tuple(f"/{posixpath.join(directory, pattern)}" for pattern in entry.get("inputs", ())),
        tuple(posixpath.join(directory, each) for each in entry.get("provides", ())),
    )


def _inside(directory: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command that runs in a directory of the checkout."""
    if not directory:
        return argv
    there = f"cd {shlex.quote(directory)} && "
    return ("sh", "-c", there + (argv[2] if argv[:2] == ("sh", "-c") else f"exec {shlex.join(argv)}"))


def _name(project: _Project, projects: Sequence[_Project]) -> str:
    """``tests`` where there is only one project, else by directory and ecosystem."""
    if len(projects) == 1:
        return "tests"
    beside = sum(other.directory == project.directory for other in projects)
    words = [project.directory.replace("/", "-")] if project.directory else []
    if beside > 1 or not words:
        words.append(str(project.ecosystem["name"]))
    return _named("-".join(words))


def _setup_name(project: _Project) -> str:
    return _named("-".join(filter(None, [project.directory.replace("/", "-"), str(project.ecosystem["name"])])))


def _named(words: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", words.lower()).strip("-._")[:64] or "tests"

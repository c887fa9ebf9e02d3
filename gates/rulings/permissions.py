"""Rulings on an agent's requests. A brake, not a wall: the gates judge the resulting tree.

Paths are compared as text (``..`` resolved, case folded for patterns): the files are on another machine, and a
symbolic link there can make a harmless name mean another file. Such an edit outside the worktree never becomes part
of a snapshot; inside it, it is judged like everything else.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from fleet.agent_events import Allow, Asked, AskPerson, Deny, Ruling
from fleet.agents.acts import AskRules
from fleet.ignoring import IgnorePatterns
from fleet.isolation import TREE


@dataclass(frozen=True, slots=True)
class PermissionRules:
    """The operator's rules for one agent in one repository.

    ``ask`` is what needs a person's permission; ``deny_edits`` are gitignore-style patterns.
    """

    ask: AskRules = field(default_factory=AskRules)
    deny_edits: tuple[str, ...] = ()


def inside(path: str, workspace: str) -> str | None:
    """``path`` relative to ``workspace``, normalised; ``None`` when it leads outside or is not a path.

    A relative path starts at the workspace, where the agent runs; ``~`` and variables are not expanded, and a path
    that starts with one is outside. What setups made names files of the workspace as gates see them, in ``TREE``.
    """
    if not path or "\x00" in path or path.startswith(("~", "$")):
        return None
    root = posixpath.normpath(workspace)
    whole = posixpath.normpath(posixpath.join(root, path.replace("\\", "/")))
    if whole.startswith("//"):
        whole = whole[1:]
    if whole.startswith(TREE + "/"):
        whole = root.rstrip("/") + whole[len(TREE) :]
    if not whole.startswith(root.rstrip("/") + "/"):
        return None
    return whole[len(root.rstrip("/")) + 1 :]


def _folded(path: str) -> str:
    # A pattern's wildcard stops at a newline, so a directory with one in its name would hide its content.
    plain = "".join(ch if ch.isprintable() else "�" for ch in path)
    return unicodedata.normalize("NFKC", plain).casefold()


def denied_by(path: str, patterns: Sequence[str]) -> str:
    """The pattern that forbids editing ``path`` (relative to the worktree); empty when none does."""
    decided = IgnorePatterns(_folded(pattern) for pattern in patterns).check(_folded(path))
    return patterns[decided.index] if decided.include and decided.index is not None else ""


def rule(asked: Asked, workspace: str, rules: PermissionRules) -> Ruling:
    """Allow, deny or ask a person. A denial names the path and the rule, so that the agent can choose another
    way."""
    for path in asked.paths:
        relative = inside(path, workspace)
        if relative is None:
            return Deny(f"{path!r} is outside the workspace {workspace}; only edit files inside it")
        if relative == ".git" or relative.casefold().startswith(".git/"):
            return Deny(f"{path!r} is git's own; airboss makes the commits")
        pattern = denied_by(relative, rules.deny_edits)
        if pattern:
            return Deny(f"{relative} may not be edited: the operator's rule {pattern!r} forbids it")
    if asked.questions:
        return AskPerson("the agent has a question")
    if asked.person:
        return AskPerson(asked.person)
    if rules.ask.cover(asked.act, asked.tool):
        return AskPerson(f"{asked.tool} needs a person's permission")
    return Allow()

"""Texts of a landing: the merge commit's message, and why a passed change cannot land."""

from __future__ import annotations

from fleet.model import Task
from fleet.store.landing_line import LandingPlace


def conflict(paths: tuple[str, ...], base: str) -> str:
    """Why a passed change cannot land."""
    return f"{moved(paths, base)}. /retry starts again from the new {base}"


def moved(paths: tuple[str, ...], base: str) -> str:
    """In few words, what is in the way of a passed change."""
    return f"{base} moved meanwhile and conflicts in {listed(paths)}"


def listed(paths: tuple[str, ...]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def merge_message(task: Task, base: str, snapshot: str) -> str:
    """The message of a merge commit, for a base that moved."""
    return f"Merge {snapshot[:12]} for {task.id} onto {base}\n\nAirboss-Task: {task.id}\n"


def in_line(place: LandingPlace) -> str:
    """How a change stands in the landing queue, for its card; empty when nobody is before it and none was taken
    out."""
    parts = [f"lands after {', '.join(place.behind)}"] if place.behind else []
    if place.why:
        parts.append(f"with them it did not pass: {place.why}" if place.commit else f"with them it {place.why}")
    parts += [f"judged again without {out}" for out in place.without[:2]]
    return "; ".join(parts)

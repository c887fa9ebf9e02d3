"""Finds circles in a graph of imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def circles(arrows: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Each group of names that reach each other, sorted. ``arrows``: what each name points to."""
    reach = {name: _reach(name, arrows) for name in arrows}
    found: set[str] = set()
    for name in sorted(arrows):
        circle = {other for other in reach[name] if name in reach[other]}
        if circle and name not in found:
            found |= circle
            yield sorted(circle)


def between_folders(arrows: Mapping[str, set[str]], folders: Mapping[str, str]) -> dict[str, set[str]]:
    """The arrows between the folders of modules, except those between a folder and one inside it."""
    found: dict[str, set[str]] = {folder: set() for folder in folders.values()}
    for module, asked in arrows.items():
        here = folders[module]
        found[here] |= {folders[other] for other in asked if not _nested(here, folders[other])}
    return found


def _nested(folder: str, other: str) -> bool:
    return folder == other or folder.startswith(f"{other}/") or other.startswith(f"{folder}/")


def _reach(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """Everything that a name points to, directly or through others; itself only when it is in a circle."""
    found: set[str] = set()
    left = list(arrows[start])
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += arrows[name]
    return found

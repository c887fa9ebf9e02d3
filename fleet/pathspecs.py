"""Patterns over paths in a tree, with the meaning they have in a ``.gitignore``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pathspec import GitIgnoreSpec


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(patterns)


def matches(patterns: Iterable[str], path: str) -> bool:
    """Whether ``path`` (relative to the tree's root, ``/`` between parts) is meant by ``patterns``.

    The last pattern that fits decides, and one that begins with ``!`` takes back. No pattern means no path.
    """
    return _compiled(tuple(patterns)).match_file(path)

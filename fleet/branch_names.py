"""Which names of branches are taken: git's own rules, and nothing that it, or a person, could misread."""

from __future__ import annotations

import re
from typing import Final

_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock/|/\.))\w[^~^:?*\[\\]{0,199}(?<![./])(?<!\.lock)")


def is_branch_name(name: str) -> bool:
    """Whether ``name`` is the short name of a branch, as in ``feature/größe-#12``. Spaces are in none."""
    return _BRANCH.fullmatch(name) is not None and name.isprintable() and " " not in name

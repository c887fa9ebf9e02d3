"""What the library writes for each data class is compiled once and kept, as Python keeps a compiled module.

A controller has 560 data classes. Each gets up to six methods, as text, which would be compiled at each start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import marshal
import sys
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from types import CodeType
from typing import Any

from fleet import files


def place_of(name: str) -> Path:
    """Where it is kept for a command: beside what Python itself keeps of this module."""
    return Path(cache_from_source(str(Path(__file__).with_name(f"kept_classes_{name}.py"))))


@contextlib.contextmanager
def kept_classes(place: Path) -> Iterator[None]:
    """Data classes that are made meanwhile are made of what was compiled the last time.

    What is kept is found by its whole text, so it cannot be that of another class, or of another version of it.
    """
    kept = _read(place)
    used: dict[str, CodeType] = {}

    def execute(text: str, known: dict[str, Any] | None = None, made: dict[str, Any] | None = None) -> None:
        used[text] = kept.get(text) or compile(text, "<string>", "exec", dont_inherit=True)
        exec(used[text], known, made)  # noqa: S102 - in the library's place

    library = vars(dataclasses)
    library["exec"] = execute  # it is looked up there before the built-in one
    try:
        yield
    finally:
        del library["exec"]
    if used.keys() - kept.keys() and not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):  # as Python does: not everybody may write beside it
            files.replace_durably(place, MAGIC_NUMBER + marshal.dumps(used), mode=0o644)


def _read(place: Path) -> dict[str, CodeType]:
    """Nothing where it is missing, half, or of another Python."""
    with contextlib.suppress(OSError, EOFError, ValueError, TypeError):
        kept = place.read_bytes()
        if kept.startswith(MAGIC_NUMBER):
            codes = marshal.loads(kept[len(MAGIC_NUMBER) :])  # noqa: S302 - ours, as the modules beside it
            return codes if isinstance(codes, dict) else {}
    return {}

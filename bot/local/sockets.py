"""Paths of sockets. The kernel takes about 100 bytes; a home may lie deeper than that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 100  # bytes: 107 on Linux, 103 on macOS


@contextmanager
def short(path: Path | str) -> Iterator[str]:
    """A path that leads to the same socket and that a system call takes, for the length of the block."""
    path = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow symlinks
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="airboss-", dir="/tmp") as directory:
        alias = f"{directory}/home"
        Path(alias).symlink_to(Path(path).parent)
        yield f"{alias}/{Path(path).name}"

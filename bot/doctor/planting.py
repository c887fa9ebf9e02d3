"""What doctor runs inside a gate run and, after it, as the gates' login. Python 3.9 and the standard library.

``plant``: as code under test would, writes the token into every path that it is given. ``look``: tells which of
them have it, and which of the lines ran. ``restore``: takes all of it out again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def plant(order: dict[str, Any]) -> dict[str, Any]:
    """A line for a shell, which leaves its number in ``marks`` when it runs."""
    for number, path in enumerate(order["paths"]):
        mark = f"{order['marks']}/{number}"
        line = f"[ -d {order['marks']} ] && : > {mark} # {order['token']}\n"
        try:
            _write(path, os.O_APPEND | os.O_CREAT, line.encode())
        except OSError:
            continue
    return {}


def look(order: dict[str, Any]) -> dict[str, Any]:
    """By position in ``paths``."""
    token = order["token"].encode()
    numbers = range(len(order["paths"]))
    return {
        "changed": [token in _read(Path(path)) for path in order["paths"]],
        "ran": [(Path(order["marks"]) / str(number)).exists() for number in numbers],
    }


def restore(order: dict[str, Any]) -> dict[str, Any]:
    """A file that holds nothing else was not there before."""
    token = order["token"].encode()
    for path in map(Path, order["paths"]):
        before = _read(path)
        if token not in before:
            continue
        kept = b"".join(line for line in before.splitlines(keepends=True) if token not in line)
        if kept:
            _write(str(path), os.O_TRUNC, kept)
        else:
            path.unlink()
    return {}


def _write(path: str, how: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | how, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1 << 20)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    work = {"plant": plant, "look": look, "restore": restore}[sys.argv[1]]
    sys.stdout.write(json.dumps(work(json.loads(sys.argv[2]))) + "\n")

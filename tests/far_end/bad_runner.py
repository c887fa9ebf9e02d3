"""A machine's far end that speaks the runner's protocol badly: a real process, on the link in the runner's place.

``bad_runner.py MODE … SIZE ROOT``: each mode breaks one rule. It stands alone, as a login's ``python3`` runs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = {
    "user": "agent",
    "uid": 1000,
    "home": "/home/agent",
    "host": "box",
    "boot": "b0",
    "system": "linux",
    "python": "3.11.2",
    "cpus": 4,
    "load_milli": 100,
    "disk_free": 10**9,
    "clock_us": 1_700_000_000_000_000,
    "contained": False,
    "walled": False,
}

#: Fields of ``facts`` that are not what they must be; ``None`` leaves the field out.
BAD_FACTS: dict[str, dict[str, Any]] = {
    "facts-empty": dict.fromkeys(FACTS),
    "facts-no-boot": {"boot": None},
    "facts-empty-boot": {"boot": ""},
    "facts-text-for-number": {"uid": "1000"},
    "facts-number-for-text": {"host": 7},
    "facts-huge-number": {"disk_free": 1 << 62},
    "facts-negative": {"cpus": -4},
    "facts-year-292000": {"clock_us": (1 << 63) - 1},
    "facts-huge-text": {"user": "x" * 500_000},
    "facts-null-flag": {"contained": "yes"},
}


def write(data: bytes) -> None:
    """All of it, or the end of this process when nobody reads any more."""
    while data:
        data = data[os.write(1, data) :]


def frame(payload: bytes = b"", **header: Any) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(payload)) + text + payload


def raw_frame(text: bytes) -> bytes:
    return struct.pack(">II", len(text), 0) + text


def read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def request() -> dict[str, Any]:
    """The next request; the controller's pings are answered."""
    while True:
        head, body = struct.unpack(">II", read(8))
        asked: dict[str, Any] = json.loads(read(head))
        read(body)
        if asked["op"] not in ("ping", "credit", "cancel", "data"):
            return asked
        if asked["op"] == "ping":
            write(frame(id=0, done=True))


def endless(piece: bytes) -> None:
    while True:
        write(piece)


#: What is said instead of an answer to any request; ``n`` is the request's number.
ANSWERS: dict[str, Any] = {
    "garbage": lambda n: b"\xff\x00garbage" * 1000,
    "truncated": lambda n: frame(b"x" * 100, id=n, ev="out", offset=0)[:-50],
    "gigabyte": lambda n: struct.pack(">II", 20, 1 << 30) + b"{}",
    "not-utf8": lambda n: raw_frame(b'{"id": "\xff\xfe"}'),
    "not-json": lambda n: raw_frame(b"{'id': 1}"),
    "array": lambda n: raw_frame(b"[]"),
    "deep": lambda n: raw_frame(b'{"id":' + b"[" * 200_000),
    "huge-integer": lambda n: raw_frame(b'{"id":' + b"9" * 5000 + b"}"),
    "text-id": lambda n: frame(id=str(n), done=True),
    "negative-id": lambda n: frame(id=-1, done=True),
    "call-never-made": lambda n: frame(id=n + 1000, done=True),
    "two-ends": lambda n: frame(id=n, done=True) + frame(id=n, done=True),
    "two-greetings": lambda n: frame(id=0, ev="ready", root="/tmp") * 2,
    "no-kind": lambda n: frame(id=n),
    "unknown-error": lambda n: frame(id=n, error="?", cause="because"),
    "unknown-event": lambda n: frame(id=n, ev="weather", done="yes"),
    "bad-credit": lambda n: frame(id=n, ev="credit", n="lots"),
}

#: What a followed pipe tells.
FOLLOWED: dict[str, Any] = {
    "negative-offset": lambda n: frame(b"x", id=n, ev="out", offset=-1),
    "gap": lambda n: frame(b"abc", id=n, ev="out", offset=0) + frame(b"x", id=n, ev="out", offset=5),
    "overlap": lambda n: frame(b"abc", id=n, ev="out", offset=0) + frame(b"x", id=n, ev="out", offset=1),
    "no-offset": lambda n: frame(b"x", id=n, ev="out"),
    "bad-position": lambda n: frame(id=n, ev="accepted", position=1 << 60),
    "bad-stall": lambda n: frame(id=n, ev="stalled", why=["full"]),
    "bare-end": lambda n: frame(id=n, ev="end", done=True),
    "strange-event": lambda n: frame(id=n, ev="weather"),
}


def main(mode: str) -> None:
    if mode == "no-newline":
        endless(b"x" * 65536)
    if mode == "needy":
        endless(b"need\n")
    read(int(sys.argv[-2]))  # the runner itself
    write(b"here\n")
    if mode == "relative-root":
        write(frame(id=0, ev="ready", root="etc"))
    write(frame(id=0, ev="ready", root="/tmp/nowhere"))
    while True:
        asked = request()
        number, operation = asked["id"], asked["op"]
        if mode in ANSWERS:
            write(ANSWERS[mode](number))
            if mode == "truncated":
                sys.exit(0)
        elif operation == "facts":
            facts = {**FACTS, **BAD_FACTS.get(mode, {})}
            write(
                frame(id=number, done=True, **{name: value for name, value in facts.items() if value is not None})
            )
        elif mode == "bad-offers":
            write(frame(id=number, done=True, programs={"here": 7}, xcode="", simulators=[]))
        elif mode in FOLLOWED:
            write(FOLLOWED[mode](number))
        elif mode == "bad-status":
            write(frame(id=number, done=True, status=1 << 40, timeout=False))
        elif mode == "no-status":
            write(frame(id=number, done=True))
        elif mode == "endless-frames":
            endless(frame(b"x" * 60_000, id=number, ev="data" if operation == "read" else "out", offset=0))
        elif mode == "once-well":  # the first link answers badly, later ones well
            mark = Path(sys.argv[2])
            first = not mark.exists()
            mark.touch()
            write(frame(id=number, done="?") if first else frame(id=number, done=True))
        else:
            time.sleep(0.01)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1])

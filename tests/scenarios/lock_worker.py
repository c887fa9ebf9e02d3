"""A process that takes, renews and releases locks of a controller, and writes down each call and its answer.

``python -m tests.scenarios.lock_worker HOME OUT SEED CALLS LEASE_S KEY…``: one JSON line a call in ``OUT``. It
holds at most one lease for each key, and forgets some of them, as a process that died would. All such processes go
through the keys together, so that they meet.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.lock_history import Answer, Kind

_TOGETHER: Final = 3
_AWAY_S: Final = 0.1


def reach(home: str) -> socket.socket:
    """A connection to the controller, once one answers: what was never sent is no call."""
    while True:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(20)
        try:
            channel.connect(f"{home}/control.sock")
        except OSError:
            channel.close()
            time.sleep(_AWAY_S)
        else:
            return channel


def call(channel: socket.socket, request: dict[str, Any]) -> int | None:
    """The exit status of one request, and ``None`` where no answer came. ``token`` and ``behind`` are put into the
    request."""
    try:
        with channel:
            channel.sendall(json.dumps({"v": 1, "do": "lock", **request}).encode() + b"\n")
            with channel.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (OSError, ValueError):
        return None
    data = answer.get("data") or {}
    for lease in data.get("leases", ()):
        request["token"] = lease["token"]
    request["behind"] = bool(data.get("ahead"))
    status: int | None = answer.get("end")
    return status if status in (0, 1, 2) else None


def main(home: str, out: str, seed: str, calls: str, lease_s: str, *keys: str) -> None:
    """Until so many calls are answered; what is lost does not count."""
    chance, ttl_us = random.Random(seed), round(float(lease_s) * 1_000_000)
    held: dict[str, tuple[str, str]] = {}
    with Path(out).open("w", encoding="utf-8") as log:
        number, answered, wanted = 0, 0, int(calls)
        while answered < wanted:
            number += 1
            window = answered * len(keys) // wanted
            key = chance.choice(keys[window : window + _TOGETHER])
            kind = chance.choice([Kind.RENEW, Kind.RELEASE, Kind.RELEASE]) if key in held else Kind.ACQUIRE
            request: dict[str, Any] = {"op": str(kind), "resources": [key], "ttl_us": ttl_us}
            if kind is Kind.ACQUIRE:
                hold = hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:16]
                secret_sha256 = hashlib.sha256(hold.encode()).hexdigest()
                request |= {"holder": f"worker {seed}", "hold": hold, "secret_sha256": secret_sha256}
                request |= {"wait": chance.choice([0, 0, 0.05])}
            else:
                hold, secret = held[key]
                request["secret"] = secret
            channel = reach(home)
            called = time.monotonic()
            status = call(channel, request)
            answer = Answer.LOST if status is None else Answer.YES if status == 0 else Answer.NO
            row = {
                "key": key,
                "kind": kind,
                "hold": hold,
                "answer": answer,
                "called": called,
                "returned": time.monotonic(),
                "token": request.get("token", 0),
                "waits": request.get("wait", 0) > 0,
                "behind": request.get("behind", False),
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            if kind is Kind.ACQUIRE and answer is Answer.YES and chance.random() < 0.85:
                held[key] = (hold, hold)
            elif kind is Kind.RELEASE or answer is not Answer.YES:
                held.pop(key, None)
            if answer is Answer.LOST:
                continue
            answered += 1
            time.sleep(chance.choice([0, 0.002, 0.005, 0.015]))


if __name__ == "__main__":
    main(*sys.argv[1:])

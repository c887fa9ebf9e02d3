"""What one client process of the lock benchmarks does: takes and releases one lock, for some seconds.

``python -m tests.bench.lock_clients SIDE WHERE KEY START SECONDS`` prints how many cycles it did. START is on the
clock that all processes share. SIDE is ``airboss`` (WHERE is the home) or ``etcd`` (WHERE is the port).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

_TTL_US = 60_000_000


def airboss(home: str, key: str) -> Callable[[], None]:
    """A client of the control socket, in line for the lock."""
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(f"{home}/control.sock")
    lines = channel.makefile("rb")
    me = f"client {secrets.token_hex(4)}"

    def call(**request: Any) -> None:
        channel.sendall(json.dumps({"v": 1, "do": "lock", **request}).encode() + b"\n")
        answer = json.loads(lines.readline())
        if answer.get("end") != 0:
            sys.exit(f"bench: {request['op']} answered {answer}")

    def cycle() -> None:
        secret, hold = secrets.token_urlsafe(16), secrets.token_hex(8)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        call(op="acquire", resources=[key], holder=me, ttl_us=_TTL_US, wait=60, hold=hold, secret_sha256=digest)
        call(op="release", resources=[key], secret=secret)

    return cycle


def etcd(port: str, key: str) -> Callable[[], None]:
    """A client of etcd's own lock service, over its JSON gateway, with one lease for all of its cycles."""
    channel = http.client.HTTPConnection("127.0.0.1", int(port))

    def call(path: str, **request: Any) -> dict[str, Any]:
        channel.request("POST", path, json.dumps(request))
        answer: dict[str, Any] = json.loads(channel.getresponse().read())
        if "error" in answer:
            sys.exit(f"bench: {path} answered {answer}")
        return answer

    lease = call("/v3/lease/grant", TTL=600)["ID"]
    name = base64.b64encode(key.encode()).decode()

    def cycle() -> None:
        held = call("/v3/lock/lock", name=name, lease=lease)
        call("/v3/lock/unlock", key=held["key"])

    return cycle


def cycles(cycle: Callable[[], None], start: float, seconds: float) -> int:
    """How many cycles begin within the time."""
    time.sleep(max(0.0, start - time.monotonic()))
    done, end = 0, start + seconds
    while time.monotonic() < end:
        cycle()
        done += 1
    return done


def main(side: str, where: str, key: str, start: str, seconds: str) -> None:
    client = {"airboss": airboss, "etcd": etcd}[side](where, key)
    client()
    sys.stdout.write(f"{cycles(client, float(start), float(seconds))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

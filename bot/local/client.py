"""The command line's side of the control socket. Imports as little as can be: it is loaded on every command."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

SOCKET = "control.sock"


class NotServed(Exception):
    """No controller answers on this home."""


def connect(home: str) -> socket.socket:
    """A connection to the controller of this home. Raises ``NotServed``, also over a dead one's socket."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(f"{home}/{SOCKET}")
    except OSError as error:
        channel.close()
        raise NotServed(str(error)) from error
    return channel


def send(channel: socket.socket, do: str, **more: Any) -> None:
    """Sends one request."""
    channel.sendall(json.dumps({"v": 1, "do": do, **more}).encode() + b"\n")


def answers(channel: socket.socket) -> Iterator[dict[str, Any]]:
    """The answers to one request; the last has ``end``. Raises ``NotServed`` when the controller goes away."""
    with channel.makefile("rb") as lines:
        for line in lines:
            answer = json.loads(line)
            yield answer
            if "end" in answer:
                return
    raise NotServed("the controller stopped in the middle of the answer")


def ask(home: str, do: str, **more: Any) -> dict[str, Any]:
    """One request and its last answer; what comes before it is printed. Raises ``NotServed``."""
    with connect(home) as channel:
        send(channel, do, colour=sys.stdout.isatty(), **more)
        last: dict[str, Any] = {}
        for last in answers(channel):
            if last.get("out"):
                sys.stdout.write(last["out"])
                sys.stdout.flush()
        if "error" in last:
            sys.stderr.write(last["error"] + "\n")
        return last

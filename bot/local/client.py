"""The command line's side of the control socket. It imports little, because every command loads it."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from bot.home_held import at_work
from bot.local.sockets import short

SOCKET = "control.sock"
LINE_LIMIT: Final = 1 << 20
"""The longest request in bytes: a controller drops who sends more."""

PATIENCE_S: Final = 120.0
"""How long a client waits for a controller that stopped before it had answered."""

LOOK_S: Final = 10.0
"""After so long a silence a controller is asked whether it lives, and has as long to say so."""

_AGAIN_S: Final = 0.25
_AT_ONCE_S: Final = 5.0
_DROPS: Final = 5
"""So often in a row a request may lose its connection as soon as it was sent."""


class NotServed(Exception):
    """No controller answers on this home. ``there``: what one does that has it all the same."""

    def __init__(self, why: str, there: str = "") -> None:
        super().__init__(why)
        self.there = there


class ControllerGone(NotServed):
    """The controller stopped before it had answered, and did not return. ``key``: the key of the message."""

    def __init__(self, key: str = "", there: str = "") -> None:
        super().__init__("it stopped before it answered", there)
        self.key = key


class ControllerFrozen(Exception):
    """A controller is there, takes what it is sent, and says nothing. ``key``: the key of the message."""

    def __init__(self, key: str = "") -> None:
        super().__init__(
            "A controller is running, and does not answer: it is frozen, or has too much to do.\n"
            "airboss.log says what it did last. If it stays so, end it with kill -9 and start it again.\n"
            "Nothing is lost."
        )
        self.key = key


def connect(home: str) -> socket.socket:
    """A connection to the controller of this home. Raises ``NotServed``, also for the socket of a dead one."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(f"{home}/{SOCKET}") as path:
            channel.connect(path)
    except OSError as error:
        channel.close()
        why = error.strerror or str(error)
        if not os.path.exists(home):  # noqa: PTH110 - pathlib costs its import
            why = f"there is no {home}; check AIRBOSS_HOME"
        raise NotServed(why, at_work(home)) from error
    return channel


def reconnect(home: str, patience_s: float) -> socket.socket:
    """A connection to a controller that was there and is expected back. Raises ``NotServed`` after a while; at once
    where nobody waits for it."""
    if not patience_s:
        raise ControllerGone
    give_up = time.monotonic() + patience_s
    sys.stderr.write(f"🔌 The controller stopped. Waiting up to {patience_s:.0f} s for it to return…\n")
    while True:
        try:
            channel = connect(home)
        except NotServed:
            if time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN_S)
        else:
            sys.stderr.write("🔌 It is back.\n")
            return channel


def send(channel: socket.socket, do: str, **more: Any) -> None:
    """Sends one request. Raises ``Misused`` for one that is too long."""
    line = json.dumps({"v": 1, "do": do, **more}).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        from fleet.errors import Misused

        raise Misused(
            attempted="ask the controller",
            cause=f"that is {len(line):,} bytes at once, and it takes {LINE_LIMIT:,}",
            hint="Send less at once.",
        )
    channel.sendall(line)


class Lines:
    """What a controller says over a connection."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._rest = channel, b""

    def read(self) -> list[dict[str, Any]]:
        """The whole lines of what came, once something did. Raises ``ControllerGone`` when the controller stops."""
        try:
            data = self._channel.recv(1 << 16)
        except ConnectionError as error:
            raise ControllerGone from error
        if not data:
            raise ControllerGone
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def answers(channel: socket.socket, silent: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """The answers to one request; the last has ``end``. ``silent`` is called whenever the channel's time is over;
    what it raises ends this. Raises ``ControllerGone`` when the controller stops."""
    lines = Lines(channel)
    while True:
        try:
            said = lines.read()
        except TimeoutError:
            silent()
            continue
        for answer in said:
            yield answer
            if "end" in answer:
                return


def demand_life(home: str, look_s: float = LOOK_S) -> None:
    """Raises ``ControllerFrozen`` where a controller takes a question and does not answer it."""
    try:
        with connect(home) as channel:
            channel.settimeout(look_s)
            send(channel, "status")
            channel.recv(1)
    except TimeoutError as error:
        raise ControllerFrozen from error
    except (NotServed, OSError):
        return  # it ended: whoever waits for it hears so


def ask(
    home: str,
    do: str,
    *,
    key: str = "",
    patience_s: float = PATIENCE_S,
    silence_s: float | None = None,
    wait_s: float | None = None,
    look_s: float = LOOK_S,
    **more: Any,
) -> dict[str, Any]:
    """Sends one request, prints the answers, and returns the last.

    The request carries a key, and is sent again when the controller stops and returns: it is handled once.
    ``wait_s``: how long it may wait in all; sent again, it has what is left of that.
    Raises ``NotServed`` when no controller runs, ``ControllerGone`` when the controller did not return in time,
    ``ControllerFrozen`` when it does not even say that it lives, ``TimeoutError`` when it says nothing for
    ``silence_s``, and ``Unavailable`` when it drops this request each time.
    """
    key, said, drops = key or os.urandom(16).hex(), set[str](), 0

    def silent() -> None:
        if silence_s is not None:
            raise TimeoutError
        demand_life(home, look_s)

    began, channel = time.monotonic(), connect(home)
    while True:
        if wait_s is not None:
            more["wait"] = max(0.0, began + wait_s - time.monotonic())
        sent = time.monotonic()
        try:
            with channel:
                channel.settimeout(look_s if silence_s is None else silence_s)
                return _exchange(channel, said, silent, do, {"id": key, **more})
        except ControllerFrozen as error:
            raise ControllerFrozen(key) from error
        except ControllerGone as gone:
            drops = drops + 1 if time.monotonic() - sent < _AT_ONCE_S else 0
            if drops == _DROPS:
                from fleet.errors import Unavailable

                cause, hint = f"it went away {drops} times without an answer", "airboss.log says why."
                raise Unavailable(attempted="ask the controller", cause=cause, hint=hint) from gone
            try:
                channel = reconnect(home, patience_s)
            except NotServed as error:
                raise ControllerGone(key, error.there) from error


def _exchange(
    channel: socket.socket, said: set[str], silent: Callable[[], None], do: str, more: dict[str, Any]
) -> dict[str, Any]:
    """``said``: what was printed already, which a second answer repeats."""
    before, last = frozenset(said), dict[str, Any]()
    try:
        send(channel, do, colour=sys.stdout.isatty(), **more)
    except TimeoutError:
        raise ControllerFrozen from None  # what fits between us is full
    except OSError as error:
        raise ControllerGone from error
    for last in answers(channel, silent):
        text = last.get("out", "")
        if text and text not in before:
            said.add(text)
            sys.stdout.write(text)
            sys.stdout.flush()
    if "error" in last:
        sys.stderr.write(last["error"] + "\n")
    return last

"""``airboss attach``: this terminal becomes that of a person who works in an agent's session. Quick to import."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any, Final

from bot.local import client
from bot.local.options import home_of

_LEAVE: Final = b"\x1d"  # Ctrl-]
_RESTORE: Final = (
    "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[<u\x1b[0m"
)
_FOLLOWS: Final = {
    "go": "the agent continues",
    "judge": "the gates judge the work",
    "ask": "you are asked what follows",
    "stop": "the task is stopped",
}


def add_attaching(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``airboss attach``."""
    add = commands.add_parser("attach", help="work in an agent's session yourself, in its own interface")
    add.add_argument("task", metavar="TASK", help="the task")
    add.add_argument(
        "--then",
        choices=("go", "judge", "ask"),
        default="",
        help="what follows when you leave the interface: go, unless given",
    )
    add.set_defaults(run=attach)


def attach(options: argparse.Namespace) -> int:
    """Until the interface ends, or the person leaves it open."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write(
            "airboss attach needs a terminal.\nRun it in one; over SSH: ssh -t HOST airboss attach TASK\n"
        )
        return 2
    columns, rows = os.get_terminal_size()
    back = f"Come back: airboss attach {options.task} · hand it back: /attach {options.task} end"
    with client.connect(home_of(options)) as channel:
        term = os.environ.get("TERM", "")
        client.send(channel, "attach", task=options.task, then=options.then, term=term, rows=rows, columns=columns)
        try:
            last = _HandClient(channel).run()
        except client.ControllerGone:
            sys.stderr.write(f"\nThe controller ended; what you opened stays open. {back}\n")
            return 3
    if last is None:
        sys.stdout.write(f"\nLeft open. {back}\n")
        return 0
    if "error" in last:
        sys.stderr.write(f"{last['error']}\n")
        return int(last["end"])
    then = str(last.get("data", {}).get("then", ""))
    sys.stdout.write(f"\nHanded back: {_FOLLOWS.get(then, 'the fleet goes on')}.\n")
    return int(last["end"])


class _HandClient:
    """Moves bytes between this terminal and the controller."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._said = channel, client.Lines(channel)
        self._open = False

    def run(self) -> dict[str, Any] | None:
        """The last answer; ``None`` when the person leaves. Raises ``ControllerGone``."""
        with contextlib.ExitStack() as stack:
            resized = stack.enter_context(_resizes())
            while True:
                ready, _, _ = select.select([sys.stdin, self._channel, resized], [], [])
                if resized in ready:
                    os.read(resized, 512)
                    columns, rows = os.get_terminal_size()
                    self._send(rows=rows, columns=columns)
                if self._channel in ready:
                    for answer in self._said.read():
                        if "end" in answer:
                            return answer
                        self._show(answer, stack)
                if sys.stdin in ready and not self._type():
                    return None

    def _show(self, answer: dict[str, Any], stack: contextlib.ExitStack) -> None:
        if "shown" in answer and not self._open:
            self._open = True
            stack.enter_context(_raw())
        shown = base64.b64decode(answer["shown"]) if "shown" in answer else answer.get("out", "").encode()
        while shown:
            shown = shown[os.write(sys.stdout.fileno(), shown) :]

    def _type(self) -> bool:
        data = os.read(sys.stdin.fileno(), 1 << 14)
        kept, left, _ = data.partition(_LEAVE)
        if kept and self._open:
            self._send(typed=base64.b64encode(kept).decode("ascii"))
        return bool(data) and not left

    def _send(self, **said: object) -> None:
        try:
            self._channel.sendall(json.dumps(said).encode() + b"\n")
        except OSError as error:
            raise client.ControllerGone from error


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the interface; afterwards the terminal is as it was."""
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        sys.stdout.write(_RESTORE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizes() -> Iterator[int]:
    """Becomes readable when the window changes its size."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        os.close(reader)
        os.close(writer)

"""``airboss chat``: reads lines, shows cards as they come, presses buttons by number."""

from __future__ import annotations

import os
import select
import socket
import sys

from bot.local import client

_GREETING = "Talk to the fleet: /status, /run …, /help. Type a number to press a button. Ctrl-D exits.\n"


def chat(home: str) -> int:
    """Until the input ends. Raises ``NotServed`` when no controller answers."""
    interactive = sys.stdin.isatty()
    with client.connect(home) as cards:
        client.send(cards, "follow", colour=sys.stdout.isatty())
        if interactive:
            sys.stdout.write(_GREETING)
        typed, told, status = b"", b"", 0
        while True:
            if interactive:
                sys.stdout.write("› " if not typed else "")
            sys.stdout.flush()
            ready, _, _ = select.select([sys.stdin, cards], [], [])
            if cards in ready:
                told = _show(cards, told, interactive)
            if sys.stdin in ready:
                data = os.read(sys.stdin.fileno(), 65_536)
                *lines, typed = (typed + data).split(b"\n") if data else (typed, b"")
                for line in lines:
                    status = _say(home, line.decode("utf-8", "replace").strip())
                if not data:
                    _rest(cards, told)
                    return 0 if interactive else status


def _say(home: str, text: str) -> int:
    if not text:
        return 0
    pressed = text.strip("[]")
    if pressed.isdigit():
        last = client.ask(home, "press", number=int(pressed), quiet=True)
    else:
        last = client.ask(home, "say", text=text, quiet=True)
    return int(last["end"])


def _show(cards: socket.socket, told: bytes, interactive: bool) -> bytes:
    """Prints the whole answers received so far; what is left of the last line is answered back."""
    import json

    data = cards.recv(65_536)
    if not data:
        raise client.NotServed("the controller stopped")
    *lines, rest = (told + data).split(b"\n")
    for line in lines:
        answer = json.loads(line)
        if answer.get("out"):
            sys.stdout.write(("\r" if interactive else "") + answer["out"])
    return rest


def _rest(cards: socket.socket, told: bytes) -> None:
    """What the controller has sent already: a piped conversation must not lose its last card."""
    while select.select([cards], [], [], 0.2)[0]:
        told = _show(cards, told, interactive=False)
    sys.stdout.flush()

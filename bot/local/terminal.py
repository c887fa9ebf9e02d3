"""``airboss chat``: reads lines, shows cards as they arrive, presses buttons by number."""

from __future__ import annotations

import os
import select
import socket
import sys

from bot.local import client

_GREETING = "Talk to the fleet: /status, /run …, /help. Type a number to press a button. Ctrl-D exits.\n"


def chat(home: str, patience_s: float = client.PATIENCE_S) -> int:
    """Runs until the input ends. Raises ``NotServed`` when no controller answers, or it stopped and stays
    stopped."""
    terminal = _Terminal(home)
    terminal.follow(client.connect(home))
    if terminal.interactive:
        sys.stdout.write(_GREETING)
    while True:
        try:
            return terminal.converse()
        except client.ControllerGone:
            terminal.follow(client.reconnect(home, patience_s))


class _Terminal:
    """A conversation that continues after a restart of the controller. ``status``: of the last message."""

    def __init__(self, home: str) -> None:
        self.interactive, self._home = sys.stdin.isatty(), home
        self._name = os.urandom(8).hex()
        self._cards: socket.socket
        self._told: client.Lines
        self._typed, self._status = b"", 0

    def follow(self, cards: socket.socket) -> None:
        """Shows the cards that come over this connection."""
        self._cards, self._told = cards, client.Lines(cards)
        try:
            client.send(cards, "follow", terminal=self._name, colour=sys.stdout.isatty())
        except OSError as error:
            raise client.ControllerGone from error

    def converse(self) -> int:
        """Until the input ends. Raises ``ControllerGone`` when the controller goes away."""
        asks = True
        while True:
            if self.interactive and asks:
                sys.stdout.write("› " if not self._typed else "")
            sys.stdout.flush()
            ready, _, _ = select.select([sys.stdin, self._cards], [], [])
            shown = self._cards in ready and self._show()
            asks = shown or sys.stdin in ready
            if sys.stdin in ready and not self._read():
                self._rest()
                return 0 if self.interactive else self._status

    def _read(self) -> bool:
        """Says the lines that were typed; False at the end of the input."""
        data = os.read(sys.stdin.fileno(), 65_536)
        *lines, self._typed = (self._typed + data).split(b"\n") if data else (self._typed, b"")
        for line in lines:
            self._say(line.decode("utf-8", "replace").strip())
        return bool(data)

    def _say(self, text: str) -> None:
        if not text:
            self._status = 0
            return
        pressed = text.strip("[]")
        if pressed.isdigit():
            last = client.ask(self._home, "press", number=int(pressed), quiet=True, terminal=self._name)
        else:
            last = client.ask(self._home, "say", text=text, quiet=True, terminal=self._name)
        self._status = int(last["end"])

    def _show(self) -> bool:
        """Prints the whole answers received so far; whether there were any."""
        texts = [out for said in self._told.read() if (out := said.get("out"))]
        for text in texts:
            sys.stdout.write(("\r" if self.interactive else "") + text)
        return bool(texts)

    def _rest(self) -> None:
        """Prints what the controller has already sent: a piped conversation must not lose its last card."""
        while select.select([self._cards], [], [], 0.2)[0]:
            self._show()
        sys.stdout.flush()

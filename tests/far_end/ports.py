"""A port for what cannot find one by itself: it is told where to listen before it starts."""

from __future__ import annotations

import socket
from random import SystemRandom

#: Below those that systems give to connections: no process takes one of them by chance between choice and use.
_PORTS = range(20_000, 32_000)


def unused_port() -> int:
    """A port of this machine on which nobody listens."""
    chance = SystemRandom()
    while True:
        with socket.socket() as probe:
            port = chance.choice(_PORTS)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

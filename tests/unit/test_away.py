"""A machine that cannot be reached is told in words, never as the system's own number."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from fleet.machines.away import why_away


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect"),
            "connection refused",
        ),
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 22)"), "no route to host"),
        (socket.gaierror(-2, "Name or service not known"), "its host name cannot be resolved"),
        (TimeoutError(), "timed out"),
        (OSError(), "unreachable"),
    ],
)
def test_it_is_said_in_words_once(error: Exception, words: str) -> None:
    assert why_away(error) == f"does not answer: {words}"


async def test_a_closed_port_as_the_system_really_tells_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Errno") as raised:
            await asyncio.open_connection("localhost", taken.getsockname()[1])
    assert why_away(raised.value) == "does not answer: connection refused"


def test_other_errors_keep_their_own_words() -> None:
    assert why_away(ValueError("Connection lost")) == "Connection lost"

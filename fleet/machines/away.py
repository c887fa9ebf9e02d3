"""Why a machine could not be connected to, in words that a person may read on a phone."""

from __future__ import annotations

import os
import re
import socket

_ERRNO = re.compile(r"\[Errno (\d+)\]")


def why_away(error: Exception) -> str:
    """``does not answer: connection refused``: what the system means by its number, each meaning once."""
    if isinstance(error, TimeoutError):
        return "does not answer: nothing came back in time"
    if isinstance(error, socket.gaierror):
        return "does not answer: its name leads nowhere"
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    # With several addresses asyncio raises one error without a number, whose text has a number for each.
    numbers = [error.errno] if error.errno is not None else [int(found) for found in _ERRNO.findall(str(error))]
    reasons = dict.fromkeys(os.strerror(number).lower() for number in numbers)
    return "does not answer: " + (", ".join(reasons) or "it cannot be reached")

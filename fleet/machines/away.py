"""Why a machine could not be reached, in words short enough for a phone."""

from __future__ import annotations

import os
import re
import socket

_ERRNO = re.compile(r"\[Errno (\d+)\]")


def why_away(error: Exception) -> str:
    """Explains a connection error, such as ``does not answer: connection refused``; each reason appears once."""
    if isinstance(error, TimeoutError):
        return "does not answer: timed out"
    if isinstance(error, socket.gaierror):
        return "does not answer: its host name cannot be resolved"
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    # With several addresses asyncio raises a single error without errno; its text lists an errno for each.
    numbers = [error.errno] if error.errno is not None else [int(found) for found in _ERRNO.findall(str(error))]
    reasons = dict.fromkeys(os.strerror(number).lower() for number in numbers)
    return "does not answer: " + (", ".join(reasons) or "unreachable")

"""Signals by their numbers. The module around them makes enums of them, a millisecond at each start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

__all__ = ["signal"]

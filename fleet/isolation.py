"""What kept a run apart from others, as it was seen from inside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

INSIDE: Final = "/airboss"
"""Where a walled run finds its own directory: ``tree``, ``home``, ``report``. The runner builds it there."""


class Sharing(StrEnum):
    """Whose something is: the run's own, shared with others of its login or machine, or not there at all."""

    OWN = "own"
    SHARED = "shared"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RunIsolation:
    """Processes and files: ``own`` or ``shared`` with other runs of the login. Network: ``none`` (loopback only) or
    ``shared`` with the machine."""

    processes: Sharing = Sharing.SHARED
    files: Sharing = Sharing.SHARED
    network: Sharing = Sharing.SHARED

    @property
    def walled(self) -> bool:
        """No other run can be seen or written to."""
        return self.processes is Sharing.OWN and self.files is Sharing.OWN


UNWALLED: Final = RunIsolation()

"""How a run was isolated from others, as seen from inside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

INSIDE: Final = "/airboss"
"""The fixed path where a walled run finds its own directory: ``tree``, ``home``, ``report``. The runner builds
it."""


class Sharing(StrEnum):
    """Whether something is the run's own, shared with its login or machine, or missing."""

    OWN = "own"
    SHARED = "shared"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RunIsolation:
    """Processes and files: ``own`` or ``shared`` with other runs of the login. Network: ``none`` (loopback only) or
    ``shared`` with the machine. Login: the vendor's, ``none`` where no file of it was there."""

    processes: Sharing = Sharing.SHARED
    files: Sharing = Sharing.SHARED
    network: Sharing = Sharing.SHARED
    login: Sharing = Sharing.SHARED

    @property
    def walled(self) -> bool:
        """Whether no other run can be seen or written to."""
        return self.processes is Sharing.OWN and self.files is Sharing.OWN


UNWALLED: Final = RunIsolation()

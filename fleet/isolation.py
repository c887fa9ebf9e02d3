"""How a run is isolated from others: what is asked for, and what was in force as seen from inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from fleet.bounds import Size, Words

INSIDE: Final = "/airboss"
"""The fixed path where a walled run finds its own directory: ``tree``, ``home``, ``report``. The runner builds
it."""


TREE: Final = f"{INSIDE}/tree"
"""Where gates, setups and sessions with what setups made see their tree."""


class Sharing(StrEnum):
    """Whether something is the run's own, shared with its login or machine, or missing."""

    OWN = "own"
    SHARED = "shared"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RunIsolation:
    """Processes and files: ``own`` or ``shared`` with other runs of the login. Network: ``none`` (loopback only) or
    ``shared`` with the machine. Login: the vendor's, ``none`` where no file of it was there. Account: the system's
    login, ``own`` when nothing else ran as it. Supervisor: ``own`` when the run could not reach the process that
    saw its end."""

    processes: Sharing = Sharing.SHARED
    files: Sharing = Sharing.SHARED
    network: Sharing = Sharing.SHARED
    login: Sharing = Sharing.SHARED
    account: Sharing = Sharing.SHARED
    supervisor: Sharing = Sharing.SHARED

    @property
    def walled(self) -> bool:
        """Whether no other run can be seen or written to."""
        return self.processes is Sharing.OWN and self.files is Sharing.OWN

    @property
    def shares_a_login(self) -> bool:
        """Other runs of the login could be reached."""
        return not self.walled and self.account is not Sharing.OWN

    @property
    def shares_its_supervisors_login(self) -> bool:
        """Code of the run could reach its supervisor."""
        return not self.walled and self.supervisor is not Sharing.OWN

    @property
    def shares_the_network(self) -> bool:
        """It could reach what the machine reaches, other runs' loopback services included."""
        return self.network is not Sharing.NONE


UNWALLED: Final = RunIsolation()


@dataclass(frozen=True, slots=True)
class SessionWalls:
    """What an agent's session has instead of a fixed path: its ``workspace`` where it is, and our directory
    ``root`` empty but for that and the directories ``seen`` in it, which it may read.

    ``layered``: directories that it sees and writes through a layer of its own, the home among them. ``logins``:
    files of the vendor's login, which all sessions of the login share; ``linked``: such files of an agent that
    follows a link to one and replaces it by a rename. ``others``: login files hidden from it.
    ``emptied``: directories of the agent's settings that are empty for it, and stay so in a later process.
    ``clone``: the repository that the workspace borrows objects from. ``vault``: a directory that the sessions of
    this vendor share, for locks beside ``logins``; empty: none.
    """

    root: str
    workspace: str
    clone: str
    layered: tuple[str, ...]
    vault: str = ""
    seen: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walls:
    """Namespaces with their own root file system around a process. It sees its ``room`` as :data:`INSIDE`,
    the system's directories read-only, and nothing else of the machine.

    ``room`` is a directory on the machine with ``scratch`` in it, which becomes ``/tmp``. ``read``: further
    directories that it may read. ``network``: share the machine's network instead of loopback only. ``given``:
    directories of the machine that it sees read-only at a place inside: (directory, place). ``kept``: a kept
    checkout; what is ``tree`` in it is its tree, and what it changes there lies in a layer of its own beside that.
    """

    room: str
    read: tuple[str, ...] = ()
    network: bool = False
    session: SessionWalls | None = None
    given: tuple[tuple[str, str], ...] = ()
    kept: str = ""


PROXY_PORT: Final = "AIRBOSS-PROXY-PORT"
"""In a process's arguments and environment: replaced by the port of its proxy. The runner knows it too."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the machine, beside one process, which reaches it on loopback at :data:`PROXY_PORT`.

    Requests that carry ``token`` go on to ``upstream`` with ``key`` in the header ``header``; empty: none do.
    ``egress``: hosts that the process may reach through it by name, ``*.domain`` for all below; ``None``: it adds
    the key only.
    """

    token: str
    upstream: str = ""
    header: str = ""
    key: str = field(default="", repr=False)
    egress: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class EgressSeen:
    """What a proxy with a list of hosts saw. ``enforced``: the process had no other way out. ``refused``: how many
    connections; ``hosts``: the first of them."""

    enforced: bool
    refused: Size
    hosts: Annotated[tuple[Words, ...], Meta(max_length=100)] = ()

    @property
    def words(self) -> str:
        """For ledger and cards: ``enforced, 3 refused (example.com)``."""
        named = f" ({', '.join(self.hosts)})" if self.hosts else ""
        return ("enforced" if self.enforced else "not enforced") + f", {self.refused} refused{named}"


@dataclass(frozen=True, slots=True)
class Alone:
    """A login that one run has to itself: the supervisor ends whatever else runs as it, before the start and after
    the end, and removes what the run leaves outside its ``room``, the directory that it was given.

    ``login``: its name where it is not the supervisor's own, which must be able to become it by sudo.
    ``since_us``: everything in the login's home that changed since then is removed too, except the files in
    ``kept``; 0: only start-up files that the run itself changed.
    """

    room: str
    login: str = ""
    since_us: int = 0
    kept: tuple[str, ...] = ()

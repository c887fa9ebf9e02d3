"""Whether an agent's login reaches a reviewer's endpoint: what agents can ask, they could try out beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.doctor.findings import Crossing, Finding, Severity
from fleet.config import FleetConfig
from fleet.errors import AirbossError
from fleet.exits import Exited, succeeded
from fleet.ports import Executor, LoginFacts
from fleet.supervise import side_by_side
from gates.review import reach

_TARGET: Final = "the reviewer "
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SECONDS: Final = 20.0
_CONNECT: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
except OSError:
    sys.exit(9)
"""
_NO_CONNECTION: Final = Exited(9)
"""Any other end but success says nothing: nothing was tried there."""


async def check_reach(
    config: FleetConfig, logins: Iterable[tuple[str, Executor, LoginFacts]], here: str
) -> list[Finding]:
    """What each login of agents reaches. ``here``: the boot of the controller's machine: an address of loopback is
    another one elsewhere. Endpoints that want a key are left out."""
    tried = [
        _try(machine, executor, facts, name, reviewer.url)
        for machine, executor, facts in logins
        for name, reviewer in config.reviewers.items()
        if reviewer.url
        and not reviewer.key
        and (facts.boot == here or urlsplit(reviewer.url).hostname not in _LOOPBACK)
    ]
    return await side_by_side(tried, "try to reach a reviewer")


async def _try(machine: str, executor: Executor, facts: LoginFacts, name: str, url: str) -> Finding:
    subject, parts = f"agents on {machine}", urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        argv = ["python3", "-I", "-S", "-c", _CONNECT, parts.hostname or "", str(port)]
        ran = await executor.run(argv, timeout=_SECONDS)
    except AirbossError as error:
        return Finding(Severity.BAD, subject, str(error), unavailable=True)
    may = succeeded(ran.exit)
    if not may and ran.exit != _NO_CONNECTION:
        what = f"whether {facts.user} reaches the reviewer {name} could not be tried: {ran.exit}"
        return Finding(Severity.BAD, subject, what, unavailable=True)
    how = "it answered" if may else "no connection"
    crossing = Crossing(machine, "agents", facts.user, "connect to", f"{_TARGET}{name}", url, may, how)
    if not may:
        return Finding(Severity.OK, subject, f"{facts.user} cannot reach the reviewer {name}", crossing=crossing)
    what = f"{facts.user} can reach the reviewer {name}, and so try out what it lets pass; reviews say so"
    remedy = "run the endpoint where agents have no way to it, or behind a key that only .env has"
    return Finding(Severity.WARN, subject, what, remedy, crossing=crossing)


def reached_in(findings: Iterable[Finding]) -> set[str]:
    """The reviewers that some login reached."""
    open_ = (each.crossing for each in findings if each.crossing is not None and each.crossing.open)
    return {each.target.removeprefix(_TARGET) for each in open_ if each.target.startswith(_TARGET)}


def keep(home: Path, findings: Sequence[Finding]) -> None:
    """Keeps which ones some login reached. While a login of agents cannot be examined, those of before stay. Raises
    ``DiskFull``."""
    unseen = any(each.unavailable and each.subject.startswith("agents on ") for each in findings)
    reach.keep(home, reached_in(findings) | (reach.reached(home) if unseen else set()))

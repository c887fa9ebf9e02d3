"""A short examination, for a chat: what the controller knows or can see at once, and every repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bot.doctor.controller import check_controller
from bot.doctor.findings import Finding, Severity
from bot.doctor.repositories import check_repositories
from fleet.config import FleetConfig
from fleet.git.repository import Repository
from fleet.machines.watch import MachineSeen


async def examine_quickly(
    config: FleetConfig,
    home: Path,
    repositories: Callable[[str], Repository],
    seen: Mapping[str, MachineSeen],
    troubles: Iterable[str],
) -> list[Finding]:
    """The findings; nothing is raised for what does not respond."""
    findings = [Finding(Severity.BAD, "controller", trouble, f"see {home}/airboss.log") for trouble in troubles]
    for name, machine in seen.items():
        if machine.state.is_bad:
            findings.append(
                Finding(Severity.BAD, name, machine.why or "does not answer", machine.hint, unavailable=True)
            )
    findings += await asyncio.to_thread(lambda: list(check_controller(config, home)))
    return findings + await check_repositories(config, repositories, seen)

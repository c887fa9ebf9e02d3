"""What the first word of each gate and setup is on each machine that may run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.doctor.findings import Finding, Severity
from bot.doctor.login import failed
from fleet.config import FleetConfig, GateKind
from fleet.errors import AirbossError
from fleet.exits import succeeded
from fleet.git.repository import Repository
from fleet.setup.definitions import SetupDefinition
from fleet.setup.definitions import load as load_setups
from fleet.untrusted import clean
from gates.runs.definitions import Definition, load
from gates.runs.place import GateLogins, bare_path, machines_for

_LOOK = 'for word; do printf "%s\\n" "$(command -v -- "$word" 2> /dev/null || :)"; done'


@dataclass(frozen=True, slots=True)
class _Command:
    """What is run: ``subject`` names it; ``made``: its program may come from a setup."""

    subject: str
    program: str
    made: bool


async def check_programs(config: FleetConfig, home: Path, executors: GateLogins) -> list[Finding]:
    """Where each program is, by the definitions of the last fetched base. A machine that is away is left out."""
    findings = []
    for name, settings in config.repos.items():
        repository = Repository(name, settings.url, settings.base, home / "repos" / f"{name}.git")
        try:
            base = await repository.last_fetched()
            if not base:
                continue
            definitions = await load(repository, base, settings)
            setups = await load_setups(repository, base, settings)
        except AirbossError as error:
            findings.append(failed(f"gates of {name}", error))
            continue
        for machine, commands in _by_machine(name, config, definitions, setups).items():
            findings += await _look(machine, commands, bare_path(config.machines[machine]), executors)
    return findings


def _by_machine(
    repo: str, config: FleetConfig, definitions: tuple[Definition, ...], setups: tuple[SetupDefinition, ...]
) -> dict[str, list[_Command]]:
    found: dict[str, list[_Command]] = {}
    for definition in definitions:
        for machine in machines_for(definition, config).fitting if definition.kind is GateKind.COMMAND else ():
            gate = _Command(f"gate {definition.name} of {repo}", definition.argv[0], bool(setups))
            found.setdefault(machine, []).extend([gate, *_steps(repo, setups)])
    return {machine: list(dict.fromkeys(commands)) for machine, commands in found.items()}


def _steps(repo: str, setups: tuple[SetupDefinition, ...]) -> Iterator[_Command]:
    for setup in setups:
        for at, step in enumerate(setup.steps):
            yield _Command(f"setup {setup.name} of {repo}", step[0], made=at > 0)


async def _look(machine: str, commands: list[_Command], path: str, executors: GateLogins) -> list[Finding]:
    looked_up = [each for each in commands if "/" not in each.program or each.program.startswith("/")]
    words = [each.program for each in looked_up]
    try:
        ran = await executors.gate(machine).run(["sh", "-c", _LOOK, "look", *words], cwd="/", env={"PATH": path})
    except AirbossError:
        return []  # the login has a finding of its own
    places = ran.out.decode("utf-8", "replace").split("\n") if succeeded(ran.exit) else []
    return [
        _finding(machine, command, clean(place, 200)) for command, place in zip(looked_up, places, strict=False)
    ]


def _finding(machine: str, command: _Command, place: str) -> Finding:
    if place:
        also = ", unless a setup provides one" if command.made and place != command.program else ""
        return Finding(Severity.OK, command.subject, f"{command.program} is {place} on {machine}{also}")
    if command.made:
        return Finding(
            Severity.OK, command.subject, f"{machine} has no {command.program}: a setup has to provide it"
        )
    remedy = f"install it there, or list its directory in [machines.{machine}] gate_path"
    return Finding(Severity.WARN, command.subject, f"{machine} has no {command.program}", remedy)

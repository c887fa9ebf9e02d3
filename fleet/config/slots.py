"""The fleet with the slots that its pools have now: each is a machine of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fleet.config.checks import check
from fleet.config.models import FleetConfig, MachineConfig
from fleet.config.pools import JobTarget, PoolConfig, SlotTarget, Target
from fleet.config.reading import controller_login
from fleet.model import Isolation

_COPIED: Final = (
    *("labels", "path", "python", "session_walls", "agent_read"),
    *("run_memory", "run_processes", "run_disk"),
)


def target_of(text: bytes) -> SlotTarget | str:
    """Where a slot is, by the words of a command; or what is wrong with them."""
    try:
        return SlotTarget.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, detail["loc"]))
        return f"{where}: {detail['msg']}" if where else detail["msg"]


class JobMachine(MachineConfig):
    """A machine that is a job of Slurm's; never in the file."""

    job: str


def stored_target(text: str) -> Target:
    """A target as it was stored."""
    return TypeAdapter[Target](Target).validate_json(text)


def machine(pool: PoolConfig, target: Target) -> MachineConfig:
    """The machine that a slot is."""
    common: dict[str, Any] = {field: getattr(pool, field) for field in _COPIED}
    if isinstance(target, JobTarget):
        return JobMachine(
            executor="local",
            job=target.job,
            run_as=[pool.run_as] if pool.run_as else [],
            home=pool.home,
            slots=1,
            gates=False,
            **common,
        )
    return MachineConfig(
        executor="ssh",
        host=target.host,
        port=target.port,
        user=[target.user],
        host_key=target.host_key,
        home=target.home,
        slots=1,
        gates=False,
        identity=pool.identity,
        **common,
    )


def with_slots(config: FleetConfig, slots: Mapping[str, MachineConfig]) -> FleetConfig:
    """The fleet of the file, and these machines besides. A machine of the file keeps its name."""
    if not slots:
        return config
    return config.model_copy(update={"machines": {**slots, **config.machines}})


def unfit(config: FleetConfig, name: str, slot: MachineConfig, others: Collection[str]) -> str:
    """Why this fleet cannot have this machine; empty: it can. ``others``: its slots so far."""
    wider = with_slots(config, {name: slot})
    for found in check(wider, controller_login(), list(config.agents)):
        if found.path[:2] == ("machines", name):
            return f"{'.'.join(map(str, found.path[2:]))} {found.what}"
    if config.isolation is not Isolation.SEPARATE_LOGINS:
        return ""
    for other, machine in config.machines.items():
        same_host = (machine.host.lower(), machine.port) == (slot.host.lower(), slot.port)
        if (
            other != name
            and not isinstance(slot, JobMachine)
            and same_host
            and set(machine.agent_logins) & set(slot.agent_logins)
        ):
            return f"is the same login as {'slot' if other in others else 'machine'} {other}"
    return ""

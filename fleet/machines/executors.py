"""The fleet's executors: one for each login, created on first use and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.config.slots import JobMachine
from fleet.errors import Misconfigured
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.ports import Executor

if TYPE_CHECKING:
    from fleet.config import FleetConfig, MachineConfig
    from fleet.machines.ssh import SshExecutor


class Executors:
    """Returns the executor of a machine's agents or gates, following the current configuration.

    Relative paths of private keys are resolved against ``home``, the controller's directory.
    """

    def __init__(self, config: FleetConfig, home: Path) -> None:
        self._config, self._home = config, home
        self._made: dict[tuple[str, str], tuple[MachineConfig, LoginExecutor]] = {}
        self._retired: list[LoginExecutor] = []
        self._lost: dict[str, str] = {}  # machines that were taken away, and why

    def agent(self, machine: str, login: str = "") -> Executor:
        """The first login that agents use on ``machine``, or the one named of its pool.

        Raises ``Misconfigured`` for an unknown machine, and for a login that is no longer the agents'.
        """
        settings = self._settings(machine)
        if login and login not in settings.agent_logins:
            raise Misconfigured(
                attempted="use a login",
                on=machine,
                cause=f"fleet.toml no longer lists {login} among the agents' logins",
                hint="a session keeps its login until its task ends: list it again until then",
            )
        login = login or settings.agent_logins[0]
        return self._login(machine, login, f".airboss-{login}" if settings.has_agent_pool else ".airboss")

    def gate(self, machine: str, login: str = "") -> Executor:
        """The first login that gates use on ``machine``, or the one named: of a pool, or of its supervisor.

        It is the agents' login when no other is configured.
        """
        settings = self._settings(machine)
        gate = login or settings.gate_logins[0]
        if gate in settings.agent_logins:
            return self.agent(machine, gate)
        return self._login(machine, gate, f".airboss-{gate}" if settings.has_gate_pool else ".airboss-gate")

    def reconfigure(self, config: FleetConfig) -> None:
        """Applies a new configuration; links to unchanged machines stay up."""
        self._config = config

    def lose(self, machine: str, why: str) -> None:
        """A machine was taken away: whatever ran there is lost."""
        self._lost[machine] = why
        for (name, _), (_, executor) in self._made.items():
            if name == machine:
                executor.lose(why)

    async def drop(self, machine: str) -> None:
        """Closes the links to a machine that nothing uses any more."""
        self._lost.pop(machine, None)
        for key in [key for key in self._made if key[0] == machine]:
            _, executor = self._made.pop(key)
            await executor.close()

    async def close(self) -> None:
        """Closes every link."""
        retired, self._retired = self._retired, []
        made, self._made = self._made, {}
        for executor in [*retired, *(executor for _, executor in made.values())]:
            await executor.close()

    def _settings(self, machine: str) -> MachineConfig:
        try:
            return self._config.machines[machine]
        except KeyError:
            raise Misconfigured(
                attempted="use a machine",
                on=machine,
                cause=f"fleet.toml no longer names machine {machine}",
                hint="known machines: " + (", ".join(sorted(self._config.machines)) or "none"),
            ) from None

    def _login(self, machine: str, login: str, folder: str) -> Executor:
        settings = self._settings(machine)
        known = self._made.get((machine, login))
        if known is not None and known[0] == settings:
            return known[1]
        if known is not None:
            self._retired.append(known[1])
        executor = self._make(machine, settings, login, folder)
        if machine in self._lost:
            executor.lose(self._lost[machine])
        self._made[machine, login] = settings, executor
        return executor

    def _make(self, machine: str, settings: MachineConfig, login: str, folder: str) -> LoginExecutor:
        # Two logins cannot share one private directory.
        root = str(Path(settings.home).expanduser() / folder) if settings.home else ""
        path = settings.path if login in settings.agent_logins else []
        if isinstance(settings, JobMachine):
            from fleet.machines.slurm import SlurmExecutor, door_of

            door = door_of(settings.job, settings.home)
            return SlurmExecutor(
                machine, job=settings.job, door=door, run_as=login, python=settings.python, path=path
            )
        if settings.executor == "local":
            return LocalExecutor(machine, run_as=login, root=root, python=settings.python, path=path)
        return ssh_login(machine, settings, login, self._home, root=root, path=path)


def ssh_login(
    machine: str, settings: MachineConfig, login: str, home: Path, *, root: str = "", path: Sequence[str] = ()
) -> SshExecutor:
    """A login on a machine that is reached by SSH. Raises ``Misused`` for settings that cannot be used."""
    from fleet.machines.ssh import SshExecutor

    identity = str(home / Path(settings.identity).expanduser()) if settings.identity else ""
    return SshExecutor(
        machine,
        host=settings.host,
        port=settings.port,
        user=login,
        host_key=settings.host_key,
        identity=identity,
        root=root,
        python=settings.python,
        path=path,
        login_session=settings.login_session and login in settings.agent_logins,
    )

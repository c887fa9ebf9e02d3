"""What a session left in a login that it shares is reported, and nothing of it is removed. Logins need root."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.flight.leftovers import of_processes, of_shared_login
from fleet.machines.local import LocalExecutor
from fleet.model import Isolation, PipeEnd, TaskState
from tests.far_end.logins import throwaway_login
from tests.flying import World, world


@pytest.fixture
def there(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.mark.needs_root
async def test_start_up_files_and_jobs_of_a_shared_login_are_reported(there: World) -> None:
    with there.store, throwaway_login("agents") as login:
        executor = LocalExecutor("box", run_as=login.pw_name, python="/usr/bin/python3")
        try:
            await executor.run(["sh", "-c", "echo old > ~/.profile; sleep 0.05"])
            session = await there.session(await there.task(TaskState.PREPARING))
            facts = await executor.facts()
            session = replace(session, started_us=there.clock.now_us(), isolation=Isolation.SEPARATE_LOGINS)
            unit = "~/.config/systemd/user"
            plant = f"mkdir -p {unit}; touch ~/.bashrc {unit}/x.service ~/mine"
            await executor.run(["sh", "-c", plant])
            found = await of_shared_login(there.services, executor, session, facts)
        finally:
            await executor.close()
    home = login.pw_dir
    assert found == (
        f"changed while it ran: {home}/.bashrc",
        f"changed while it ran: {home}/.config/systemd/user/x.service",
    )


async def test_processes_are_confirmed_to_be_gone_on_linux_only(there: World) -> None:
    with there.store:
        task = await there.task(TaskState.PREPARING)
        session, facts = replace(await there.session(task), pipe="p"), await there.machine.facts()
        gone, ended = replace(session, pipe_end=PipeEnd.GONE), replace(session, pipe_end=PipeEnd.ENDED)
        assert of_processes(gone, facts) == ()
        unsure = ("unconfirmed: processes that it started may still run",)
        assert of_processes(ended, facts) == of_processes(gone, replace(facts, system="darwin")) == unsure
        assert of_processes(replace(session, pipe=""), facts) == (), "it never had a process"

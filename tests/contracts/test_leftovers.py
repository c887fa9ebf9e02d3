"""What a session left in a login that it shares is reported, and nothing of it is removed. Logins need root."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.exits import Lost
from fleet.flight.leftovers import of_processes, of_shared_login
from fleet.machines.local import LocalExecutor
from fleet.model import Isolation, PipeEnd, TaskState
from tests.contracts.executor_logins import follow, pipe_spec, private_directory, said
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
            plant = f"sleep 0.05; mkdir -p {unit}; touch ~/.bashrc {unit}/x.service ~/mine"
            await executor.run(["sh", "-c", plant])
            cron = shutil.which("crontab") is not None
            if cron:
                await executor.run(["crontab", "-"], stdin=b"* * * * * true\n")
            found = await of_shared_login(there.services, executor, session, facts)
            if cron:
                await executor.run(["crontab", "-r"])
        finally:
            await executor.close()
    home = login.pw_dir
    assert found == (
        f"changed while it ran: {home}/.bashrc",
        f"changed while it ran: {home}/.config/systemd/user/x.service",
        *(["the login has a crontab"] if cron else []),
    )


@pytest.mark.needs_root
@pytest.mark.parametrize("script", ["{} & wait", "exec {}"])
async def test_a_process_that_only_root_can_end_is_named_and_not_waited_for(script: str) -> None:
    """A session that may use sudo starts it; so a stop cannot end it."""
    with throwaway_login("agents") as login, private_directory(login) as private:
        become = private / "become-root"
        shutil.copyfile("/usr/bin/setpriv", become)
        os.chown(become, 0, login.pw_gid)
        become.chmod(0o4750)
        private.chmod(0o711)
        executor = LocalExecutor("box", run_as=login.pw_name, python="/usr/bin/python3")
        try:
            as_root = f"{become} --reuid 0 --clear-groups sh -c 'echo up; kill -STOP $$'"
            spec = pipe_spec("sh", "-c", script.format(as_root))
            await executor.start(spec)
            await said(executor, spec.id, b"up")
            await executor.stop(spec.id, 0)
            ended = (await follow(executor, spec.id)).ended
        finally:
            await executor.close()
    (line,) = ended.left
    pid = int(line.partition("process ")[2].split()[0])
    os.kill(pid, signal.SIGKILL)
    assert line == f"could not end sh (process {pid} of root)"
    assert not ended.gone
    assert isinstance(ended.exit, Lost) is script.startswith("exec")


async def test_processes_are_confirmed_to_be_gone_on_linux_only(there: World) -> None:
    with there.store:
        task = await there.task(TaskState.PREPARING)
        session, facts = replace(await there.session(task), pipe="p"), await there.machine.facts()
        gone, ended = replace(session, pipe_end=PipeEnd.GONE), replace(session, pipe_end=PipeEnd.ENDED)
        assert of_processes(gone, facts) == ()
        unsure = ("unconfirmed: processes that it started may still run",)
        assert of_processes(ended, facts) == of_processes(gone, replace(facts, system="darwin")) == unsure
        assert of_processes(replace(session, pipe=""), facts) == (), "it never had a process"
        named = ("could not end sh (process 7 of root)",)
        assert of_processes(ended, facts, named) == named and of_processes(gone, facts, named) == ()

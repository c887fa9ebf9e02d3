"""Executors by configuration, and the small SSH server that a demo reaches over loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.config import FleetConfig, MachineConfig
from fleet.errors import Misused
from fleet.exits import Exited
from fleet.machines.executors import Executors
from fleet.model import Isolation
from fleet.ports import Executor
from tests.contracts.executor_logins import follow, pipe_spec


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The demo's server, as the demo starts it."""
    directory = tmp_path / "server"
    command = [sys.executable, "-m", "fleet.machines.ssh_server", "--dir", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        give_up = time.monotonic() + 60
        while not (directory / "ready.json").exists():
            assert process.poll() is None and time.monotonic() < give_up, "the server does not come up"
            time.sleep(0.01)
        yield json.loads((directory / "ready.json").read_text())
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def fleet(**machines: MachineConfig) -> FleetConfig:
    return FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)


def macbook(server: dict[str, Any], home: Path) -> MachineConfig:
    return MachineConfig(
        executor="ssh",
        host="127.0.0.1",
        port=server["port"],
        user=server["user"],
        host_key=server["host_key"],
        identity=server["identity"],
        home=str(home),
    )


async def test_a_session_on_the_demos_server_opens_one_channel(server: dict[str, Any], tmp_path: Path) -> None:
    executors = Executors(fleet(macbook=macbook(server, tmp_path / "mac")), tmp_path)
    executor = executors.agent("macbook")
    spec = pipe_spec("sh", "-c", "cat; exit 3", stdin=True)
    await executor.start(spec)
    await executor.send(spec.id, 0, b"x" * 3_000_000, eof=True)
    life = await follow(executor, spec.id)
    assert len(life.output) == 3_000_000 and life.ended.exit == Exited(3)
    assert executor.root == str(tmp_path / "mac/.airboss")
    await executors.close()
    (line,) = (tmp_path / "server/channels.jsonl").read_text().splitlines()
    assert "runner" in json.loads(line)["command"]


async def test_work_outlives_the_demos_server(server: dict[str, Any], tmp_path: Path) -> None:
    """What the runner started is nobody's child: the end of the SSH session leaves it be."""
    executors = Executors(fleet(macbook=macbook(server, tmp_path / "mac")), tmp_path)
    spec = pipe_spec("sh", "-c", "read x; exit 4", stdin=True)
    await executors.agent("macbook").start(spec)
    await executors.close()
    near = Executors(fleet(near=MachineConfig(executor="local", home=str(tmp_path / "mac"))), tmp_path)
    await near.agent("near").send(spec.id, 0, b"\n")
    assert (await follow(near.agent("near"), spec.id)).ended.exit == Exited(4)
    await near.close()


async def test_one_executor_for_each_login(tmp_path: Path) -> None:
    near = MachineConfig(executor="local", home=str(tmp_path), path=["/opt/agents"])
    executors = Executors(fleet(near=near), tmp_path)
    agent: Executor = executors.agent("near")
    assert executors.agent("near") is agent and executors.gate("near") is agent
    assert (await agent.run(["sh", "-c", "echo $PATH"])).out.startswith(b"/opt/agents:")
    executors.reconfigure(fleet(near=near, other=near))
    assert executors.agent("near") is agent and executors.agent("other") is not agent
    changed = near.model_copy(update={"path": []})
    executors.reconfigure(fleet(near=changed))
    assert executors.agent("near") is not agent
    with pytest.raises(Misused, match="near"):
        executors.agent("nowhere")
    await executors.close()


async def test_gates_have_their_own_login_and_directory_and_a_plain_path(tmp_path: Path) -> None:
    agents, gates = (f"ab-absent-{uuid.uuid4().hex[:8]}" for _ in range(2))
    machine = MachineConfig(
        executor="local", run_as=[agents], gate_as=[gates], home=str(tmp_path), path=["/opt/agents"]
    )
    executors = Executors(fleet(near=machine), tmp_path)
    agent, gate = executors.agent("near"), executors.gate("near")
    assert (agent.root, gate.root) == (str(tmp_path / ".airboss"), str(tmp_path / ".airboss-gate"))
    for executor, login in ((agent, agents), (gate, gates)):
        with pytest.raises(Misused, match=f"{login}.*useradd"):
            await executor.facts()
    await executors.close()

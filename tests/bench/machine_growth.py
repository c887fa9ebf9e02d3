"""What watching machines costs the controller, at 300 machines against 10: CPU seconds a machine-minute.

The machines are an SSH server in another process, which speaks the runner's protocol itself: 300 real runners would
measure the machines. The controller's side is whole: connections, channels, and the watch, which asks each machine
for its facts. To measure minutes in seconds it looks ten times as often as it does; no link is silent for so long
that it is pinged, so pings are not in the figure.

Arguments: the many, and the few. 1000 machines need as many open files (``ulimit -n``).
"""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncssh

from fleet.clock import SystemClock
from fleet.config import FleetConfig, MachineConfig
from fleet.machines.executors import Executors
from fleet.machines.runner.frames import frame, whole_frames
from fleet.machines.watch import MachineState, MachineWatch
from fleet.model import Isolation
from tests.bench.harness import Comparison, Side, report

MANY, FEW = 300, 10
ROUNDS: Final = 3
LOOKS: Final = 10
EVERY_SECONDS: Final = 2.0
LOOKS_A_MINUTE: Final = 3
BAR: Final = 1.2
FACTS: Final[dict[str, Any]] = {
    "user": "bench",
    "uid": 1000,
    "home": "/home/bench",
    "host": "far",
    "boot": "b" * 36,
    "system": "linux",
    "python": "3.11.7",
    "cpus": 8,
    "load_milli": 500,
    "disk_free": 1 << 40,
    "clock_us": 1,
    "contained": True,
    "walled": True,
    "layered": True,
    "arch": "x86_64",
    "release": "6.1",
    "memory": 1 << 34,
}


async def runner(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Takes what is shipped, and answers as a runner does."""
    assert process.command is not None
    shipped = int(shlex.split(process.command)[-2])
    await process.stdin.readexactly(shipped)
    process.stdout.write(b"\nhere\n" + frame({"id": 0, "ev": "ready", "root": "/home/bench/.airboss"}))
    incoming = bytearray()
    while data := await process.stdin.read(1 << 16):
        incoming += data
        for header, _ in whole_frames(incoming):
            answer = FACTS if header["op"] == "facts" else {}
            process.stdout.write(frame({"id": header["id"], "done": True, **answer}))
    process.exit(0)


async def far_end(directory: Path) -> None:
    """Serves until it is ended."""
    key, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    identity = directory / "identity"
    identity.touch(mode=0o600)
    identity.write_bytes(client.export_private_key())
    public = client.export_public_key().decode()
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=asyncssh.import_authorized_keys(public),
        process_factory=runner,
        encoding=None,
        config=None,
        backlog=1024,
        login_timeout=120,
    )
    host_key = " ".join(key.export_public_key().decode().split()[:2])
    ready = {"port": server.get_port(), "host_key": host_key, "identity": str(identity)}
    (directory / "ready.new").write_text(json.dumps(ready))
    (directory / "ready.new").rename(directory / "ready.json")
    await asyncio.Event().wait()


async def watched(home: Path, where: dict[str, Any], machines: int) -> float:
    """CPU seconds a machine-minute of this process, with all connected."""
    settings = {"executor": "ssh", "host": "127.0.0.1", "user": "bench", "python": "python3", **where}
    names = [f"m{number}" for number in range(machines)]
    made = MachineConfig.model_validate(settings)
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=dict.fromkeys(names, made))
    executors = Executors(config, home)
    watch = MachineWatch(lambda: config, executors, SystemClock())
    try:
        while sum(seen.state is MachineState.WELL for seen in watch.seen.values()) < machines:
            await watch.look()
        begun, due = time.process_time(), time.monotonic()
        for _ in range(LOOKS):
            await watch.look()
            due += EVERY_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        spent = time.process_time() - begun
        assert all(seen.state is MachineState.WELL for seen in watch.seen.values())
        return spent / machines / (LOOKS / LOOKS_A_MINUTE)
    finally:
        await executors.close()


def main() -> int:
    """Prints the ratio; exits 1 when it is above what is promised."""
    if sys.argv[1:2] == ["far"]:
        asyncio.run(far_end(Path(sys.argv[2])))
        return 0
    many, few = (*map(int, sys.argv[1:]), *(MANY, FEW)[len(sys.argv) - 1 :])
    costs: dict[int, list[float]] = {many: [], few: []}
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name, asyncio.Runner() as loop:
        directory = Path(name)
        server = subprocess.Popen([sys.executable, "-m", "tests.bench.machine_growth", "far", name])
        try:
            while not (directory / "ready.json").exists():
                if server.poll() is not None:
                    sys.exit("bench: the far end did not come up")
                time.sleep(0.05)
            where = json.loads((directory / "ready.json").read_text())
            for number in range(ROUNDS):
                for machines in (many, few) if number % 2 else (few, many):
                    costs[machines].append(loop.run(watched(directory, where, machines)))
        finally:
            server.kill()
            server.wait()
    ours, base = (Side(f"{machines} machines", tuple(costs[machines])) for machines in (many, few))
    return report([Comparison("CPU of the controller a machine-minute", ours, base, BAR)])


if __name__ == "__main__":
    sys.exit(main())

"""A controller for a benchmark: `airboss serve` on a throwaway home, ended with the context."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

AIRBOSS = str(Path(sys.executable).with_name("airboss"))
START_SECONDS = 30.0
FLEET = """
isolation = "unsafe-same-user"

[machines.here]
executor = "local"
home = "{machine}"

[agents.echo]
driver = "command"
program = ["cat"]

[repos.shop]
url = "{url}"
agent = "echo"
"""
"""A fleet.toml of one machine, this one, and one repository."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where the controller lives, its process, and the environment in which `airboss` finds it."""

    home: Path
    env: Mapping[str, str]
    pid: int

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it took so far; 0 where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(directory: Path, fleet: str, secrets: str = "") -> Iterator[Served]:
    """Runs `airboss serve` with this text as its fleet.toml, and ``secrets`` as its .env. Ends the benchmark when
    it does not come up."""
    home = directory / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "fleet.toml").write_text(fleet)
    if secrets:
        (home / ".env").touch(mode=0o600)
        (home / ".env").write_text(secrets)
    env = {**os.environ, "AIRBOSS_HOME": str(home)}
    log = directory / "serve.log"
    with log.open("wb") as out:
        server = subprocess.Popen([AIRBOSS, "serve"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _wait(home / "control.sock", server, log)
        yield Served(home, env, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(door: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not door.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"bench: `airboss serve` did not come up:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)

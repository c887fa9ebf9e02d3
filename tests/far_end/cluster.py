"""A whole Slurm cluster of one node, in a directory: its own munged, slurmctld and slurmd."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.far_end.ports import unused_port

_READY_S = 60.0


@dataclass
class Cluster:
    """A running cluster. ``environ``: what its commands need."""

    directory: Path
    ports: tuple[int, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """For every command of Slurm's."""
        return {**os.environ, "SLURM_CONF": str(self.directory / "slurm.conf")}

    def run(self, *argv: str) -> str:
        """The output of one of its commands."""
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip()}"

    def start(self, name: str) -> None:
        """Starts one of its daemons: ``munged``, ``slurmctld`` or ``slurmd``."""
        here = str(self.directory)
        argv = {
            "munged": [
                *("munged", "--foreground", "--force", f"--socket={here}/munge", f"--key-file={here}/key"),
                *(f"--pid-file={here}/munged.pid", f"--seed-file={here}/seed", f"--log-file={here}/munged.log"),
            ],
            "slurmctld": ["slurmctld", "-D", "-f", f"{here}/slurm.conf"],
            "slurmd": ["slurmd", "-D", "-f", f"{here}/slurm.conf", "-N", "here"],
        }[name]
        program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise FileNotFoundError(
                f"these tests need {name}: install slurm-wlm and munge (Debian: apt-get install)"
            )
        with (self.directory / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                [program, *argv[1:]],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """``kill -9`` of a daemon."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def end_jobs(self) -> None:
        """Cancels every job, and waits until its processes have ended."""
        give_up = time.monotonic() + _READY_S
        while self.run("squeue", "-h", "-o", "%i") and time.monotonic() < give_up:
            self.run("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
            self.run("scancel", f"--user={getpass.getuser()}")
            time.sleep(0.1)

    def wait_ready(self) -> None:
        """Until a job could start."""
        give_up = time.monotonic() + _READY_S
        while (said := self.run("sinfo", "-h", "-o", "%T")) not in {"idle", "mixed", "allocated"}:
            if time.monotonic() > give_up:
                logs = "".join((self.directory / f"{name}.out").read_text()[-1500:] for name in self.processes)
                raise RuntimeError(f"the cluster does not start: {said}\n{logs}")
            time.sleep(0.05)


@contextlib.contextmanager
def running_cluster(directory: Path, *, cpus: int = 2) -> Iterator[Cluster]:
    """Starts a cluster with everything that it needs in ``directory``; ends its jobs and daemons afterwards."""
    directory.mkdir(parents=True, mode=0o755)
    for name in ("state", "spool"):
        (directory / name).mkdir()
    key = directory / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    made = Cluster(directory, (unused_port(), unused_port()))
    (directory / "slurm.conf").write_text(
        f"ClusterName=airboss\nSlurmctldHost={socket.gethostname()}(127.0.0.1)\nSlurmUser={getpass.getuser()}\n"
        f"SlurmdUser={getpass.getuser()}\nSlurmctldPort={made.ports[0]}\nSlurmdPort={made.ports[1]}\n"
        f"StateSaveLocation={directory}/state\nSlurmdSpoolDir={directory}/spool\n"
        f"SlurmctldPidFile={directory}/slurmctld.pid\nSlurmdPidFile={directory}/slurmd.pid\n"
        f"AuthType=auth/munge\nAuthInfo=socket={directory}/munge\nCryptoType=crypto/munge\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSchedulerType=sched/builtin\nMailProg=/bin/true\n"
        "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nMpiDefault=none\n"
        "JobAcctGatherType=jobacct_gather/none\nKillWait=1\nMessageTimeout=2\nMinJobAge=2\nSwitchType=switch/none\n"
        f"NodeName=here NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN\n"
        "PartitionName=all Nodes=here Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO\n"
    )
    try:
        made.start("munged")
        give_up = time.monotonic() + _READY_S
        while not (directory / "munge").exists() and time.monotonic() < give_up:
            time.sleep(0.02)
        made.start("slurmctld")
        made.start("slurmd")
        made.wait_ready()
        yield made
    finally:
        made.end_jobs()
        for name in ("slurmctld", "slurmd", "munged"):
            if name in made.processes:
                made.kill(name)

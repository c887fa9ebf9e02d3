"""``airboss machines setup``: prints the script that makes a machine's logins, and runs it when asked to."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from fleet.config import MachineConfig, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.config.reading import controller_login
from fleet.errors import Misused, Unavailable
from fleet.machines.setup import Setup

#: As root where we are root, else by sudo, which must not need a password: standard input is the script.
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'


def setup_machine(options: argparse.Namespace, home: Path) -> int:
    """Prints the script; with ``--apply``, shows it, asks, and runs it as root on that machine."""
    machines = load_fleet(home / FLEET_FILE).machines
    name = options.name or (next(iter(machines)) if len(machines) == 1 else "")
    if name not in machines:
        raise Misused(
            attempted="set up a machine",
            on=name or "(no name)",
            cause="fleet.toml has no such machine" if name else "fleet.toml has several machines",
            hint="Name one of: " + (", ".join(machines) or "none"),
        )
    machine = machines[name]
    script = Setup(name, machine, controller_login(), public_key(machine, home)).script()
    sys.stdout.write(script)
    if not options.apply:
        return 0
    sys.stdout.flush()
    where = f"{machine.host}" if machine.executor == "ssh" else "this machine"
    sys.stderr.write(f"\nRun this as root on {where}? Type yes: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        sys.stderr.write("Nothing was changed.\n")
        return 1
    return _apply(machine, script, options.through)


def public_key(machine: MachineConfig, home: Path) -> str:
    """The public half of the controller's key for a machine as ``TYPE BASE64``; empty where none is named."""
    if not machine.identity:
        return ""
    path = home / Path(machine.identity).expanduser()
    try:
        done = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError as error:
        raise Unavailable(attempted="read the public key", on=str(path), cause=str(error)) from error
    if done.returncode:
        raise Misused(
            attempted="read the public key",
            on=str(path),
            cause=done.stderr.strip(),
            hint="correct `identity` in fleet.toml",
        )
    return " ".join(done.stdout.split()[:2])


def _apply(machine: MachineConfig, script: str, through: str) -> int:
    if machine.executor == "local":
        return _run(["sh", "-c", _AS_ROOT], script)
    if not through:
        raise Misused(
            attempted="set up the machine",
            on=machine.host,
            cause="the agents' login must not be able to become root there",
            hint="Name a login that may, with --through LOGIN; or run the printed script there by hand.",
        )
    pinned = ["-o", f"KnownHostsCommand=/bin/echo %H {machine.host_key}", "-o", "UserKnownHostsFile=/dev/null"]
    pinned += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]
    target = ["-p", str(machine.port), "-l", through, "--", machine.host.strip("[]")]
    return _run(["ssh", *pinned, *target, f"sh -c {shlex.quote(_AS_ROOT)}"], script)


def _run(command: list[str], script: str) -> int:
    try:
        done = subprocess.run(command, input=script.encode(), check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    except OSError as error:
        raise Unavailable(attempted="run the script", on=command[0], cause=str(error)) from error
    return 0 if done.returncode == 0 else 1

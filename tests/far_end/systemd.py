"""A systemd that is process 1 of namespaces of its own, over a copy of this machine's files. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Nothing that it writes stays: all of it is in a tmpfs that goes with the namespace.
_BOOT = r"""
set -e
here=$1 checkout=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$here"
mkdir "$here/upper" "$here/work" "$here/root" "$here/checkout"
mount --bind "$checkout" "$here/checkout"
mount -t overlay overlay -o lowerdir=/,upperdir="$here/upper",workdir="$here/work" "$here/root"
cd "$here/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p ".$checkout"
mount --bind "$here/checkout" ".$checkout"
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
: > etc/machine-id
find etc/systemd/system -path '*.wants/*' -delete
chmod a+x root
ln -sfn "$checkout" opt/airboss
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --show-status=false
"""


@dataclass(frozen=True)
class Booted:
    """A running one. ``pid``: its process here."""

    pid: int

    def run(self, *argv: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in there, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-i", "-u", "-C", "--", *argv],
            input=given, capture_output=True, text=True, check=False, cwd="/", timeout=120,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def until(self, script: str, what: str, seconds: float = 90.0) -> str:
        """Repeats a shell script in there until it succeeds; what it printed."""
        give_up = time.monotonic() + seconds
        while True:
            done = self.run("sh", "-c", script, check=False)
            if done.returncode == 0:
                return done.stdout
            if time.monotonic() > give_up:
                log = self.run("journalctl", "--no-pager", "-n", "40", check=False).stdout
                raise AssertionError(f"it never came about that {what}: {done.stdout}{done.stderr}\n{log}")
            time.sleep(0.1)


@contextlib.contextmanager
def booted(checkout: Path) -> Iterator[Booted]:
    """Boots it, with the checkout in its place and as ``/opt/airboss``; ends it without a trace."""
    assert shutil.which("systemctl"), "this test needs systemd: apt-get install systemd"
    directory = tempfile.mkdtemp(prefix="ab-systemd-")
    outer = subprocess.Popen(
        ["unshare", "-m", "-p", "-f", "-n", "-i", "-u", "-C", "sh", "-c", _BOOT, "boot", directory, str(checkout)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        there = Booted(_child(outer))
        there.until("systemctl list-units > /dev/null && [ -e /run/systemd/system ]", "systemd answers")
        yield there
        with contextlib.suppress(ProcessLookupError):
            os.kill(there.pid, signal.SIGRTMIN + 3)
        outer.wait(60)
    finally:
        if outer.poll() is None:
            subprocess.run(["kill", "-9", str(_child(outer))], check=False)
            outer.wait()
        os.rmdir(directory)


def _child(outer: subprocess.Popen[bytes]) -> int:
    """Process 1 of the namespace, once it is systemd."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        found = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        with contextlib.suppress(OSError):
            if found and os.readlink(f"/proc/{found[0]}/exe").endswith("/systemd"):
                return int(found[0])
        if outer.poll() is not None:
            assert outer.stderr is not None
            raise AssertionError(f"it did not boot: {outer.stderr.read().decode()}")
        time.sleep(0.02)
    raise AssertionError("it did not boot")

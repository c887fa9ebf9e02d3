"""Locks taken and released by sixteen processes over the control socket, beside etcd's own on the same disk.

Cycles a second, each with its commits fsynced and its events in the ledger. etcd is looked for on PATH, or where
``AIRBOSS_BENCH_ETCD`` says (Debian: ``apt download etcd-server``, ``dpkg -x``); without it there is nothing to
compare with. Nothing here may be on tmpfs.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.harness import Trial, compare, report
from tests.bench.serving import serving

CLIENTS = 16
SECONDS = 3.0
_UNTIL_READY_S = 1.5
FAIR = 0.95
DISTINCT_BAR, ONE_KEY_BAR = 1 / 3, 1 / 8
_FLEET = """\
isolation = "unsafe-same-user"
[[people]]
name = "bench"
role = "admin"
ids = ["console::{user}"]
"""


def etcd_binary() -> str | None:
    """Where etcd is."""
    return os.environ.get("AIRBOSS_BENCH_ETCD") or shutil.which("etcd")


@contextmanager
def etcd(binary: str, directory: Path) -> Iterator[str]:
    """A server with one member on this disk; yields its port."""
    ports = [str(_free_port()) for _ in range(2)]
    clients, peers = (f"http://127.0.0.1:{port}" for port in ports)
    server = subprocess.Popen(
        [
            binary, "--data-dir", str(directory / "etcd"), "--log-level", "error",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}",
        ]
    )  # fmt: skip
    try:
        _until_up(f"{clients}/health")
        yield ports[0]
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _until_up(url: str) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > give_up:
                sys.exit("bench: etcd did not come up")
            time.sleep(0.1)


def together(side: str, where: str, keys: list[str], seconds: float = SECONDS) -> list[int]:
    """How many cycles each of so many processes did, one key each."""
    start = time.monotonic() + _UNTIL_READY_S
    words = [sys.executable, "-m", "tests.bench.lock_clients", side, where]
    running = [
        subprocess.Popen([*words, key, str(start), str(seconds)], stdout=subprocess.PIPE, text=True) for key in keys
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("bench: a client failed")
    return [int(answer) for answer in answers]


def jain(counts: list[int]) -> float:
    """Jain's index of fairness: 1 when all got the same."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def fsync_p50(directory: Path) -> float:
    """Seconds that an fsync of one appended page takes, the median."""
    times = []
    with (directory / "fsync").open("wb") as out:
        for _ in range(200):
            out.write(b"x" * 4096)
            out.flush()
            started = time.perf_counter()
            os.fsync(out.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _cycle(
    side: str, where: str, keys: list[str], fair: list[float], cpu: Callable[[], float] = lambda: 0.0
) -> Trial:
    """A trial that takes as long as one cycle of all of them together. ``cpu``: the server's processor time so far,
    which says more than a rate where others are at work."""

    def trial() -> float:
        before = cpu()
        counts = together(side, where, keys)
        took = (cpu() - before) * 1000 / sum(counts)
        fair.append(jain(counts))
        rate = sum(counts) / SECONDS
        said = f", {took:.3f} ms of CPU a cycle" if took else ""
        print(f"  {side:8} {len(set(keys)):2} keys  {rate:7,.0f} cycles/s  Jain {fair[-1]:.3f}{said}", flush=True)
        return 1 / rate

    return trial


def main() -> int:
    binary = etcd_binary()
    if binary is None:
        print("etcd is absent: put it on PATH, or name it in AIRBOSS_BENCH_ETCD")
        return 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        directory = Path(name)
        print(f"fsync p50 {fsync_p50(directory) * 1000:.2f} ms")
        with serving(directory, _FLEET.format(user=getpass.getuser())) as served, etcd(binary, directory) as port:
            found, fair = [], list[float]()
            for what, keys, bar in (
                ("distinct keys", [f"thing-{at}" for at in range(CLIENTS)], DISTINCT_BAR),
                ("one key", ["thing"] * CLIENTS, ONE_KEY_BAR),
            ):
                ours = _cycle("airboss", str(served.home), keys, fair, lambda: served.cpu_seconds)
                theirs = _cycle("etcd", port, keys, [])
                compared = f"{CLIENTS} processes, {what}: one cycle"
                found.append(compare(compared, ("airboss", ours), ("etcd", theirs), bar=bar, rounds=3, warm=0))
    missed = report(found)
    print(f"least fair: {min(fair):.3f}, bar {FAIR}: {'kept' if min(fair) >= FAIR else 'MISSED'}")
    return 1 if missed or min(fair) < FAIR else 0


if __name__ == "__main__":
    sys.exit(main())

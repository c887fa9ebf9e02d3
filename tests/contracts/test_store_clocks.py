"""Leases in SQLite while the wall clock jumps, the machine sleeps, and the machine starts again.

The clocks of real processes are moved: the wall clock by libfaketime, the boot-time clock by a time namespace.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fleet.store import leases
from fleet.store.core import Store
from tests.far_end.clocks import wall_clock

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3_600_000_000
SECOND = 1_000_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'airboss.db'}"


def taken(url: str, ttl_us: int) -> int:
    """Takes the lease here and now; its token."""
    with Store.open(url) as store, store.transaction() as tx:
        lease = leases.acquire(tx, "base", "first", ttl_us)
    assert lease is not None
    return lease.token


def said(*arguments: str, under: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> str:
    """What a process of the store says."""
    argv = [*under, sys.executable, "-m", "tests.contracts.store_processes", *arguments]
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def up(seconds: int) -> tuple[str, ...]:
    """Runs a program on a machine that has been up for so many seconds more."""
    return ("unshare", "--time", "--fork", "--boottime", str(seconds))


def started_anew(directory: Path, seconds: int) -> tuple[str, ...]:
    """Runs a program on this machine after another start, so many seconds ago."""
    other = directory / "boot_id"
    other.write_text("8f1c1b0e-0000-4000-8000-000000000001\n")
    mounted = f'mount --bind {other} /proc/sys/kernel/random/boot_id && exec "$@"'
    more = seconds - int(time.clock_gettime(time.CLOCK_BOOTTIME))
    return (*up(more), "unshare", "--mount", "sh", "-c", mounted, "sh")


@pytest.mark.parametrize("offset", ["+3600", "-3600"])
def test_a_jump_of_the_wall_clock_ends_no_lease_early(url: str, tmp_path: Path, offset: str) -> None:
    taken(url, HOUR // 2)
    assert said("take", url, "0", environ=wall_clock(offset, tmp_path)) == "held"
    assert said("take", url, "0") == "held"


@pytest.mark.parametrize("offset", ["+3600", "-3600"])
def test_a_jump_of_the_wall_clock_holds_nothing_for_ever(url: str, tmp_path: Path, offset: str) -> None:
    assert said("take", url, str(SECOND), environ=wall_clock(offset, tmp_path)) == "1"
    assert int(said("wait", url)) < HOUR // 2


def test_people_see_the_wall_clock(url: str, tmp_path: Path) -> None:
    said("take", url, str(HOUR), environ=wall_clock("+7200", tmp_path))
    with Store.open(url) as store, store.transaction() as tx:
        seen = leases.look(tx, "base")
        assert seen is not None and seen.expires_us > tx.now_us() + 2 * HOUR


@pytest.mark.needs_root
def test_sleep_counts(url: str) -> None:
    taken(url, HOUR)
    assert said("take", url, "0", under=up(1800)) == "held"
    assert said("take", url, "0", under=up(7200)) == "2"


@pytest.mark.needs_root
@pytest.mark.parametrize("seconds", [10, 10_000_000])
def test_a_lease_from_another_boot_lasts_its_full_time_from_when_it_is_first_seen(
    url: str, tmp_path: Path, seconds: int
) -> None:
    taken(url, 2 * SECOND)
    assert int(said("wait", url, under=started_anew(tmp_path, seconds))) >= 2 * SECOND


@pytest.mark.needs_root
def test_a_lease_from_a_moment_still_to_come_is_held_for_its_full_time_and_no_longer(url: str) -> None:
    said("take", url, str(2 * SECOND), under=up(7200))
    assert int(said("wait", url)) >= 2 * SECOND

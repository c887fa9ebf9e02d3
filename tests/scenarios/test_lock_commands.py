"""``airboss lock``: real processes take, wait for, renew and release locks, with a controller and without one."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat_house import FLEET
from tests.scenarios import controllers
from tests.schema import load, problems


def home_at(directory: Path) -> Path:
    home = directory / "h"
    home.mkdir(mode=0o700)
    (home / "fleet.toml").write_text(FLEET)
    return home


def airboss(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return controllers.airboss("--home", str(home), *words, home=home, stdin=stdin)


def data(done: subprocess.CompletedProcess[str], status: int = 0) -> dict[str, Any]:
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert not problems(found, load("locks.json" if "locks" in found else "lock.json"))
    return found


def acquire(home: Path, holder: str, *resources: str, ttl: str = "60") -> subprocess.CompletedProcess[str]:
    return airboss(home, "lock", "acquire", *resources, "--holder", holder, "--ttl", ttl, "--json")


def test_without_a_controller_the_command_leads_for_a_moment(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    (lease,) = data(acquire(home, "anna", "deploy"))["leases"]
    assert list(lease) == ["resource", "token", "secret", "expires_at"]
    assert (lease["resource"], lease["token"]) == ("deploy", 1)
    assert lease["expires_at"].endswith("Z")
    refused = acquire(home, "ben", "deploy", "port:8080")
    assert data(refused, 1)["held"][0]["holder"] == "anna"
    assert "deploy is held by anna" in refused.stderr
    held = data(airboss(home, "locks", "--json"))["locks"]
    assert [(row["resource"], row["holder"], row["advisory"]) for row in held] == [("deploy", "anna", True)]

    (kept,) = (home / "locks").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for stranger in (("--holder", "ben"), (), ("--secret-file", "-")):
        refused = airboss(home, "lock", "release", "deploy", *stranger, "--ttl", "5", "--json", stdin="guess\n")
        assert data(refused, 1)["held"][0]["holder"] == "anna", "a name alone releases nothing"
        assert "secret" in refused.stderr
    renewed = airboss(home, "lock", "renew", "deploy", "--holder", "anna", "--ttl", "90", "--json")
    assert data(renewed)["leases"][0]["token"] == 1
    by_file = airboss(home, "lock", "release", "deploy", "--secret-file", "-", "--json", stdin=lease["secret"])
    assert data(by_file) == {"leases": [], "released": ["deploy"]}
    assert airboss(home, "lock", "release", "deploy", "--secret-file", "-", stdin=lease["secret"]).returncode == 1
    assert data(acquire(home, "ben", "deploy"))["leases"][0]["token"] == 2
    assert lease["secret"].encode() not in (home / "airboss.db").read_bytes()


def test_commands_at_once_on_a_quiet_home_take_turns(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    words = ("lock", "acquire", "deploy", "--ttl", "60", "--holder")
    asking = [
        subprocess.Popen(
            [sys.executable, "-m", "bot.cli", "--home", str(home), *words, holder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for holder in ("anna", "ben", "cara")
    ]
    assert sorted(process.wait(timeout=200) for process in asking) == [0, 1, 1]


def test_what_is_malformed_is_said(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    for words, cause in (
        (("acquire", "path:shop:../x", "--holder", "a", "--ttl", "5"), "'.' or '..'"),
        (("acquire", "src/**", "--holder", "a", "--ttl", "5"), "no repository is named"),
        (("acquire", "deploy", "--holder", "a", "--ttl", "0"), "0.1 seconds to 7 days"),
        (("acquire", "deploy", "--holder", " ", "--ttl", "5"), "a holder has"),
    ):
        done = airboss(home, "lock", *words)
        assert (done.returncode, cause in done.stderr) == (2, True), done.stderr
    nowhere = airboss(tmp_path / "nowhere", "locks")
    assert (nowhere.returncode, (tmp_path / "nowhere").exists()) == (3, False)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    home = home_at(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "--home", str(home), "serve"],
        stdout=subprocess.DEVNULL,
    )
    yield home
    process.terminate()
    process.wait(timeout=60)


async def test_through_the_controller_waiters_are_served_and_overlaps_are_named(served: Path) -> None:
    home = served
    await asyncio.to_thread(_until_served, home)
    (first,) = data(acquire(home, "anna", "path:shop:src/**"))["leases"]
    refused = data(acquire(home, "ben", "path:shop:**/*.py"), 1)
    assert refused["held"][0]["path"].startswith("src/")
    words = ("acquire", "path:shop:src/a.py", "--holder", "cara", "--ttl", "60", "--wait", "60", "--json")
    waiting = asyncio.create_task(asyncio.to_thread(airboss, home, "lock", *words))
    while not (await asyncio.to_thread(_listed, home))["waiting"]:
        await asyncio.sleep(0.05)
    released = airboss(home, "lock", "release", "path:shop:src/**", "--holder", "anna", "--json")
    assert data(released) == {"leases": [], "released": ["path:shop:src/**"]}
    (granted,) = data(await waiting)["leases"]
    assert granted["token"] == first["token"] + 1


def _listed(home: Path) -> dict[str, Any]:
    return data(airboss(home, "locks", "--json"))


def _until_served(home: Path) -> None:
    while not (home / "control.sock").exists():
        time.sleep(0.05)

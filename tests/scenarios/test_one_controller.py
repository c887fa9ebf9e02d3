"""One controller a home: a client that loses it waits for it, never takes its place, and is answered once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.local.client import SOCKET
from tests.scenarios.house import House, house


@pytest.fixture(scope="module")
def made() -> Iterator[House]:
    with house() as world:
        world.start()
        yield world


@contextmanager
def airboss(world: House, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a person runs it, with its output in ``world.directory / "said"``."""
    environment = {**os.environ, "AIRBOSS_HOME": str(world.home)}
    with (world.directory / "said").open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", *argv],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            yield running
        finally:
            running.kill()
            running.communicate()


def said(world: House) -> str:
    return (world.directory / "said").read_text()


def listeners(world: House) -> int:
    """How many processes listen on the home's socket."""
    bound = re.compile(rf" {re.escape(str(world.home / SOCKET))}$", re.MULTILINE)
    rows = [row for row in Path("/proc/net/unix").read_text().splitlines() if bound.search(row)]
    return sum(1 for row in rows if row.split()[3] == "00010000")


def test_a_client_waits_for_a_killed_controller_and_its_task_is_asked_for_once(made: House) -> None:
    go = made.directory / "go"
    prompt = f"shell while [ ! -e {go} ]; do sleep 0.05; done\nwrite GOOD waited"
    before = len(made.ledger("task.requested"))
    with airboss(made, "run", "--wait", prompt) as running:
        made.until(lambda: len(made.ledger("turn.started")) > before, "the agent is at work")
        made.kill()
        made.until(lambda: "The controller stopped" in said(made), "the client says so")
        assert listeners(made) == 0, "nobody takes the controller's place"
        made.start()
        go.touch()
        assert running.wait(60) == 0, said(made)
    assert len(made.ledger("task.requested")) == before + 1
    assert made.main().strip() == "GOOD waited"
    assert "landed" in said(made)


def test_an_open_chat_goes_on_after_a_restart(made: House) -> None:
    with airboss(made, "chat") as running:
        assert running.stdin is not None
        running.stdin.write("/people\n")
        running.stdin.flush()
        made.until(lambda: "admin: " in said(made), "the chat answers")
        made.kill()
        made.until(lambda: "The controller stopped" in said(made), "the client says so")
        assert listeners(made) == 0
        made.start()
        made.until(lambda: "It is back" in said(made), "the client follows again")
        running.stdin.write("/gates\n")
        running.stdin.close()
        assert running.wait(60) == 0, said(made)
    assert "gate" in said(made).lower().partition("it is back")[2]


def test_status_and_doctor_say_which_controller_runs_since_when(made: House) -> None:
    with airboss(made, "status") as running:
        assert running.wait(60) == 0
    card = re.sub(r"[│\s]+", " ", said(made))
    assert re.search(r"airboss \d\S* since \d{4}-\d\d-\d\d \d\d:\d\d UTC", card)
    with airboss(made, "doctor") as running:
        running.wait(60)
    assert re.search(r"✓ controller: version \S+ has been running since \d{4}-", said(made))
    made.stop()
    with airboss(made, "doctor") as running:
        running.wait(60)
    assert "! controller: no controller is running on this home" in said(made)
    made.start()

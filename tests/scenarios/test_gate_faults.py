"""What a gate's command can do to us, one gate each, on one commit: each ends in the state that docs name.
And what one leaves that nobody follows any more."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.events import GateClosed
from fleet.store import gates as gate_runs
from fleet.verdict import GateResult, Outcome
from tests.conftest import living_in
from tests.scenarios.gate_house import WAITING, House, airboss_toml, begun

#: What the command is, its timeout, and the state of its gate.
FAULTS = {
    "hangs": ("sleep 1000", "1s", Outcome.TIMED_OUT),
    "ignores-term": ("trap '' TERM; while :; do sleep 0.1; done", "1s", Outcome.TIMED_OUT),
    "daemon": ("(sleep 1000 & ) ; exit 0", "60s", Outcome.PASSED),
    "loud": ("head -c 100000000 /dev/zero; exit 1", "120s", Outcome.FAILED),
    "asks-again": ("exit 75", "60s", Outcome.UNAVAILABLE),
    "cannot-run": ("./change.txt", "60s", Outcome.UNAVAILABLE),
    "not-found": ("no-such-program", "60s", Outcome.UNAVAILABLE),
    "says-124": ("exit 124", "60s", Outcome.FAILED),
    "says-255": ("exit 255", "60s", Outcome.FAILED),
    "killed": ("kill -KILL $$", "60s", Outcome.FAILED),
}


async def test_each_fault_of_a_command_ends_in_its_state(tmp_path: Path) -> None:
    toml = "".join(airboss_toml("/bin/sh", "-c", run, timeout=t, name=name) for name, (run, t, _) in FAULTS.items())
    house = House(tmp_path, {"airboss.toml": toml}, attempts=2)
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    states = {result.gate: result.outcome for result in verdict.gates}
    assert states == {name: state for name, (_, _, state) in FAULTS.items()}
    assert verdict.outcome is Outcome.FAILED
    by_name = {result.gate: result for result in verdict.gates}
    assert _tries(by_name["asks-again"]) == 2, "the same machine was asked again"
    assert _tries(by_name["not-found"]) == _tries(by_name["killed"]) == 1
    assert by_name["killed"].reason == "killed by SIGKILL"
    assert by_name["loud"].evidence is not None and by_name["loud"].evidence.output_bytes == 100_000_000
    daemon = by_name["daemon"].evidence
    assert daemon is not None and daemon.ended_us - daemon.started_us < 60_000_000, "its output did not delay us"


def _tries(result: GateResult) -> int:
    return len(result.earlier) + 1


@contextmanager
def _statuses(*statuses: int) -> Iterator[int]:
    """A port that answers each connection with the next exit status."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for status in statuses:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"%d\n" % status)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield server.getsockname()[1]
        serving.join(60)


@pytest.mark.parametrize(
    ("flaky", "statuses", "state", "words"),
    [
        (True, (1, 0), Outcome.PASSED, "passed on run 2; run 1 failed: exit status 1"),
        (True, (1, 3), Outcome.FAILED, "exit status 3 (run 2; run 1 failed)"),
        (False, (1,), Outcome.FAILED, "exit status 1"),
    ],
)
async def test_a_failure_runs_again_only_where_the_gate_says_that_it_is_flaky(
    tmp_path: Path, flaky: bool, statuses: tuple[int, ...], state: Outcome, words: str
) -> None:
    with _statuses(*statuses) as port:
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -r -u 3 status; exit $status"
        more = "network = true\n" + ("flaky = true" if flaky else "")
        toml = airboss_toml("/bin/bash", "-c", script, more=more)
        house = House(tmp_path, {"airboss.toml": toml}, attempts=2)
        async with house.open() as judge:
            verdict = await judge.pipeline.judge(await judge.candidate())
            closed = [item.event.body()["outcome"] for item in await judge.events("gate.closed")]
    (result,) = verdict.gates
    assert (verdict.outcome, result.outcome) == (state, state)
    assert any(words in reason for reason in verdict.reasons), verdict.reasons
    assert closed == ["failed" if status else "passed" for status in statuses], "every run is kept"


async def test_the_run_of_a_task_that_has_ended_is_ended_and_its_login_is_free(tmp_path: Path) -> None:
    """The controller died while it judged, and the task was stopped before the next one took the run up."""
    house = House(tmp_path, {"airboss.toml": airboss_toml("/bin/sh", "-c", WAITING)})
    async with house.open() as judge:
        candidate = await judge.candidate()
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        home = await begun(tmp_path)
        judging.cancel()
        await asyncio.wait([judging])
        assert await judge.store.read(lambda tx: gate_runs.open_logins(tx, "here"))
    async with house.open() as judge:
        for _ in range(2):
            await judge.pipeline.close_left(candidate.task.id)
        (closed,) = [item.event for item in await judge.events("gate.closed")]
        assert isinstance(closed, GateClosed)
        assert (closed.outcome, closed.reason) == ("aborted", "aborted: the task has ended")
        assert not await judge.store.read(lambda tx: gate_runs.open_logins(tx, "here"))
        assert living_in(home.parent) == {}


async def test_a_task_that_was_stopped_while_it_was_judged_is_judged_if_it_goes_on(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("/bin/sh", "-c", WAITING)})
    async with house.open() as judge:
        candidate = await judge.candidate()
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        await begun(tmp_path)
        await judge.pipeline.abandon(candidate.task.id)
        assert (await judging).outcome is Outcome.ABORTED
        assert (await judge.pipeline.judge(candidate)).outcome is Outcome.ABORTED, "nothing runs before it goes on"
        await judge.pipeline.close_left(candidate.task.id)
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        (await begun(tmp_path) / "go").touch()
        assert (await judging).outcome is Outcome.PASSED
        closed = [item.event for item in await judge.events("gate.closed")]
        assert [event.outcome for event in closed if isinstance(event, GateClosed)] == ["aborted", "passed"]

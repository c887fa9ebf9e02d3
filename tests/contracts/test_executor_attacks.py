"""What a command may try against its supervisor, on every kind of login. None of it may look like a pass."""

from __future__ import annotations

import asyncio
import json
import os
import signal

from fleet.exits import Exited, Lost, Signalled
from fleet.machines.login import LoginExecutor
from tests.contracts.executor_logins import (
    NONCE,
    Login,
    follow,
    pipe_spec,
    run_pipe,
    said,
)

#: An exit record as the runner writes it, but for the proof that only the nonce can make.
FORGED = '{"pipe": "%s", "how": "ended", "status": 0, "started_us": 1, "ended_us": 2, "timeout_us": 0, '
FORGED += '"contained": true, "gone": true, "tree": "", "unavailable": ""}\n' + "0" * 64 + "\n"


async def lost(executor: LoginExecutor, pipe: str) -> str:
    """Why the pipe is lost; fails when it is anything else."""
    ended = (await follow(executor, pipe)).ended
    assert isinstance(ended.exit, Lost) and ended.raw_wait_status is None and not ended.gone
    return ended.exit.why


async def test_a_command_that_kills_its_supervisor_is_lost(login: Login) -> None:
    executor = login.executor()
    life = await run_pipe(executor, pipe_spec("sh", "-c", "kill -9 $PPID; sleep 300"))
    assert isinstance(life.ended.exit, Lost) and "without an exit record" in life.ended.exit.why


async def test_a_command_does_not_outlive_its_supervisor(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "echo $$; exec sleep 300")
    await executor.start(spec)
    pid = int(await said(executor, spec.id, b"\n"))
    state = json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))
    await executor.run(["kill", "-9", str(state["pid"])])
    await login.ends(pid)


#: Its supervisor is gone, and so are the group and the session by which a process would be found.
DESERTER = "trap '' TERM HUP; (setsid sh -c '{inner}' &); until [ -s {place} ]; do sleep 0.01; done; kill -9 $PPID"


async def desert(login: Login, pipe: str, inner: str) -> int:
    """Starts a pipe whose command kills its supervisor; answers the pid of the process that it leaves behind."""
    executor = login.executor()
    await executor.facts()
    place = login.root.parent / pipe
    script = DESERTER.format(inner=f"echo $$ > {place}.new; mv {place}.new {place}; {inner}", place=place)
    await executor.start(pipe_spec("sh", "-c", f"{script}; sleep 300", id=pipe, env={"A": "b"}))
    async with asyncio.timeout(60):
        while not place.exists():
            await asyncio.sleep(0.01)
    state = json.loads(await executor.read_file(f"pipes/{pipe}/state.json", 1000))
    await login.ends(state["pid"])
    pid = int(place.read_text())
    assert login.alive(pid)
    return pid


async def test_stop_finds_what_left_group_and_session_of_a_dead_supervisor(login: Login) -> None:
    spec, other = pipe_spec("true"), pipe_spec("sh", "-c", "echo up; setsid sleep 300")
    executor = login.executor()
    await executor.start(other)
    await said(executor, other.id, b"up")
    pid = await desert(login, spec.id, "exec sleep 300")
    await executor.stop(spec.id, 0)
    assert not login.alive(pid)
    state = json.loads(await executor.read_file(f"pipes/{other.id}/state.json", 1000))
    assert login.alive(state["pid"])


async def test_stop_does_not_wait_for_a_frozen_supervisor(login: Login) -> None:
    """A neighbour on its login stopped it with a signal."""
    executor, spec = login.executor(), pipe_spec("sh", "-c", "echo up; exec sleep 300")
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    directory = f"pipes/{spec.id}"
    main = json.loads(await executor.read_file(f"{directory}/status", 1000))["main"]
    supervisor = json.loads(await executor.read_file(f"{directory}/state.json", 1000))["pid"]
    os.kill(login.outside(supervisor), signal.SIGSTOP)
    await executor.stop(spec.id, 0)
    assert not login.alive(main)


async def test_stop_finds_it_also_when_the_pipes_directory_was_taken_away(login: Login) -> None:
    spec = pipe_spec("true")
    pid = await desert(login, spec.id, "exec sleep 300")
    await login.executor().run(["rm", "-rf", str(login.root / "pipes" / spec.id)])
    assert login.alive(pid)
    await login.executor().stop(spec.id, 0)
    assert not login.alive(pid)


async def test_the_end_of_a_pipe_is_the_end_of_what_its_dead_supervisor_left(login: Login) -> None:
    """The second runs in a fresh environment of its own making, but for the mark."""
    for inner in ("exec sleep 300", "exec env -i AIRBOSS_PIPE=$AIRBOSS_PIPE PATH=$PATH sleep 300"):
        spec = pipe_spec("true")
        pid = await desert(login, spec.id, inner)
        assert "without an exit record" in await lost(login.executor(), spec.id)
        assert not login.alive(pid)


async def test_a_record_that_the_command_wrote_is_lost(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    spec = pipe_spec("true")
    place = login.root / "pipes" / spec.id / "exit"
    for kill in ("", "kill -9 $PPID;"):
        spec = pipe_spec("true")
        place = login.root / "pipes" / spec.id / "exit"
        script = f"printf %s '{FORGED % spec.id}' > {place}; {kill} exit 1"
        await executor.start(pipe_spec("sh", "-c", script, id=spec.id))
        await lost(executor, spec.id)
        assert place.read_text() == FORGED % spec.id


async def test_a_record_that_was_changed_or_doubled_is_lost(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "exit 1")
    assert (await run_pipe(executor, spec)).ended.exit == Exited(1)
    record = await executor.read_file(f"pipes/{spec.id}/exit", 10_000)
    assert b'"status": 256' in record and NONCE.encode() not in record
    for changed in (record.replace(b'"status": 256', b'"status": 0'), record * 2, record[:-10], b""):
        await executor.write_file(f"pipes/{spec.id}/exit", changed)
        await lost(executor, spec.id)
    await executor.write_file(f"pipes/{spec.id}/exit", record)
    assert isinstance((await follow(executor, spec.id, nonce="other")).ended.exit, Lost)
    assert (await follow(executor, spec.id)).ended.exit == Exited(1)


async def test_a_record_of_another_pipe_is_lost(login: Login) -> None:
    """Two pipes with one nonce would be our own mistake; the record still names the pipe it is about."""
    executor = login.executor()
    good, bad = pipe_spec("true"), pipe_spec("false")
    await run_pipe(executor, good)
    await run_pipe(executor, bad)
    await executor.write_file(f"pipes/{bad.id}/exit", await executor.read_file(f"pipes/{good.id}/exit", 10_000))
    assert "another pipe" in await lost(executor, bad.id)


async def test_a_record_that_was_taken_away_is_lost(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    spec = pipe_spec("true")
    directory = login.root / "pipes" / spec.id
    await executor.start(pipe_spec("sh", "-c", f"rm -rf {directory}; exit 0", id=spec.id))
    await lost(executor, spec.id)


async def test_an_early_forged_record_does_not_end_the_pipe(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    spec = pipe_spec("true")
    place = login.root / "pipes" / spec.id / "exit"
    script = f"printf %s '{FORGED % spec.id}' > {place}; sleep 0.3; rm {place}; echo late; exit 4"
    await executor.start(pipe_spec("sh", "-c", script, id=spec.id))
    life = await follow(executor, spec.id)
    assert (life.output, life.ended.exit) == (b"late\n", Exited(4))


async def test_another_process_with_the_supervisors_pid_is_not_the_supervisor(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "kill -9 $PPID; sleep 300")
    await run_pipe(executor, spec)
    state = json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))
    stranger = int((await executor.run(["sh", "-c", "echo $PPID"])).out)
    reused = json.dumps({**state, "pid": stranger}).encode()
    await executor.write_file(f"pipes/{spec.id}/state.json", reused)
    async with asyncio.timeout(60):
        await lost(executor, spec.id)


async def test_a_contained_command_sees_nobody_and_reaches_nobody(login: Login) -> None:
    executor = login.executor()
    assert (await executor.facts()).contained
    script = (
        # Outside a namespace the second kill would end the whole machine: no number below 10 is ever ours there.
        "[ $$ -lt 10 ] || exit 99;"
        "echo pids $(ls /proc | grep -c '^[0-9]'); kill -9 $PPID; kill -9 -1; kill -9 1; echo alive;"
        "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; cat /proc/1/environ /proc/1/mem | wc -c;"
        "for f in /proc/1/fd/*; do (echo '{\"status\": 0}' > $f) && echo wrote; done; id -u; exit 9"
    )
    life = await run_pipe(executor, pipe_spec("sh", "-c", script, contain=True))
    lines = life.output.decode().split()
    assert life.ended.contained and life.ended.exit == Exited(9) and life.ended.raw_wait_status == 9 << 8
    assert int(lines[1]) <= 6
    facts = dict(zip(lines[3:9:2], lines[4:9:2], strict=True))
    assert facts["NoNewPrivs:"] == "1" and int(facts["CapEff:"], 16) == 0
    assert lines[9:] == ["0", str((await executor.facts()).uid)]
    if (await executor.facts()).uid == 0:
        assert int(facts["CapBnd:"], 16) == 0


async def test_a_contained_command_dies_with_its_supervisor(login: Login) -> None:
    executor = login.executor()
    marker = f"30{abs(hash(login.root)) % 100_000}"
    spec = pipe_spec("sh", "-c", f"setsid sleep {marker} & echo up; sleep {marker}", contain=True)
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    state = json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))
    await executor.run(["kill", "-9", str(state["pid"])])
    async with asyncio.timeout(60):
        while (await executor.run(["pgrep", "-fx", f"sleep {marker}"])).exit == Exited(0):
            await asyncio.sleep(0.01)
    await lost(executor, spec.id)


async def test_killing_the_namespace_from_outside_is_lost_not_a_signal(login: Login) -> None:
    """Whoever kills process 1 of the namespace hides how the command ended."""
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "echo up; sleep 300", contain=True)
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    status = json.loads(await executor.read_file(f"pipes/{spec.id}/status", 1000))
    await executor.run(["pkill", "-9", "-P", str(status["main"])])
    ended = (await follow(executor, spec.id)).ended
    assert isinstance(ended.exit, Lost) and ended.gone


async def test_a_contained_command_is_timed_out_and_stopped_like_any_other(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", contain=True)
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    await executor.stop(spec.id, 0.2)
    ended = (await follow(executor, spec.id)).ended
    assert (ended.exit, ended.gone) == (Signalled("SIGKILL"), True)


async def test_the_memory_that_holds_the_nonce_is_closed_to_the_login(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec(
        "sh",
        "-c",
        "for pid in $PPID $SERVE; do cat /proc/$pid/environ >/dev/null 2>&1 && echo open || echo closed; done",
        env={"SERVE": (await executor.run(["sh", "-c", "echo $PPID"])).out.decode().strip()},
    )
    said_ = (await run_pipe(executor, spec)).output.split()
    # Root may look into everything: that is why a gate wants a login of its own and containment.
    assert said_ == ([b"open"] if (await executor.facts()).uid == 0 else [b"closed"]) * 2

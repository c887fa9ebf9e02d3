"""The executor's contract: durable pipes, from start to end, on every kind of login."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import Refused
from fleet.exits import Exited, Lost, Signalled, TimedOut
from fleet.ports import Accepted, Output, PipeEvent, Pulse
from tests.contracts.executor_logins import (
    NONCE,
    Login,
    follow,
    pipe_spec,
    run_pipe,
    said,
)


def taken(events: list[PipeEvent]) -> Accepted:
    """How much input was told as written at last: pulses and older figures may stand around it."""
    told = [event for event in events if isinstance(event, Accepted)]
    assert told == sorted(set(told), key=lambda event: event.position), "told twice, or backwards"
    return told[-1]


async def test_a_pipe_tells_its_output_and_its_end(login: Login) -> None:
    executor = login.executor()
    life = await run_pipe(executor, pipe_spec("sh", "-c", r"printf 'a\377\0b'; echo no >&2; exit 3"))
    assert life.output == b"a\xff\0b"
    ended = life.ended
    assert (ended.exit, ended.raw_wait_status, ended.gone, ended.unavailable) == (Exited(3), 3 << 8, True, "")
    assert 0 < ended.started_us <= ended.ended_us


async def test_a_signal_is_not_an_exit(login: Login) -> None:
    life = await run_pipe(login.executor(), pipe_spec("sh", "-c", "kill -KILL $$"))
    assert (life.ended.exit, life.ended.raw_wait_status) == (Signalled("SIGKILL"), 9)


async def test_starting_twice_finds_the_first(login: Login) -> None:
    executor = login.executor()
    count = login.root.parent / "count"
    spec = pipe_spec("sh", "-c", f"echo started >> {count}; sleep 300")
    await asyncio.gather(executor.start(spec), login.executor().start(spec), executor.start(spec))
    async with asyncio.timeout(60):
        while not count.exists():
            await asyncio.sleep(0.01)
    await executor.start(spec)
    await executor.stop(spec.id, 60)  # without a grace KILL could overtake TERM
    await executor.start(spec)
    assert (await follow(executor, spec.id)).ended.exit == Signalled("SIGTERM")
    assert count.read_text() == "started\n"


async def test_streams_are_spooled_apart_or_merged(login: Login) -> None:
    executor = login.executor()
    script = ("sh", "-c", "echo out; echo err >&2")
    apart, merged = pipe_spec(*script), pipe_spec(*script, merge=True)
    assert (await run_pipe(executor, apart)).output == b"out\n"
    assert await executor.tail(apart.id, "err", 100) == b"err\n"
    assert await executor.tail(apart.id, "err", 2) == b"r\n"
    assert (await run_pipe(executor, merged)).output == b"out\nerr\n"
    for stream in ("out", "err"):
        assert (login.root / "pipes" / apart.id / stream).stat().st_mode & 0o777 == 0o600


async def test_megabytes_arrive_whole_and_from_any_offset(login: Login) -> None:
    executor = login.executor()
    program = "import os,sys; [sys.stdout.buffer.write(b'%07d\\n' % n) for n in range(400000)]"
    spec = pipe_spec("python3", "-c", program)
    whole = b"".join(b"%07d\n" % n for n in range(400000))
    assert (await run_pipe(executor, spec)).output == whole
    assert (await follow(executor, spec.id, 3_000_001)).output == whole[3_000_001:]
    assert (await follow(executor, spec.id, len(whole))).output == b""


async def test_a_hundred_megabytes_on_one_line_are_spooled_in_bounded_memory(login: Login) -> None:
    executor = login.executor()
    size = 100_000_000
    spec = pipe_spec("sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x; echo; sleep 300")
    await executor.start(spec)
    spool = login.root / "pipes" / spec.id / "out"
    async with asyncio.timeout(60):
        while spool.stat().st_size <= size:
            await asyncio.sleep(0.02)
    supervisor = json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))["pid"]
    assert login.peak_kib(supervisor) < 50_000
    await executor.stop(spec.id, 0)
    assert (await follow(executor, spec.id, size - 3_000_000)).output == b"x" * 3_000_000 + b"\n"


async def test_input_is_acknowledged_by_position(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("cat", stdin=True)
    await executor.start(spec)
    await executor.send(spec.id, 0, b"one\n")
    await executor.send(spec.id, 0, b"one\n")
    await executor.send(spec.id, 2, b"e\ntwo\n")
    with pytest.raises(Refused, match="byte 8"):
        await executor.send(spec.id, 9, b"gap")
    assert await said(executor, spec.id, b"two\n") == b"one\ntwo\n"
    await executor.send(spec.id, 8, b"", eof=True)
    await executor.send(spec.id, 8, b"", eof=True)
    with pytest.raises(Refused, match="closed"):
        await executor.send(spec.id, 8, b"late")
    life = await follow(executor, spec.id)
    assert life.output == b"one\ntwo\n" and life.ended.exit == Exited(0)
    assert taken(life.events) == Accepted(8)


async def test_input_waits_for_a_process_that_is_slow_to_read(login: Login) -> None:
    executor = login.executor()
    content = os.urandom(1_000_000)
    spec = pipe_spec("sh", "-c", "read go < $GO; cat", stdin=True, env={"GO": str(login.root.parent / "go")})
    await executor.run(["mkfifo", "-m", "666", str(login.root.parent / "go")])
    await executor.start(spec)
    await executor.send(spec.id, 0, content, eof=True)
    async for event in executor.attach(spec.id, NONCE, 0):
        if isinstance(event, Accepted):
            assert event.position < len(content)
            break
    (login.root.parent / "go").write_text("go\n")
    life = await follow(executor, spec.id)
    assert life.output == content and taken(life.events) == Accepted(len(content))


async def test_a_pipe_without_stdin_reads_the_end_of_file_and_takes_no_input(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("cat")
    assert (await run_pipe(executor, spec)).ended.exit == Exited(0)
    with pytest.raises(Refused, match="no input"):
        await executor.send(spec.id, 0, b"x")


async def test_a_timeout_is_term_then_kill(login: Login) -> None:
    executor = login.executor()
    limit = 3_000_000  # long enough for a busy machine to get as far as the trap
    polite = pipe_spec(
        "sh", "-c", "trap 'echo bye; exit 0' TERM; sleep 300 & wait", timeout_us=limit, grace_us=60_000_000
    )
    stubborn = pipe_spec("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", timeout_us=limit)
    life, other = await asyncio.gather(run_pipe(executor, polite), run_pipe(executor, stubborn))
    assert (life.output, life.ended.exit, life.ended.raw_wait_status) == (b"bye\n", TimedOut(limit), 0)
    assert (other.ended.exit, other.ended.raw_wait_status, other.ended.gone) == (TimedOut(limit), 9, True)


@pytest.mark.parametrize("contain", [False, True])
async def test_a_missing_program_was_never_started(login: Login, contain: bool) -> None:
    executor = login.executor()
    life = await run_pipe(executor, pipe_spec("no-such-program", "x", contain=contain))
    assert "no-such-program" in life.ended.unavailable and isinstance(life.ended.exit, Lost)
    life = await run_pipe(executor, pipe_spec("true", cwd="/nowhere", contain=contain))
    assert "/nowhere" in life.ended.unavailable
    away = f"{executor.root}/work/link"
    await executor.run(["sh", "-c", 'mkdir -p -- "${1%/*}"; ln -sfn / "$1"', "link", away])
    for cwd in (away, f"{away}/usr"):
        life = await run_pipe(executor, pipe_spec("true", cwd=cwd, contain=contain))
        assert "it is a link, or behind one" in life.ended.unavailable
    life = await run_pipe(executor, pipe_spec("/etc/passwd", contain=contain))
    assert "Permission denied" in life.ended.unavailable


@pytest.mark.parametrize("form", ["sha1", "sha256"])
async def test_a_checkout_is_hashed_as_git_does_and_must_be_the_expected_tree(login: Login, form: str) -> None:
    executor = login.executor()
    await executor.facts()
    place = login.root / "checkout"
    script = (
        f"mkdir -p {place}/dir/deep {place}/dir.d {place}/empty && cd {place}"
        f" && git init -q --object-format={form} ."
        " && echo one > a && echo x > dir-a && echo x > dir0 && echo deep > dir/deep/f && echo d > dir.d/f"
        " && printf '\\r\\n\\377' > binary && echo '#!/bin/sh' > run && chmod +x run && ln -s ../nowhere link"
        " && : > .gitignore && git add -A && git write-tree"
    )
    ran = await executor.run(["sh", "-c", script])
    tree = ran.out.decode().strip()
    assert ran.exit == Exited(0), ran.err
    right = await run_pipe(executor, pipe_spec("./run", cwd=str(place), expect_trees=((str(place), tree),)))
    assert (right.ended.exit, right.ended.tree) == (Exited(0), tree)
    await executor.run(["sh", "-c", f"mkdir -p {place}/dir/made && echo made > {place}/dir/made/by-a-setup"])
    for beside, passes in ((("dir/made",), True), (("made",), False), ((), False)):
        spec = pipe_spec("./run", cwd=str(place), expect_trees=((str(place), tree),), beside=beside)
        assert (not (await run_pipe(executor, spec)).ended.unavailable) is passes, beside
    hidden = pipe_spec("./run", cwd=str(place), expect_trees=((str(place), tree),), beside=("dir/made", "a"))
    assert "tree" in (await run_pipe(executor, hidden)).ended.unavailable, "a file of the tree is never left out"
    await executor.remove_tree(f"{place}/dir/made")
    for change in ("chmod -x run", "echo more >> a", "ln -sf elsewhere link", "mkfifo pipe", "rm dir0"):
        await executor.run(["sh", "-c", f"cp -a {place} {place}.new && cd {place}.new && {change}"])
        for before in ((), ((str(place), tree),)):  # alone, and after one that is as it should be
            wrong = await run_pipe(
                executor, pipe_spec("true", cwd="/", expect_trees=(*before, (f"{place}.new", tree)))
            )
            assert "tree" in wrong.ended.unavailable and isinstance(wrong.ended.exit, Lost), change
        await executor.remove_tree(f"{place}.new")


@pytest.mark.parametrize("contain", [False, True])
async def test_stop_leaves_no_process_not_even_a_daemon(login: Login, contain: bool) -> None:
    executor = login.executor()
    daemon = f"sleep 300.{uuid.uuid4().int % 1_000_000_007}"  # a number that no other run has
    script = f"(setsid sh -c 'trap \"\" TERM HUP; {daemon} & wait' &) ; echo up; sleep 302"
    spec = pipe_spec("sh", "-c", script, contain=contain)
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    await executor.stop(spec.id, 0.2)
    assert daemon not in (await executor.run(["ps", "-axo", "args"])).out.decode()
    ended = (await follow(executor, spec.id)).ended
    assert ended.gone and isinstance(ended.exit, Signalled) and ended.contained == contain
    await executor.stop(spec.id)
    await executor.stop("never-was")


async def test_what_a_command_leaves_behind_is_ended_with_it(login: Login) -> None:
    executor = login.executor()
    life = await run_pipe(executor, pipe_spec("sh", "-c", "setsid sleep 300 & echo $!"))
    assert life.ended.exit == Exited(0) and life.ended.gone
    assert not login.alive(int(life.output))


async def test_odd_arguments_and_a_bare_environment(login: Login) -> None:
    odd = ("two words", 'it\'s "quoted" $HOME', "line\nbreak", "--leading", "")
    executor = login.executor(path=["/opt/first"])
    life = await run_pipe(executor, pipe_spec("sh", "-c", r'printf "%s\0" "$@"', "-", *odd))
    assert life.output.decode() == "".join(f"{item}\0" for item in odd)
    spec = pipe_spec("/usr/bin/env", env={"A": "b\nc"}, bare_env=True)
    assert (await run_pipe(executor, spec)).output.decode() == f"A=b\nc\nAIRBOSS_PIPE={spec.id}\n"
    usual = (await run_pipe(executor, pipe_spec("env", env={"A": "b"}))).output.decode().splitlines()
    names = {line.partition("=")[0] for line in usual}
    assert {"A", "HOME", "PATH", "USER", "LANG"} <= names
    assert any(line.startswith("PATH=/opt/first:") for line in usual)


async def test_secrets_are_in_no_file_and_no_process_list(login: Login) -> None:
    executor = login.executor()
    nonce = "cafe" * 16
    spec = pipe_spec("sh", "-c", "echo up; sleep 300", env={"TOKEN": "hunter2hunter2"}, nonce=nonce)
    await executor.start(spec)
    async for event in executor.attach(spec.id, nonce, 0):
        if isinstance(event, Output):
            break
    secrets = (b"hunter2hunter2", nonce.encode())
    lines = _contents(Path("/proc").glob("[0-9]*/cmdline"))
    assert spec.id[5:20].encode() + b"\n" in _contents(Path("/proc").glob("[0-9]*/comm")), "which run it is of"
    await executor.stop(spec.id, 0)
    files = [path.read_bytes() for path in login.root.rglob("*") if path.is_file()]
    assert not [text for text in lines + files if any(secret in text for secret in secrets)]


def _contents(paths: Iterator[Path]) -> list[bytes]:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes())
    return found


async def test_retention_forgets_what_ended_long_ago_and_only_that(login: Login) -> None:
    executor = login.executor()
    done, running = pipe_spec("true"), pipe_spec("sleep", "300")
    await run_pipe(executor, done)
    await executor.start(running)
    for room in (done.id, f"{done.id}.tree", running.id):  # of gates whose machine was away when they were closed
        await executor.write_file(f"gates/{room}/tree/file", b"")
    assert await executor.forget(3_600_000_000) == 0
    assert await executor.forget(0, [done.id, "no-such-pipe"]) == 0
    assert len(list((login.root / "gates").iterdir())) == 3
    assert await executor.forget(0) == 1
    for left in ("pipes", "gates"):
        assert [path.name for path in (login.root / left).iterdir()] == [running.id]
    ended = (await follow(executor, done.id)).ended
    assert isinstance(ended.exit, Lost) and "no such pipe" in ended.exit.why


async def test_names_that_are_no_names_are_refused(login: Login) -> None:
    for name in ("../x", "a/b", "", ".hidden", "-option"):
        with pytest.raises(Refused):
            await login.executor().start(pipe_spec("true", id=name))


async def test_a_sleeping_pipe_still_gives_a_pulse(login: Login) -> None:
    executor = login.executor()
    spec = pipe_spec("sleep", "300")
    await executor.start(spec)
    async with asyncio.timeout(60):
        pulses = 0
        async for event in executor.attach(spec.id, NONCE, 0):
            pulses += isinstance(event, Pulse)
            if pulses == 2:
                break
    state = json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))
    await executor.run(["kill", "-9", str(state["pid"])])
    await login.ends(state["pid"])
    life = await follow(executor, spec.id)
    assert not any(isinstance(event, Pulse) for event in life.events)

"""The executor's contract: facts, short commands and files, on every kind of login."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fleet.errors import Refused, Unavailable
from fleet.exits import Exited, Signalled, TimedOut
from fleet.machines.runner.children import CAUGHT
from tests.contracts.executor_logins import QUICK_KINDS, Login, pipe_spec, said

ODD = ("two words", 'it\'s "quoted" $HOME `id` \\', "line\nbreak", "--leading", "", "*", "ünïcode")


async def test_facts_tell_who_and_what_answers(login: Login) -> None:
    executor = login.executor()
    facts = await executor.facts()
    assert executor.root == str(login.root)
    assert facts.user == (await executor.run(["id", "-un"])).out.decode().strip()
    assert (facts.uid == os.getuid()) == (login.kind != "other-login")
    assert facts.cpus > 0 and facts.disk_free > 0 and facts.boot
    assert (await login.executor().facts()).boot == facts.boot


async def test_a_heartbeat_starts_no_process(login: Login) -> None:
    """Once a machine was looked at: the faults of children that ended would grow with each one."""
    executor = login.executor()
    pid = login.outside(int((await executor.run(["sh", "-c", "echo $PPID"])).out))
    await executor.facts()

    def of_children() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[8]

    before = of_children()
    for _ in range(5):
        await executor.facts()
    assert of_children() == before
    await executor.run(["true"])
    assert of_children() != before, "a child is seen"


async def test_a_machine_says_which_programs_it_has_and_in_which_version(login: Login) -> None:
    executor = login.executor()
    asked = {"git": ["git", "--version"], "sh": ["sh"], "gone": ["no-such-program"], "bad": ["false", "--version"]}
    found = await executor.offers(asked)
    assert found.programs["git"].startswith("git version 2.")
    assert {**found.programs, "git": ""} == {"git": "", "sh": "", "bad": ""}
    facts = await executor.facts()
    assert facts.arch and facts.release and facts.memory > facts.memory_free > 0


@pytest.mark.parametrize("login", QUICK_KINDS[-1:], indirect=True)  # each would wait ten seconds for the same code
async def test_a_program_that_never_answers_costs_its_version_only(login: Login) -> None:
    asked = {"slow": ["sh", "-c", "sleep 300 & wait"], "git": ["git", "--version"]}
    found = await login.executor().offers(asked)
    assert found.programs["slow"] == "" and found.programs["git"]


async def test_run_keeps_streams_apart_and_tells_the_exit(login: Login) -> None:
    executor = login.executor()
    ran = await executor.run(["sh", "-c", r"printf 'out\377'; echo err >&2; exit 7"])
    assert (ran.exit, ran.out, ran.err) == (Exited(7), b"out\xff", b"err\n")
    assert (await executor.run(["sh", "-c", "kill -9 $$"])).exit == Signalled("SIGKILL")
    piped = await executor.run(["sh", "-c", "yes | head -n 1"])
    assert (piped.out, piped.err) == (b"y\n", b"")  # SIGPIPE ends a writer silently, as in any shell


async def test_arguments_and_environment_arrive_as_they_are(login: Login) -> None:
    ran = await login.executor().run(
        ["sh", "-c", r'printf "%s\0" "$VALUE" "$@"', "-", *ODD], env={"VALUE": "a\n'b"}
    )
    assert ran.out.decode() == "".join(f"{item}\0" for item in ("a\n'b", *ODD))


async def test_a_command_never_sees_the_controllers_environment(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRBOSS_TEST_SECRET", "hunter2")
    ran = await login.executor().run(["env"])
    assert b"HOME=" in ran.out and b"hunter2" not in ran.out


async def test_a_command_that_hangs_is_timed_out_with_its_children(login: Login) -> None:
    script = "trap '' TERM; sleep 300 & echo $!; wait; sleep 300"
    ran = await login.executor().run(["sh", "-c", script], timeout=2)
    assert ran.exit == TimedOut(2_000_000)
    await login.ends(int(ran.out))


async def test_a_daemon_left_behind_holds_nobody_up(login: Login) -> None:
    ran = await login.executor().run(["sh", "-c", "setsid sleep 30 & echo $!"], timeout=20)
    assert ran.exit == Exited(0)
    await login.executor().run(["kill", ran.out.decode().strip()])
    ran = await login.executor().run(["sh", "-c", "sleep 300 & echo $!"])
    await login.ends(int(ran.out))


async def test_output_beyond_the_limit_is_cut_and_the_command_goes_on(login: Login) -> None:
    ran = await login.executor().run(["sh", "-c", "head -c 3000000 /dev/zero; exit 5"], limit=1000)
    assert ran.exit == Exited(5) and ran.out == bytes(1000)


async def test_files_stream_through_a_command(login: Login, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "in").write_bytes(content)
    executor = login.executor()
    ran = await executor.run(["cat"], stdin=tmp_path / "in", stdout=tmp_path / "out", limit=len(content))
    assert ran.exit == Exited(0) and (tmp_path / "out").read_bytes() == content
    with pytest.raises(Unavailable, match="limit"):
        await executor.run(["cat"], stdin=tmp_path / "in", stdout=tmp_path / "out", limit=len(content) - 1)
    assert (tmp_path / "out").stat().st_size < len(content)


#: Pipelines whose every stage can be ahead of the other when the limit is passed.
OVERFLOWING = ("yes | cat", "cat | cat", "yes >&2 & yes | cat", "setsid yes | cat", "head -c 3000000 /dev/zero")


async def test_a_pipeline_that_overflows_is_unavailable_and_the_link_goes_on(login: Login, tmp_path: Path) -> None:
    executor = login.executor()
    spec = pipe_spec("sleep", "300")
    await executor.start(spec)

    async def overflow(number: int) -> None:
        script, out = OVERFLOWING[number % len(OVERFLOWING)], tmp_path / f"out{number}"
        with pytest.raises(Unavailable, match="limit of 70000 bytes"):
            await executor.run(["sh", "-c", script], stdin=bytes(2_000_000), stdout=out, limit=70_000)
        assert out.stat().st_size <= 70_000

    for _ in range(2):
        await asyncio.gather(*(overflow(number) for number in range(len(OVERFLOWING))))
    await executor.stop(spec.id, 0)
    assert executor.channels_opened == 1


async def test_input_that_nobody_reads_is_let_go(login: Login) -> None:
    ran = await login.executor().run(["sh", "-c", "exec <&-; exit 3"], stdin=bytes(5_000_000))
    assert ran.exit == Exited(3)


async def test_a_missing_program_is_unavailable_not_failed(login: Login) -> None:
    with pytest.raises(Unavailable, match="no-such-program"):
        await login.executor().run(["no-such-program"])
    with pytest.raises(Unavailable, match="directory /nowhere: No such file or directory"):
        await login.executor().run(["true"], cwd="/nowhere")
    with pytest.raises(Unavailable, match="/etc/passwd: Permission denied"):
        await login.executor().run(["/etc/passwd"])
    with pytest.raises(Unavailable, match="Exec format error"):
        await login.executor().write_file("no-program", b"neither a program nor a script", 0o700)
        await login.executor().run([str(login.root / "no-program")])
    for line, why in (("#!/no/such/sh -e\n", "names /no/such/sh, which"), ("#!/bin/sh\r\n", "end as on Windows")):
        await login.executor().write_file("script", line.encode(), 0o700)
        with pytest.raises(Unavailable, match=why):
            await login.executor().run([str(login.root / "script")])
    with pytest.raises(Unavailable, match="arguments"):
        await login.executor().run(["echo", "a\0b"])


async def test_a_command_begins_in_its_own_session_as_if_nothing_of_ours_were_around_it(login: Login) -> None:
    executor = login.executor()
    looks = "umask; pwd; cut -d' ' -f6 /proc/$$/stat; echo $$; grep SigIgn /proc/$$/status; ls /proc/$$/fd"
    ran = await executor.run(["sh", "-c", looks], cwd="/usr")
    mask, where, session, pid, _, ignored, *files = ran.out.split()
    assert (mask, where, session) == (b"0022", b"/usr", pid)
    assert files == [b"0", b"1", b"2"]
    assert [number for number in CAUGHT if int(ignored, 16) & 1 << (number - 1)] == []
    assert (await executor.run(["pwd"])).out.strip() == (await executor.facts()).home.encode()


async def test_a_cancelled_command_is_killed(login: Login) -> None:
    executor = login.executor()
    fifo = login.root.parent / "pid"
    task = asyncio.create_task(executor.run(["sh", "-c", f"echo $$ > {fifo}.new; mv {fifo}.new {fifo}; sleep 300"]))
    while not fifo.exists():
        await asyncio.sleep(0.01)
    pid = int(fifo.read_text())
    assert login.alive(pid)
    task.cancel()
    await login.ends(pid)


async def test_files_are_written_read_and_removed(login: Login) -> None:
    executor = login.executor()
    content = os.urandom(2_500_000)
    await executor.write_file("a/b/file", content, 0o640)
    assert await executor.read_file("a/b/file", 1 << 30) == content
    assert await executor.read_file(f"{executor.root}/a/b/file", 10) == content[:10]
    assert (login.root / "a/b/file").stat().st_mode & 0o777 == 0o640
    await executor.run(["chmod", "-R", "a-w", f"{executor.root}/a"])
    await executor.remove_tree("a")
    assert not (login.root / "a").exists()
    await executor.remove_tree("a")
    with pytest.raises(Unavailable, match="a/b/file"):
        await executor.read_file("a/b/file", 10)


async def test_nothing_outside_the_root_is_removed(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    outside = login.root.parent / "precious"
    await executor.run(["mkdir", str(outside)])
    await executor.run(["ln", "-s", str(login.root.parent), str(login.root / "way-out")])
    for path in (str(outside), "../precious", "way-out/precious", ".", str(login.root)):
        with pytest.raises(Refused):
            await executor.remove_tree(path)
    await executor.remove_tree("way-out")
    assert outside.is_dir() and not (login.root / "way-out").is_symlink()


async def test_everything_shares_one_channel_and_nothing_starves(login: Login) -> None:
    """The sshd of this suite allows a single session. A follower that does not read holds up nobody."""
    executor = login.executor()
    spec = pipe_spec("sh", "-c", "head -c 20000000 /dev/zero; echo end; sleep 300")
    await executor.start(spec)
    lazy = executor.attach(spec.id, spec.nonce, 0)
    await anext(lazy)
    ran = await asyncio.gather(*(executor.run(["echo", str(n)], stdin=b"x") for n in range(20)))
    assert [int(result.out) for result in ran] == list(range(20))
    assert (await said(executor, spec.id, b"end"))[:10] == bytes(10)
    assert login.peak_kib(int((await executor.run(["sh", "-c", "echo $PPID"])).out)) < 60_000
    await lazy.aclose()  # type: ignore[attr-defined]  # an async generator, which the port need not promise
    assert executor.channels_opened == 1


async def test_a_closed_executor_opens_again_when_needed(login: Login) -> None:
    executor = login.executor()
    serve = int((await executor.run(["sh", "-c", "echo $PPID"])).out)
    await executor.close()
    await login.ends(serve)
    results = await asyncio.gather(*(executor.run(["true"]) for _ in range(5)))
    assert {result.exit for result in results} == {Exited(0)}
    assert executor.channels_opened == 2


async def test_the_runner_leaves_no_file(login: Login) -> None:
    """What a login can write must not decide what runs there."""
    executor = login.executor()
    await executor.facts()
    assert not [path for path in login.root.rglob("*") if path.is_file()]


async def test_a_login_without_python_is_unavailable(login: Login) -> None:
    with pytest.raises(Unavailable, match="no-python"):
        await login.executor(python="no-python").facts()

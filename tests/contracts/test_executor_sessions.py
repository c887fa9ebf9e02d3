"""A session's walls, on every kind of login: what it sees, what lasts, what it shares with other sessions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet.exits import Exited
from fleet.isolation import RunIsolation, SessionWalls, Sharing, Walls
from fleet.machines.login import LoginExecutor
from fleet.ports import PipeSpec
from tests.conftest import sampled
from tests.contracts.between_runs import ATTACKS, LEFT_AT_HOME, ON_SESSIONS, OPEN_TO_SESSIONS, program
from tests.contracts.executor_logins import Life, Login, opened, pipe_spec, run_pipe
from tests.contracts.victim import victim
from tests.far_end import agents

OWN = RunIsolation(Sharing.OWN, Sharing.OWN, Sharing.SHARED, Sharing.SHARED, supervisor=Sharing.OWN)


@dataclass
class Site:
    """A login with a home, a vendor's login in it, and two sessions' workspaces."""

    executor: LoginExecutor
    home: str

    @property
    def root(self) -> str:
        return self.executor.root

    def session(self, name: str, *, read: tuple[str, ...] = (), vault: bool = True) -> Walls:
        """The walls of that session of a Claude Code agent."""
        root = self.root
        return Walls(
            room=f"{root}/sessions/{name}",
            read=read,
            network=True,
            session=SessionWalls(
                root=root,
                workspace=f"{root}/work/{name}",
                clone=f"{root}/repos/shop.git",
                layered=(self.home,),
                vault=f"{root}/login/claude" if vault else "",
                seen=(f"{root}/inbox/{name}",),
                logins=(f"{self.home}/.claude/.credentials.json",),
                others=(f"{self.home}/.codex/auth.json",),
                emptied=(f"{self.home}/.codex/rules",),
            ),
        )

    def spec(self, name: str, script: str, *, read: tuple[str, ...] = ()) -> PipeSpec:
        return pipe_spec(
            "/bin/sh", "-c", script, merge=True, contain=True, cwd=f"{self.root}/work/{name}",
            env={"HOME": self.home, "ROOT": self.root}, walls=self.session(name, read=read),
        )  # fmt: skip

    async def run(self, name: str, script: str) -> Life:
        return await run_pipe(self.executor, self.spec(name, script))

    async def read(self, path: str) -> bytes:
        return await self.executor.read_file(path, 1000)


async def site_of(executor: LoginExecutor) -> Site:
    """Files as they lie on a machine that ran sessions before."""
    assert (await executor.facts()).layered
    root = executor.root
    home = f"{root}/../home"
    for path, text in {
        f"{home}/.claude/.credentials.json": "token-1",
        f"{home}/.claude/settings.json": "{}",
        f"{home}/.codex/auth.json": "other",
        f"{home}/.codex/rules/default.rules": "allow all",
        f"{home}/.gitconfig": "[user]\n\tname = Ada\n",
        f"{root}/repos/shop.git/objects/info/packs": "objects",
        f"{root}/repos/shop.git/config": "[core]\n",
        f"{root}/pipes/spool": "spool",
        f"{root}/work/one/file": "one",
        f"{root}/work/two/file": "two",
        f"{root}/inbox/one/note.txt": "for one",
        f"{root}/inbox/two/note.txt": "for two",
        f"{root}/gates/run/tree/check.py": "check",
        f"{root}/sessions/two/layers/x/upper/.claude/projects/p.jsonl": "conversation of two",
    }.items():
        await executor.write_file(path, text.encode())
    return Site(executor, os.path.normpath(home))


@pytest.fixture
async def site(login: Login) -> AsyncIterator[Site]:
    yield await site_of(login.executor())


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    """On this machine, where the kind of login makes no difference."""
    async with opened("local") as login:
        yield await site_of(login.executor())


async def test_a_session_has_its_workspace_its_files_and_the_login_and_says_so(site: Site) -> None:
    life = await site.run(
        "one",
        'pwd; cat file "$ROOT/inbox/one/note.txt" ~/.claude/.credentials.json ~/.gitconfig; echo changed > file; '
        'cat "$ROOT/repos/shop.git/objects/info/packs"; ls "$ROOT" "$ROOT/work"; echo more > "$ROOT/x"',
    )
    assert life.ended.exit == Exited(2) and life.ended.isolation == OWN, life
    said = life.output.decode()
    assert said.startswith(f"{site.root}/work/one\nonefor onetoken-1[user]")
    assert "objects" in said and "Read-only file system" in said
    listed = said.partition("objects")[2].split()
    assert not {"pipes", "gates", "sessions", "two"} & set(listed), listed
    assert await site.read(f"{site.root}/work/one/file") == b"changed\n"


async def test_what_a_session_writes_at_home_lasts_for_it_alone(site: Site) -> None:
    await site.run("one", "echo mine > ~/.claude/settings.json; rm ~/.gitconfig; mkdir -p ~/.claude/projects/x")
    again = await site.run("one", "cat ~/.claude/settings.json; ls -a ~; ls -d ~/.claude/projects/x")
    assert again.output.startswith(b"mine\n") and b".gitconfig" not in again.output
    assert again.ended.exit == Exited(0)
    other = await site.run("two", "cat ~/.claude/settings.json; test ! -e ~/.claude/projects/x && cat ~/.gitconfig")
    assert other.output.startswith(b"{}[user]")
    assert await site.read(f"{site.home}/.claude/settings.json") == b"{}"


async def test_rules_that_allow_commands_are_not_seen_and_cannot_be_left_for_the_next_process(here: Site) -> None:
    script = "ls ~/.codex/rules; echo allow > ~/.codex/rules/more.rules; ls ~/.codex/rules"
    for _ in range(2):
        assert (await here.run("one", script)).output == b"more.rules\n"
    assert await here.read(f"{here.home}/.codex/rules/default.rules") == b"allow all"


async def test_a_renewed_login_reaches_every_session_and_no_copy_is_made(site: Site) -> None:
    """As Claude Code writes it: a new file, renamed; where that is refused, copied over the old one."""
    renew = "cd ~/.claude; echo token-2 > new; mv -T new .credentials.json || cp new .credentials.json; rm -f new"
    busy = await site.run("one", f"exec 2>/dev/null; {renew}; cat .credentials.json")
    assert busy.output.endswith(b"token-2\n")
    assert (
        await site.run("two", 'cat ~/.claude/.credentials.json "$ROOT/login/claude/.credentials.json"')
    ).output == (b"token-2\ntoken-2\n")
    assert await site.read(f"{site.home}/.claude/.credentials.json") == b"token-2\n"
    copies = await site.executor.run(["grep", "-rl", "token-", f"{site.root}/sessions", f"{site.root}/login"])
    assert copies.out == b""


async def test_sessions_of_one_login_share_the_lock_around_its_renewal(here: Site) -> None:
    await here.run("one", 'mkdir "$ROOT/login/claude/.oauth_refresh.lock"')
    assert (await here.run("two", 'mkdir "$ROOT/login/claude/.oauth_refresh.lock"')).ended.exit != Exited(0)


async def test_the_real_codex_renews_its_login_for_every_session(here: Site, tmp_path: Path) -> None:
    """It replaces the file by a rename, and gives up on a bound one."""
    codex = agents.binary("codex")
    auth = f"{here.home}/.codex/auth.json"
    await here.executor.write_file(auth, b'{"OPENAI_API_KEY": "first"}')
    walls = here.session("one", read=(codex,))
    assert walls.session is not None
    session = replace(walls.session, linked=(auth,), logins=(), others=())
    env = {"HOME": here.home}
    renew = pipe_spec(
        "/bin/sh", "-c", f"echo second | {codex} login --with-api-key", merge=True, contain=True, env=env,
        walls=replace(walls, session=session),
    )  # fmt: skip
    life = await run_pipe(here.executor, renew)
    assert life.ended.exit == Exited(0) and life.ended.isolation == OWN, life.output
    assert b"second" in await here.read(auth) and Path(auth).is_symlink()
    other = replace(
        walls, room=f"{here.root}/sessions/two", session=replace(session, workspace=f"{here.root}/work/two")
    )
    read = pipe_spec("/bin/cat", auth, contain=True, walls=other)
    assert b"second" in (await run_pipe(here.executor, read)).output
    await here.executor.run(["sh", "-c", f"rm {auth}; echo third > {auth}"])  # as a person logs in again
    assert (await run_pipe(here.executor, replace(read, id=f"{read.id}-again"))).output == b"third\n"
    assert Path(auth).is_symlink()


async def test_another_vendors_login_is_hidden_and_a_missing_one_is_said_to_be_none(here: Site) -> None:
    assert (await here.run("one", "cat ~/.codex/auth.json")).output == b""
    await here.executor.run(["rm", f"{here.home}/.claude/.credentials.json"])
    assert (await here.run("one", "true")).ended.isolation.login is Sharing.NONE


async def test_programs_and_listed_directories_outside_home_can_be_read(here: Site, tmp_path: Path) -> None:
    for name in ("tool/bin/run", "tool/lib/part", "listed/data", "unlisted/data"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\necho ran\n")
        path.chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "tool" / "bin" / "run")
    script = (
        f"cd {tmp_path}; ./link; tool/bin/run; cat tool/lib/part listed/data; touch listed/x; ls; cat unlisted/data"
    )
    read = (str(tmp_path / "link"), str(tmp_path / "listed"))
    life = await run_pipe(here.executor, here.spec("one", script, read=read))
    assert life.output.count(b"ran\n") == 2 + 2 and b"Read-only" in life.output
    assert b"unlisted" in life.output.splitlines()[-1] and life.ended.exit == Exited(1)


async def test_a_worktree_of_an_earlier_version_works_and_is_not_called_walled(here: Site) -> None:
    await here.executor.write_file(f"{here.root}/work/one/.git", b"gitdir: elsewhere")
    life = await here.run("one", 'echo x >> "$ROOT/repos/shop.git/config"')
    assert life.ended.exit == Exited(0) and life.ended.isolation.files is Sharing.SHARED


async def test_an_agent_may_make_a_sandbox_of_its_own(here: Site) -> None:
    assert (await here.run("one", "unshare --user --mount true")).ended.exit == Exited(0)


@pytest.mark.parametrize("target", sampled(["work/victim", "gates/victim"], 1))
async def test_no_session_reaches_another_session_or_a_gate(login: Login, target: str) -> None:
    """The same attacks without walls must cross: else they would prove nothing."""
    executor = login.executor()
    site = await site_of(executor)
    conversation = f"{site.root}/sessions/two/layers/x/upper/.claude/projects/p.jsonl"
    await executor.write_file(f"{site.root}/inbox/victim/note", b"n")
    await executor.write_file(f"{site.root}/repos/shop.git/objects/ab", b"blob")
    attacks = [attack for attack in (*ATTACKS, *ON_SESSIONS) if attack.name not in OPEN_TO_SESSIONS]
    async with victim(executor, target) as values:
        values |= {"HOME": site.home, "CONVERSATION": conversation}
        before = (await executor.run(["find", site.home, "-printf", "%p %s %T@\n"])).out
        for attack in attacks:
            script = program(attack, values)
            walled = pipe_spec(
                "/usr/bin/python3", "-c", script, merge=True, contain=True, env={"TMPDIR": "/tmp"},
                cwd=f"{site.root}/work/one", walls=site.session("one"),
            )  # fmt: skip
            life = await run_pipe(executor, walled)
            own_layer = attack.name in LEFT_AT_HOME and life.ended.exit == Exited(0)
            assert own_layer or life.ended.exit == Exited(1), (attack.name, life)
            assert life.ended.isolation == OWN
        assert (await executor.run(["find", site.home, "-printf", "%p %s %T@\n"])).out == before
        for attack in (each for each in ATTACKS if each.over_network):  # `egress` gives a network of its own
            walls = replace(site.session("one"), network=False)
            script, env = program(attack, values), {"TMPDIR": "/tmp"}
            alone = pipe_spec("/usr/bin/python3", "-c", script, contain=True, env=env, walls=walls)
            assert (await run_pipe(executor, alone)).ended.exit == Exited(1), attack.name
        await executor.write_file(f"{values['ROOT']}/scratch/.keep", b"")
        for attack in ON_SESSIONS:
            env = {"TMPDIR": f"{site.root}/scratch"}
            life = await run_pipe(executor, pipe_spec("/usr/bin/python3", "-c", program(attack, values), env=env))
            assert life.ended.exit == Exited(0), (attack.name, life)

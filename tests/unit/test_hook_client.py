"""The hook client's parts, and what is added to the agents' settings."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.gatekeeping import gatekeeper_of
from bot.local.hooked import HookDoor
from fleet.agent_events import ToolOutcome
from fleet.agents.hooked import _HOOKS, MARK, HookedAgent, merged, removed
from fleet.agents.session_files import Calls, Ending
from fleet.clock import SystemClock
from fleet.config import FleetConfig, Secrets, parse_fleet
from fleet.errors import Misused, Refused
from fleet.events import ToolCallEndedV2
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.imports import ImportedAgent
from fleet.machines.executors import Executors
from fleet.machines.runner import hook, hook_parts
from fleet.machines.runner.hook_parts import EditRefused
from fleet.model import PersonId
from fleet.store import imports
from fleet.store.core import Store
from fleet.store.recent import last_events
from gates.hooked import Caller, Happened, HookedSessions, NotBegun
from gates.hooked_work import HookedWork
from gates.locks.service import LockService
from tests.empty_store import filled
from tests.far_end.repositories import git, make_bare

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_the_clients_json_is_json(value: dict[str, object]) -> None:
    assert json.loads(hook_parts.encode(value)) == value
    assert hook_parts.decode(json.dumps(value).encode()) == value
    assert hook_parts.decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value
    assert b"\n" not in hook_parts.encode(value)


@pytest.mark.parametrize("broken", [b"{", b"[]", b"nothing", b"\xff", b'{"a":}', b"{} {"[:1]])
def test_what_is_no_object_raises(broken: bytes) -> None:
    with pytest.raises(ValueError):
        hook_parts.decode(broken)


@pytest.mark.parametrize("broken", ['{"a": "b', '{"a": "\\x"}', "{", '{"a":}', "nothing"])
def test_it_raises_the_same_where_nothing_else_is_loaded(broken: str) -> None:
    folder = Path(hook_parts.__file__).parent
    program = f"""import sys; sys.path.insert(0, {str(folder)!r})
import hook_parts
try: hook_parts.decode({broken.encode()!r})
except ValueError: sys.stdout.write("ValueError")"""
    argv = [sys.executable, "-I", "-S", "-E", "-c", program]
    assert subprocess.check_output(argv, text=True) == "ValueError"


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("https://ada:token@Example.com/shop/web.git", "example.com/shop/web"),
        ("ssh://git@example.com:2222/shop/web", "example.com/shop/web"),
        ("git@example.com:shop/web.git", "example.com/shop/web"),
        ("git@example.com:/shop/web.git/", "example.com/shop/web"),
        ("file:///nowhere/shop.git", "/nowhere/shop"),
        ("/nowhere/shop/.git", "/nowhere/shop"),
    ],
)
def test_one_repository_has_one_address(address: str, plain: str) -> None:
    assert hook_parts.plain(address) == plain


def test_a_working_copy_is_found_from_below_through_links_and_worktrees(tmp_path: Path) -> None:
    top, beside = tmp_path / "top", tmp_path / "beside"
    git(tmp_path, "init", "--quiet", str(top))
    (top / "a").write_text("a")
    git(top, "add", "a")
    git(top, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "a")
    git(top, "remote", "add", "origin", "git@example.com:shop.git")
    git(top, "worktree", "add", "--quiet", str(beside))
    (tmp_path / "link").symlink_to(top)
    for at in (top, top / "not" / "there", tmp_path / "link", beside):
        found, where = hook_parts.top_of(str(at))
        assert found == str(beside if at == beside else top)
        assert hook_parts.remotes(where) == ["git@example.com:shop.git"]
    assert hook_parts.top_of(str(tmp_path)) == ("", "")


def test_a_patch_names_all_of_its_files() -> None:
    lines = ("Begin Patch", "Add File: a", "Update File: b/c", "Move to: d", "Delete File: e", "End Patch")
    patch = "\n+x\n".join(f"*** {line}" for line in lines)
    given_: dict[str, object] = {"tool_name": "apply_patch", "tool_input": {"command": patch}}
    assert hook.paths_of(given_) == ["a", "b/c", "d", "e"]
    with pytest.raises(hook_parts.EditRefused):
        hook.paths_of({"tool_name": "apply_patch", "tool_input": {"command": "nothing"}})


@pytest.mark.parametrize(
    ("event", "size"),
    [
        ({"tool_response": {"stdout": "€", "stderr": "ab", "interrupted": False}}, 5),
        ({"tool_response": {"type": "text", "file": {"filePath": "/a", "content": "abc"}}}, 3),
        ({"tool_response": [{"type": "text", "text": "abcd"}, {"type": "image"}]}, 4),
        ({"tool_response": "Exit code 0\nlone \ud800"}, 18),
        ({"tool_response": {"stdout": ""}}, 0),
        ({"tool_response": {"filePath": "/a", "structuredPatch": []}}, None),
        ({"error": "Exit code 3"}, 11),
        ({}, None),
    ],
)
def test_the_bytes_that_a_tool_printed_are_counted(event: dict[str, object], size: int | None) -> None:
    assert hook.output_size(event) == size


def test_the_client_gives_up_before_the_agent_does() -> None:
    assert all(hook.PATIENCE[each.mode] < each.seconds for each in _HOOKS)


@pytest.mark.parametrize("agent", HookedAgent)
def test_hooks_are_added_once_beside_others_and_taken_away_without_a_trace(agent: HookedAgent) -> None:
    theirs = {"model": "m", "hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "mine"}]}]}}
    first = merged(theirs, agent, "/usr/bin/python3", "/old")
    again = merged(first, agent, "/usr/bin/python3", "/new")
    assert json.dumps(again).count("/old") == 0 < json.dumps(again).count("/new")
    assert {event: len(entries) for event, entries in again["hooks"].items()} == {
        event: len(entries) for event, entries in first["hooks"].items()
    }
    assert again["hooks"]["PreToolUse"][0]["hooks"][0]["command"] == "mine"
    assert removed(again) == theirs
    assert removed(merged({}, agent, "p", "d")) == {}
    with pytest.raises(ValueError):
        merged({"hooks": []}, agent, "p", "d")


@pytest.mark.parametrize("name", ["it's here", 'a "b" $(c) \\d'])
def test_a_client_is_found_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    client = tmp_path / name / "client" / MARK
    client.mkdir(parents=True)
    (client / "__init__.py").write_text("def main(*words): print(*words)")
    hooks = merged({}, HookedAgent.CLAUDE, sys.executable, str(tmp_path / name))["hooks"]
    (edit, *_) = hooks["PreToolUse"][0]["hooks"]
    assert subprocess.check_output(["sh", "-c", edit["command"]], text=True) == "claude edit\n"
    (tmp_path / name / "off").touch()
    (client / "__init__.py").unlink()
    assert subprocess.run(["sh", "-c", edit["command"]], capture_output=True, check=False).returncode == 0


@pytest.mark.needs_root
def test_a_full_disk_leaves_the_settings_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], check=True)
    try:
        kept = disk / "settings.json"
        hook_parts.write(str(kept), b"{}")
        with pytest.raises(OSError, match=r"disk is full|No space left"):
            hook_parts.write(str(kept), b"x" * 65_536)
        assert kept.read_bytes() == b"{}"
        assert [path.name for path in disk.iterdir()] == ["settings.json"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_off_ends_after_eight_hours_also_when_the_clock_was_set_back(tmp_path: Path) -> None:
    (tmp_path / "off").write_bytes(hook_parts.encode({"since": 1_000_000}))
    at = {1_000_000.0: 1_000_000.0, 1_028_799.0: 1_000_000.0, 1_028_801.0: 0.0, 999_000.0: 0.0}
    assert {now: hook.off_since(str(tmp_path), now) for now in at} == at


ADA = Caller(PersonId("console", "h", "ada"), "evo")
FLEET = """
isolation = "unsafe-same-user"
[repos.shop]
url = "{url}"
deny_edits = ["secrets/**"]
[[people]]
name = "Ada"
role = "operator"
ids = ["console:h:ada"]
[[people]]
name = "Vic"
role = "viewer"
ids = ["console:h:vic"]
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[HookedSessions, FleetConfig]]:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "a", ".gitattributes": "LOG merge=union\n"})
    config = parse_fleet(FLEET.format(url=bare), "fleet.toml")
    repository = Repository("shop", str(bare), "main", tmp_path / "mirror.git")
    with Store.open(f"sqlite:///{filled(tmp_path / 'airboss.db')}", create=False) as store:
        service = LockService(store, SystemClock())
        yield HookedSessions(store, service, lambda _: repository, lambda: config), config


async def test_a_session_is_spoken_for_by_its_secret_its_person_and_its_machine(
    made: tuple[HookedSessions, FleetConfig],
) -> None:
    there, _ = made
    mine = Happened("claude", "c1", repo="shop", top="/w", call="1", tool="Write", paths=("a.txt",))
    _, secret = await there.begin(ADA, mine)
    assert await there.edit(ADA, replace(mine, secret=secret)) == ""
    for caller, wrong in ((ADA, ""), (ADA, "guess"), (Caller(ADA.person, "another"), secret)):
        with pytest.raises(NotBegun):
            await there.edit(caller, replace(mine, secret=wrong))
    with pytest.raises(Refused):
        await there.begin(Caller(PersonId("console", "h", "ben"), "evo"), mine)
    with pytest.raises(Refused):
        await there.begin(ADA, replace(mine, repo="nowhere"))
    other = Happened("claude", "c2", repo="shop", top="/v", call="2", tool="Write", paths=("a.txt",))
    _, second = await there.begin(ADA, other)
    other = replace(other, secret=second)
    assert "a.txt is locked by h1 (hooked, not held)" in await there.edit(ADA, other)
    assert "the operator's rule" in await there.edit(ADA, replace(other, paths=("secrets/key",)))
    for free in ("LOG", ".git/info/exclude"):
        assert await there.edit(ADA, replace(mine, secret=secret, paths=(free,))) == ""
        assert await there.edit(ADA, replace(other, paths=(free,))) == "", "nobody locks that"
    _, renewed = await there.begin(ADA, mine)
    with pytest.raises(NotBegun):
        await there.note(ADA, replace(mine, secret=secret))
    await there.end(ADA, replace(mine, secret=renewed))
    assert await there.edit(ADA, other) == ""


async def answer(
    made: tuple[HookedSessions, FleetConfig], caller: Caller, request: dict[str, object]
) -> dict[str, object]:
    """What the controller answers. Nothing is judged here."""
    sessions, config = made
    store, nowhere, repository = sessions.store, Path("/nowhere"), dict[str, Repository]().__getitem__
    judge = gatekeeper_of(
        store, lambda: config, Executors(config, nowhere), repository, home=nowhere, env=Secrets({})
    )
    work = HookedWork(store, lambda: config, repository, Workspaces(lambda: config.limits), judge)
    return await HookDoor(sessions, work, lambda: config, nowhere).answer(caller, request, asyncio.StreamReader())


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"session_id": 5},
        {"session_id": "s" * 201},
        {"session_id": "s", "paths": "a"},
        {"session_id": "s", "paths": ["../a"]},
        {"session_id": "s", "paths": ["/etc/passwd"]},
        {"session_id": "s", "paths": ["a"] * 501},
        {"session_id": "s", "command": "c" * 5_000},
        {"session_id": "s", "size": -1},
        {"session_id": "s", "size": 2**41},
        {"session_id": "s", "size": "7"},
    ],
)
async def test_a_malformed_request_is_refused(
    made: tuple[HookedSessions, FleetConfig], given_: dict[str, object]
) -> None:
    with pytest.raises(Misused):
        await answer(made, ADA, {"agent": "claude", "op": "edit", "given": given_})


@pytest.mark.parametrize("login", ["nobody", "vic"])
async def test_who_may_not_run_tasks_has_no_use_for_hooks(
    made: tuple[HookedSessions, FleetConfig], login: str
) -> None:
    caller = Caller(PersonId("console", "h", login), "evo")
    with pytest.raises(Refused):
        await answer(made, caller, {"agent": "claude", "op": "know", "given": {}})


async def test_what_hooks_recorded_is_not_counted_again_when_its_file_is_imported(
    made: tuple[HookedSessions, FleetConfig],
) -> None:
    there, _ = made
    call, seen = "toolu_" + "a" * 24, Calls(ImportedAgent.CLAUDE)
    mine = Happened("claude", "c1", repo="shop", top="/w", call=call, tool="Write", paths=("a.txt",))
    _, secret = await there.begin(ADA, mine)
    mine = replace(mine, secret=secret)
    assert await there.edit(ADA, mine) == ""
    given_ = {
        "session_id": "c1",
        "hook_event_name": "PostToolUse",
        "tool_use_id": call,
        "secret": secret,
        "size": 42,
    }
    for _ in range(2):
        await answer(made, ADA, {"agent": "claude", "op": "note", "given": given_})
    said = await there.store.read(lambda tx: last_events(tx, 1, kinds=(ToolCallEndedV2.KIND,)))
    assert [each.event for each in said] == [ToolCallEndedV2(call, "ok", None, "", 42)]
    other = "toolu_" + "b" * 24
    facts = [
        fact
        for each in (call, other)
        for fact in (
            *seen.start("c1", each, "Write", 1_000, "l1"),
            *seen.end("c1", each, Ending(ToolOutcome.OK), 2_000, "l2"),
        )
    ]
    counts = await there.store.write(lambda tx: imports.add(tx, ImportedAgent.CLAUDE, "evo", facts, "a:b:c"))
    assert (counts.added, counts.known) == (2, 2), "the call that no hook saw is added"


KNOW = b'{"do":"hook"}\n'


@contextmanager
def answering(path: Path, said: bytes = b'{"end":0}\n') -> Iterator[None]:
    """Somebody who takes what is sent there and answers with this, and hangs up; ``b""`` only hangs up."""

    class Taken(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(said)

    with socketserver.ThreadingUnixStreamServer(str(path), Taken) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@contextmanager
def mute(path: Path) -> Iterator[None]:
    """A frozen controller: the kernel takes what is sent there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


def test_who_takes_a_question_and_does_not_answer_is_not_waited_for_when_another_answers(tmp_path: Path) -> None:
    frozen, lives = str(tmp_path / "frozen"), str(tmp_path / "lives")
    stands = Path.cwd()
    try:
        with mute(tmp_path / "frozen"), answering(tmp_path / "lives"), answering(tmp_path / "cut", b""):
            for first in ([frozen], [str(tmp_path / "cut")], [str(tmp_path / "nobody"), frozen]):
                assert hook_parts.exchange([*first, lives], KNOW, 0.02) == (b'{"end":0}\n', lives)
            for at in (lives, frozen):
                assert hook_parts.answers(at, KNOW, 0.02 if at == frozen else 60) is (at == lives)
            with pytest.raises(EditRefused, match="stopped before it answered"):
                hook_parts.exchange([str(tmp_path / "cut")], KNOW, 60)
            with pytest.raises(EditRefused, match="stopped before it answered"):
                hook_parts.exchange([frozen], KNOW, 0.02, lambda _: False)
        with pytest.raises(OSError, match="No such file"):
            hook_parts.exchange([str(tmp_path / "nobody")], KNOW, 0.02)
    finally:
        os.chdir(stands)


def test_a_long_judgement_is_waited_for_while_its_controller_lives(tmp_path: Path) -> None:
    asked: list[str] = []

    def lives(path: str) -> bool:
        asked.append(path)
        if len(asked) == 3:
            (tmp_path / "go").touch()
        return True

    program = f"""
import os, socket, time
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind({str(tmp_path / "judges")!r}); listener.listen(); print(flush=True)
    channel, _ = listener.accept()
    while not os.path.exists({str(tmp_path / "go")!r}): time.sleep(0.01)
    channel.sendall(b'{{"end":0}}\\n')
"""
    stands = Path.cwd()
    try:
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as judge:
            assert judge.stdout is not None and judge.stdout.readline()
            at = str(tmp_path / "judges")
            assert hook_parts.exchange([at, str(tmp_path / "other")], KNOW, 0.02, lives) == (b'{"end":0}\n', at)
        assert set(asked) == {at} and len(asked) >= 3
    finally:
        os.chdir(stands)

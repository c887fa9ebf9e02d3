"""Sessions that people start by hand, with real agents and hooks of theirs: what they may edit, what is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.far_end.agents import claude_home, codex_home
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.by_hand import ByHand
from tests.far_end.repositories import git
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Answer, Asking, Call, Reply, call, say
from tests.scenarios.house import House, house

GIT = shutil.which("git")


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[House, AnthropicModel, ByHand]]:
    with house() as built, AnthropicModel() as model:
        reads = claude_home(model.url)
        built.start()
        ada = ByHand.settle("claude", built.directory, built.bare, built.home, reads)
        done = ada.airboss("hooks", "install")
        assert done.returncode == 0, done.stderr
        yield built, model, ada


def write(copy: Path, name: str, text: str = "mine\n") -> Reply:
    return call("Write", file_path=str(copy / name), content=text)


def bash(command: str) -> Reply:
    return call("Bash", command=command, description="run")


def test_a_session_by_hand_respects_locks_takes_its_own_and_is_recorded_with_its_subagents(
    stand: tuple[House, AnthropicModel, ByHand],
) -> None:
    built, model, ada = stand
    go = built.directory / "go"
    wait = f"shell while [ ! -e {go} ]; do sleep 0.05; done"
    task = built.say(f"/run lock=held/** {wait}\nwrite GOOD by the fleet").task
    built.until(lambda: built.of(task, "locks.granted"), "the task holds the file")
    name = f"h{len(built.bodies('hooked.began')) + 1}"
    seen: dict[str, str] = {}

    def script(asking: Asking) -> Answer:
        if "the subagent's part" in asking.heard:
            return (write(ada.copy, "sub.txt"), say("sub done"))[min(asking.step, 1)]
        part = {"description": "sub", "prompt": "the subagent's part", "subagent_type": "general-purpose"}
        steps = [
            write(ada.copy, "held/new.txt"),
            write(ada.copy, "free.txt"),
            bash("exit 3"),
            Reply((Call("Agent", part),)),
            say("done"),
        ]
        if asking.step == 4:
            seen["status"] = built.say("/status").shown
            seen["locks"] = built.say("/locks").shown
        return steps[min(asking.step, 4)]

    model.script(script)
    ada.work("by hand, please")

    heard = "".join(model.asked[-1].results)
    assert f"held/new.txt is locked by {task}" in heard, heard
    assert not (ada.copy / "held").exists()
    assert (ada.copy / "free.txt").read_text() == (ada.copy / "sub.txt").read_text() == "mine\n"
    assert f"{name} claude · shop" in seen["status"] and "hooked, not held" in seen["status"]
    assert "free.txt" in seen["locks"] and f"{name} (hooked, not held)" in seen["locks"]

    mine = [each for each in built.ledger() if each.refs.session == name]
    kinds = [each.event.KIND for each in mine]
    assert kinds[0] == "hooked.began" and kinds[-1] == "hooked.ended"
    started = {each.event.body()["call"]: each.event.body() for each in mine if each.event.KIND == "tool.started"}
    ended = {each.event.body()["call"]: each.event.body() for each in mine if each.event.KIND == "tool.ended"}
    assert [body["tool"] for body in started.values()] == ["Write", "Write", "Bash", "Agent", "Write"]
    assert sorted(body["outcome"] for body in ended.values()) == ["denied", "failed", "ok", "ok", "ok"]
    assert next(body["exit_code"] for body in ended.values() if body["outcome"] == "failed") == 3
    assert any(body["summary"].startswith("subagent ") for body in started.values())
    assert kinds.count("hooked.subagent") == 2
    assert all(str(each.source) in ("agent", "controller") for each in mine)

    go.touch()
    assert built.wait(task).status == 0
    assert f"{name} " not in built.say("/locks").shown + built.say("/status").shown, "it is over"


def test_when_it_says_that_it_is_done_the_gates_look_and_it_goes_on_until_they_pass(
    stand: tuple[House, AnthropicModel, ByHand],
) -> None:
    built, model, ada = stand
    before, commits = len(built.bodies("hooked.judged")), built.commits()
    (ada.copy / "free.txt").unlink(missing_ok=True)
    untouched = git(ada.copy, "status", "--porcelain")
    steps = [
        bash("echo BAD > work.txt"),
        say("Done. All tests pass."),
        bash("echo GOOD > work.txt"),
        say("Mended."),
    ]
    model.script(lambda asking: steps[min(asking.step, 3)], when="the gates, please")
    ada.work("the gates, please")
    heard = model.asked[-1].heard
    assert "The gate did not accept your change" in heard and "E   work.txt lacks the word: BAD" in heard
    assert [body["outcome"] for body in built.bodies("hooked.judged")[before:]] == ["failed", "passed"]
    assert built.commits() == commits, "hooked, not held: nothing lands"
    judged = [
        each
        for each in built.ledger("gate.closed")
        if each.refs.task == built.ledger("hooked.judged")[-1].refs.task
    ]
    assert len(judged) == 2 and {str(each.source) for each in judged} <= {"controller", "supervisor"}
    git(ada.copy, "checkout", "--quiet", "work.txt")
    assert git(ada.copy, "status", "--porcelain") == untouched, "not even the index was touched"

    seen = len(built.bodies("hooked.judged"))
    git(ada.copy, "stash", "--quiet", "--include-untracked")
    model.script([say("nothing to do")], when="a question")
    ada.work("a question")
    assert len(built.bodies("hooked.judged")) == seen, "what is as the base has it is not judged"


def test_codex_asks_before_its_patch_and_its_work_is_judged(stand: tuple[House, AnthropicModel, ByHand]) -> None:
    built, _, _ = stand
    with ResponsesModel() as model:
        (built.directory / "codex").mkdir()
        ben = ByHand.settle("codex", built.directory / "codex", built.bare, built.home, codex_home(model.url))
        assert ben.airboss("hooks", "install", "--agent", "codex").returncode == 0
        assert (
            ben.airboss("lock", "acquire", "path:shop:theirs.txt", "--holder", "anna", "--ttl", "600").returncode
            == 0
        )

        def patch(name: str) -> Reply:
            text = f"*** Begin Patch\n*** Add File: {name}\n+mine\n*** End Patch\n"
            return call("exec_command", cmd=f"apply_patch <<'EOF'\n{text}EOF\n")

        bad, good = (call("exec_command", cmd=f"echo {word} > work.txt") for word in ("BAD", "GOOD"))
        model.script([patch("theirs.txt"), patch("own.txt"), bad, say("Done."), good, say("Mended.")])
        ben.work("by hand")
        heard = model.asked[-1].heard + "".join(model.asked[-1].results)
        assert "theirs.txt is locked by anna" in heard
        assert "The gate did not accept your change" in heard
        assert not (ben.copy / "theirs.txt").exists() and (ben.copy / "own.txt").exists()
        assert built.bodies("hooked.began")[-1]["agent"] == "codex"
        assert [body["outcome"] for body in built.bodies("hooked.judged")[-2:]] == ["failed", "passed"]
        its = built.ledger("hooked.began")[-1].refs.session
        assert its in {each.refs.session for each in built.ledger("hooked.ended")}


def test_a_session_by_hand_is_adopted_with_its_work_and_its_conversation(
    stand: tuple[House, AnthropicModel, ByHand],
) -> None:
    built, model, ada = stand
    steps = [write(ada.copy, "begun.txt"), bash("true"), say("half done")]
    asked: dict[str, Any] = {}

    def script(asking: Asking) -> Answer:
        if asking.step == 1:
            name = f"h{len(built.bodies('hooked.began'))}"
            inbox = built.directory / "evo-x2" / ".airboss" / "inbox"
            words = f"/adopt {name} shell cat {inbox}/*/*conversation.jsonl > seen.txt\nwrite GOOD adopted"
            asked["none"], asked["it"] = built.say("/adopt h999 go on"), built.say(words)
        return steps[min(asking.step, 2)]

    model.script(script, when="take over, please")
    before = len(built.bodies("task.requested"))
    said = ada.work("take over, please")
    assert asked["none"].status == 2 and asked["it"].status == 0, asked
    requested = built.ledger("task.requested")[before:]
    (task,) = [each.refs.task for each in requested if "goes on with" in str(each.event.body())]
    assert built.wait(task).status == 0, said
    assert built.main("begun.txt") == "mine" and built.main() == "GOOD adopted"
    assert "take over, please" in built.main("seen.txt"), "the conversation"
    (ended,) = [each for each in built.ledger("hooked.ended") if task in each.event.body()["why"]]
    conversation = next(
        each.event.body()["conversation"]
        for each in built.ledger("hooked.began")
        if each.refs.session == ended.refs.session
    )
    again = ada.hook("edit", ada.event(ada.copy / "x.txt", conversation))
    assert f"{task} goes on with this conversation" in again.stdout.decode()


def test_a_session_that_ends_before_it_is_adopted_hands_over_without_its_agent_or_says_that_it_could_not(
    stand: tuple[House, AnthropicModel, ByHand], tmp_path: Path
) -> None:
    built, _, ada = stand
    go, slow = tmp_path / "go", tmp_path / "git"
    slow.write_text(
        f'#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.05; done\n[ -s {go} ] && exit 1\nexec {GIT} "$@"\n'
    )
    slow.chmod(0o755)
    git(ada.copy, "stash", "--quiet", "--include-untracked")
    for word, conversation, why in (("no", "ends-badly", "git rev-list"), ("", "ends-well", "adopted by t")):
        go.unlink(missing_ok=True)
        assert allowed(ada, ada.copy / "ends.txt", conversation)
        (ada.copy / "ends.txt").write_text("mine\n")
        name = f"h{len(built.bodies('hooked.began'))}"
        assert built.say(f"/adopt {name} write GOOD ends").status == 0
        over = {**ada.event(ada.copy, conversation), "hook_event_name": "SessionEnd"}
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            done = ada.hook("end", over)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), "the agent does not wait"
        assert f"{name} (hooked" in built.say("/locks").shown, "it has not handed over yet"
        go.write_text(word)
        built.until(partial(is_over, built, name), name)
        assert why in built.bodies("hooked.ended")[-1]["why"]
        assert f"{name} (hooked" not in built.say("/locks").shown
        again = ada.hook("end", over)
        assert (again.returncode, again.stderr) == (0, b"")
    task = built.ledger("task.requested")[-1].refs.task
    assert built.wait(task).status == 0 and built.main("ends.txt") == "mine"
    with contextlib.closing(sqlite3.connect(built.home / "airboss.db")) as store:
        query = "SELECT card_json FROM outbox WHERE instr(card_json, ?)"
        ((told,),) = store.execute(query, (" has ended and was not adopted",)).fetchall()
    assert str(ada.copy) in told


def is_over(built: House, session: str) -> bool:
    return any(each.refs.session == session for each in built.ledger("hooked.ended"))


def allowed(ada: ByHand, path: Path, session: str = "s1") -> bool:
    """Whether the installed hook lets an edit of this file pass."""
    done = ada.hook("edit", ada.event(path, session))
    assert done.returncode == 0, done
    return not done.stdout


def test_without_a_controller_an_edit_is_refused_off_lets_it_pass_and_is_told_later(
    stand: tuple[House, AnthropicModel, ByHand],
) -> None:
    built, model, ada = stand
    start = {"cwd": str(ada.copy), "source": "startup"}
    ada.hook("start", {**start, "session_id": "s8"})  # what other tests left to be told
    offs, passed = len(built.bodies("hooks.off")), len(built.bodies("hooks.passed"))
    built.stop()
    alone, elsewhere = ada.copy / "alone.txt", built.directory / "elsewhere"
    git(built.directory, "init", "--quiet", str(elsewhere))
    model.script(lambda asking: (write(ada.copy, "alone.txt"), say("done"))[min(asking.step, 1)], when="alone")
    ada.work("alone, please")
    heard = "".join(model.asked[-1].results)
    assert "no controller answers" in heard and "airboss hooks off" in heard
    assert not alone.exists()
    assert allowed(ada, elsewhere / "x.txt"), "the fleet does not know that repository"
    assert not allowed(ada, elsewhere / ".." / "copy" / "x.txt")
    (elsewhere / "link").symlink_to(ada.copy)
    assert not allowed(ada, elsewhere / "link" / "x.txt"), "a link leads into one that it knows"

    assert ada.airboss("hooks", "off").returncode == 0
    shown = json.loads(ada.airboss("hooks", "show", "--json").stdout)
    words = ada.airboss("hooks", "show").stdout
    assert words.startswith("hooks: off since ") and "NO controller" in words and "refused" not in words
    assert shown["controller"] is False and abs(shown["off_since"] - time.time()) < 600
    assert allowed(ada, alone)
    (ada.home / ".airboss-hooks/off").write_text(json.dumps({"since": time.time() - 8 * 3600 - 5}))
    assert not allowed(ada, alone), "eight hours are over"
    assert ada.airboss("hooks", "on").returncode == 0

    with (ada.home / ".airboss-hooks/journal").open("ab") as cut:
        cut.write(b'{"at":1,"repo":"sh\n')  # a full disk, for one

    built.start()
    ada.work("alone at last")
    assert alone.exists()
    assert [body["off"] for body in built.bodies("hooks.off")[offs:]] == [True]
    told = [(body["repo"], body["path"]) for body in built.bodies("hooks.passed")[passed:]]
    assert told == [("shop", "alone.txt")]
    ada.hook("start", {**start, "session_id": "s9"})
    assert len(built.bodies("hooks.passed")) == passed + 1, "it is told once"


@pytest.mark.parametrize(
    "broken", ["no client", "an empty client", "a broken client", "broken settings", "a frozen controller"]
)
def test_whatever_breaks_refuses_an_edit_with_the_way_out(
    stand: tuple[House, AnthropicModel, ByHand], broken: str
) -> None:
    built, _, ada = stand
    assert built.controller is not None
    directory = ada.home / ".airboss-hooks"
    client, settings = directory / "client/airboss_hook/__init__.py", directory / "settings.json"
    kept = client.read_bytes(), settings.read_bytes()
    edit = ada.event(ada.copy / "a.txt")
    try:
        match broken:
            case "no client":
                client.unlink()
            case "an empty client":
                client.write_text("")
            case "a broken client":
                client.write_text("import nowhere\n")
            case "broken settings":
                settings.write_text("{")
            case _:
                built.controller.send_signal(signal.SIGSTOP)
                client.write_bytes(kept[0].replace(b'"edit": 8.0', b'"edit": 0.5'))
        os.utime(client if client.exists() else directory)
        done = ada.hook("edit", edit)
        said = (done.stdout + done.stderr).decode()
        assert "Airboss refuses this edit" in said and "airboss hooks off" in said, said
        assert done.returncode == 2 or '"permissionDecision":"deny"' in said
        assert ("a controller is there, but" in said) is (broken == "a frozen controller")
        assert ada.airboss("hooks", "off").returncode == 0
        passed = ada.hook("edit", edit)
        assert (passed.returncode, passed.stdout) == (0, b""), passed
    finally:
        client.write_bytes(kept[0])
        settings.write_bytes(kept[1])
        built.controller.send_signal(signal.SIGCONT)
        ada.airboss("hooks", "on")


def test_what_a_hostile_login_hands_over_as_its_work_is_refused_and_the_controller_goes_on(
    stand: tuple[House, AnthropicModel, ByHand],
) -> None:
    built, _, ada = stand
    secret = begin(built, "hostile")["secret"]
    tip = git(built.bare, "rev-parse", "main").strip()
    tree = git(built.bare, "rev-parse", "main^{tree}").strip()
    alone = git(
        ada.copy, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "x", "HEAD^{tree}"
    ).strip()
    base = {"session_id": "hostile", "repo": "shop", "top": "/w", "secret": secret, "tree": tree, "base": tip}
    for more, pack, why in (
        ({"pack": 4}, b"PACK", "not a pack"),
        ({"pack": 4, "base": alone}, b"PACK", "not on the base branch"),
        ({"pack": 4, "tree": "--all"}, b"PACK", "names no tree"),
        ({"pack": 1 << 40}, b"", "pack has 1099511627776 bytes"),
        ({"pack": -1}, b"", "pack has -1 bytes"),
        ({"pack": 4, "secret": "guess"}, b"PACK", "unknown"),
    ):
        assert why in json.dumps(exchange(built, "judge", {**base, **more}, pack)), why
    with socket.socket(socket.AF_UNIX) as channel:  # gone in the middle of it
        channel.connect(str(built.home / "control.sock"))
        request = {"v": 1, "do": "hook", "op": "judge", "agent": "claude", "given": {**base, "pack": 10_000}}
        channel.sendall(json.dumps(request).encode() + b"\nPACK")
    assert not list(built.home.glob("hooked-*"))
    assert built.say("/status").status == 0
    assert "Traceback" not in (built.home / "airboss.log").read_text()


def exchange(built: House, op: str, given: dict[str, object], more: bytes = b"") -> dict[str, Any]:
    """One request of a hook, and its answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(built.home / "control.sock"))
        request = {"v": 1, "do": "hook", "op": op, "agent": "claude", "given": given}
        channel.sendall(json.dumps(request).encode() + b"\n" + more)
        with channel.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    return answer


def begin(built: House, session: str) -> dict[str, Any]:
    data: dict[str, Any] = exchange(built, "begin", {"session_id": session, "repo": "shop", "top": "/w"})["data"]
    return data

"""Controller, agents and gates as three logins: the recommended way, flown, and what an agent's shell finds closed.

Two more logins of this machine need root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.local.client import ask
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.logins import agents_login, gates_login
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import call, say
from tests.scenarios.house import AGENT, CHECK, House, house

pytestmark = pytest.mark.needs_root

GATE = '[gates.check]\nrun = ["python3", "check.py"]\ntimeout = "30s"\nrework_turns = 2\n'
RULES = 'prefix_rule(pattern=["cp"], decision="allow")\n'
WHO = 'import os, pwd\nprint("judged by", pwd.getpwuid(os.geteuid()).pw_name)\n'
FILES: dict[str, str | bytes] = {"check.py": WHO + CHECK, "airboss.toml": GATE, "bad": "BAD\n", "good": "GOOD\n"}


def _reachable(program: str, directory: Path) -> str:
    """A program as the other login can run it: where it is, or a copy where the way there is closed to it."""
    tried = ["setpriv", "--reuid", agents_login().pw_name, "--clear-groups", "test", "-x", program]
    if subprocess.run(tried, check=False).returncode == 0:
        return program
    copy = directory / Path(program).name
    shutil.copy2(Path(program).resolve(), copy)
    return str(copy)


@pytest.fixture(scope="module")
def codex() -> Iterator[ResponsesModel]:
    with ResponsesModel() as model:
        yield model


@pytest.fixture(scope="module")
def stand(codex: ResponsesModel) -> Iterator[tuple[House, AnthropicModel]]:
    owner = agents_login()
    with AnthropicModel() as model, house(FILES) as made:
        room = made.directory
        room.chmod(0o711)
        machine = room / "evo-x2"
        machine.mkdir()
        machine.chmod(0o1777)
        home = room / "home-agent"
        put = agents.claude_home(model.url)
        put.put(home)
        shutil.chown(home, owner.pw_uid, owner.pw_gid)
        (room / "agent.py").write_text(AGENT)
        claude = {
            "driver": "claude",
            "program": [_reachable(agents.binary("claude"), room)],
            "settings": {**put.env, "HOME": str(home)},
        }
        other = room / "home-codex"
        theirs = agents.codex_home(codex.url)
        theirs.put(other)
        (other / ".codex" / "rules").mkdir()
        (other / ".codex" / "rules" / "default.rules").write_text(RULES)
        for path in (other, *other.rglob("*")):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)
        plain = {"driver": "command", "program": ["python3", str(room / "agent.py")]}
        here: dict[str, Any] = {
            "executor": "local",
            "run_as": owner.pw_name,
            "gate_as": gates_login().pw_name,
            "slots": 4,
            "home": str(machine),
            "session_walls": False,  # the logins alone must keep agents out
        }
        (made.home / ".env").write_text("TOKEN=very-secret-token\n")
        (made.home / ".env").chmod(0o600)
        made.configure(
            isolation="separate-logins",
            machines={"evo-x2": here, "macbook": None},
            agents={
                "claude": claude,
                "plain": plain,
                "codex": {
                    "driver": "codex",
                    "program": [_reachable(agents.binary("codex"), room)],
                    "settings": {**theirs.env, "HOME": str(other)},
                    "ask": ["shell"],
                },
            },
        )
        made.apart = True
        made.start()
        yield made, model


@pytest.fixture
def served(stand: tuple[House, AnthropicModel]) -> House:
    return stand[0]


def test_the_controller_names_what_it_has_from_env_and_no_value(served: House) -> None:
    status = ask(str(served.home), "status")
    assert status["secrets"] == ["TOKEN"]
    assert "very-secret-token" not in str(status)


def test_three_logins_fly_to_landed_and_nothing_calls_it_unsafe(served: House) -> None:
    answer = served.say("/run on=evo-x2 shell id -un > who.txt\nwrite BAD\nthen-write GOOD by three", wait=True)
    assert answer.status == 0, answer.shown
    assert served.main("who.txt") == agents_login().pw_name
    assert "unsafe" not in answer.shown
    closed = [recorded.event.body() for recorded in served.of(answer.task, "gate.closed")]
    gates = gates_login().pw_name
    assert [(body["outcome"], body["login"]) for body in closed] == [("failed", gates), ("passed", gates)]
    logs = [log.read_text() for log in (served.home / "gates").glob("*.log")]
    assert logs and all(f"judged by {gates}" in log for log in logs)
    receipt = (served.home / "receipts" / f"{answer.task}.json").read_text()
    assert "separate-logins" in receipt and "unsafe" not in receipt
    verdicts = [recorded.event.body()["isolation"] for recorded in served.of(answer.task, "verdict.given")]
    assert set(verdicts) == {"separate-logins"}


def test_the_agents_process_stays_for_its_next_turn_and_its_background_work_is_waited_for(
    stand: tuple[House, AnthropicModel],
) -> None:
    served, model = stand
    red = call("Bash", command="echo BAD > work.txt", description="do it")
    command = "sleep 0.3; echo GOOD on one process > work.txt"
    mended = call("Bash", command=command, description="mend it", run_in_background=True)
    model.script([red, say("All tests pass."), mended, *[say("Mended.")] * 3])
    answer = served.say("/run on=evo-x2 agent=claude please see to it", wait=True)
    assert answer.status == 0, answer.shown
    assert served.main() == "GOOD on one process"
    assert any("lacks the word: BAD" in asking.heard for asking in model.asked)
    kinds = ("pipe.started", "pipe.ended", "gate.closed", "landing.done")
    found = [recorded.event.KIND for recorded in served.of(answer.task, *kinds)]
    assert found[:4] == ["pipe.started", "gate.closed", "gate.closed", "landing.done"], "one process, still alive"
    served.until(lambda: served.of(answer.task, "session.ended"), "the session is closed")
    assert [recorded.event.body()["gone"] for recorded in served.of(answer.task, "pipe.ended")] == [True]


def test_codex_asks_although_its_login_has_rules_and_goes_on_in_its_conversation(
    stand: tuple[House, AnthropicModel], codex: ResponsesModel
) -> None:
    """Nothing of the login's own folder changes hands: only the rules are not there."""
    served, _ = stand
    red, good = (call("exec_command", cmd=f"cp {word} work.txt") for word in ("bad", "good"))
    codex.script([red, say("All tests pass."), good, say("Mended.")], when="lima")
    begun = served.say("/run on=evo-x2 agent=codex please see to lima")
    for asked in (1, 2):
        served.until(partial(_asked, served, begun.task, asked), "it asks")
        assert served.say(f"/approve {begun.task}").status == 0
    ended = served.wait(begun.task)
    assert ended.status == 0, ended.shown
    assert served.main() == "GOOD"
    assert codex.asked[-1].step == 3, "the same conversation"
    own = served.directory / "home-codex" / ".codex"
    assert (own / "rules" / "default.rules").read_text() == RULES
    assert list((own / "sessions").rglob("*.jsonl")), "its conversation is where the login's own are"


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_words_about_a_held_change_reach_the_agent_also_when_its_process_is_gone(
    stand: tuple[House, AnthropicModel], killed: bool
) -> None:
    served, model = stand
    word = f"held-{killed}"
    touch = call("Bash", command="echo GOOD > work.txt; echo '#' >> airboss.toml", description="do it")
    back = call("Bash", command=f"git checkout airboss.toml; echo GOOD {word} > work.txt", description="undo it")
    model.script([touch, say("Done."), back, say("Undone.")], when=word)
    held = served.say(f"/run on=evo-x2 agent=claude please see to {word}", wait=True)
    assert held.status == 4, held.shown
    if killed:
        for process in _claudes():
            os.kill(process, signal.SIGKILL)
        served.until(lambda: not _claudes(), "the agent's process is gone")
    told = served.say(f"/say {held.task} leave the gates alone")
    assert told.status == 0, told.shown
    assert served.wait(held.task).status == 0
    assert served.main() == f"GOOD {word}"
    assert "leave the gates alone" in model.asked[-1].heard
    assert model.asked[-1].step == 3, "the same conversation"
    assert len(served.of(held.task, "pipe.started")) == 2  # a held change keeps no process
    assert len(served.of(held.task, "turn.started")) == 2
    served.until(lambda: served.of(held.task, "session.ended"), "the session is closed")


def _asked(served: House, task: str, times: int) -> bool:
    return len(served.of(task, "permission.asked")) == times


def _claudes() -> list[int]:
    """The processes of the agent that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            running = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if running and entry.stat().st_uid == agents_login().pw_uid:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found += [int(entry.name)] if b"stream-json" in words and b"claude" in words[0] else []
    return found


def test_an_agents_shell_finds_every_door_of_the_controller_closed(served: House) -> None:
    """Each deed prints what it got; the same deed by the controller's own login works, so the paths are right."""
    first = served.say("/run on=evo-x2 write GOOD for a key", wait=True)
    assert first.status == 0, first.shown
    home, bare, pid = served.home, served.bare, served.controller and served.controller.pid
    head = bare / "refs" / "heads" / "main"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('{home}/control.sock')"
    deeds = {
        "key": f"cat {home}/keys/receipt_ed25519",
        "env": f"cat {home}/.env",
        "store": f"cat {home}/airboss.db",
        "config": f"cat {home}/fleet.toml",
        "list": f"ls {home}",
        "socket": f'python3 -c "{connect}"',
        "base": f"git --git-dir={bare} update-ref refs/heads/main HEAD~1",
        "ref": f"test -w {head} -o -w {bare}/packed-refs -o -w {bare}/refs/heads",
        "environ": f"cat /proc/{pid}/environ",
        "kill": f"kill -0 {pid}",
        "gate": f"ls {served.directory}/evo-x2/.airboss-gate",
    }
    for name, deed in deeds.items():
        tried = subprocess.run(["/bin/sh", "-c", deed], check=False, capture_output=True, cwd="/")
        if name != "base":  # it would move the branch
            assert tried.returncode == 0, (name, tried.stderr)
    before = served.commits()
    lines = [f"shell {{ {deed}; }} > {name}.out 2>&1; echo {name} $? >> tried.txt" for name, deed in deeds.items()]
    answer = served.say("/run on=evo-x2 " + "\n".join([*lines, "write GOOD with closed doors"]), wait=True)
    assert answer.status == 0, answer.shown
    statuses = dict(line.split() for line in served.main("tried.txt").splitlines())
    assert statuses.keys() == deeds.keys()
    assert "0" not in statuses.values(), statuses
    for name in ("key", "env", "store", "config", "list", "socket", "gate"):
        assert "Permission denied" in served.main(f"{name}.out"), name
    assert served.commits()[1:] == before, "only our landing moved the base"
    everything = json.dumps([recorded.event.body() for recorded in served.of(answer.task)])
    assert "very-secret-token" not in everything

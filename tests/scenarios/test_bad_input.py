"""What is wrong from outside is told in its own words, with the remedy, and nothing is left half done."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.far_end.ports import unused_port
from tests.far_end.repositories import git, make_bare, make_work
from tests.far_end.sshd import new_key, running_sshd
from tests.scenarios.house import FILES, Answer, House, house


def _gate(argv: list[str], timeout: str = "30s") -> str:
    return f'[gates.check]\nrun = {json.dumps(argv)}\ntimeout = "{timeout}"\nrework_turns = 0\n'


#: Says one line of 100 MB, then does the work.
LOUD = """\
import sys
sys.stdin.read()
chunk = "x" * 1_000_000
for _ in range(100):
    sys.stdout.write(chunk)
sys.stdout.write("\\nheard me\\n")
open("work.txt", "w").write("GOOD and loud\\n")
"""
#: Says what no terminal and no decoder should be given, for ever if it is asked to.
RUDE = r"""
import os, sys, time
prompt = sys.stdin.read()
while "for ever" in prompt:
    os.write(1, b"more and more\n" * 1000)
    time.sleep(0.002)
os.write(1, b"bad \xff\xfe\xc3 bytes\n\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\r\n")
open("work.txt", "w").write("GOOD and rude\n")
"""


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        room = made.directory
        work = make_work(room / "checkedout", FILES)
        follows = make_work(room / "follows", FILES)
        git(follows, "config", "receive.denyCurrentBranch", "updateInstead")
        git(room, "init", "--quiet", "--bare", str(room / "empty.git"))
        repos = {
            "shop": made.bare,
            "ungated": make_bare(room / "ungated.git", {"work.txt": "1\n"}),
            "nogate": make_bare(room / "nogate.git", {**FILES, "airboss.toml": _gate(["no-such-program"])}),
            "hangs": make_bare(room / "hangs.git", {**FILES, "airboss.toml": _gate(["sleep", "1000"], "1s")}),
            "broken": make_bare(room / "broken.git", {**FILES, "airboss.toml": "[gates.check]\nrun = 'pytest'\n"}),
            "empty": room / "empty.git",
            "nowhere": room / "nowhere.git",
            "checkedout": work,
            "follows": follows,
        }
        for name, code in (("loud", LOUD), ("rude", RUDE)):
            (room / f"{name}.py").write_text(code)
            made.agents[name] = {"driver": "command", "program": [sys.executable, str(room / f"{name}.py")]}
        made.agents["missing"] = {"driver": "command", "program": ["/nonexistent/agent"]}
        entries: dict[str, Any] = {name: {"url": str(url), "agent": "plain"} for name, url in repos.items()}
        entries["nobase"] = {"url": str(made.bare), "agent": "plain", "base": "trunk"}
        changed = {**made.machines["macbook"], "host_key": new_key(room / "another")}
        made.configure(repos=entries, machines={"swapped": changed})
        made.start()
        yield made


def _run(served: House, text: str) -> tuple[Answer, str]:
    """Flies a task to its end; its answer, and its cards as one line of words."""
    where = "" if "repo=" in text else "repo=shop "
    answer = served.say(f"/run {where}{text}", wait=True)
    return answer, " ".join(re.sub("[│╭╮╰╯─]", " ", answer.shown).split())


@pytest.mark.parametrize(
    ("repo", "status", "state", "words"),
    [
        ("ungated", 2, "refused", ["ungated", "file does not exist", "commit an airboss.toml", "base branch"]),
        ("broken", 2, "refused", ["airboss.toml", "run"]),
        ("empty", 2, "refused", ["empty", "no branch main", "commit something"]),
        ("nowhere", 2, "refused", ["nowhere"]),
        ("nobase", 2, "refused", ["no branch trunk", "fleet.toml"]),
        ("checkedout", 2, "refused", ["checked out", "receive.denyCurrentBranch updateInstead"]),
        ("nogate", 3, "unavailable", ["no-such-program"]),
        ("hangs", 1, "failed", ["timed out", "1"]),
    ],
)
def test_a_repository_that_cannot_be_used_is_told_with_the_remedy(
    served: House, repo: str, status: int, state: str, words: list[str]
) -> None:
    answer, cards = _run(served, f"repo={repo} write GOOD")
    assert answer.status == status, cards
    assert served.state(answer.task) == state
    why = served.why(answer.task)
    for word in words:
        assert word in why, why
    assert f"✗ {answer.task} · {state}" in cards
    assert not served.of(answer.task, "landing.intended")
    if state == "refused":
        assert not served.of(answer.task, "session.placed"), "nothing was begun"
    else:
        assert [e.event.body()["outcome"] for e in served.of(answer.task, "gate.closed")][-1] == (
            "timed-out" if repo == "hangs" else state
        )


def test_a_checkout_that_lets_itself_be_updated_follows_what_lands(served: House) -> None:
    answer, cards = _run(served, "repo=follows write GOOD there")
    assert answer.status == 0, cards
    follows = served.directory / "follows"
    assert (follows / "work.txt").read_text() == "GOOD there\n"
    assert git(follows, "status", "--porcelain") == ""


def test_an_agent_program_that_is_missing_is_unavailable(served: House) -> None:
    answer, cards = _run(served, "on=macbook agent=missing write GOOD")
    assert answer.status == 3, cards
    assert served.state(answer.task) == "unavailable"
    why = served.why(answer.task)
    assert "/nonexistent/agent" in why and "macbook" in why


def test_a_host_key_that_changed_is_refused_with_the_remedy(served: House) -> None:
    answer, cards = _run(served, "on=swapped write GOOD")
    assert answer.status == 2, cards
    why = served.why(answer.task)
    for word in ("swapped", "host key is not the pinned one", "airboss machines add", "SHA256:"):
        assert word in why, why
    assert not served.of(answer.task, "pipe.started")


def test_a_line_of_100_mb_is_counted_and_does_not_fill_the_controller(served: House) -> None:
    assert served.controller is not None
    before = _peak(served.controller.pid)
    answer, cards = _run(served, "on=macbook agent=loud shout")
    assert answer.status == 0, cards
    assert _peak(served.controller.pid) - before < 120 << 20
    (passed,) = [recorded.event.body()["raw"] for recorded in served.of(answer.task, "agent.unknown")]
    assert "100000000 bytes" in passed
    ended = served.of(answer.task, "pipe.ended")[0].event.body()
    assert ended["spool_bytes"] == 100_000_000 + len("\nheard me\n")
    assert "heard me" in served.of(answer.task, "agent.said")[0].event.body()["text"]


def _peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_bytes_that_are_no_text_and_terminal_escapes_reach_no_terminal(served: House) -> None:
    answer, cards = _run(served, "on=macbook agent=rude speak")
    assert answer.status == 0, cards
    logs = served.say(f"/logs {answer.task}").shown
    for shown in (answer.shown, logs):
        assert not set(shown) & set("\x1b\x07\r\udcff")
        assert "owned" not in shown
    assert "bad �" in logs and "red" in logs


def test_an_agent_that_never_stops_talking_can_be_stopped(served: House) -> None:
    begun = served.say("/run repo=shop on=macbook agent=rude for ever")
    served.until(lambda: served.of(begun.task, "agent.said"), "it talks")
    assert served.say(f"/stop {begun.task}").status == 0
    assert served.wait(begun.task).status == 2


# --- the configuration while we serve ---------------------------------------------------------------------


def test_an_edit_that_breaks_fleet_toml_changes_nothing_and_a_good_one_counts(served: House) -> None:
    file, log = served.home / "fleet.toml", served.home / "airboss.log"
    good = file.read_text()
    reloads = len(served.bodies("config.reloaded"))
    file.write_text(good.replace('executor = "ssh"', 'executor = "telnet"'))
    served.until(lambda: "running on the last valid version" in _text(log), "the edit is refused")
    told = next(line for line in _text(log).splitlines() if "running on the last valid version" in line)
    assert "fleet.toml" in told and "executor" in _text(log)
    answer, cards = _run(served, "on=macbook write GOOD all the same")
    assert answer.status == 0, cards
    assert len(served.bodies("config.reloaded")) == reloads
    more = f'[machines.evo-x3]\nexecutor = "local"\npython = "{sys.executable}"\n'
    file.write_text(f'{good}\n{more}home = "{served.directory / "evo-x3"}"\n')
    served.until(lambda: len(served.bodies("config.reloaded")) > reloads, "the new one is in force")
    answer, cards = _run(served, "on=evo-x3 write GOOD on a new machine")
    assert answer.status == 0, cards
    assert served.of(answer.task, "session.placed")[0].event.body()["machine"] == "evo-x3"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# --- machines that are away, and full ones ----------------------------------------------------------------


def test_a_machine_that_is_away_is_waited_for() -> None:
    with house() as built:
        port = unused_port()
        away = built.directory / "away"
        away.mkdir()
        key, identity = new_key(away / "host_key"), away / "client_key"
        new_key(identity)
        settings = {"port": port, "host_key": key, "identity": str(identity)}
        built.configure(machines={"macbook": {**built.machines["macbook"], **settings}})
        built.start()
        built.until(lambda: "asleep or away" in built.say("/machines macbook").shown, "it was looked at")
        result = built.in_background("/run on=macbook write GOOD in the end")
        built.until(lambda: "asleep or away" in " ".join(built.say("/queue").shown.split()), "it is told")
        assert built.state("t1") == "queued"
        with running_sshd(away, port=port):
            answer = result()
            assert answer.status == 0, answer.shown
        assert built.main() == "GOOD in the end"


@contextlib.contextmanager
def _small_disk(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(directory)]
    mounted = subprocess.run(made, check=False, capture_output=True, text=True)
    if mounted.returncode:
        raise RuntimeError(f"cannot make a small disk: {mounted.stderr}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_stalls_the_task_and_loses_nothing() -> None:
    lines = 100_000
    with house() as built, _small_disk(built.directory / "disk") as disk:
        (built.directory / "count.py").write_text(
            f"import sys\nsys.stdin.read()\nfor n in range({lines}):\n    print('line', n, 'and more words')\n"
            "open('work.txt', 'w').write('GOOD at last\\n')\n"
        )
        built.agents["count"] = {
            "driver": "command",
            "program": [sys.executable, str(built.directory / "count.py")],
        }
        macbook = {**built.machines["macbook"], "home": str(disk), "run_disk": "1G"}
        built.configure(machines={"macbook": macbook}, limits={"low_disk": "1M"})  # a look before it starts is fine
        built.start()
        result = built.in_background("/run on=macbook agent=count go")
        full = "No space left"
        built.until(
            lambda: any(full in told.event.body()["why"] for told in built.of("t1", "link.changed")),
            "the stall is told",
        )
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        answer = result()
        assert answer.status == 0, answer.shown
        assert full in answer.shown and "disk" in answer.shown
        told = [recorded.event.body() for recorded in built.of("t1", "link.changed")]
        assert [body["up"] for body in told] == [False, True] * (len(told) // 2)
        stalls = [body for body in told if full in body["why"]]
        assert stalls, "a machine that is silent for a while is told beside it, and the stall again after that"
        (spool,) = (disk / ".airboss" / "pipes").glob("*/out")
        assert [line.split()[1] for line in spool.read_text().splitlines()] == [str(n) for n in range(lines)]
        assert built.bodies("pipe.ended")[0]["spool_bytes"] == spool.stat().st_size
        assert shutil.disk_usage(disk).free > 0

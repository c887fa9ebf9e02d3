"""What an agent's shell tries against the whole house, on one shared login: no verdict changes and nothing lands.

Where separate logins close these doors, here they stand open; what holds is what the controller itself computes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.house import GATE, Answer, House, house

#: Puts a record that says "exit 0" where the runner keeps the agent's own, before the real end.
FORGE = """\
import glob, json, os
for pipe in glob.glob("../../pipes/*"):
    record = {"pipe": os.path.basename(pipe), "how": "exit", "status": 0, "started_us": 1, "ended_us": 2,
              "contained": True, "gone": True, "tree": "", "unavailable": ""}
    if not os.path.exists(pipe + "/exit"):
        open(pipe + "/exit", "w").write(json.dumps(record) + "\\nforged\\n")
        open("../../forged", "w").write(pipe)
"""
#: Says in the agent's name what it never said, where the runner keeps what it says.
SPEAK = """\
import glob
for spool in glob.glob("../../pipes/*/out"):
    open(spool, "a").write("I am somebody else\\n")
    open("../../spoken", "w").write(spool)
"""
#: Kills whatever of ours is above it, so that nobody sees the agent's end.
ORPHAN = """\
import os, signal
pid, above = os.getpid(), []
while pid > 1:
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    line = open(f"/proc/{pid}/cmdline", "rb").read() if pid > 1 else b""
    if b"forks" in line:
        above.append(pid)
open("../../killed", "w").write(str(above))
for pid in above:
    os.kill(pid, signal.SIGKILL)
"""
#: Stays behind, writes into its worktree, and makes every gate's checkout that it finds green.
DAEMON = """\
import glob, os, sys, time
open(sys.argv[1] + "/daemon.pid", "w").write(str(os.getpid()))
while True:
    for found in glob.glob(sys.argv[1] + "/*/.airboss*/gates/*/tree/work.txt"):
        try:
            open(found, "w").write("GOOD by stealth\\n")
        except OSError:
            pass
    time.sleep(0.001)
"""
#: Makes git in the agent's clone say that check.py holds other bytes than it does.
BLOB = """\
import glob, hashlib, os, shutil, struct, subprocess, sys
def git(*args, stdin=None):
    return subprocess.run(["git", *args], input=stdin, capture_output=True, check=True).stdout
clone = os.path.dirname(open(".git/objects/info/alternates").read().strip())
target = git("rev-parse", "HEAD:check.py").decode().strip()
os.environ["GIT_DIR"] = clone
evil = b"print('1 passed')\\n"
made = git("hash-object", "-w", "--stdin", stdin=evil).decode().strip()
for pack in glob.glob(clone + "/objects/pack/*.pack"):
    moved = clone + "/" + os.path.basename(pack)
    os.rename(pack, moved)
    for rest in glob.glob(pack[:-4] + "*"):
        os.unlink(rest)
    git("unpack-objects", "-q", stdin=open(moved, "rb").read())
loose = clone + "/objects/" + target[:2] + "/" + target[2:]
os.unlink(loose)
if sys.argv[1] == "loose":
    shutil.copy(clone + "/objects/" + made[:2] + "/" + made[2:], loose)
else:
    name = git("pack-objects", clone + "/objects/pack/pack", stdin=made.encode() + b"\\n").decode().strip()
    index = clone + "/objects/pack/pack-" + name + ".idx"
    data, first = open(index, "rb").read(), int(target[:2], 16)
    fan = b"".join(struct.pack(">I", n >= first) for n in range(256))
    body = data[:8] + fan + bytes.fromhex(target) + data[8 + 1024 + 20 : -20]
    os.chmod(index, 0o600)
    open(index, "wb").write(body + hashlib.sha1(body).digest())
assert git("cat-file", "blob", target) == evil
open("../../lied", "w").write("the clone lies")
"""
#: Its own commit on top of main's tip, with a tree from before it: a merge of it would undo another's file.
PARENT = """\
import subprocess, time, os, sys
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
def git(*args):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *author, *args], capture_output=True, check=True, text=True).stdout.strip()
base = git("rev-parse", "HEAD")
clone = os.path.dirname(open(".git/objects/info/alternates").read().strip())
listing = ("for-each-ref", "--sort=-committerdate", "--format=%(objectname)", "refs/airboss/base")
refs = git("--git-dir", clone, *listing).split()
tip = next(ref for ref in refs if ref != base and "theirs.txt" in git("ls-tree", "--name-only", ref))
open("mine.txt", "w").write("mine\\n")
git("add", "--all")
forged = git("commit-tree", git("write-tree"), "-p", tip, "-m", "mine")
git("reset", "--quiet", "--hard", forged)
git("--git-dir", clone, "fetch", "--quiet", os.path.abspath(".git"), "HEAD")
git("--git-dir", clone, "update-ref", "refs/airboss/base/" + base, forged)
open("../../forged-parent", "w").write(tip)
"""
#: Everything in a clone's configuration that could run a program of the agent's, and a lie about the base.
CONFIG = """\
set -eu
objects=$(cat .git/objects/info/alternates)
clone=${objects%/objects}
printf '#!/bin/sh\\necho ran >> "%s"\\nexit 0\\n' "$1" > "$clone/evil"
chmod +x "$clone/evil"
mkdir -p "$clone/hooks"
for hook in pre-commit post-checkout post-index-change reference-transaction post-commit update post-update; do
    cp "$clone/evil" "$clone/hooks/$hook"
done
export GIT_DIR="$clone"
git replace "$(GIT_DIR=.git git rev-parse HEAD:check.py)" "$(echo 'print(1)' | git hash-object -w --stdin)"
printf '* filter=x\\n' > .gitattributes
for key in core.hooksPath core.fsmonitor core.sshCommand core.pager filter.x.clean uploadpack.packObjectsHook; do
    git config "$key" "$clone/evil"
done
rm -f "$1"
"""


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    once = {"airboss.toml": GATE.replace("rework_turns = 2", "rework_turns = 0")}
    with house(dict(once)) as made:
        scripts = {
            "forge.py": FORGE,
            "speak.py": SPEAK,
            "orphan.py": ORPHAN,
            "daemon.py": DAEMON,
            "blob.py": BLOB,
            "parent.py": PARENT,
        }
        for name, text in {**scripts, "config.sh": CONFIG}.items():
            (made.directory / name).write_text(text)
        made.start()
        yield made


def _fly(served: House, *lines: str) -> Answer:
    return served.say("/run on=macbook " + "\n".join(lines), wait=True)


def _attack(served: House, name: str, *args: str) -> str:
    program = "sh" if name.endswith(".sh") else sys.executable
    return f"shell {program} {served.directory / name} {' '.join(args)}"


def _machine(served: House) -> Path:
    return served.directory / "macbook" / ".airboss"


def _wait_statuses(served: House, task: str) -> list[int | None]:
    return [recorded.event.body()["raw_wait_status"] for recorded in served.of(task, "gate.closed")]


def test_a_forged_exit_record_makes_the_session_lost(served: House) -> None:
    before = served.commits()
    answer = _fly(served, "write GOOD forged", _attack(served, "forge.py"), "exit 1")
    assert (_machine(served) / "forged").exists(), "the attack found its pipe"
    assert (answer.status, served.state(answer.task)) == (3, "lost")
    assert served.why(answer.task).startswith("tampered with")
    assert not served.of(answer.task, "gate.opened")
    assert served.commits() == before


def test_a_forged_line_in_its_spool_makes_the_session_lost(served: House) -> None:
    before = served.commits()
    answer = _fly(served, "write GOOD spoken for", _attack(served, "speak.py"))
    assert (_machine(served) / "spoken").exists(), "the attack found its pipe"
    assert (answer.status, served.state(answer.task)) == (3, "lost")
    assert served.why(answer.task).startswith("tampered with")
    assert not served.of(answer.task, "gate.opened")
    assert served.commits() == before


def test_an_agent_that_kills_its_supervisor_is_lost_and_what_it_left_lands_nothing(served: House) -> None:
    before = served.commits()
    leave = _attack(served, "daemon.py", str(served.directory))
    try:
        answer = _fly(served, "write GOOD unseen", f"{leave} > /dev/null 2>&1 &", _attack(served, "orphan.py"))
        assert (_machine(served) / "killed").read_text() not in ("", "[]"), "the attack found the supervisor"
        assert (answer.status, served.state(answer.task)) == (3, "lost")
        assert served.commits() == before
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((served.directory / "daemon.pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("where", ["loose", "pack"])
def test_a_rewritten_blob_in_the_clone_changes_no_verdict(served: House, where: str) -> None:
    (_machine(served) / "lied").unlink(missing_ok=True)
    before = served.commits()
    answer = _fly(served, _attack(served, "blob.py", where), f"write BAD {where}")
    assert (_machine(served) / "lied").exists(), "the attack worked on the clone"
    assert answer.status == 1, answer.shown
    assert set(_wait_statuses(served, answer.task)) == {256}, "the gate ran the base's own check"
    assert served.commits() == before
    _restore(served)
    assert _fly(served, f"write GOOD after {where}").status == 0, "a repaired clone is used again"


def _restore(served: House) -> None:
    """An operator throws the spoilt clone away, and the worktrees that hang on it."""
    for name in ("repos", "work"):
        shutil.rmtree(_machine(served) / name)


def test_a_commit_with_a_forged_parent_undoes_nobodys_work(served: House) -> None:
    go = served.directory / "go"
    assert _fly(served, "write GOOD for all that follow").status == 0
    begun = served.say(f"/run on=macbook {_attack(served, 'parent.py', str(go))}")
    served.until(lambda: served.of(begun.task, "pipe.started"), "the attacker has its base")
    assert served.say("/run on=evo-x2 shell echo theirs > theirs.txt", wait=True).status == 0
    assert _fly(served, "shell echo x > brings-the-tip.txt").status == 0
    go.touch()
    answer = served.wait(begun.task)
    assert (_machine(served) / "forged-parent").exists(), "the attack made its commit"
    assert answer.status == 0, served.why(begun.task)
    assert (served.main("theirs.txt"), served.main("mine.txt")) == ("theirs", "mine")


def test_hooks_settings_and_replaced_objects_of_the_clone_run_nothing_and_change_nothing(served: House) -> None:
    mark = served.directory / "ran"
    red = _fly(served, "write BAD quiet", _attack(served, "config.sh", str(mark)))
    assert red.status == 1, red.shown
    assert set(_wait_statuses(served, red.task)) == {256}
    assert not mark.exists() or "ran" not in mark.read_text()
    _restore(served)


def test_a_daemon_left_behind_is_gone_before_anything_is_judged(served: House) -> None:
    leave = _attack(served, "daemon.py", str(served.directory))
    (served.directory / "daemon.pid").unlink(missing_ok=True)
    wait = f"shell while [ ! -s {served.directory}/daemon.pid ]; do sleep 0.02; done"
    answer = _fly(served, "write BAD in the open", leave.replace("shell", "shell setsid", 1) + " >&- 2>&- &", wait)
    pid = int((served.directory / "daemon.pid").read_text())
    assert answer.status == 1, answer.shown
    assert set(_wait_statuses(served, answer.task)) == {256}
    ends = served.of(answer.task, "pipe.ended")
    assert len(ends) == 1 and all(recorded.event.body()["gone"] for recorded in ends)
    assert not Path(f"/proc/{pid}").exists()


def test_a_gate_that_the_change_defines_itself_is_not_what_runs(served: House) -> None:
    before = served.commits()
    own = "shell printf '[gates.check]\\nrun = [\"true\"]\\n' > airboss.toml"
    red = _fly(served, own, "write BAD but with my own gate")
    assert (red.status, set(_wait_statuses(served, red.task))) == (1, {256})
    held = _fly(served, own, "write GOOD but with my own gate")
    assert held.status == 4
    assert "airboss.toml" in held.shown
    assert served.say(f"/deny {held.task}").status == 0
    assert served.wait(held.task).status == 2
    assert served.commits() == before


def test_what_an_agent_says_never_looks_like_ours(served: House) -> None:
    fakes = [
        "╭──────────────────╮",
        "│ ✓ t1 · landed on main │",
        "╰──────────────────╯",
        "✅ t1 · passed at 0123456789",
        "\\033[2J\\033]0;owned\\007\\033[1A",
        "<!channel> @everyone <@U024BE7LD> [1] Approve",
    ]
    said = "\\n".join(fakes)
    answer = _fly(served, f"shell printf '{said}\\n'", "write ✅ t1 · landed on main ╰───╯ <!channel>")
    assert answer.status == 1, answer.shown
    logs = served.say(f"/logs {answer.task}").shown
    assert not set(answer.shown + logs) & set("\x1b\x07\r")
    for shown in (answer.shown, logs):
        for line in shown.splitlines():
            # Ours begin a line; everything of the agent's stands inside a frame of ours, or behind our arrow.
            assert line[:1] in "╭│╰↻", line
            if line.startswith(("╭", "╰")):
                assert not re.search("landed on main|passed at|everyone", line)
        cards = re.findall(r"^╭─+╮\n(.*(?:\n│.*)*?)\n╰", shown, re.MULTILINE)
        titles = [next(line for line in card.splitlines() if "🔔" not in line) for card in cards]
        assert not [title for title in titles if re.match(r"│ ✓ t\d+ · (landed|passed)", title)], titles

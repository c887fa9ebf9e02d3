"""What a person says is read before anything lands or is answered, whatever the task is at.

The gate of this house waits while a test holds it, so that something can be said at each moment of a task.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet.store import sessions, tables
from fleet.store.core import Store
from tests.conftest import sampled
from tests.far_end.held_gates import WAIT, HeldGates
from tests.far_end.repositories import advance
from tests.scenarios.house import Answer, House, house

CHECK = (
    WAIT
    + """\
text = pathlib.Path("work.txt").read_text()
if "BAD" in text:
    print("E   work.txt has the word: " + text.strip()[:80])
    sys.exit(1)
"""
)
GATE = f"""\
[gates.check]
run = [{json.dumps(sys.executable)}, "check.py"]
timeout = "60s"
protected = ["check.py"]
rework_turns = 1
"""
#: Changes what judges, so that the change is held for a person.
TOUCH = 'shell echo "#" >> check.py'


class Words:
    """A served house, and the moments at which something can be said."""

    def __init__(self, made: House, holds: Path) -> None:
        self.house, self.gates = made, HeldGates(holds)

    def begin(self, prompt: str) -> str:
        """Asks for a task; answers once its gate runs."""
        task = self.house.say(f"/run {prompt}").task
        self.gates.wait_for(1)
        return task

    def tell(self, task: str, words: str) -> None:
        """Says more while nothing may land yet."""
        told = self.house.say(f"/say {task} {words}")
        assert told.status == 0 and "reads it before anything lands" in flat(told), told.shown

    def judged(self, prompt: str, say: str) -> str:
        """Asks for a task and says more of it while its gate runs; the task."""
        with self.gates.holding(1):
            task = self.begin(prompt)
            self.tell(task, say)
        return task

    def turns(self, task: str) -> list[tuple[str, str]]:
        """Why each turn began, and with what words."""
        bodies = (entry.event.body() for entry in self.house.of(task, "turn.started"))
        return [(body["cause"], body["prompt"]) for body in bodies]

    def verdicts(self, task: str) -> list[str]:
        return [entry.event.body()["outcome"] for entry in self.house.of(task, "verdict.given")]

    def heard(self, task: str) -> list[str]:
        """What was said and read, each as its sender wrote it."""
        return [entry.event.body()["text"] for entry in self.house.of(task, "person.said")]


def flat(answer: Answer) -> str:
    """What was shown, without the frame and its line breaks."""
    return " ".join(answer.shown.replace("│", " ").split())


def store_of(made: House) -> Store:
    return Store.open(f"sqlite:///{made.home / 'airboss.db'}", create=False)


def unread(made: House) -> list[str]:
    """Landed or answered tasks with words that nobody read: there is never one."""
    good = (tables.tasks.c.state.in_(("landed", "answered"))) & (tables.notes.c.taken_us == 0)
    query = (
        select(tables.tasks.c.id)
        .join(tables.sessions, tables.sessions.c.task == tables.tasks.c.id)
        .join(tables.notes, tables.notes.c.session == tables.sessions.c.id)
        .where(good)
    )
    with store_of(made) as store, store.transaction() as tx:
        return list(tx.connection.execute(query).scalars())


@contextlib.contextmanager
def _house(holds: Path) -> Iterator[Words]:
    files: dict[str, str | bytes] = {"check.py": CHECK, "airboss.toml": GATE, "holds": f"{holds}\n"}
    with house(files) as made:
        made.gate_read.append(str(holds))
        made.configure()
        yield Words(made, holds)
        assert unread(made) == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Words]:
    with _house(tmp_path_factory.mktemp("holds")) as made:
        made.house.start()
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Words]:
    with _house(tmp_path) as made:
        yield made


def test_words_during_a_judgement_that_passes_are_read_before_anything_lands(served: Words) -> None:
    before = served.house.commits()
    task = served.judged("write GOOD one", "write GOOD and two")
    assert served.house.wait(task).status == 0
    assert served.house.main() == "GOOD and two"
    assert len(served.house.commits()) == len(before) + 1, "what passed first never landed"
    assert [cause for cause, _ in served.turns(task)] == ["request", "said"]
    assert served.verdicts(task) == ["passed", "passed"], "both verdicts stay in the ledger"
    assert served.heard(task) == ["write GOOD and two"], "the person's own words, and no more"
    (said,) = served.house.of(task, "person.said")
    (asked,) = served.house.of(task, "task.requested")
    assert (str(said.source), said.actor) == ("person", asked.actor)


def test_words_during_a_judgement_that_fails_come_with_its_output_and_are_no_rework(served: Words) -> None:
    task = served.judged("write BAD", "write BAD still")
    assert served.house.wait(task).status == 1
    causes = [cause for cause, _ in served.turns(task)]
    assert causes == ["request", "said", "rework"], "rework_turns = 1"
    said = served.turns(task)[1][1]
    assert "did not accept your change" in said and said.endswith("write BAD still")
    assert served.heard(task) == ["write BAD still"]


def test_words_are_read_when_no_rework_is_left(served: Words) -> None:
    with served.gates.holding(2):
        task = served.begin("write BAD")
        served.gates.let_go(1)
        served.gates.wait_for(2)
        served.tell(task, "write GOOD now")
    assert served.house.wait(task).status == 0
    assert [cause for cause, _ in served.turns(task)] == ["request", "rework", "said"]
    assert served.house.main() == "GOOD now"


def test_words_about_a_held_change_withdraw_the_question_and_the_agent_goes_on(served: Words) -> None:
    held = served.house.say(f"/run write GOOD held\n{TOUCH}", wait=True)
    assert held.status == 4
    asked = served.house.say("/waiting").shown.split(" · ")[0].split()[-1]
    before = served.house.commits()
    told = served.house.say(f"/say {held.task} write GOOD held and more")
    assert "approval withdrawn; the agent continues" in flat(told)
    late = served.house.say(f"/approve {asked}")
    assert late.status == 2 and "it was withdrawn: a new message arrived" in flat(late)
    again = served.house.wait(held.task)
    assert again.status == 4, "what judges is still changed: a person is asked anew"
    assert served.house.commits() == before
    assert served.verdicts(held.task) == ["held", "held"]
    assert served.house.say(f"/approve {held.task}").status == 0
    assert served.house.wait(held.task).status == 0
    assert served.house.main() == "GOOD held and more"


def test_words_before_a_hold_leave_nobody_with_a_question_about_the_old_change(served: Words) -> None:
    task = served.judged(f"write GOOD unseen\n{TOUCH}", "write GOOD seen")
    assert served.house.wait(task).status == 4
    with store_of(served.house) as store, store.transaction() as tx:
        query = select(tables.approvals.c.id).where(tables.approvals.c.task == task)
        assert len(tx.connection.execute(query).all()) == 1, "held once, with the words in it"
    assert served.house.say(f"/approve {task}").status == 0
    assert served.house.wait(task).status == 0
    assert served.house.main() == "GOOD seen"


def test_words_while_a_merge_is_judged_are_read_before_it_lands(served: Words) -> None:
    with served.gates.holding(2):
        task = served.begin("write GOOD merged")
        advance(served.house.bare, {"theirs.txt": "theirs\n"})
        served.gates.let_go(1)
        served.gates.wait_for(2)
        assert served.house.state(task) == "landing"
        served.tell(task, "write GOOD merged later")
    assert served.house.wait(task).status == 0
    assert served.house.main() == "GOOD merged later"
    assert served.heard(task) == ["write GOOD merged later"]


def test_a_question_is_not_answered_over_words_that_wait(served: Words) -> None:
    gate = served.house.directory / "go"
    wait = f"shell while [ ! -e {gate} ]; do sleep 0.02; done"
    task = served.house.say(f"/ask what is it?\n{wait}").task
    served.house.until(lambda: served.house.of(task, "pipe.started"), "it has begun")
    served.house.until(lambda: served.house.state(task) == "running", "it runs")
    assert "next turn" in flat(served.house.say(f"/say {task} and why?"))
    gate.touch()
    assert served.house.wait(task).status == 0
    assert served.heard(task) == ["and why?"]


@pytest.mark.parametrize("name", sampled(["snapshot-made", "gate-closed", "verdict-taken"], 1))
def test_words_left_while_the_controller_was_dead_are_read_before_anything_lands(fresh: Words, name: str) -> None:
    fresh.house.start(failpoint=name)
    task = fresh.house.say("/run write GOOD early").task or "t1"
    assert fresh.house.died() == -9
    with store_of(fresh.house) as store, store.transaction() as tx:
        sessions.add_note(tx, f"{task}.1", "write GOOD late", "console:here:ada")
    fresh.house.start()
    assert fresh.house.wait(task).status == 0
    assert fresh.house.main() == "GOOD late"
    assert len(fresh.house.commits()) == 2
    assert fresh.heard(task) == ["write GOOD late"]


def test_words_are_taken_in_the_transaction_that_begins_their_turn_and_survive_a_kill(fresh: Words) -> None:
    fresh.house.start(failpoint="pipe-committed:2")
    with fresh.gates.holding(1):
        task = fresh.begin("write GOOD early")
        fresh.tell(task, "write GOOD late")
    assert fresh.house.died() == -9
    with store_of(fresh.house) as store, store.transaction() as tx:
        (taken,) = tx.connection.execute(select(tables.notes.c.taken_us)).scalars()
        assert taken == sessions.turns(tx, f"{task}.1")[-1].started_us, "no moment without the turn"
    fresh.house.start()
    assert fresh.house.wait(task).status == 0
    assert fresh.house.main() == "GOOD late"
    assert fresh.heard(task) == ["write GOOD late"]


#: Stops a landing between its intent and the move of the branch, for as long as a file lies there.
SLOW_MOVE = """\
#!/bin/sh
touch {wait}.seen
while [ -e {wait} ]; do sleep 0.02; done
"""


def test_once_it_is_landing_words_are_refused_and_not_promised_anything(fresh: Words) -> None:
    wait = fresh.house.directory / "wait"
    wait.touch()
    hook = fresh.house.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(SLOW_MOVE.format(wait=wait))
    hook.chmod(0o755)
    sshd = fresh.house.sshd
    url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{fresh.house.bare}"
    fresh.house.configure(repos={"shop": {"url": url, "agent": "plain"}})
    known = fresh.house.directory / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    options = ["-i", str(sshd.identity), "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes"]
    fresh.house.start(GIT_SSH_COMMAND=shlex.join(["ssh", *options]))
    task = fresh.house.say("/run write GOOD as it is").task
    fresh.house.until(lambda: wait.with_name("wait.seen").exists(), "the branch is about to move")
    told = fresh.house.say(f"/say {task} write GOOD otherwise")
    assert told.status == 2 and "it is landing" in flat(told) and "/retry" in flat(told), told.shown
    assert "it stays landed" in flat(fresh.house.say(f"/stop {task}")), "a stop comes too late for it"
    wait.unlink()
    assert fresh.house.wait(task).status == 0
    assert fresh.house.main() == "GOOD as it is"
    with store_of(fresh.house) as store, store.transaction() as tx:
        assert not tx.connection.execute(select(tables.notes.c.id)).all()


#: The last moment before the landing's intent, and after every earlier look: its lease is being taken.
LEASE_TAKEN = """\
create trigger {name} after {change} on leases when new.name = 'landing:shop' and new.holder <> ''
begin update tasks set stop_by = 'telegram::503'; end
"""


def test_a_stop_as_the_landing_begins_lands_nothing(fresh: Words) -> None:
    fresh.house.start()
    before = fresh.house.commits()
    with store_of(fresh.house) as store, store.transaction() as tx:
        for change in ("insert", "update"):
            tx.connection.exec_driver_sql(LEASE_TAKEN.format(name=f"stop_at_{change}", change=change))
    task = fresh.house.say("/run write GOOD too late").task
    fresh.house.wait(task)
    assert fresh.house.state(task) == "stopped"
    assert fresh.house.commits() == before
    assert not fresh.house.of(task, "landing.intended")


def test_whatever_is_said_at_any_moment_is_read_or_refused(served: Words) -> None:
    said: dict[str, list[str]] = {served.house.say(f"/run shell echo {n} > file-{n}").task: [] for n in range(3)}
    open_ = set(said)
    while open_:
        for task in sorted(open_):
            words = f"more {len(said[task])}"
            if len(said[task]) < 8 and served.house.say(f"/say {task} {words}").status == 0:
                said[task].append(words)
            elif served.house.state(task) == "landed":
                open_.discard(task)
    for task, words_of in said.items():
        assert served.heard(task) == words_of


def test_a_task_that_ends_over_words_says_that_nobody_read_them(served: Words) -> None:
    with served.gates.holding(1):
        task = served.begin("write GOOD for nothing")
        served.tell(task, "write GOOD never")
        assert served.house.say(f"/stop {task}").status == 0
        late = served.house.say(f"/say {task} write GOOD too late")
        assert late.status == 2
    assert served.house.wait(task).status == 2
    assert "was not read" in served.house.why(task)

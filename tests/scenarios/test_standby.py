"""Two controllers with one store in PostgreSQL: one leads, the other stands by and takes over from a frozen one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.store import ledger, sessions
from fleet.store.core import Store
from tests.empty_store import filled_database
from tests.far_end.postgres import running_postgres
from tests.scenarios.controllers import Controller, Forked, airboss
from tests.scenarios.house import House, house
from tests.schema import load, problems

#: What a takeover needs of a home, besides its fleet.toml and .env: docs/deployment.md.
SHARED = ("checkpoints", "files", "gates", "keys", "pinned", "receipts", "repos")


class Pair:
    """Two homes with one store and one set of files, each with a log of its own."""

    def __init__(self, first: House, url: str) -> None:
        self.url, self.first = url, first
        home = first.directory / "other"
        home.mkdir(mode=0o700)
        self.other = House(first.directory, home, first.bare, first.sshd)
        self.first.configure()
        self.other.configure()
        for name in SHARED:
            shared = first.directory / "shared" / name
            shared.mkdir(mode=0o700, parents=True)
            for each in (self.first, self.other):
                (each.home / name).symlink_to(shared)
        for each in (self.first, self.other):
            self.log(each).touch()
            (each.home / ".env").touch(mode=0o600)
            (each.home / ".env").write_text(f"AIRBOSS_STORE={url}\n")

    @contextmanager
    def standby(self, world: House) -> Iterator[Controller]:
        """``airboss serve --standby`` on one of the homes; it is killed if it still runs, frozen or not."""
        environment = {**os.environ, "AIRBOSS_HOME": str(world.home)}
        made = Forked(environment, self.log(world), argv=("serve", "--standby"))
        try:
            yield made
        finally:
            made.kill()
            made.wait(20)

    def log(self, world: House) -> Path:
        """What the controller of a home said."""
        return self.first.directory / ("serve.log" if world is self.first else "other.log")

    def said(self, world: House) -> str:
        return self.log(world).read_text()

    def conditions(self, world: House) -> dict[str, str]:
        """What ``airboss controllers`` says on one of the homes, by home."""
        answer = airboss("controllers", "--json", home=world.home)
        assert answer.returncode == 0, answer.stderr
        document = json.loads(answer.stdout)
        assert problems(document, load("controllers.json")) == []
        return {Path(each["home"]).name: each["condition"] for each in document["controllers"]}

    def events(self, *kinds: str) -> list[tuple[str, str]]:
        """The task and kind of each such event."""
        with Store.open(self.url) as store, store.transaction() as tx:
            found = ledger.read(tx, limit=100_000, kinds=kinds)
            return [(recorded.refs.task, recorded.event.KIND) for recorded in found]

    def sessions(self, task: str) -> int:
        with Store.open(self.url) as store, store.transaction() as tx:
            return len(sessions.of_task(tx, task))


@contextmanager
def pair() -> Iterator[Pair]:
    with running_postgres() as server, house() as first:
        url = server.new_database()
        filled_database(server, url)
        yield Pair(first, url)


def test_a_frozen_leader_is_taken_over_from_and_is_fenced_when_it_wakes() -> None:
    with pair() as both, both.standby(both.first) as frozen:
        first, other = both.first, both.other
        first.until(first._answers, "the first leads: nobody else did")
        go = first.directory / "go"
        task = first.say(f"/run shell while [ ! -e {go} ]; do sleep 0.05; done\nwrite GOOD first").task
        first.until(lambda: both.events("turn.started"), "the agent is at work")
        with both.standby(other) as standby:
            other.until(lambda: "airboss stands by: " in both.said(other), "the other stands by")
            assert both.conditions(other) == {"home": "leads", "other": "stands by"}
            shown = " ".join(first.say("/status").shown.replace("│", " ").split())
            assert " leads since " in shown
            assert " stands by" in shown

            frozen.send_signal(signal.SIGSTOP)
            other.until(other._answers, "the other takes over")
            assert both.conditions(other) == {"other": "leads"}
            go.touch()
            assert other.wait(task).status == 0, both.said(other)
            answer = other.say("/run write GOOD second", wait=True)
            assert answer.status == 0, answer.shown

            frozen.send_signal(signal.SIGCONT)
            assert frozen.wait(60) == 3, both.said(first)
            assert "it passed to " in both.said(first)
            landed = both.events("landing.done")
            assert [of for of, _ in landed] == [task, answer.task], "each change landed once"
            assert [of for of, _ in both.events("task.requested")] == [task, answer.task]
            assert [of for of, _ in both.events("turn.started")] == [task, answer.task]
            assert both.sessions(task) == 1
            assert len(first.commits()) == 3, "the first commit, and one for each task"
            assert other.main().strip() == "GOOD second"

            edited = (first.home / "fleet.toml").read_text() + "\n# edited on one host first\n"
            (first.home / "fleet.toml").write_text(edited)
            with both.standby(first) as waits:
                first.until(lambda: "does NOT take over" in both.said(first), "it says that it differs")
                assert both.conditions(first) == {"other": "leads", "home": "differs"}
                (other.home / "fleet.toml").write_text(edited)
                first.until(lambda: both.conditions(first)["home"] == "stands by", "the leader took the edit too")
                waits.send_signal(signal.SIGTERM)
                assert waits.wait(30) == 0, "one that stands by ends as asked"
            assert both.conditions(first) == {"other": "leads"}
            standby.send_signal(signal.SIGTERM)
            assert standby.wait(30) == 0, both.said(other)

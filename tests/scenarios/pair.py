"""Two homes with one store in a real PostgreSQL, and what two controllers on them say."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleet.store import leads, ledger, sessions, tasks
from fleet.store.core import Store
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres, running_postgres
from tests.scenarios.controllers import Controller, airboss, begun
from tests.scenarios.house import House, house
from tests.schema import load, problems

#: What a takeover needs of a home, besides its fleet.toml and .env: docs/deployment.md.
SHARED = ("checkpoints", "files", "gates", "keys", "pinned", "receipts", "repos")


class Pair:
    """Two homes, or more, with one store, each with a log of its own. They have one set of files, or (``apart``)
    each its own."""

    def __init__(
        self, first: House, server: Postgres, url: str, more: Sequence[str] = (), *, apart: bool = False
    ) -> None:
        self.server, self.url, self.first = server, url, first
        self.homes = [first]
        for name in ("other", *more):
            home = first.directory / name
            home.mkdir(mode=0o700)
            self.homes.append(House(first.directory, home, first.bare, first.sshd))
        self.other = self.homes[1]
        for name in () if apart else SHARED:
            shared = first.directory / "shared" / name
            shared.mkdir(mode=0o700, parents=True)
            for each in self.homes:
                (each.home / name).symlink_to(shared)
        for each in self.homes:
            each.configure()
            self.log(each).touch()
            (each.home / ".env").touch(mode=0o600)
            (each.home / ".env").write_text(f"AIRBOSS_STORE={url}\n")

    @contextmanager
    def standby(self, world: House, how: str = "--standby", **environment: str) -> Iterator[Controller]:
        """``airboss serve --standby`` on one of the homes; it is killed if it still runs, frozen or not."""
        environment = {**os.environ, "AIRBOSS_HOME": str(world.home), **environment}
        made = begun(environment, self.log(world), argv=("serve", how))
        try:
            yield made
        finally:
            made.kill()
            made.wait(60)

    def copy_keys(self) -> None:
        """As an operator does before another host takes part, once the first controller has made them."""
        shutil.copytree(self.first.home / "keys", self.other.home / "keys")

    def log(self, world: House) -> Path:
        """What the controller of a home said."""
        return self.first.directory / ("serve.log" if world is self.first else f"{world.home.name}.log")

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

    def led(self) -> dict[str, str]:
        """The name of the home of the controller that leads each task; empty between two."""
        with Store.open(self.url) as store, store.transaction() as tx:
            instances = {task: lead.controller for task, lead in leads.every(tx).items()}
        homes = {task: instance.partition(":")[2].partition(":")[0] for task, instance in instances.items()}
        return {task: home.rpartition("/")[2] for task, home in homes.items()}

    def why(self, *ids: str) -> str:
        """Where these tasks stand, and why: for a scenario that fails."""
        with Store.open(self.url) as store, store.transaction() as tx:
            found = [tasks.task(tx, task) for task in ids]
        return "\n".join(f"{task.id} · {task.state} · {task.why}" for task in found)

    def sessions(self, task: str) -> int:
        with Store.open(self.url) as store, store.transaction() as tx:
            return len(sessions.of_task(tx, task))


@contextmanager
def pair(*more: str, apart: bool = False, files: Mapping[str, str] | None = None) -> Iterator[Pair]:
    """Two homes, and ``more`` of these names: for several tasks at once, which change different files."""
    content: dict[str, str | bytes] = {**({"work.txt": "GOOD already\n"} if more else {}), **(files or {})}
    with running_postgres() as server, house(content) as first:
        url = filled_database(server)
        yield Pair(first, server, url, more, apart=apart)

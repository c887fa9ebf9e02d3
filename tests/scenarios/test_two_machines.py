"""Two real Claude Code sessions on two machines, each behind its own sshd, go for one file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import living_in
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, call, say
from tests.far_end.sshd import running_sshd
from tests.scenarios.house import Answer, House, house

FILE = "other.txt"


@pytest.fixture
def stand() -> Iterator[tuple[House, AnthropicModel]]:
    """The macbook and the laptop: two SSH machines of one house."""
    with (
        AnthropicModel() as model,
        house() as made,
        running_sshd(made.directory / "sshd-2", startup_files=False) as second,
    ):
        put = agents.claude_home(model.url)
        home = made.directory / "home-claude"
        put.put(home)
        settings = {**put.env, "HOME": str(home)}
        made.agents["claude"] = {"driver": "claude", "program": [agents.binary("claude")], "settings": settings}
        laptop = {
            **made.machines["macbook"],
            "port": second.port,
            "host_key": second.host_key,
            "identity": str(second.identity),
            "home": str(made.directory / "laptop"),
        }
        made.configure(machines={"laptop": laptop})
        made.start()
        yield made, model


def begin(made: House, machine: str, word: str, *, wait: bool) -> Answer:
    return made.say(f"/run on={machine} agent=claude please see to {word}", wait=wait)


def edited(asking: Asking, old: str) -> Said:
    """The model reads the file, then edits it with its tool."""
    work = re.search(r"(/[^\s\"\\]+/\.airboss/work/[A-Za-z0-9._-]+)", str(asking.body))
    assert work is not None
    path = f"{work[1]}/{FILE}"
    if asking.step == 0:
        return call("Read", file_path=path)
    return call("Edit", file_path=path, old_string=old, new_string=old.upper())


def sed(old: str) -> Said:
    """The model does the same in a shell, which asks nobody."""
    return call(
        "Bash", command=f"sed -i s/{old}/{old.upper()}/ {FILE}; echo GOOD {old} > work.txt", description="x"
    )


def test_the_edit_is_refused_the_shell_is_stopped_and_a_frozen_session_cannot_land(
    stand: tuple[House, AnthropicModel],
) -> None:
    made, model = stand
    go_on = threading.Event()

    def holding(asking: Asking) -> Said:
        if asking.step < 2:
            return edited(asking, "one")
        assert go_on.wait(200)
        return say("done")

    def second(asking: Asking) -> Said:
        return (edited(asking, "two"), edited(asking, "two"), sed("two"), say("done"))[min(asking.step, 3)]

    def third(asking: Asking) -> Said:
        return sed("three") if asking.step == 0 else say("done")

    for word, script in (("uniform", holding), ("victor", second), ("whiskey", third)):
        model.script(script, when=word)
    before = made.commits()[0]
    first = begin(made, "macbook", "uniform", wait=False)
    made.until(lambda: made.of(first.task, "locks.granted"), "the first session holds the file")

    # Another session on another machine: its edit is refused, what its shell changed stops at the snapshot.
    stopped = begin(made, "laptop", "victor", wait=True)
    assert stopped.status == 2, stopped.shown
    heard = [asking for asking in model.asked if "victor" in asking.heard]
    assert any(f"{FILE} is locked by {first.task}" in asking.heard + "".join(asking.results) for asking in heard)
    causes = [recorded.event.body()["cause"] for recorded in made.of(stopped.task, "locks.refused")]
    assert causes[0] == "touched" and set(causes[1:]) == {"changed"}
    assert f"{FILE} is locked by {first.task}" in made.why(stopped.task)
    assert not made.of(stopped.task, "gate.opened", "landing.intended")
    assert made.commits()[0] == before

    # The first session is frozen, and its lock is over. What another one landed meanwhile stays.
    frozen = [pid for pid in living_in(made.workspace(first.task)) if _signal(pid, signal.SIGSTOP)]
    assert frozen
    assert made.say(f"/unlock {first.task} it is frozen").status == 0
    landed = begin(made, "laptop", "whiskey", wait=True)
    assert landed.status == 0, landed.shown
    for pid in frozen:
        _signal(pid, signal.SIGCONT)
    go_on.set()
    ended = made.wait(first.task)
    assert ended.status == 2, ended.shown
    assert f"{FILE} was changed by {landed.task} after this task started" in made.why(first.task)
    assert made.main(FILE) == "one\ntwo\nTHREE"
    assert not made.of(first.task, "gate.opened", "landing.intended")


def _signal(pid: int, number: signal.Signals) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False

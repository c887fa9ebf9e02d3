"""``[setup.NAME]`` in whole tasks: what the agent finds, what is never landed, and a setup that fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.far_end.repositories import commit, git
from tests.scenarios.house import GATE, House, house

SETUP = """\
[setup.python]
run = ["/bin/sh", "-c", "mkdir .venv && pwd > .venv/made && cat inputs.txt && ! grep bad inputs.txt"]
inputs = ["inputs.txt"]
provides = [".venv"]
"""
FILES: dict[str, str | bytes] = {"airboss.toml": SETUP + GATE, "inputs.txt": "good\n"}
SEEN = "cat .venv/made > seen.txt; cd $(cat .venv/made) && pwd && cat work.txt && echo more > .venv/own; ls .venv"


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    """Sessions have walls on evo-x2, and none on macbook."""
    with house(FILES, walls=True) as made:
        given = {".env.test": "A=1\n", "web/.env.local": {"secret": "WEB_ENV"}}
        made.configure(
            machines={"macbook": {**made.machines["macbook"], "session_walls": False}},
            repos={"shop": {"url": str(made.bare), "agent": "plain", "files": given}},
        )
        (made.home / ".env").write_text("WEB_ENV=B=the-second-one\n")
        (made.home / ".env").chmod(0o600)
        made.start()
        yield made


def said(served: House, task: str) -> str:
    text = " ".join(str(item.event.body()["text"]) for item in served.of(task, "agent.said"))
    return " ".join(text.split())


def test_an_agent_behind_walls_finds_it_where_it_was_built_and_writes_its_own_layer(served: House) -> None:
    answer = served.say(f"/run on=evo-x2 agent=plain write GOOD one\nshell {SEEN}", wait=True)
    assert answer.status == 0, answer.shown
    assert "/airboss/tree GOOD one made own" in said(served, answer.task)
    assert served.main("seen.txt") == "/airboss/tree"
    kinds = [item.event.KIND for item in served.of(answer.task, "setup.built", "pipe.started")]
    assert kinds == ["setup.built", "setup.built", "pipe.started"], "for agents and for gates, before it starts"
    places = sorted((served.directory / "evo-x2").glob(".airboss*/setup/*/*/0"))
    assert [sorted(path.name for path in place.iterdir()) for place in places] == [["made"], ["made"]]


def test_without_walls_it_is_in_the_workspace_and_stays_there(served: House) -> None:
    add = "git add -f .venv .env.test web; git -c user.name=a -c user.email=a@b commit -qm all"
    answer = served.say(f"/run on=macbook write GOOD here\nshell {add}; {SEEN}", wait=True)
    assert answer.status == 0, answer.shown
    assert served.main("seen.txt").endswith(served.workspace(answer.task).name)
    landed = git(served.bare, "ls-tree", "-r", "--name-only", "main")
    assert ".venv" not in landed and ".env" not in landed, "nor the operator's files"


def test_an_agent_has_the_operators_files_and_ports_of_its_own(served: House) -> None:
    show = "cat .env.test web/.env.local | tr '\\n' ' '; echo $AIRBOSS_PORTS"
    open_ = served.say(f"/ask on=evo-x2 shell {show}\nshell sleep 600").task
    served.until(lambda: "A=1" in said(served, open_), "the first session has said what it sees")
    later = served.say(f"/ask on=evo-x2 shell {show}", wait=True).task
    assert served.say(f"/stop {open_}").status == 0
    seen = [said(served, task) for task in (open_, later)]
    assert seen[0].startswith("A=1 ‹redacted:secret›"), "the second file's content is in .env"
    first, second = (int(found[1]) for each in seen if (found := re.search(r"(\d+)-\d+", each)))
    assert second - first == 10


def test_a_setup_that_fails_is_shown_before_an_agent_starts(served: House) -> None:
    work = served.bare.with_suffix(".work")
    git(work, "pull", "-q", str(served.bare), "main")
    commit(work, {"inputs.txt": "bad\n"})
    git(work, "push", "-q", str(served.bare), "HEAD:main")
    answer = served.say("/run on=evo-x2 write GOOD", wait=True)
    assert answer.status == 3
    assert "setup failed: python" in answer.shown
    assert "exit status 1" in answer.shown and "│ bad" in answer.shown and "Retry" in answer.shown
    assert served.state(answer.task) == "unavailable"
    assert not served.of(answer.task, "pipe.started", "turn.started")
    assert json.dumps(served.bodies("setup.failed")).count("exit status 1") == 1

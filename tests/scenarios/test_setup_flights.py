"""``[setup.NAME]`` in whole tasks: what the agent finds, what is never landed, and a setup that fails."""

from __future__ import annotations

import json

from tests.far_end.repositories import git
from tests.scenarios.house import GATE, House, house

SETUP = """\
[setup.python]
run = ["/bin/sh", "-c", "mkdir .venv && pwd > .venv/made && cat inputs.txt && ! grep bad inputs.txt"]
inputs = ["inputs.txt"]
provides = [".venv"]
"""
FILES: dict[str, str | bytes] = {"airboss.toml": SETUP + GATE, "inputs.txt": "good\n"}
SEEN = "cat .venv/made > seen.txt; cd $(cat .venv/made) && pwd && cat work.txt && echo more > .venv/own"


def said(served: House, task: str) -> str:
    return " ".join(str(item.event.body()["text"]) for item in served.of(task, "agent.said"))


def test_an_agent_behind_walls_finds_it_where_it_was_built_and_writes_its_own_layer() -> None:
    with house(FILES, walls=True) as served:
        served.start()
        answers = [
            served.say(f"/run on=evo-x2 agent=plain write GOOD {word}\nshell {SEEN}; ls .venv", wait=True)
            for word in ("one", "two")
        ]
        for answer in answers:
            assert answer.status == 0, answer.shown
            assert "/airboss/tree GOOD" in said(served, answer.task)
            assert "made own" in " ".join(said(served, answer.task).split())
        assert served.main("seen.txt") == "/airboss/tree"
        built = served.bodies("setup.built")
        assert len(built) == 2, "one for agents, one for gates"
        places = sorted((served.directory / "evo-x2").glob(".airboss*/setup/*/*/0"))
        assert [sorted(path.name for path in place.iterdir()) for place in places] == [["made"], ["made"]]


def test_without_walls_it_is_in_the_workspace_and_stays_there() -> None:
    with house(FILES) as served:
        served.start()
        answer = served.say(
            f"/run on=macbook write GOOD here\nshell {SEEN}\nshell git add -f .venv; "
            "git -c user.name=a -c user.email=a@b commit -qm all",
            wait=True,
        )
        assert answer.status == 0, answer.shown
        assert served.main("seen.txt").endswith(served.workspace(answer.task).name)
        assert ".venv" not in git(served.bare, "ls-tree", "-r", "--name-only", "main")


def test_a_setup_that_fails_is_shown_before_an_agent_starts() -> None:
    with house({**FILES, "inputs.txt": "bad\n"}) as served:
        served.start()
        answer = served.say("/run on=evo-x2 write GOOD", wait=True)
        assert answer.status == 3
        assert "setup failed: python" in answer.shown
        assert "exit status 1" in answer.shown and "│ bad" in answer.shown
        assert f"/retry {answer.task}" in answer.shown or "Retry" in answer.shown
        assert served.state(answer.task) == "unavailable"
        assert not served.of(answer.task, "pipe.started", "turn.started")
        assert json.dumps(served.bodies("setup.failed")).count("exit status 1") == 1

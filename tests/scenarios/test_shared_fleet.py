"""Three controllers share a fleet, on a real PostgreSQL: each leads a task; one is killed, one frozen."""

from __future__ import annotations

import signal

from tests.scenarios.house import House
from tests.scenarios.pair import Pair, pair


def waits(both: Pair, world: House, name: str) -> str:
    """A task that ends once there is a file of this name."""
    go = both.first.directory / name
    return world.say(f"/run shell while [ ! -e {go} ]; do sleep 0.05; done; echo {name} > {name}.txt").task


def test_each_of_three_controllers_leads_a_task_and_the_last_leads_them_all() -> None:
    with pair("third") as both, both.standby(both.first, "--join"):
        one, other, third = both.homes
        one.until(one._answers, "the first coordinates: nobody else did")
        with both.standby(other, "--join") as killed, both.standby(third, "--join") as frozen:
            there = {"home": "leads", "other": "shares", "third": "shares"}
            one.until(lambda: both.conditions(one) == there, "the others take part")
            tasks = [waits(both, one, name) for name in ("north", "south", "east")]
            one.until(lambda: len(both.events("turn.started")) == 3, "three agents are at work")
            assert sorted(both.led().values()) == ["home", "other", "third"]
            shown = " ".join(one.say("/status").shown.replace("│", " ").split())
            assert "takes part, 1 task" in shown

            same = (third.home / "fleet.toml").read_text()
            (third.home / "fleet.toml").write_text(same + "\n# edited on one host\n")
            one.until(lambda: "third" not in both.led().values(), "one that differs gives its task back")
            assert both.conditions(one)["third"] == "differs"
            (third.home / "fleet.toml").write_text(same)
            one.until(lambda: both.conditions(one) == there, "it takes part again")
            tasks.append(waits(both, one, "west"))
            one.until(lambda: both.led().get(tasks[-1]) == "third", "it gets the next task")
            one.until(lambda: len(both.events("turn.started")) == 4, "its agent is at work")

            killed.kill()
            frozen.send_signal(signal.SIGSTOP)
            one.until(lambda: set(both.led().values()) == {"home"}, "one leads all of them now")
            for name in ("north", "south", "east", "west"):
                (both.first.directory / name).touch()
            assert [one.wait(task).status for task in tasks] == [0, 0, 0, 0], both.why(*tasks)
            frozen.send_signal(signal.SIGCONT)
            assert frozen.wait(60) == 3, both.said(third)
            assert "it was released" in both.said(third), "it found itself fenced"
        assert sorted(of for of, _ in both.events("landing.done")) == tasks, "each change landed once"
        assert sorted(of for of, _ in both.events("turn.started")) == tasks, "nobody was asked twice"
        assert [both.sessions(task) for task in tasks] == [1, 1, 1, 1]

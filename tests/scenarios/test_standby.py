"""Two controllers with one store in PostgreSQL: one leads, the other stands by and takes over from a frozen one."""

from __future__ import annotations

import signal

from tests.far_end.agents import claude_home
from tests.far_end.by_hand import ByHand
from tests.scenarios.pair import pair


def test_a_frozen_leader_is_taken_over_from_and_is_fenced_when_it_wakes() -> None:
    with pair() as both, both.standby(both.first) as frozen:
        first, other = both.first, both.other
        first.until(first._answers, "the first leads: nobody else did")
        go = first.directory / "go"
        task = first.say(f"/run shell while [ ! -e {go} ]; do sleep 0.05; done\nwrite GOOD first").task
        first.until(lambda: both.events("turn.started"), "the agent is at work")
        ada = ByHand.settle("claude", first.directory, first.bare, first.home, claude_home("http://127.0.0.1:1"))
        with both.standby(other) as standby:
            other.until(lambda: "airboss stands by: " in both.said(other), "the other stands by")
            assert both.conditions(other) == {"home": "leads", "other": "stands by"}
            shown = " ".join(first.say("/status").shown.replace("│", " ").split())
            assert " leads since " in shown
            assert " stands by" in shown
            assert ada.airboss("hooks", "install", "--agent", "claude").returncode == 0
            assert ada.refused("0.txt") == ""

            frozen.send_signal(signal.SIGSTOP)
            other.until(other._answers, "the other takes over")
            assert both.conditions(other) == {"other": "leads"}
            assert ada.refused("1.txt") == "", "the frozen one takes the question, and the other answers it"
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
                assert waits.wait(60) == 0, "one that stands by ends as asked"
            assert both.conditions(first) == {"other": "leads"}
            standby.send_signal(signal.SIGTERM)
            assert standby.wait(60) == 0, both.said(other)

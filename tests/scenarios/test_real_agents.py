"""The real Claude Code and the real Codex, on the macbook over sshd, against scripted models: what the house sees.

Each script is what the model says; the tools, the questions and the processes are the agents' own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fleet.figures import ToolCalls
from tests.conftest import FULL, living_in, sampled
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, Refusal, ScriptedModel, say
from tests.scenarios.house import House
from tests.scenarios.pilot import VENDOR_KEY, Pilot, agents_and_models

AGENTS = ("claude", "codex")

#: For what goes the same way through both drivers: one of the two by the seed, both in ``make torture``.
either_agent = pytest.mark.parametrize("pilot", sampled(AGENTS, 1), indirect=True)


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[House, dict[str, ScriptedModel]]]:
    with agents_and_models() as made:
        yield made


@pytest.fixture(params=AGENTS)
def pilot(request: pytest.FixtureRequest, stand: tuple[House, dict[str, ScriptedModel]]) -> Pilot:
    built, models = stand
    return Pilot(request.param, built, models[request.param])


def test_red_goes_back_with_the_gates_output_into_the_same_conversation_and_passes(pilot: Pilot) -> None:
    good = f"GOOD after rework by {pilot.name}"
    red, mended = pilot.shell("echo BAD > work.txt"), pilot.shell(f"echo {good} > work.txt")
    answer = pilot.run("alfa", red, say("Done. All tests pass."), mended, say("Mended."))
    assert answer.status == 0, answer.shown
    assert pilot.house.main() == good
    last = pilot.heard("alfa")[-1]
    assert last.step == 3, "the second turn goes on with the first one's conversation"
    assert "exit status 1" in last.heard
    assert "E   work.txt lacks the word: BAD" in last.heard
    assert pilot.tools(answer.task) == ToolCalls(ok=2)
    # One login for all: the agent's process must be seen gone before anything is judged.
    events = pilot.house.of(answer.task, "pipe.started", "pipe.ended", "gate.opened", "gate.closed")
    one_turn = ["pipe.started", "pipe.ended", "gate.opened", "gate.closed"]
    assert [recorded.event.KIND for recorded in events] == one_turn * 2
    assert all(recorded.event.body()["gone"] for recorded in events if recorded.event.KIND == "pipe.ended")


@either_agent
def test_a_real_agent_that_says_all_tests_pass_is_not_believed(pilot: Pilot) -> None:
    before = pilot.house.commits()[0]
    done = say("Done. All tests pass.")
    edits = [pilot.shell(f"echo BAD {attempt} for {pilot.name} > work.txt") for attempt in range(3)]
    answer = pilot.run("bravo", *(said for edit in edits for said in (edit, done)))
    assert answer.status == 1, answer.shown
    claims = [recorded.event.body()["claim"] for recorded in pilot.house.of(answer.task, "turn.closed")]
    assert claims == ["Done. All tests pass."] * 3, "the first turn, and rework_turns = 2"
    closed = pilot.house.of(answer.task, "gate.closed")
    assert {recorded.event.body()["raw_wait_status"] for recorded in closed} == {256}
    assert pilot.house.commits()[0] == before


def test_a_denied_edit_is_not_made_and_every_call_is_counted_once(pilot: Pilot) -> None:
    def script(asking: Asking) -> Said:
        steps = [
            lambda: pilot.write(asking, "locked.txt"),
            lambda: pilot.write(asking, f"free-{pilot.name}.txt"),
            lambda: pilot.shell("echo broken; exit 3"),
            lambda: pilot.shell(f"echo GOOD with care by {pilot.name} > work.txt"),
            lambda: say("done"),
        ]
        return steps[min(asking.step, 4)]()

    pilot.model.script(script, when="charlie")
    answer = pilot.begin("charlie")
    assert answer.status == 0, answer.shown
    assert pilot.house.main(f"free-{pilot.name}.txt") == "hello"
    with pytest.raises(AssertionError, match="does not exist"):
        pilot.house.main("locked.txt")
    decided = [recorded.event.body() for recorded in pilot.house.of(answer.task, "permission.decided")]
    denied = [body["reason"] for body in decided if body["decision"] == "deny"]
    assert len(denied) == 1 and "locked.txt" in denied[0]
    assert "locked.txt" in pilot.heard("charlie")[-1].heard + "".join(pilot.heard("charlie")[-1].results)
    assert pilot.tools(answer.task) == ToolCalls(ok=2, failed=1, denied=1)
    pilot.agrees_with_its_own_file(answer.task, 4)


def test_an_edit_of_what_another_holds_is_refused_with_the_holders_name(pilot: Pilot) -> None:
    name, work = f"held-{pilot.name}.txt", f"echo GOOD beside anna by {pilot.name} > work.txt"
    words = f"--home {pilot.house.home} lock acquire path:shop:{name} --holder anna --ttl 600"
    subprocess.run([sys.executable, "-m", "bot.cli", *words.split()], check=True, capture_output=True)

    def script(asking: Asking) -> Said:
        return (pilot.write(asking, name), pilot.shell(work), say("done"))[min(asking.step, 2)]

    pilot.model.script(script, when="yankee")
    answer = pilot.begin("yankee")
    assert answer.status == 0, answer.shown
    heard = pilot.heard("yankee")[-1]
    assert f"{name} is locked by anna" in heard.heard + "".join(heard.results)
    with pytest.raises(AssertionError, match="does not exist"):
        pilot.house.main(name)


def test_nothing_runs_while_nobody_answers_and_words_said_meanwhile_steer_the_turn(pilot: Pilot) -> None:
    name = f"one-{pilot.name}.txt"
    begun = pilot.run(
        "delta",
        pilot.shell(f"echo one > {name}"),
        pilot.shell(f"echo GOOD steered {pilot.name} > work.txt"),
        say("done"),
        agent="-asks",
        wait=False,
    )
    asked = pilot.asked(begun.task)
    assert asked["tool"] == pilot.shell_tool and f"echo one > {name}" in asked["command"]
    assert pilot.house.wait(begun.task).status == 4
    assert pilot.house.say(f"/say {begun.task} please also see to two").status == 0
    pilot.house.until(lambda: pilot.house.of(begun.task, "person.said"), "the words are taken")
    assert pilot.house.of(begun.task, "person.said")[0].event.body()["taken"] == "steered"
    assert not (pilot.house.workspace(begun.task) / name).exists()
    assert len(pilot.heard("delta")) == 1
    assert pilot.house.say(f"/approve {begun.task}").status == 0
    pilot.house.until(lambda: len(pilot.house.of(begun.task, "permission.asked")) == 2, "the second question")
    assert "please also see to two" in str(pilot.heard("delta")[-1].body), "heard before the next step"
    assert pilot.house.say(f"/approve {begun.task}").status == 0
    answer = pilot.house.wait(begun.task)
    assert answer.status == 0, answer.shown
    assert pilot.house.main(name) == "one"
    assert len(pilot.house.of(begun.task, "turn.started")) == 1


#: Seconds for which nothing reaches the machine in the middle of a turn.
AWAY = 60.0 if FULL else 0.2


@either_agent
def test_a_turn_completes_through_the_proxy_while_the_link_is_cut_and_the_agent_has_no_key(pilot: Pilot) -> None:
    asking, answer = threading.Event(), threading.Event()
    look = f"env | grep -q {VENDOR_KEY[:20]} || echo GOOD without a key {pilot.name} > work.txt"

    def script(asked: Asking) -> Said:
        if asked.step == 0:
            return pilot.shell(look)
        asking.set()
        assert answer.wait(60)
        return say("done")

    pilot.model.script(script, when="romeo")
    begun = pilot.begin("romeo", agent="-proxied", wait=False)
    assert asking.wait(60)
    with pilot.house.sshd.away():
        time.sleep(AWAY / 2)
        answer.set()
        time.sleep(AWAY / 2)
    ended = pilot.house.wait(begun.task)
    assert ended.status == 0, ended.shown
    assert pilot.house.main() == f"GOOD without a key {pilot.name}"
    assert {asked.key for asked in pilot.heard("romeo")} == {VENDOR_KEY}
    (body,) = [recorded.event.body() for recorded in pilot.house.of(begun.task, "pipe.ended")]
    assert body["network"] == "none" and body["egress"].startswith("enforced, ")


@either_agent
def test_an_unanswered_question_gives_its_slot_back_and_the_answer_continues_the_conversation(pilot: Pilot) -> None:
    name = f"late-{pilot.name}.txt"
    once = pilot.shell(f"echo GOOD late {pilot.name} | tee -a work.txt {name}")

    def script(asking: Asking) -> Said:
        return say("done") if any("GOOD late" in result for result in asking.results) else once

    pilot.model.script(script, when="quebec")
    fleet = pilot.house.home / "fleet.toml"
    before = fleet.read_text()
    fleet.write_text(before.replace("[limits]", "[limits]\nquestion_seconds = 1"))
    try:
        begun = pilot.begin("quebec", agent="-asks", wait=False)
        pilot.house.until(lambda: pilot.house.state(begun.task) == "asking", "the question gives its slot back")
        pilot.house.until(lambda: pilot.house.of(begun.task, "pipe.ended"), "its process has ended")
        assert living_in(pilot.house.workspace(begun.task)) == {}
        assert "0/" in pilot.house.say("/status").shown, "the slot is free"
        assert pilot.house.wait(begun.task).status == 4
        assert pilot.house.say(f"/approve {begun.task}").status == 0
        answer = pilot.house.wait(begun.task)
    finally:
        fleet.write_text(before)
    assert answer.status == 0, answer.shown
    assert pilot.house.main(name) == f"GOOD late {pilot.name}", "it ran once"
    closed = [recorded.event.body()["outcome"] for recorded in pilot.house.of(begun.task, "turn.closed")]
    assert closed == ["asked", "completed"]
    assert [item.event.body()["decision"] for item in pilot.house.of(begun.task, "permission.decided")] == [
        "allow"
    ] * 2
    assert "quebec" in pilot.heard("quebec")[-1].heard, "the same conversation"


@either_agent
def test_a_rule_about_edits_asks_about_edits_alone(pilot: Pilot) -> None:
    name = f"asked-{pilot.name}.txt"

    def script(asking: Asking) -> Said:
        steps = [
            lambda: pilot.shell(f"echo GOOD edited {pilot.name} > work.txt"),
            lambda: pilot.write(asking, name),
            lambda: say("done"),
        ]
        return steps[min(asking.step, 2)]()

    pilot.model.script(script, when="papa")
    begun = pilot.begin("papa", agent="-edits", wait=False)
    assert pilot.house.wait(begun.task).status == 4
    workspace = pilot.house.workspace(begun.task)
    assert (workspace / "work.txt").exists(), "the command before it needed nobody"
    assert not (workspace / name).exists()
    assert pilot.house.of(begun.task, "permission.asked")[-1].event.body()["paths"][0].endswith(name)
    assert pilot.house.say(f"/approve {begun.task}").status == 0
    answer = pilot.house.wait(begun.task)
    assert answer.status == 0, answer.shown
    assert pilot.house.main(name) == "hello"


@either_agent
def test_what_a_person_denies_is_not_run(pilot: Pilot) -> None:
    begun = pilot.run("echo-echo", pilot.shell("echo GOOD > never.txt"), say("done"), agent="-bash", wait=False)
    pilot.asked(begun.task)
    assert pilot.house.say(f"/deny {begun.task} not like this").status == 0
    answer = pilot.house.wait(begun.task)
    assert answer.status == 1, answer.shown
    assert "without changing a file" in pilot.house.why(begun.task)
    last = pilot.heard("echo-echo")[-1]
    assert "not like this" in last.heard + "".join(last.results)
    assert not (pilot.house.workspace(begun.task) / "never.txt").exists()
    assert pilot.tools(begun.task) == ToolCalls(denied=1)


def test_stop_leaves_no_process_of_the_agent(pilot: Pilot) -> None:
    begun = pilot.run("foxtrot", pilot.shell("echo > up; exec sleep 3600"), say("done"), wait=False)
    pilot.house.until(lambda: pilot.house.of(begun.task, "tool.started"), "the command runs")
    workspace = pilot.house.workspace(begun.task)
    pilot.house.until((workspace / "up").exists, "the command runs")
    assert living_in(workspace)
    assert pilot.house.say(f"/stop {begun.task}").status == 0
    assert pilot.house.wait(begun.task).status == 2
    pilot.house.until(lambda: pilot.house.of(begun.task, "session.ended"), "the session is closed")
    assert living_in(workspace) == {}
    assert pilot.tools(begun.task).unfinished + pilot.tools(begun.task).failed == 1


@either_agent
def test_a_long_answer_of_a_real_agent_arrives_whole(pilot: Pilot) -> None:
    text = "\n".join(f"{number}. The {pilot.name} found nothing wrong here." for number in range(1, 5_001))
    answer = pilot.run("india", say(text), verb="ask")
    assert answer.status == 0, answer.shown
    assert (pilot.house.home / "files" / f"{answer.task}-answer.txt").read_text(encoding="utf-8") == text
    assert len(text) > 200_000


@either_agent
def test_a_question_is_answered_and_nothing_lands(pilot: Pilot) -> None:
    before = pilot.house.commits()[0]
    answer = pilot.run("golf", say("The answer is 42."), verb="ask")
    assert answer.status == 0, answer.shown
    assert "The answer is 42." in answer.shown
    assert pilot.house.state(answer.task) == "answered"
    assert pilot.house.commits()[0] == before
    assert not pilot.house.of(answer.task, "snapshot.made", "gate.opened")


@either_agent
def test_a_controller_killed_in_mid_turn_lands_the_agents_work_once(pilot: Pilot) -> None:
    asking, answer = threading.Event(), threading.Event()

    def script(asked: Asking) -> Said:
        if asked.step == 0:
            return pilot.shell(f"echo GOOD after a crash of {pilot.name} > work.txt")
        asking.set()
        assert answer.wait(60)
        return say("done")

    pilot.model.script(script, when="hotel")
    begun = pilot.begin("hotel", wait=False)
    assert asking.wait(60)
    pilot.house.kill()
    answer.set()
    pilot.house.start()
    ended = pilot.house.wait(begun.task)
    assert ended.status == 0, ended.shown
    assert pilot.house.main() == f"GOOD after a crash of {pilot.name}"
    for kind in ("landing.done", "receipt.issued", "turn.closed", "pipe.started"):
        assert len(pilot.house.of(begun.task, kind)) == 1, kind
    told = [(asking.step, asking.words[-2:], asking.results) for asking in pilot.heard("hotel")]
    assert [step for step, *_ in told] == [0, 1], f"the agent was not begun anew: {told}"
    assert pilot.tools(begun.task) == ToolCalls(ok=1)


# --- Turns that stop short --------------------------------------------------------------------------------

REFUSALS = {
    "kilo": (Refusal(529, "Overloaded"), "overloaded", "529"),
    "lima": (Refusal(429, "You've hit your session limit"), "limited", "429"),
    "mike": (Refusal(401, "OAuth token has expired. Please run /login"), "not_logged_in", "401"),
}


@either_agent
@pytest.mark.parametrize("word", sampled(REFUSALS, 1))
def test_half_of_the_work_waits_when_the_vendor_refuses_and_goes_on_in_the_same_conversation(
    pilot: Pilot, word: str
) -> None:
    refusal, outcome, words = REFUSALS[word]
    better = threading.Event()

    def script(asked: Asking) -> Said:
        if asked.step == 0:
            return pilot.shell(f"echo GOOD {word} {pilot.name} > work.txt")
        return say("done") if better.is_set() else refusal

    pilot.model.script(script, when=word)
    before = pilot.house.commits()[0]
    answer = pilot.begin(word)
    assert answer.status == 4, answer.shown
    assert pilot.house.state(answer.task) == "stalled"
    assert words in answer.shown and "Judge as it is" in answer.shown
    assert ("exit status 1" in answer.shown) is (pilot.name == "claude"), "codex ends well when it is told to"
    assert pilot.outcomes(answer.task) == [outcome]
    assert pilot.house.of(answer.task, "gate.opened", "landing.done") == []
    assert pilot.house.commits()[0] == before
    assert living_in(pilot.house.workspace(answer.task)) == {}
    better.set()
    assert pilot.house.say(f"/go {answer.task}").status == 0
    assert pilot.house.wait(answer.task).status == 0
    assert pilot.house.main() == f"GOOD {word} {pilot.name}"
    last = pilot.heard(word)[-1]
    assert last.step >= 1 and "stopped before it was done" in last.heard, "the same conversation"
    assert pilot.outcomes(answer.task) == [outcome, "completed"]


@either_agent
def test_a_question_that_the_vendor_refuses_is_not_answered(pilot: Pilot) -> None:
    answer = pilot.run("november", Refusal(429, "You've hit your session limit"), verb="ask")
    assert answer.status == 3, answer.shown
    assert pilot.house.state(answer.task) == "stalled"
    pilot.house.say(f"/stop {answer.task}")


@either_agent
def test_an_agent_that_is_killed_goes_on_where_it_was(pilot: Pilot) -> None:
    kill = pilot.shell(f"echo GOOD killed {pilot.name} > work.txt; kill -9 $PPID; sleep 1")

    def script(asked: Asking) -> Said:
        return say("done") if "stopped before it was done" in asked.heard else kill

    pilot.model.script(script, when="oscar")
    answer = pilot.begin("oscar")
    assert answer.status == 4, answer.shown
    assert "killed by SIGKILL" in answer.shown
    assert pilot.outcomes(answer.task) == ["failed"]
    assert pilot.house.say(f"/go {answer.task}").status == 0
    ended = pilot.house.wait(answer.task)
    assert ended.status == 0, (pilot.outcomes(answer.task), ended.shown)
    assert pilot.house.main() == f"GOOD killed {pilot.name}"


@either_agent
def test_a_conversation_that_is_gone_is_begun_anew_with_the_task_and_what_was_done(pilot: Pilot) -> None:
    better = threading.Event()

    def script(asked: Asking) -> Said:
        if not better.is_set():
            half = pilot.shell(f"echo GOOD again {pilot.name} > work.txt")
            return half if asked.step == 0 else Refusal(529, "Overloaded")
        return say("done")

    pilot.model.script(script, when="papa")
    answer = pilot.begin("papa")
    assert answer.status == 4, answer.shown
    layers = list(pilot.house.room(answer.task).glob("layers/*/upper"))
    for kept in [layer / place for layer in layers for place in (".claude/projects", ".codex/sessions")]:
        shutil.rmtree(kept, ignore_errors=True)
    assert layers and not list((pilot.house.directory / f"home-{pilot.name}").glob(".c*/[ps]*s")), "nothing outside"
    better.set()
    pilot.house.say(f"/go {answer.task}")
    pilot.house.until(lambda: len(pilot.outcomes(answer.task)) == 3, "a new conversation follows")
    ended = pilot.house.wait(answer.task)
    assert ended.status == 0, ended.shown
    assert pilot.outcomes(answer.task) == ["overloaded", "conversation_lost", "completed"]
    assert pilot.house.main() == f"GOOD again {pilot.name}"
    last = pilot.heard("papa")[-1]
    assert last.step == 0 and "cannot be continued" in last.heard and "please see to papa" in last.heard

"""Several at once: both land, neither undoes the other, conflicts are told, and what lands is what was judged."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import sampled
from tests.far_end.held_gates import WAIT, HeldGates
from tests.far_end.repositories import advance, git
from tests.kill_points import OF_LANDINGS, OF_MERGES
from tests.scenarios.house import House, house

#: Red when a change that says LONELY finds company. Its runs wait while a test holds them.
CHECK = (
    WAIT
    + """\
if "LONELY" in pathlib.Path("work.txt").read_text() and pathlib.Path("company.txt").exists():
    print("E   not lonely any more")
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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    holds = tmp_path_factory.mktemp("holds")
    files: dict[str, str | bytes] = {"check.py": CHECK, "airboss.toml": GATE, "holds": f"{holds}\n"}
    with house({**files, "lines.txt": "".join(f"{n}\n" for n in range(20))}) as made:
        made.gate_read.append(str(holds))
        made.configure(machines=_two_slots(made))
        made.start()
        yield made


def _two_slots(made: House) -> dict[str, object]:
    return {name: {**machine, "slots": 2} for name, machine in made.machines.items()}


@contextlib.contextmanager
def _holding(served: House, runs: int) -> Iterator[HeldGates]:
    held = HeldGates(Path(served.main("holds")))
    with held.holding(runs):
        yield held


def _together(served: House, *prompts: str) -> list[str]:
    """Begins these tasks and lets their agents work only when each of them has its worktree: one base for all."""
    gate = served.directory / f"go-{len(served.commits())}-{len(prompts)}"
    wait = f"shell while [ ! -e {gate} ]; do sleep 0.02; done\n"
    begun = [served.say(f"/run {wait}{prompt}").task for prompt in prompts]
    served.until(lambda: all(served.of(task, "pipe.started") for task in begun), "all have begun")
    gate.touch()
    return begun


def _verdicts(served: House, task: str) -> list[str]:
    return [recorded.event.body()["outcome"] for recorded in served.of(task, "verdict.given")]


def test_two_that_began_together_both_land_and_the_second_is_judged_as_merged(served: House) -> None:
    one, two = _together(served, "shell echo a > a.txt", "shell echo b > b.txt")
    assert [served.wait(task).status for task in (one, two)] == [0, 0]
    assert (served.main("a.txt"), served.main("b.txt")) == ("a", "b")
    assert sorted(_verdicts(served, task) for task in (one, two)) == [["passed"], ["passed", "passed"]]
    second = max((one, two), key=lambda task: len(_verdicts(served, task)))
    done = served.of(second, "landing.done")[0].event.body()
    judged = served.of(second, "gate.closed")[-1].event.body()
    assert done["tree"] == judged["tree"] == git(served.bare, "rev-parse", f"{done['new']}^{{tree}}")
    assert git(served.bare, "rev-parse", "main") == done["new"]


def test_of_two_that_change_one_file_one_lands_and_a_retry_of_the_other_lands(served: House) -> None:
    with _holding(served, 1) as gate:
        begun = _together(served, "shell echo one > both.txt", "shell echo two > both.txt")
        gate.wait_for(1)
        first, lost = begun if served.of(begun[0], "gate.opened") else begun[::-1]
        assert served.wait(lost).status == 2
    assert served.wait(first).status == 0
    assert served.state(lost) == "refused"
    assert "both.txt" in served.why(lost) and "/retry" in served.why(lost)
    assert _verdicts(served, lost) == [], "what another task holds is not judged"
    again = served.say(f"/retry {lost}", wait=True)
    assert again.status == 0, again.shown
    assert served.main("both.txt") == served.of(lost, "task.requested")[0].event.body()["prompt"].split()[-3]


def test_what_another_task_has_landed_meanwhile_is_merged_in_before_anything_is_judged(served: House) -> None:
    go = served.directory / "go-late"
    late = served.say(f"/run shell while [ ! -e {go} ]; do sleep 0.02; done; sed -i s/^11$/eleven/ lines.txt").task
    served.until(lambda: served.of(late, "pipe.started"), "it works")
    assert served.say("/run shell sed -i s/^2$/two/ lines.txt", wait=True).status == 0
    go.touch()
    assert served.wait(late).status == 0, served.why(late)
    assert {"two", "eleven"} <= set(served.main("lines.txt").split())
    moves = served.of(late, "session.moves")[0].event.body()
    assert "lines.txt was changed by t" in moves["why"] and moves["conflicts"] == ()
    assert _verdicts(served, late) == ["passed"], "it was judged once, on the newer base"


def _causes(served: House, task: str) -> list[str]:
    return [recorded.event.body()["cause"] for recorded in served.of(task, "turn.started")]


def test_a_conflict_with_somebody_elses_push_goes_back_to_its_agent_on_that_push(served: House) -> None:
    with _holding(served, 1) as gate:
        begun = served.say("/run on=macbook shell echo mine > outside.txt; echo new > mine-alone.txt")
        gate.wait_for(1)
        theirs = advance(served.bare, {"outside.txt": "theirs\n", "beside.txt": "kept\n"}, "their side")
    assert served.wait(begun.task).status == 0, served.why(begun.task)
    assert (served.main("outside.txt"), served.main("beside.txt"), served.main("mine-alone.txt")) == (
        *("mine", "kept", "new"),
    )
    assert _causes(served, begun.task) == ["request", "merge"]
    moves = served.of(begun.task, "session.moves")[0].event.body()
    assert (moves["new"], moves["conflicts"]) == (theirs, ("outside.txt",))
    told = served.of(begun.task, "turn.started")[-1].event.body()["prompt"]
    assert "+theirs" in told and "+mine" in told and "their side" in told, "both sides are shown"
    assert git(served.bare, "rev-parse", "main^1") == theirs
    assert git(served.bare, "rev-list", "--count", f"{theirs}..main") == "1", "one commit of its own, on theirs"
    assert git(served.bare, "diff", "--name-only", theirs, "main").split() == ["mine-alone.txt", "outside.txt"]
    served.say(f"/logs {begun.task}")
    story = (served.home / "files" / f"{begun.task}-log.txt").read_text()
    assert "main moved meanwhile and conflicts in outside.txt" in story


def test_a_conflict_that_its_agent_leaves_in_the_files_is_never_judged(served: House) -> None:
    once = served.directory / "once"
    with _holding(served, 1) as gate:
        words = f"[ -e {once} ] || echo mine > left.txt; touch {once}"
        begun = served.say(f"/run shell {words}")
        gate.wait_for(1)
        theirs = advance(served.bare, {"left.txt": "theirs\n"})
    assert served.wait(begun.task).status == 2
    assert "left conflict markers" in served.why(begun.task)
    assert _verdicts(served, begun.task) == ["passed"], "only the change alone was judged"
    assert git(served.bare, "rev-parse", "main") == theirs
    assert "/retry" in served.why(begun.task)


@pytest.mark.parametrize("name", sampled(OF_MERGES, 1))
def test_a_controller_killed_while_a_worktree_moves_completes_the_move(name: str) -> None:
    with house() as built:
        built.start(failpoint=name)
        go = built.directory / "go"
        wait = f"shell while [ ! -e {go} ]; do sleep 0.02; done; date +%N > stamp.txt"
        begun = built.say(f"/run on=macbook {wait}\nwrite GOOD from me")
        built.until(lambda: built.of(begun.task, "pipe.started"), "it works")
        advance(built.bare, {"work.txt": "GOOD from them\n", "new.txt": "new\n"})
        go.touch()
        assert built.died() == -9, f"{name} is on no such task's way"
        built.start()
        assert built.wait(begun.task).status == 0, built.why(begun.task)
        assert (built.main(), built.main("new.txt")) == ("GOOD from me", "new")
        assert len(built.of(begun.task, "session.moves")) == 1
        assert _causes(built, begun.task) == ["request", "merge"]


def test_of_three_queued_of_which_the_middle_one_fails_with_the_first_the_other_two_land(served: House) -> None:
    before = served.main()
    prompts = ("shell echo here > company.txt", "write GOOD LONELY", "shell echo third > third.txt")
    begun: list[str] = []
    with _holding(served, 6) as gate:
        for number, prompt in enumerate(prompts, 1):
            begun.append(served.say(f"/run {prompt}").task)
            gate.wait_for(number)
        advance(served.bare, {"meanwhile.txt": "theirs\n"})
        for number in (1, 2, 3):  # each is judged again on top of those before it, side by side
            gate.let_go(number)
            gate.wait_for(number + 3)
        shown = served.say("/queue").shown
        first, red, third = begun
        assert f"2. {red} is judged on top of {first}" in shown, shown
        gate.let_go(5)
        gate.wait_for(7)
        gate.let_go(4)
        assert [served.wait(task).status for task in (first, third)] == [0, 0]
    assert served.wait(red).status == 4  # its agent changed nothing for the merge: a person is asked
    assert {"company.txt", "third.txt"} <= set(git(served.bare, "ls-tree", "--name-only", "main").split())
    assert "LONELY" not in served.main()
    withdrawn, landed = [each.event.body() for each in served.of(third, "gate.closed")][-2:]
    assert withdrawn["outcome"] == "aborted" and "merged anew" in withdrawn["reason"]
    assert landed["tree"] == served.of(third, "landing.done")[0].event.body()["tree"]
    assert served.of(third, "landing.queued")[-1].event.body()["without"] == (f"{red}: check: exit status 1",)
    (merge,) = served.of(red, "turn.started")[1:]
    assert merge.event.body()["cause"] == "merge"
    told = merge.event.body()["prompt"]
    assert "not lonely any more" in told and "has been moved to the current main" in told
    served.say(f"/stop {red}")
    advance(served.bare, {"work.txt": before})


@pytest.mark.parametrize("name", sampled(OF_LANDINGS, 1))
def test_a_controller_killed_while_changes_wait_to_land_finds_them_in_their_order(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="ab-holds-") as holds:
        Path(holds).chmod(0o755)
        files: dict[str, str | bytes] = {"check.py": CHECK, "airboss.toml": GATE, "holds": f"{holds}\n"}
        with house(files) as built, HeldGates(Path(holds)).holding(4) as gate:
            built.gate_read.append(holds)
            built.configure(machines=_two_slots(built))
            built.start(failpoint=f"{name}:2" if name == "landing-joined" else name)
            begun = []
            for number in (1, 2):
                begun.append(built.say(f"/run shell echo {number} > queued-{number}.txt").task)
                gate.wait_for(number)
            advance(built.bare, {"meanwhile.txt": "theirs\n"})
            gate.let_go(1)
            gate.wait_for(3)
            gate.let_go(2)
            if name == "landing-foreseen":
                gate.wait_for(4)
                gate.let_go(4)
            assert built.died() == -9, f"{name} is on no such task's way"
            built.start()
            built.until(lambda: "2 changes" in built.say("/queue").shown, "both are in line again")
            gate.let_go(3)
            if name != "landing-foreseen":
                gate.wait_for(4)
                gate.let_go(4)
            assert [built.wait(task).status for task in begun] == [0, 0]
            first, second = [built.of(task, "landing.done")[0].event.body() for task in begun]
            assert second["old"] == first["new"], "in their order"
            judged = {each["tree"] for each in built.bodies("gate.closed") if each["outcome"] == "passed"}
            assert {first["tree"], second["tree"]} <= judged


def test_a_base_that_somebody_moves_while_the_gate_runs_keeps_their_work(served: House) -> None:
    with _holding(served, 1) as gate:
        begun = served.say("/run shell sed -i s/^3$/three/ lines.txt")
        gate.wait_for(1)
        theirs = advance(served.bare, {"theirs.txt": "kept\n"})
    assert served.wait(begun.task).status == 0
    assert served.main("theirs.txt") == "kept"
    assert "three" in served.main("lines.txt")
    assert _verdicts(served, begun.task) == ["passed", "passed"]
    assert git(served.bare, "rev-parse", "main^1") == theirs, "landed on top of theirs"


def test_a_base_that_moves_while_the_merge_is_judged_is_merged_again(served: House) -> None:
    with _holding(served, 2) as gate:
        begun = served.say("/run shell sed -i s/^7$/seven/ lines.txt")
        for number in (1, 2):
            gate.wait_for(number)
            advance(served.bare, {f"while-{number}.txt": f"{number}\n"})
            gate.let_go(number)
    assert served.wait(begun.task).status == 0
    assert (served.main("while-1.txt"), served.main("while-2.txt")) == ("1", "2")
    assert "seven" in served.main("lines.txt")
    assert _verdicts(served, begun.task) == ["passed"] * 3
    assert len(served.of(begun.task, "landing.missed")) == 1


def test_more_tasks_than_slots_queue_and_all_land_in_one_dense_ledger(served: House) -> None:
    begun = [served.say(f"/run shell echo {n} > queued-{n}.txt").task for n in range(6)]
    assert [served.wait(task).status for task in begun] == [0] * 6
    assert [served.main(f"queued-{n}.txt") for n in range(6)] == [str(n) for n in range(6)]
    events = served.ledger()
    assert [recorded.seq for recorded in events] == list(range(1, len(events) + 1))
    held: Counter[str] = Counter()
    placed: set[str] = set()
    for recorded in events:
        machine = recorded.refs.machine
        if recorded.event.KIND == "session.placed":
            held[machine] += 1
            placed.add(machine)
        elif recorded.event.KIND == "session.ended":
            held[machine] -= 1
        assert held[machine] <= 2, f"{machine} has two slots"
    assert placed == {"evo-x2", "macbook"}
    for task in begun:
        assert len(served.of(task, "landing.done")) == 1
        assert (served.home / "receipts" / f"{task}.json").exists()


@pytest.mark.parametrize("way", sampled(["ssh", "file"], 1))
def test_a_repository_behind_a_url_is_pushed_to(way: str) -> None:
    with house() as built:
        sshd = built.sshd
        url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{built.bare}" if way == "ssh" else f"file://{built.bare}"
        built.configure(repos={"shop": {"url": url, "agent": "plain"}})
        known = built.directory / "known_hosts"
        known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
        options = ["-i", str(sshd.identity), "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes"]
        built.start(GIT_SSH_COMMAND=shlex.join(["ssh", *options]))
        begun = built.say("/run write GOOD from afar", wait=True)
        assert begun.status == 0, begun.shown
        assert built.main() == "GOOD from afar"
        assert built.bodies("landing.done")[0]["new"] == built.commits()[0]


def test_an_ended_task_whose_session_a_crash_left_open_gives_its_slot_back() -> None:
    with house() as built:
        built.configure(machines={name: {**machine, "slots": 1} for name, machine in built.machines.items()})
        built.start(failpoint="task-landed")
        built.say("/run on=macbook write GOOD first")
        assert built.died() == -9
        assert not built.bodies("session.ended")
        built.start()
        assert built.say("/run on=macbook write GOOD second", wait=True).status == 0
        assert built.bodies("session.ended")[0]["why"] == ""
        built.until(lambda: len(built.bodies("session.ended")) == 2, "both sessions are closed")
        assert not list((built.directory / "macbook/.airboss/work").glob("[!.]*"))


def test_nothing_that_was_purged_from_the_base_comes_back_and_a_person_is_asked_once(served: House) -> None:
    """A key is taken out of main by force while tasks run. A change alone is carried over and judged there; one
    that conflicts with the new main is kept, and says what was rewritten."""
    leaked = advance(served.bare, {"leak.txt": "KEY=1234\n"}, "oops a key")
    gate = served.directory / "go-purge"
    wait = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    task = served.say(f"/run shell echo mine > mine.txt; {wait}").task
    clash = served.say(f"/run shell echo mine > clash.txt; {wait}").task
    served.until(lambda: served.of(task, "pipe.started") and served.of(clash, "pipe.started"), "both work")
    work = served.bare.with_suffix(".work")
    git(work, "reset", "--quiet", "--hard", "HEAD~1")
    git(work, "push", "--quiet", "--force", "origin", "main")
    advance(served.bare, {"clean.txt": "clean\n", "clash.txt": "theirs\n"})
    gate.touch()
    assert served.wait(clash).status == 2
    assert "main was rewritten while this task ran: 1 commit is no longer in it" in served.why(clash)
    assert "this task's change conflicts with it in clash.txt. The work is kept" in served.why(clash)
    assert clash in served.say("/unlanded").shown
    answer = served.wait(task)
    assert answer.status == 4
    assert served.state(task) == "held"
    assert "main was rewritten while this task ran: 1 commit is no longer in it" in served.why(task)
    assert "oops a key" in served.why(task)
    assert "rewritten" in " ".join(served.say(f"/waiting {task}").shown.split())
    advance(served.bare, {"later.txt": "an ordinary commit does not make it ask again\n"})
    assert served.say(f"/approve {task}").status == 0
    assert served.wait(task).status == 0
    listed = git(served.bare, "ls-tree", "--name-only", "main").split()
    assert {"mine.txt", "clean.txt", "later.txt"} <= set(listed)
    assert "leak.txt" not in listed
    assert leaked not in git(served.bare, "rev-list", "main")
    assert len(served.of(task, "hold.released")) == 1


def test_a_gate_that_is_added_while_a_change_is_held_judges_it_before_it_lands(served: House) -> None:
    task = served.say("/run shell echo '# more' >> check.py", wait=True).task
    assert served.state(task) == "held"
    machines, shop = _two_slots(served), {"url": str(served.bare), "agent": "plain"}
    late = {"run": ["sh", "-c", "echo no; exit 1"], "rework_turns": 0}
    served.configure(machines=machines, repos={"shop": {**shop, "gates": {"late": late}}})
    served.until(lambda: "late" in served.say("/repos").shown, "the controller has read it")
    try:
        before = served.main("check.py")
        assert served.say(f"/approve {task}").status == 0
        assert served.wait(task).status == 1
        assert served.state(task) == "failed"
        assert served.main("check.py") == before
        runs = [opened.event.body()["gate"] for opened in served.of(task, "gate.opened")]
        assert runs == ["check", "late"], "what still stands is not run again"
    finally:
        served.configure(machines=machines)
        served.until(lambda: "late" not in served.say("/repos").shown, "as it was")

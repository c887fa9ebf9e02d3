"""What outcomes mean, who may what, which paths are held and which edits are denied."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.agent_events import Allow, Asked, AskPerson, Deny
from fleet.agents.acts import ask_rules
from fleet.errors import Refused
from fleet.model import PersonId
from fleet.verdict import GateResult, HeldPlace, Outcome
from gates.people import RIGHTS, Person, Right, Role, console_owner, demand, may, who
from gates.policy import AllOf, AnyOf, Gate, decide, evaluate, every
from gates.protected import Touched, run_by, touched
from gates.rulings.permissions import PermissionRules, inside, rule

P, F, U, L = Outcome.PASSED, Outcome.FAILED, Outcome.UNAVAILABLE, Outcome.LOST
A, T, M = Outcome.ABORTED, Outcome.TIMED_OUT, Outcome.MISSING
COMMIT = "c" * 40


def result(gate: str, outcome: Outcome, reason: str = "said so") -> GateResult:
    return GateResult(f"run-{gate}", gate, ("true",), outcome, reason, None, None, "")


@pytest.mark.parametrize(
    ("first", "second", "both", "either"),
    [
        (P, P, P, P),
        (P, F, F, P),
        (P, U, U, P),
        (P, L, L, P),
        (F, F, F, F),
        (F, U, F, U),
        (F, L, F, L),
        (U, U, U, U),
        (U, L, L, L),
        (L, L, L, L),
        (P, A, A, P),
        (F, A, F, A),
        (A, L, A, A),
        (P, T, F, P),
        (U, T, F, U),
        (P, M, M, P),
        (U, M, U, U),
    ],
)
def test_truth_table(first: Outcome, second: Outcome, both: Outcome, either: Outcome) -> None:
    for a, b in ((first, second), (second, first)):
        outcomes = {"a": a, "b": b}
        assert evaluate(AllOf((Gate("a"), Gate("b"))), outcomes) is both
        assert evaluate(AnyOf((Gate("a"), Gate("b"))), outcomes) is either


def test_all_of_passes_only_when_every_gate_passed() -> None:
    for outcomes in itertools.product(Outcome, repeat=3):
        found = evaluate(every("abc"), dict(zip("abc", outcomes, strict=True)))
        assert (found is P) == all(outcome.opens or outcome is Outcome.HELD for outcome in outcomes)
        if F in outcomes:
            assert found is F


def test_policies_nest() -> None:
    policy = AllOf((Gate("lint"), AnyOf((Gate("linux"), Gate("mac")))))
    assert evaluate(policy, {"lint": P, "linux": F, "mac": P}) is P
    assert evaluate(policy, {"lint": P, "linux": F, "mac": U}) is U
    assert evaluate(policy, {"lint": F, "linux": P, "mac": P}) is F


def test_a_gate_without_an_outcome_is_missing_not_passed() -> None:
    assert evaluate(every(["a", "b"]), {"a": P}) is M


def test_only_these_states_open() -> None:
    assert {each for each in Outcome if each.opens} == {P, Outcome.APPROVED, Outcome.OVERRIDDEN}


def test_the_word_of_older_versions_for_a_stopped_run() -> None:
    assert Outcome("abandoned") is A


def test_each_gate_shows_what_became_of_it() -> None:
    place = HeldPlace("tests/test_a.py", 3, "changes a test", "3 (protected)")
    results = [replace(result("a", P), held=(place,)), result("b", P)]
    held = decide(every("ab"), results, (), commit=COMMIT)
    assert [each.outcome for each in held.gates] == [Outcome.HELD, P]
    assert held.reasons == ("tests/test_a.py:3 changes a test [layer 3 (protected)]",)
    released = decide(every("ab"), results, (), commit=COMMIT, released=frozenset({COMMIT}))
    assert (released.outcome, [each.outcome for each in released.gates]) == (
        Outcome.APPROVED,
        [Outcome.APPROVED, P],
    )


@pytest.mark.parametrize("empty", [lambda: every([]), lambda: AllOf(()), lambda: AnyOf(())])
def test_an_empty_policy_is_refused_and_says_what_to_do(empty: type) -> None:
    with pytest.raises(Refused) as caught:
        empty()
    assert "airboss.toml" in caught.value.hint


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(F, Outcome.FAILED), (L, Outcome.LOST), (U, Outcome.UNAVAILABLE), (P, Outcome.PASSED)],
)
def test_a_verdict_takes_the_gates_outcome_and_its_reason(outcome: Outcome, expected: Outcome) -> None:
    decision = decide(every(["a"]), [result("a", outcome, "exit status 3")], (), commit=COMMIT)
    assert decision.outcome is expected
    assert decision.reasons == ("a: exit status 3",)


HELD = (Touched("tests/test_a.py", "tests/**", "a"),)


def test_a_pass_that_touches_protected_files_is_held_and_names_them() -> None:
    decision = decide(every(["a"]), [result("a", P)], HELD, commit=COMMIT)
    assert decision.outcome is Outcome.HELD
    assert "tests/test_a.py" in decision.reasons[0]
    assert "tests/**" in decision.reasons[0]


def test_reasons_stay_readable_whatever_a_path_is_called_and_however_many_there_are() -> None:
    many = tuple(Touched(f"tests/{number}\n\x1b[2J\udcff", "tests/**", "a") for number in range(500))
    reasons = decide(every(["a"]), [result("a", P)], many, commit=COMMIT).reasons
    assert len(reasons) <= 21
    assert all(reason.isprintable() for reason in reasons)
    assert "480 more" in reasons[-1]


def test_a_path_is_named_once_however_many_gates_and_patterns_protect_it() -> None:
    held = tuple(
        Touched("check.py", pattern, gate)
        for pattern, gate in (("check.py", "b"), ("its command", "b"), ("*.py", "a"))
    )
    (reason,) = decide(every(["a", "b"]), [result("a", P), result("b", P)], held, commit=COMMIT).reasons
    assert reason == "changes check.py, which gates a, b protect (check.py, its command, *.py)"


def test_a_release_covers_one_commit_only() -> None:
    results = [result("a", P)]
    assert (
        decide(every(["a"]), results, HELD, commit=COMMIT, released=frozenset({COMMIT})).outcome is Outcome.APPROVED
    )
    assert (
        decide(every(["a"]), results, HELD, commit="d" * 40, released=frozenset({COMMIT})).outcome is Outcome.HELD
    )


@pytest.mark.parametrize("outcome", [F, U, L])
def test_a_release_never_turns_a_gate(outcome: Outcome) -> None:
    decision = decide(every(["a"]), [result("a", outcome)], HELD, commit=COMMIT, released=frozenset({COMMIT}))
    assert decision.outcome == Outcome(outcome.value)


PROTECTED = {"tests": ("tests/**", "**/conftest.py", "pytest.ini", "/airboss.toml")}


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "tests/deep/er/x",
        "conftest.py",
        "src/conftest.py",
        "pytest.ini",
        "airboss.toml",
        "Tests/a.py",
        "a\nb/conftest.py",
        "tests/\n",
        "tests/\udcff.py",
    ],
)
def test_protected_paths_are_found(path: str) -> None:
    assert [item.path for item in touched(PROTECTED, [path, "src/main.py"])] == [path]


@pytest.mark.parametrize("path", ["src/main.py", "sub/airboss.toml", "testsuite/a.py", "README.md"])
def test_other_paths_are_not(path: str) -> None:
    assert touched(PROTECTED, [path]) == ()


def test_the_pattern_and_the_gate_are_named() -> None:
    assert touched(PROTECTED, ["src/conftest.py"]) == (Touched("src/conftest.py", "**/conftest.py", "tests"),)


@pytest.mark.parametrize(
    ("argv", "path", "held"),
    [
        (("python3", "-m", "pytest", "-q"), "pytest.py", True),
        (("python3", "-m", "pytest", "-q"), "pytest/__init__.py", True),
        (("python3", "-m", "pytest", "-q"), "pytest.cpython-311-x86_64-linux-gnu.so", True),
        (("python3", "-m", "pytest", "-q"), "src/pytest.py", False),
        (("python3", "-m", "pytest", "tests"), "tests/test_a.py", False),
        (("python3", "-m", "unittest.main"), "unittest/main.py", True),
        (("./check.sh",), "check.sh", True),
        (("sh", "scripts/../check.sh"), "check.sh", True),
        (("sh", "check.sh"), "other.sh", False),
    ],
)
def test_what_the_command_itself_loads_is_held(argv: tuple[str, ...], path: str, held: bool) -> None:
    assert bool(run_by({"tests": argv}, [path])) is held


# --- people -----------------------------------------------------------------------------------------


@dataclass
class Named:
    name: str
    role: str
    ids: list[str]


@dataclass
class Fleet:
    people: list[Named] = field(default_factory=list)
    self_approval: bool | None = None


def test_roles_only_grow() -> None:
    assert RIGHTS[Role.VIEWER] < RIGHTS[Role.OPERATOR] < RIGHTS[Role.ADMIN] == frozenset(Right)


def test_a_stranger_may_nothing() -> None:
    stranger = who(Fleet([Named("ann", "admin", ["slack:T1:U1"])]), PersonId("slack", "T2", "U1"))
    assert stranger is None
    assert not any(may(stranger, right) for right in Right)


def test_people_are_their_ids_and_not_their_names() -> None:
    fleet = Fleet([Named("ann", "operator", ["slack:T1:U1", "telegram::7"])])
    assert who(fleet, PersonId("telegram", "", "7")) == Person("ann", Role.OPERATOR)
    assert who(fleet, PersonId("telegram", "", "ann")) is None


def test_only_the_login_of_this_controller_owns_its_console() -> None:
    owner = console_owner()
    assert who(Fleet(), owner) == Person(owner.user, Role.ADMIN)
    assert who(Fleet(), PersonId("console", owner.workspace, "somebody-else")) is None
    assert who(Fleet(), PersonId("slack", owner.workspace, owner.user)) is None


def test_an_operator_cannot_release_a_hold_and_is_told_what_it_takes() -> None:
    with pytest.raises(Refused) as caught:
        demand(Person("ann", Role.OPERATOR), Right.RELEASE, attempted="release the hold")
    assert "admin" in caught.value.cause
    assert demand(Person("eve", Role.ADMIN), Right.RELEASE, attempted="release the hold").name == "eve"


# --- in-band permissions ----------------------------------------------------------------------------

ROOM = "/home/agent/.airboss/work/t1.1"
RULES = PermissionRules(ask=ask_rules("claude", ["Bash"]), deny_edits=("tests/**", "*.lock", "!tests/data/**"))


def asked(*paths: str, tool: str = "Write") -> Asked:
    return Asked("1", tool, "{}", "", paths)


@pytest.mark.parametrize(
    "path", ["src/a.py", f"{ROOM}/src/a.py", "./src/../src/a.py", "tests/data/x.json", "/airboss/tree/src/a.py"]
)
def test_edits_inside_are_allowed(path: str) -> None:
    assert rule(asked(path), ROOM, RULES) == Allow()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../other/a.py",
        "src/../../t1.2/a.py",
        f"{ROOM}-evil/a.py",
        f"{ROOM}/../t1.2/a.py",
        "/airboss/tree",
        "/airboss/tree/../home/a.py",
        "/airboss/trees/a.py",
        f"/{ROOM}/../../x",
        ROOM,
        "~/.bashrc",
        "$HOME/.bashrc",
        "..\\..\\x",
        "",
        "a\x00b",
    ],
)
def test_edits_outside_are_denied(path: str) -> None:
    ruling = rule(asked(path), ROOM, RULES)
    assert isinstance(ruling, Deny)
    assert "outside the workspace" in ruling.reason


@pytest.mark.parametrize(
    "path",
    [
        "tests/a.py",
        "src/../tests/a.py",
        f"{ROOM}//tests/./a.py",
        "TESTS/a.py",
        "tests\\a.py",
        "ｔests/a.py",
        "tests/\n",
    ],
)
def test_a_denied_pattern_is_named_whatever_way_the_path_is_written(path: str) -> None:
    ruling = rule(asked(path), ROOM, RULES)
    assert isinstance(ruling, Deny)
    assert "'tests/**'" in ruling.reason


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".GIT/config", "src/../.git/config"])
def test_gits_own_files_are_denied(path: str) -> None:
    assert isinstance(rule(asked(path), ROOM, PermissionRules()), Deny)


def test_one_bad_path_among_many_denies_all() -> None:
    assert isinstance(rule(asked("src/a.py", "tests/a.py"), ROOM, RULES), Deny)
    assert isinstance(rule(asked("src/a.py", "/airboss/tree/tests/a.py"), ROOM, RULES), Deny)


def test_a_tool_that_needs_a_person_asks_and_a_denial_comes_first() -> None:
    assert isinstance(rule(asked(tool="Bash"), ROOM, RULES), AskPerson)
    assert rule(asked(tool="Monitor"), ROOM, RULES) == Allow()
    assert isinstance(rule(asked("/etc/x", tool="Bash"), ROOM, RULES), Deny)


@given(st.lists(st.sampled_from(["..", ".", "a", "tests", "/", "//", "b c", "%2e%2e"]), max_size=8).map("/".join))
def test_what_is_inside_never_climbs_out(path: str) -> None:
    found = inside(path, ROOM)
    if found is not None:
        assert found
        assert not found.startswith("/")
        assert ".." not in found.split("/")

"""Approvals, gate runs and landings, on both databases."""

from __future__ import annotations

import pytest

from fleet.errors import Misused, Refused
from fleet.events import GateClosed, GateOpened, Source
from fleet.exits import Exited
from fleet.model import Session, Task, TurnCause
from fleet.ports import Candidate
from fleet.store import approvals, gates, landings, leases, ledger, sessions
from fleet.store.core import Store, Tx
from fleet.store.landings import IntentOutcome
from fleet.verdict import Evidence, GateResult, JUnitCounts, Outcome
from tests.contracts.test_store_tasks import begin, request

EVIDENCE = Evidence(Exited(1), 256, "tree", "evo", "gate", True, "5ha", 12, 100, 200)


def flying(tx: Tx) -> tuple[Task, Session]:
    task = request(tx)
    return task, begin(tx, task.id)


def candidate(tx: Tx, round_: int = 1) -> Candidate:
    task, session = flying(tx)
    turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "words")
    return Candidate(task, session, turn, "commit", "tree", "base", round_)


def opened(tx: Tx, of: Candidate, gate: str = "tests") -> str:
    return gates.open_run(
        tx, of, gate=gate, argv=("pytest", "-q"), definition_sha256="d", machine="evo", nonce="secret"
    )


def result(run: str, evidence: Evidence | None = EVIDENCE) -> GateResult:
    outcome = Outcome.FAILED if evidence else Outcome.UNAVAILABLE
    junit = JUnitCounts(3, 1, 0, 0) if evidence else None
    return GateResult(
        run, "tests", ("pytest", "-q"), outcome, "exit status 1", evidence, junit, "E  assert\nFAILED"
    )


def ask(tx: Tx, session: Session, expires_us: int = 0) -> approvals.Approval:
    return approvals.open_ask(
        tx,
        session=session,
        ask="req-1",
        tool="Bash",
        request='{"command":"rm -rf x"}',
        command="rm -rf x",
        paths=("a b", "c"),
        reason="asks first",
        expires_us=expires_us,
    )


def test_a_question_is_answered_once_and_the_agent_is_told_once(store: Store) -> None:
    with store.transaction() as tx:
        _, session = flying(tx)
        made = ask(tx, session)
        assert approvals.waiting(tx) == [made] and made.paths == ("a b", "c")
        assert approvals.take_decided(tx, session.id) == []
        assert approvals.decide(tx, "a1", True, "console:h:ada", "fine").decision == "allow"
        with pytest.raises(Refused, match="console:h:ada already allowed it"):
            approvals.decide(tx, "a1", False, "console:h:bob", "no!")
        (answer,) = approvals.take_decided(tx, session.id)
        assert (answer.ask, answer.allowed, answer.by, answer.reason) == ("req-1", True, "console:h:ada", "fine")
        assert approvals.take_decided(tx, session.id) == [] == approvals.waiting(tx)


def test_silence_is_no(store: Store) -> None:
    with store.transaction() as tx:
        _, session = flying(tx)
        ask(tx, session, expires_us=tx.now_us())
        assert approvals.waiting(tx) == []
        with pytest.raises(Refused, match="nobody answered in time"):
            approvals.decide(tx, "a1", True, "console:h:ada", "")
        assert approvals.expire(tx, session.id) == 1
        (answer,) = approvals.take_decided(tx, session.id)
        assert not answer.allowed and answer.reason == "nobody answered in time"


def test_a_question_whose_asker_is_gone_cannot_be_answered(store: Store) -> None:
    with store.transaction() as tx:
        _, session = flying(tx)
        ask(tx, session)
        assert approvals.withdraw(tx, session=session.id, why="the process is gone") == 1
        with pytest.raises(Refused, match="it was withdrawn"):
            approvals.decide(tx, "a1", True, "console:h:ada", "")
        assert approvals.take_decided(tx, session.id) == []


def test_a_hold_is_released_by_a_person_and_acted_on_once(store: Store) -> None:
    with store.transaction() as tx:
        task, session = flying(tx)
        hold = approvals.open_hold(tx, session=session, commit="c1", tree="t1", reason="touches tests")
        assert (hold.kind, hold.commit, hold.tree) == ("hold", "c1", "t1")
        assert approvals.hold_decision(tx, task.id) is None
        approvals.decide(tx, hold.id, False, "console:h:ada", "not today")
        decision = approvals.hold_decision(tx, task.id)
        assert decision is not None and (decision.commit, decision.allowed) == ("c1", False)
        assert approvals.take_decided(tx, session.id) == [], "a hold is no answer for an agent"
        approvals.settle(tx, decision.id)
        assert approvals.hold_decision(tx, task.id) is None
        with pytest.raises(ValueError, match="already"):
            approvals.settle(tx, decision.id)


def test_a_person_finds_a_question(store: Store) -> None:
    with store.transaction() as tx:
        _, session = flying(tx)
        for _ in range(11):
            ask(tx, session)
        assert [approvals.find(tx, typed).id for typed in ("a1", "1", "A11")] == ["a1", "a1", "a11"]
        with pytest.raises(Misused, match="Waiting now: a1, a2"):
            approvals.find(tx, "a99")


def test_a_gate_is_in_the_ledger_before_it_runs_and_after(store: Store) -> None:
    with store.transaction() as tx:
        run = opened(tx, candidate(tx))
        gates.close_run(tx, run, result(run))
        before, after = ledger.read(tx)[-2:]
        kept = gates.run(tx, run)
    assert run == "t1.1.1-tests"
    assert isinstance(before.event, GateOpened) and before.event.argv == ("pytest", "-q")
    assert (before.refs.gate_run, before.refs.turn, before.source) == (run, "t1.1.1", Source.CONTROLLER)
    assert isinstance(after.event, GateClosed) and after.event.exit == Exited(1)
    assert after.source is Source.SUPERVISOR and after.event.junit is not None and after.event.junit.failures == 1
    assert kept.result == result(run)
    assert kept.pipe == f"{store.instance}-{run}"
    assert b"secret" not in before.canonical + after.canonical


def test_a_gate_that_nobody_saw_has_no_evidence(store: Store) -> None:
    with store.transaction() as tx:
        run = opened(tx, candidate(tx))
        gates.close_run(tx, run, result(run, None))
        assert gates.run(tx, run).result == result(run, None)
        event = ledger.read(tx)[-1]
    assert isinstance(event.event, GateClosed) and event.event.exit is None and event.source is Source.CONTROLLER


def test_a_run_is_closed_once(store: Store) -> None:
    with store.transaction() as tx:
        run = opened(tx, candidate(tx))
        gates.close_run(tx, run, result(run))
        with pytest.raises(ValueError, match="already closed"):
            gates.close_run(tx, run, result(run, None))


def test_every_run_has_an_id_of_its_own(store: Store) -> None:
    with store.transaction() as tx:
        of = candidate(tx)
        runs = [opened(tx, of, gate) for gate in ("tests", "tests-2", "tests", "tests")]
        assert runs == ["t1.1.1-tests", "t1.1.1-tests-2", "t1.1.1-tests-3", "t1.1.1-tests-4"]
        assert {run.id for run in gates.runs(tx, "commit", 1)} == set(runs)
        assert gates.runs(tx, "commit", 2) == []


def test_an_attempt_to_land_is_finished_one_way(store: Store) -> None:
    with store.transaction() as tx:
        lease = leases.acquire(tx, "landing:shop", "me", 1_000_000)
        assert lease is not None
        intent = landings.intend(tx, lease.fence, repo="shop", ref="main", old="a", new="b", tree="t", task="t1")
        assert landings.of_task(tx, "t1") == [intent]
        assert intent.token == lease.token
        landings.finish(tx, intent.id, IntentOutcome.DONE)
        landings.finish(tx, intent.id, IntentOutcome.DONE)
        assert [each.outcome for each in landings.of_task(tx, "t1")] == [IntentOutcome.DONE]
        with pytest.raises(ValueError, match="cannot become missed"):
            landings.finish(tx, intent.id, IntentOutcome.MISSED)

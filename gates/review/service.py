"""A gate of kind ``review``: asks a model of another family about a change. It can object, and never approves.

Every question is in the ledger before it is sent, and its end after it. A review that a crash interrupted is closed
as lost and asked again: only an answer whose record was committed counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fleet import files, shared_files
from fleet.config import FleetConfig, ReviewerConfig, Secrets
from fleet.errors import DiskFull, RepositoryUnusable, Unavailable
from fleet.events import AgentReady, Event, Refs, ReviewAnswered, ReviewAsked, ReviewFinding, Source
from fleet.failpoints import failpoint
from fleet.git.repository import Repository
from fleet.leaks import Leak
from fleet.model import AIRBOSS
from fleet.ports import Candidate
from fleet.store import gates as gate_runs
from fleet.store import ledger, sessions
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind
from fleet.supervise import alongside, retry_while_store_is_away
from fleet.untrusted import clean, shortened
from fleet.verdict import GateResult, Outcome
from gates.review.agent import AgentReviewers
from gates.review.asking import Ask, PreparedReview, Review, ask, prepare
from gates.review.commit_text import commit_text
from gates.review.exchange import PASSING, NoReview, Remark, RemarkSeverity, WhyNone
from gates.review.independence import author_family, choose
from gates.review.reach import WORDS, reached
from gates.review.shown import ShownFile, read_patch
from gates.runs.definitions import Definition
from gates.witness.opening import Openings

CONTEXT: Final = 10
"""Unchanged lines shown around each change."""
_ANSWER_LIMIT: Final = 16_000
_TAIL_LIMIT: Final = 2_000
_LOOK_S: Final = 0.5
_FINAL: Final = (Outcome.PASSED, Outcome.FAILED, Outcome.ABORTED)


@dataclass(frozen=True, slots=True)
class _Asking:
    """A review that can be asked for: by whom it is done, and about what."""

    name: str
    reviewer: ReviewerConfig
    author: str
    prepared: PreparedReview
    through: Ask | None = None


@dataclass(frozen=True, slots=True)
class Reviews:
    """Asks reviewers. ``given_up``: why a judgement does not count any more. ``pause``: seconds between tries."""

    store: Store
    config: Callable[[], FleetConfig]
    secrets: Secrets
    home: Path
    given_up: Callable[[Candidate], str]
    openings: Openings
    agents: AgentReviewers | None = None
    pause: float = 5.0

    def preflight(self, definition: Definition) -> None:
        """Raises ``RepositoryUnusable`` when this gate could never pass, since no such reviewer is configured."""
        try:
            choose(self.config().reviewers, definition.reviewer, "")
        except NoReview as error:
            raise RepositoryUnusable(
                attempted="find a reviewer for the gate",
                on=definition.name,
                cause=error.cause,
                hint="Add one to fleet.toml and try it: airboss review try",
            ) from None

    async def run(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        results: Sequence[GateResult],
        leaks: Sequence[Leak] = (),
    ) -> GateResult:
        """The gate's result. ``results`` are those of the other gates; lines with ``leaks`` are not sent.

        What was committed is not asked again.
        """
        earlier = await self.store.read(lambda tx: gate_runs.runs(tx, candidate.commit, candidate.round))
        for run in earlier:
            if (run.task, run.gate, run.definition_sha256) != (
                candidate.task.id,
                definition.name,
                definition.sha256,
            ):
                continue
            if run.result is None:
                interrupted = _result(run.id, definition, Outcome.LOST, "interrupted before it was recorded")
                await self._close(candidate, interrupted, ())
            elif run.result.outcome in (Outcome.PASSED, Outcome.FAILED):
                return run.result
        attempts = self.config().limits.attempts
        for attempt in range(1, attempts + 1):
            result, again = await self._attempt(candidate, definition, repository, results, leaks)
            if not again or attempt == attempts or self.given_up(candidate):
                return result
            await asyncio.sleep(self.pause)
        raise AssertionError("unreachable: there is at least one attempt")

    # --- one review -----------------------------------------------------------------------------------

    async def _attempt(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        results: Sequence[GateResult],
        leaks: Sequence[Leak],
    ) -> tuple[GateResult, bool]:
        """One review, and whether asking again may help."""
        try:
            asking = await self._prepare(candidate, definition, repository, results, leaks)
        except NoReview as error:
            run_id = await self._open(candidate, definition, None)
            none = _result(run_id, definition, Outcome.UNAVAILABLE, f"no review: {_why(error)}")
            return await self._close(candidate, none, ()), False
        run_id = await self._open(candidate, definition, asking)
        try:
            await self.openings.opened(run_id)
        except Unavailable as error:
            unseen = _result(run_id, definition, Outcome.UNAVAILABLE, str(error))
            await self._close(candidate, unseen, ())
            if isinstance(error, DiskFull):
                raise
            return unseen, False
        failpoint("review-asked")
        review = await self._ask(candidate, definition, asking)
        if review is None:
            stopped = _result(run_id, definition, Outcome.ABORTED, f"aborted: {self.given_up(candidate)}")
            return await self._close(candidate, stopped, ()), False
        kept = await asyncio.to_thread(self._keep, run_id, asking, review)
        name, owner = shared_files.review(run_id), candidate.task.id
        await shared_files.keep(self.store, kept, BlobKind.REVIEW, name=name, owner=owner)
        failpoint("review-answered")
        result = _judged(run_id, definition, review)
        if asking.name in await asyncio.to_thread(reached, self.home):
            result = replace(result, notes=(*result.notes, f"the reviewer {asking.name}: {WORDS}"))
        await self._close(candidate, result, (_answered(definition, asking, review),))
        return result, review.none is not None and review.none.why in PASSING

    async def _prepare(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        results: Sequence[GateResult],
        leaks: Sequence[Leak],
    ) -> _Asking:
        config, redact = self.config(), self.store.redact
        found, observed = await self.store.read(lambda tx: _authors(tx, candidate.task.id))
        author = author_family([(name, config.agents.get(name)) for name in found], observed)
        name = choose(config.reviewers, definition.reviewer, author)
        reviewer = config.reviewers[name]
        if reviewer.key and not self.secrets.get(reviewer.key):
            raise NoReview(WhyNone.NOT_CONFIGURED, f".env has no {reviewer.key}")
        base, commit = candidate.base, candidate.commit
        shown = await changed_files(repository, base, commit, reviewer, redact=redact, leaks=leaks)
        task = redact(candidate.task.prompt) if redact else candidate.task.prompt
        commits = await commit_text(repository, base, commit, limit=reviewer.diff_bytes, redact=redact)
        about = (clean(task, len(task)), _results(results))
        prepared = await asyncio.to_thread(prepare, reviewer, shown, *about, commits=commits)
        through = self.agents.through(reviewer, (repository, commit)) if self.agents else None
        return _Asking(name, reviewer, author, prepared, through)

    async def _ask(self, candidate: Candidate, definition: Definition, asking: _Asking) -> Review | None:
        """The review; ``None`` when the task was stopped meanwhile."""
        key = self.secrets.get(asking.reviewer.key) if asking.reviewer.key else ""
        question = ask(
            asking.reviewer,
            key,
            asking.prepared,
            author=asking.author,
            allow_asserted=definition.allow_asserted,
            redact=self.store.redact,
            through=asking.through,
        )
        async with alongside(question, f"review {candidate.task.id}") as answer:
            while not answer.done():
                if self.given_up(candidate):
                    return None
                await asyncio.wait({answer}, timeout=_LOOK_S)
            return await answer

    async def _open(self, candidate: Candidate, definition: Definition, asking: _Asking | None) -> str:
        def work(tx: Tx) -> str:
            run_id = gate_runs.open_run(
                tx,
                candidate,
                gate=definition.name,
                argv=(),
                definition_sha256=definition.sha256,
                machine="",
                nonce="",
            )
            if asking is not None:
                event = ReviewAsked(
                    gate=definition.name,
                    reviewer=asking.name,
                    model=asking.reviewer.model,
                    author_family=asking.author,
                    request_sha256=asking.prepared.sha256,
                    request_bytes=len(asking.prepared.body),
                )
                _append(tx, candidate, run_id, event)
            return run_id

        return await self.store.write(work)

    async def _close(self, candidate: Candidate, result: GateResult, events: Sequence[Event]) -> GateResult:
        def work(tx: Tx) -> None:
            if gate_runs.run(tx, result.run).closed_us:
                return  # by this, and the answer to its commit was lost
            for event in events:
                _append(tx, candidate, result.run, event)
            gate_runs.close_run(tx, result.run, result)

        # The answer is only here: asked again, it would cost again.
        await retry_while_store_is_away(lambda: self.store.write(work), self.openings.clock)
        await self.openings.closed(result.run, candidate.task.id)
        return result

    def _keep(self, run_id: str, asking: _Asking, review: Review) -> Path:
        """Keeps the whole exchange beside the other gates' output, in this file. Raises ``DiskFull``."""
        path = self.home / "gates" / f"{run_id}.review.json"
        kept = {
            "request": asking.prepared.body.decode("utf-8", "replace"),
            "answer": review.reply.text if review.reply else None,
        }
        with files.writing("keep the review", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, json.dumps(kept, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
        return path


async def changed_files(
    repository: Repository,
    base: str,
    commit: str,
    reviewer: ReviewerConfig,
    *,
    redact: Callable[[str], str] | None,
    leaks: Sequence[Leak] = (),
) -> list[ShownFile]:
    """The change as this reviewer may read it, without secrets. Raises ``NoReview`` where it cannot be shown
    whole."""
    patch = await repository.additions(base, commit, 4 * reviewer.diff_bytes, context=CONTEXT)
    if patch.cut:
        cause = f"the change is larger than what this reviewer reads ({reviewer.diff_bytes} bytes)"
        raise NoReview(WhyNone.TOO_LARGE, cause, "Split the change, or raise `diff_bytes`.")
    hidden = frozenset((leak.path, leak.line) for leak in leaks)
    return await asyncio.to_thread(read_patch, patch.out, redact, hidden)


def _authors(tx: Tx, task: str) -> tuple[list[str], list[str]]:
    """The agents of a task's sessions, and every model that they said they are."""
    agents = dict.fromkeys(session.agent for session in sessions.of_task(tx, task))
    ready = ledger.read(tx, kinds=(AgentReady.KIND,), task=task)
    models = [item.event.model for item in ready if isinstance(item.event, AgentReady) and item.event.model]
    return list(agents), list(dict.fromkeys(models))


def _append(tx: Tx, candidate: Candidate, run_id: str, event: Event) -> None:
    refs = Refs(task=candidate.task.id, session=candidate.session.id, turn=candidate.turn.id, gate_run=run_id)
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)


def _results(results: Sequence[GateResult]) -> str:
    rows = [f"{each.gate}: {each.outcome}, {each.reason}\n{shortened(each.tail, _TAIL_LIMIT)}" for each in results]
    return "\n\n".join(rows) or "(none)"


def _judged(run_id: str, definition: Definition, review: Review) -> GateResult:
    if review.none is not None:
        return _result(run_id, definition, Outcome.UNAVAILABLE, f"no review: {_why(review.none)}")
    blocking = [each for each in review.findings if each.severity is RemarkSeverity.BLOCKING]
    minor = [each for each in review.findings if each.severity is RemarkSeverity.MINOR]
    remarks = f", {_count(minor, 'remark')}" if minor else ""
    tail = "\n".join(f"{each.severity}: {each}" for each in (*blocking, *minor))
    if blocking:
        reason = f"{_count(blocking, 'objection')} from {review.answered}{remarks}"
        return _result(run_id, definition, Outcome.FAILED, reason, tail)
    return _result(run_id, definition, Outcome.PASSED, f"no objection from {review.answered}{remarks}", tail)


def _result(run_id: str, definition: Definition, outcome: Outcome, reason: str, tail: str = "") -> GateResult:
    return GateResult(run_id, definition.name, (), outcome, clean(reason), None, None, clean(tail))


def _why(error: NoReview) -> str:
    return f"{error.cause}. {error.hint}" if error.hint else error.cause


def _count(findings: Sequence[Remark], noun: str) -> str:
    return f"{len(findings)} {noun}{'' if len(findings) == 1 else 's'}"


def _answered(definition: Definition, asking: _Asking, review: Review) -> ReviewAnswered:
    reply, answered, none = review.reply, review.answered, review.none
    text = reply.text if reply else ""
    return ReviewAnswered(
        gate=definition.name,
        reviewer=asking.name,
        model=reply.model if reply else "",
        families=answered.families if answered else (),
        identity=str(answered.identity) if answered else "",
        digest=answered.digest if answered else "",
        none=str(none.why) if none else "",
        reason=none.cause if none else "",
        planted=str(review.planted),
        caught=review.caught,
        findings=tuple(
            ReviewFinding(each.file, each.line, str(each.severity), each.reason) for each in review.findings
        ),
        answer=clean(shortened(text, _ANSWER_LIMIT), 2 * _ANSWER_LIMIT),
        answer_sha256=hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest() if reply else "",
        duration_us=reply.duration_us if reply else 0,
    )

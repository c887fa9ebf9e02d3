"""Several changes that wait to land: judged side by side on top of each other, and only what was judged lands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.model import ForeignPush, Task, TaskState
from fleet.ports import Candidate
from fleet.store import base_tips, tasks
from fleet.store.base_tips import BaseTip
from fleet.store.landing_line import LandingPlace
from fleet.verdict import Verdict
from tests.far_end.repositories import advance, git, make_bare
from tests.flying import PERSON, passed, world
from tests.landing_queue import LandingHouse


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[LandingHouse]:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    there = world(tmp_path, str(bare))
    with there.store:
        made = LandingHouse(there, bare)
        yield made
        await made.flying.end()


def _merged(count: int) -> Callable[[list[LandingPlace]], bool]:
    return lambda line: sum(bool(place.commit) for place in line) >= count


def _has_a_base(task: Task) -> Callable[[list[LandingPlace]], bool]:
    return lambda line: any(place.task == task.id and place.base for place in line)


async def _three(queue: LandingHouse) -> tuple[Task, Task, Task]:
    """Three, of which the first is judged on a branch that somebody moved, and the others on top of it."""
    queued = [await queue.add(name) for name in ("one", "two", "three")]
    advance(queue.bare, {"theirs.txt": "theirs\n"})
    for number, task in enumerate(queued, 1):
        queue.fly(task)
        await queue.until(_merged(number))
    return queued[0], queued[1], queued[2]


async def test_all_are_judged_side_by_side_and_land_as_they_were_judged(queue: LandingHouse) -> None:
    one, two, three = await _three(queue)
    line = await queue.until(lambda line: len(line) == len(queue.gates.asked) == 3)
    assert [place.behind for place in line] == [(), (one.id,), (one.id, two.id)]
    assert "lands after t1, t2" in (await queue.there.now(three)).why
    await queue.gates.let_go(three.id, two.id)
    await queue.until(lambda line: [place.state for place in line[1:]] == ["passed", "passed"])
    assert queue.landed() == ["theirs"], "what is before them has not landed"
    await queue.gates.let_go(one.id)
    await queue.over()
    assert queue.landed() == ["theirs", "one", "two", "three"]
    tips = git(queue.bare, "log", "--first-parent", "--format=%H", "-3", "main").split()
    assert tips == [candidate.commit for candidate in reversed(queue.gates.asked)], "each was judged once"
    assert [event for kind, event in await queue.there.told() if kind == "landing.queued"][1]["place"] == 3


async def test_one_in_the_middle_that_does_not_pass_is_left_out_and_the_others_land(queue: LandingHouse) -> None:
    one, two, three = await _three(queue)
    queue.gates.bad = lambda candidate: candidate.task.id == two.id
    await queue.until(lambda line: len(queue.gates.asked) == 3)
    await queue.gates.let_go(two.id)
    line = await queue.until(lambda line: line[-1].behind == (one.id,))
    assert [place.state for place in line] == ["merged", "not-passed", "merged"]
    assert queue.there.judge.withdrawn == [queue.gates.asked[2]], "its first merge is of no use"
    assert (await queue.there.now(three)).why == "lands after t1; judged again without t2: red"
    await queue.gates.let_go(one.id, three.id)
    await queue.over()
    assert queue.landed() == ["theirs", "one", "three"]
    assert (await queue.there.now(two)).state is TaskState.UNAVAILABLE
    assert [each.task.id for each in queue.gates.asked].count(three.id) == 2, "and judged no third time"


async def test_one_that_fails_only_with_one_that_does_not_land_lands_without_it(queue: LandingHouse) -> None:
    one, two, three = await _three(queue)
    queue.gates.bad = lambda candidate: (
        candidate.task.id == one.id or "one.txt" in git(queue.there.repository.mirror, "ls-tree", candidate.commit)
    )
    await queue.gates.let_go(one.id, two.id, three.id)
    await queue.over()
    assert queue.landed() == ["theirs", "two", "three"]
    assert (await queue.there.now(one)).state is TaskState.UNAVAILABLE


async def test_one_that_conflicts_with_what_is_before_it_keeps_its_place_until_that_lands(
    queue: LandingHouse,
) -> None:
    first, second = await queue.add("mine", "both"), await queue.add("yours", "both")
    third = await queue.add("third")
    advance(queue.bare, {"theirs.txt": "theirs\n"})
    for task in (first, second, third):
        queue.fly(task)
        await queue.until(_has_a_base(task))
    line = await queue.until(lambda line: len(line) == 3)
    assert [(place.state, place.behind) for place in line[1:]] == [
        ("conflict", (first.id,)),
        ("merged", (first.id,)),
    ]
    assert (await queue.there.now(second)).why == "lands after t1; with them it conflicts in both.txt"
    queue.gates.bad = lambda candidate: candidate.task.id == first.id
    await queue.gates.let_go(first.id, second.id, third.id)
    await queue.over()
    assert queue.landed() == ["theirs", "both", "third"]
    assert git(queue.bare, "show", "main:both.txt") == "yours"


async def test_a_push_of_somebody_else_in_the_middle_has_all_of_them_judged_again_on_it(
    queue: LandingHouse,
) -> None:
    one, two, three = await _three(queue)
    await queue.gates.let_go(two.id, three.id)
    await queue.until(lambda line: [place.state for place in line[1:]] == ["passed", "passed"])
    before = git(queue.bare, "rev-parse", "main")
    theirs = advance(queue.bare, {"late.txt": "late\n"})
    await queue.gates.let_go(one.id)
    await queue.over()
    assert queue.landed() == ["theirs", "late", "one", "two", "three"]
    tips = git(queue.bare, "log", "--first-parent", "--format=%H", f"{theirs}..main").split()
    assert set(tips) <= {candidate.commit for candidate in queue.gates.asked}, "and only what was judged landed"
    moves = [body for kind, body in await queue.there.told() if kind == "base.moved"]
    assert [(body["old"], body["new"], body["commits"], body["rewritten"]) for body in moves] == [
        (before, theirs, 1, False)
    ], "told once, and no landing of ours is told"


@pytest.mark.parametrize("rewritten", [False, True])
async def test_where_a_push_of_somebody_else_stops_landings_nothing_lands_until_a_person_says_so(
    queue: LandingHouse, rewritten: bool
) -> None:
    there = queue.there
    shop = there.config.repos["shop"].model_copy(update={"foreign_push": ForeignPush.STOP})
    there.config = there.config.model_copy(update={"repos": {"shop": shop}})
    one = await queue.add("one")
    await there.store.write(lambda tx: base_tips.seen(tx, BaseTip("shop", "refs/heads/main", queue.base)))
    theirs = advance(queue.bare, {"theirs.txt": "theirs\n"})
    if rewritten:
        await there.store.write(lambda tx: base_tips.seen(tx, BaseTip("shop", "refs/heads/main", theirs)))
        await there.repository.fetch()
        git(queue.bare, "update-ref", "refs/heads/main", queue.base)
    tip = git(queue.bare, "rev-parse", "main")
    await queue.gates.let_go(one.id)
    flight = queue.fly(one)
    while "/resume shop" not in (await there.now(one)).why:
        await asyncio.sleep(0.005)
    assert git(queue.bare, "rev-parse", "main") == tip and queue.gates.asked == []
    assert ("rewritten" if rewritten else "moved") in (await there.store.read(base_tips.stopped))["shop"]
    assert await there.store.write(lambda tx: base_tips.resume(tx, "shop", PERSON))
    flight[0].wake()
    await queue.over()
    assert (await there.now(one)).state is TaskState.LANDED
    kinds = await there.kinds()
    assert (kinds.count("base.moved"), kinds.count("landings.resumed")) == (1, 1), "asked once"


async def test_one_that_is_stopped_leaves_the_queue(queue: LandingHouse) -> None:
    one, two, three = await _three(queue)
    await queue.there.store.write(lambda tx: tasks.request_stop(tx, two.id, PERSON))
    await queue.gates.let_go(two.id)
    line = await queue.until(lambda line: line[-1].behind == (one.id,))
    assert line[-1].without == (f"{two.id}: it left the queue",)
    await queue.gates.let_go(one.id, three.id)
    await queue.over()
    assert queue.landed() == ["theirs", "one", "three"]


async def test_a_new_controller_finds_the_queue_in_its_order(queue: LandingHouse) -> None:
    queued = await _three(queue)
    before = await queue.until(lambda line: len(queue.gates.asked) == 3)
    await queue.flying.end()
    queue.fly(*reversed(queued))
    await queue.until(lambda line: len(queue.gates.asked) == 6)
    assert await queue.until(lambda line: True) == before
    assert {each.commit for each in queue.gates.asked[3:]} == {each.commit for each in queue.gates.asked[:3]}
    await queue.gates.let_go(*(task.id for task in queued))
    await queue.over()
    assert queue.landed() == ["theirs", "one", "two", "three"]


async def test_a_verdict_on_something_else_lands_nothing(queue: LandingHouse) -> None:
    others: tuple[Callable[[Verdict], Verdict], ...] = (
        lambda verdict: replace(verdict, commit="f" * 40),
        lambda verdict: replace(verdict, tree="f" * 40),
        lambda verdict: replace(verdict, base="f" * 40),
    )
    for number, other in enumerate(others):
        task = await queue.add(f"wrong-{number}")
        advance(queue.bare, {f"{task.id}.txt": "theirs\n"})
        tip = git(queue.bare, "rev-parse", "main")

        async def judge(candidate: Candidate, other: Callable[[Verdict], Verdict] = other) -> Verdict:
            return other(passed(candidate))

        queue.there.judge.judging = judge
        queue.fly(task)
        await queue.over()
        assert (await queue.there.now(task)).state is TaskState.LOST
        assert git(queue.bare, "rev-parse", "main") == tip


async def test_what_the_ledger_has_no_passing_verdict_on_is_refused_in_the_last_moment(queue: LandingHouse) -> None:
    queue.there.judge.records = False
    task = await queue.add("unseen")
    advance(queue.bare, {"theirs.txt": "theirs\n"})
    queue.fly(task)
    await queue.gates.let_go(task.id)
    await queue.over()
    assert (await queue.there.now(task)).state is TaskState.REFUSED
    assert "no verdict in the ledger" in (await queue.there.now(task)).why
    assert queue.landed() == ["theirs"]
    assert "landing.intended" not in await queue.there.kinds()


async def test_what_passed_by_gates_that_changed_meanwhile_is_judged_again(queue: LandingHouse) -> None:
    one, two, _ = await _three(queue)
    await queue.gates.let_go(two.id)
    await queue.until(lambda line: line[1].state == "passed")
    queue.there.judge.standing = lambda candidate: candidate.task.id != two.id
    queue.gates.bad = lambda candidate: candidate.task.id == two.id
    await queue.gates.let_go(one.id)
    await queue.until(lambda line: two.id not in [place.task for place in line])
    assert queue.landed() == ["theirs", "one"]

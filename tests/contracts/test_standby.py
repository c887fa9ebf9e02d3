"""A controller that stands by, on both databases: when it takes over, when it must not, and what is seen of it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.cards import shown
from bot.controller_view import Elsewhere, plain, status_lines
from bot.leading import TTL_US, LeaderSilence, StandBy
from bot.same_env import RunsHere, hashed
from fleet.config import Secrets
from fleet.errors import LeadershipLost
from fleet.faults import Fault, Point, injected
from fleet.store import controllers, leases
from fleet.store.controllers import Condition, Contender, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole

A = Contender("a:/home:1:x", "a", "/home", "1")
B = Contender("b:/home:1:y", "b", "/home", "1")


def leads(store: Store, who: Contender, has: str | RunsOn) -> Lease:
    with store.transaction() as tx:
        controllers.note(tx, who, ControllerRole.LEADS, RunsOn(has) if isinstance(has, str) else has)
        return leases.seize(tx, leases.LEADERSHIP, who.instance, TTL_US)


def dies(store: Store, lease: Lease) -> None:
    """The leader's lease runs out, as after its death or in its sleep: its row stays."""
    with store.transaction() as tx:
        leases.renew(tx, lease, 0)


def conditions(store: Store) -> dict[str, Condition]:
    with store.transaction() as tx:
        return {each.controller.host: each.condition for each in controllers.seen(tx)}


@dataclass
class Looks:
    """Counts the looks of one that stands by. At the third, what is seen is ``seen``, and the leader dies."""

    store: Store
    lease: Lease
    seen: dict[str, Condition]
    count: int = 0

    def one(self) -> int:
        self.count += 1
        if self.count == 3:
            assert conditions(self.store) == self.seen
            dies(self.store, self.lease)
        return self.count


async def test_it_waits_while_another_leads_and_takes_over_from_a_dead_one(store: Store) -> None:
    lease, told = leads(store, A, "same"), list[str]()
    looks = Looks(store, lease, {"a": Condition.LEADS, "b": Condition.STANDS_BY})
    got = await StandBy(told.append, beat=0.0).lead(store, B, lambda: RunsOn("same" if looks.one() else ""))
    assert (looks.count, got.holder) == (3, B.instance)
    assert told == ["airboss stands by: a leads"]
    assert conditions(store) == {"b": Condition.LEADS}, "the row of the one that led is gone"
    with pytest.raises(LeadershipLost):
        await store.under(lease.fence).write(Tx.now_us)


async def test_one_with_another_fleet_toml_does_not_take_over_and_says_so(store: Store) -> None:
    looks, told = (
        Looks(store, leads(store, A, "theirs"), {"a": Condition.LEADS, "b": Condition.DIFFERS}),
        list[str](),
    )

    def runs_on() -> RunsOn:
        if looks.one() < 6:
            return RunsOn("ours")
        with store.transaction() as tx:
            assert leases.look(tx, leases.LEADERSHIP) is None, "it was free for three looks, and nobody took it"
        return RunsOn("theirs")

    await StandBy(told.append, beat=0.0).lead(store, B, runs_on)
    assert looks.count == 6
    assert len(told) == 1
    assert "does NOT take over from a: fleet.toml differs" in told[0]


async def test_a_leader_that_ended_in_order_is_remembered_by_its_fleet_toml(store: Store) -> None:
    lease, looks = leads(store, A, "theirs"), 0

    def runs_on() -> RunsOn:
        nonlocal looks
        looks += 1
        if looks == 2:
            with store.transaction() as tx:
                leases.release(tx, lease)
                controllers.forget(tx, A)
        return RunsOn("ours" if looks < 4 else "theirs")

    await StandBy(lambda _: None, beat=0.0).lead(store, B, runs_on)
    assert looks == 4


async def test_where_nobody_leads_it_leads_at_once_whatever_led_before(store: Store) -> None:
    dies(store, leads(store, A, "theirs"))
    told, digests = list[str](), [RunsOn("ours")]
    await StandBy(told.append, beat=0.0).lead(store, B, digests.pop)
    assert not told


async def test_it_takes_the_place_of_its_own_dead_predecessor_at_once(store: Store) -> None:
    leads(store, A, "same")
    again = replace(A, instance="a:/home:2:z")
    digests = [RunsOn("same")]
    lease = await StandBy(lambda _: None, beat=0.0).lead(store, again, digests.pop)
    assert lease.holder == again.instance
    with store.transaction() as tx:
        assert [each.controller.instance for each in controllers.seen(tx)] == [again.instance]


async def test_a_controller_that_died_waiting_is_forgotten_once_another_stands_there(store: Store) -> None:
    again = replace(B, instance="b:/home:2:z")
    with store.transaction() as tx:
        controllers.note(tx, B, ControllerRole.STANDS_BY, RunsOn("same"))
        controllers.note(tx, again, ControllerRole.STANDS_BY, RunsOn("same"))
        assert [each.controller.instance for each in controllers.seen(tx)] == [again.instance]


async def test_who_waits_for_the_lead_leaves_what_is_not_well_as_it_was_said(store: Store) -> None:
    trouble = {"component weather": "weather failed once"}
    with store.transaction() as tx:
        controllers.note(tx, A, ControllerRole.SHARES, RunsOn("same"), trouble)
        controllers.note(tx, A, ControllerRole.SHARES, RunsOn("same"))
        assert [each.troubles for each in controllers.seen(tx)] == [trouble]
        controllers.note(tx, A, ControllerRole.SHARES, RunsOn("same"), {})
        assert [each.troubles for each in controllers.seen(tx)] == [{}]


@pytest.mark.parametrize("outage", ["fails", "hangs"])
@pytest.mark.parametrize("lives", [True, False])
async def test_after_an_outage_the_leader_has_time_to_show_that_it_lives(
    store: Store, outage: str, lives: bool
) -> None:
    lease, stack = leads(store, A, "same"), ExitStack()
    seconds, looks = [0.0], list[str]()

    def runs_on() -> RunsOn:
        """Begins a look: at the first, the lease has run out and the store is away."""
        if not looks:
            dies(store, lease)
        with store.transaction() as tx:
            if lives and len(looks) == 3:
                leases.renew(tx, lease, TTL_US)
            held = leases.look(tx, leases.LEADERSHIP)
        looks.append(held.holder if held else "nobody")
        seconds[0] += 1.5
        if len(looks) == 1 and outage == "fails":
            stack.enter_context(injected(Fault(Point.STORE_COMMIT)))
        if lives and len(looks) == 6:
            raise InterruptedError
        return RunsOn("same")

    def now() -> float:
        if len(looks) == 1 and outage == "hangs":
            seconds[0] += 30.0
        return seconds[0]

    leading = StandBy(lambda _: None, beat=0.0, silence=LeaderSilence(6.0, now)).lead(store, B, runs_on)
    with stack:
        if lives:
            with pytest.raises(InterruptedError):
                await leading
            assert looks == ["nobody"] * 3 + [A.instance] * 3
        else:
            assert (await leading).holder == B.instance
            assert 3 < len(looks) < 9, "it took over once the time of the leader was over"


async def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    told = list[str]()
    with injected(Fault(Point.STORE_COMMIT, times=2)) as fault:
        lease = await StandBy(told.append, beat=0.0).lead(store, B, lambda: RunsOn("same"))
    assert fault.visits == 3
    assert lease.holder == B.instance
    assert [text.partition(":")[0] for text in told] == ["airboss stands by. The store does not answer"]


async def test_what_a_phone_shows_of_them(store: Store) -> None:
    def lines() -> list[str]:
        with store.transaction() as tx:
            return [shown(row) for row in status_lines(controllers.seen(tx))]

    lease = leads(store, A, "same")
    assert lines() == [], "one controller alone needs no line"
    with store.transaction() as tx:
        controllers.note(tx, B, ControllerRole.STANDS_BY, RunsOn("same"))
    (row,) = lines()
    assert row.startswith("🗼 a leads since ")
    assert row.endswith(" UTC · b stands by")
    dies(store, lease)
    assert lines() == ["🗼 a silent · b stands by"]


async def test_one_with_another_env_does_not_take_over_and_names_what_differs(store: Store, tmp_path: Path) -> None:
    homes = []
    for name, text in (("a", "TOKEN=one\nAIRBOSS_STORE=here\n"), ("b", "TOKEN=two\nKEY=x\nAIRBOSS_STORE=there\n")):
        homes.append(home := tmp_path / name)
        (home / "keys").mkdir(parents=True)
        (home / "keys" / "fingerprint.key").write_bytes(b"k" * 32)
        (home / "fleet.toml").write_text("the same")
        (home / ".env").write_text(text)
    has, others = (RunsHere(home) for home in homes)
    lease, told, looks = leads(store, A, has()), list[str](), 0

    def runs_on() -> RunsOn:
        nonlocal looks
        looks += 1
        if looks == 3:
            assert conditions(store) == {"a": Condition.LEADS, "b": Condition.DIFFERS}
            with store.transaction() as tx:
                (_, b) = controllers.seen(tx)
                assert (b.differs, plain(b)["differs"]) == (("KEY in .env", "TOKEN in .env"), list(b.differs))
                (row,) = status_lines(controllers.seen(tx))
                assert shown(row).endswith("b does not take over: KEY in .env, TOKEN in .env differ")
                differs, both = Elsewhere(A), controllers.seen(tx)
            assert [len(differs.troubles(both, seconds * 1_000_000)) for seconds in (7, 66, 67)] == [0, 0, 1]
            assert list(differs.troubles(both, 67_000_000).values()) == [
                "controller b does not take over: KEY in .env, TOKEN in .env differ. "
                "It goes on by itself once both hosts have the same .env"
            ]
            assert differs.troubles(both[:1], 68_000_000) == {} == differs.troubles(both, 69_000_000)
            dies(store, lease)
        if looks == 6:
            (homes[1] / ".env").write_text("TOKEN=one\nKEY=\nAIRBOSS_STORE=there\n")
        return others()

    await StandBy(told.append, beat=0.0).lead(store, B, runs_on)
    assert looks == 6, "it was free for three looks, and nobody took it"
    assert len(told) == 1
    assert "does NOT take over from a: KEY in .env, TOKEN in .env differ" in told[0]


async def test_the_store_gives_away_no_setting(store: Store, tmp_path: Path) -> None:
    env = Secrets({"ONE": "same value", "OTHER": "same value"})
    told = hashed(b"k" * 32, env)
    assert told == hashed(b"k" * 32, env), "two homes of one fleet"
    assert "same value" not in told
    assert len(set(json.loads(told).values())) == 2, "nor that two names have the same"
    assert not set(json.loads(hashed(b"x" * 32, env)).values()) & set(json.loads(told).values())
    assert RunsHere(tmp_path)().env == "", "without the fleet's keys it says nothing"

"""The lease primitive on both databases: one live holder, a token that only grows, effects refused behind it."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import LeadershipLost, LeaseLost
from fleet.store import landings, leases
from fleet.store.chat import settings
from fleet.store.core import Store
from fleet.store.leases import Fence, Lease

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3_600_000_000


def take(store: Store, holder: str, ttl_us: int = HOUR) -> Lease | None:
    with store.transaction() as tx:
        return leases.acquire(tx, "base", holder, ttl_us)


def may_act(store: Store, fence: Fence) -> bool:
    try:
        with store.transaction() as tx:
            leases.check(tx, fence)
    except LeaseLost:
        return False
    return True


def test_one_holds_it_and_the_next_gets_a_higher_token(store: Store) -> None:
    first = take(store, "a")
    assert first is not None and take(store, "b") is None and take(store, "a") is None
    with store.transaction() as tx:
        leases.release(tx, first)
    assert not may_act(store, first.fence)
    second = take(store, "b")
    assert second is not None and second.token > first.token
    assert may_act(store, second.fence) and not may_act(store, first.fence)


def test_a_late_release_takes_nothing_from_the_next_holder(store: Store) -> None:
    first = take(store, "a", 0)
    second = take(store, "b")
    assert first is not None and second is not None
    with store.transaction() as tx:
        leases.release(tx, first)
        assert leases.look(tx, "base") == second
    with pytest.raises(LeaseLost, match="passed to b"), store.transaction() as tx:
        leases.renew(tx, first, HOUR)


def test_a_lease_that_ran_out_but_was_not_taken_can_be_renewed(store: Store) -> None:
    first = take(store, "a", 0)
    assert first is not None
    with store.transaction() as tx:
        renewed = leases.renew(tx, first, HOUR)
    assert renewed.token == first.token and take(store, "b") is None


async def test_a_view_under_a_fence_writes_nothing_once_the_lease_has_passed_on(store: Store) -> None:
    first = take(store, "a", 0)
    assert first is not None
    ours = store.under(first.fence)
    await ours.write(lambda tx: settings.put(tx, "who", "a"))
    second = await store.write(lambda tx: leases.seize(tx, "base", "b", HOUR))
    with pytest.raises(LeaseLost):
        await ours.write(lambda tx: settings.put(tx, "who", "a again"))
    with pytest.raises(LeaseLost), ours.transaction() as tx:
        settings.put(tx, "who", "a again")
    with pytest.raises(LeaseLost, match="base #1"):
        await ours.under(second.fence).write(lambda tx: settings.put(tx, "who", "a again"))
    with pytest.raises(LeaseLost):
        await store.under(second.fence).write(lambda tx: settings.put(tx, "who", "a again"), under=[first.fence])
    assert await ours.read(lambda tx: settings.get(tx, "who")) == "a"


async def test_a_lost_leadership_has_an_error_of_its_own(store: Store) -> None:
    with store.transaction() as tx:
        first = leases.seize(tx, leases.LEADERSHIP, "a", HOUR)
        leases.seize(tx, leases.LEADERSHIP, "b", HOUR)
    with pytest.raises(LeadershipLost, match="passed to b"):
        await store.under(first.fence).write(lambda tx: settings.put(tx, "who", "a"))
    with pytest.raises(LeadershipLost), store.transaction() as tx:
        leases.renew(tx, first, HOUR)


def test_seizing_fences_off_a_holder_that_was_thought_dead(store: Store) -> None:
    first = take(store, "a")
    assert first is not None
    with store.transaction() as tx:
        second = leases.seize(tx, "base", "b", HOUR)
    assert second.token > first.token
    assert may_act(store, second.fence) and not may_act(store, first.fence)


def test_a_stale_effect_is_undone_with_its_transaction(store: Store) -> None:
    first = take(store, "a", 0)
    assert first is not None and take(store, "b") is not None
    with pytest.raises(LeaseLost), store.transaction() as tx:
        settings.put(tx, "branch", "mine")
        leases.check(tx, first.fence)
    with store.transaction() as tx:
        assert settings.get(tx, "branch") == ""


def test_a_landing_is_intended_only_under_its_lease(store: Store) -> None:
    first = take(store, "a", 0)
    assert first is not None and take(store, "b") is not None
    with pytest.raises(LeaseLost), store.transaction() as tx:
        landings.intend(tx, first.fence, repo="r", ref="main", old="a", new="b", tree="t", task="t1")
    with store.transaction() as tx:
        assert landings.of_task(tx, "t1") == []


def test_a_holder_that_was_frozen_past_its_lease_is_refused_when_it_wakes(store: Store, store_url: str) -> None:
    """The pause that a laptop's lid or a busy machine makes; without the token, its write would win."""
    command = [sys.executable, "-m", "tests.contracts.store_processes", "hold", store_url, "50000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as first:
        assert first.stdin is not None and first.stdout is not None
        token = int(first.stdout.readline())
        os.kill(first.pid, signal.SIGSTOP)
        second = None
        while second is None:
            second = take(store, "second")
        assert second.token == token + 1
        with store.transaction() as tx:
            settings.put(tx, "last writer", "second")
        first.stdin.write("go on\n")
        first.stdin.flush()
        os.kill(first.pid, signal.SIGCONT)
        assert first.stdout.readline() == "refused\n"
        assert first.wait(60) == 0
    with store.transaction() as tx:
        assert settings.get(tx, "last writer") == "second"
        leases.check(tx, second.fence)


def test_no_two_hold_it_at_once_however_they_hurry(store: Store) -> None:
    """Threads take, pause past the expiry or not, write and release; every accepted write has the newest token."""
    accepted: list[int] = []
    failed: list[BaseException] = []
    luck = random.Random(4)

    def work(name: str) -> None:
        while len(accepted) < 30 and not failed:
            lease = take(store, name, luck.choice((0, 2_000, HOUR)))
            if lease is None:
                continue
            time.sleep(luck.choice((0, 0.001, 0.004)))
            try:
                with store.transaction() as tx:
                    leases.check(tx, lease.fence)
                    tx.after_commit(functools.partial(accepted.append, lease.token))
                    newest = int(settings.get(tx, "newest", "0"))
                    assert lease.token > newest, f"{lease.token} wrote after {newest}"
                    settings.put(tx, "newest", str(lease.token))
            except LeaseLost:
                continue
            with store.transaction() as tx:
                leases.release(tx, lease)

    def guarded(name: str) -> None:
        try:
            work(name)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(accepted) >= 30 and len(set(accepted)) == len(accepted)


STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "expire", "renew", "release"]), st.sampled_from("abc")), max_size=30
)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('leases') / 's.db'}") as store:
        yield store


_names = iter(range(10**9))


@given(steps=STEPS)
def test_whatever_they_do_at_most_one_may_act_and_tokens_grow(
    one_store: Store, steps: list[tuple[str, str]]
) -> None:
    name, mine, last = f"lease {next(_names)}", dict[str, Lease](), 0
    for step, who in steps:
        with one_store.transaction() as tx:
            if step in ("acquire", "expire"):
                lease = leases.acquire(tx, name, who, 0 if step == "expire" else HOUR)
                if lease is not None:
                    assert lease.token > last
                    last, mine[who] = lease.token, lease
            elif who in mine and step == "renew":
                try:
                    assert leases.renew(tx, mine[who], HOUR).token == last
                except LeaseLost:
                    del mine[who]
            elif who in mine:
                leases.release(tx, mine.pop(who))
        acting = [lease for lease in mine.values() if may_act(one_store, lease.fence)]
        assert len(acting) <= 1
        assert all(lease.token == last for lease in acting)

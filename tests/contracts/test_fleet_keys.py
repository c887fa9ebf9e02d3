"""Who may lead: a home with the fleet's keys; on both databases."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from fleet.errors import Refused
from fleet.store import controllers
from fleet.store.controllers import Contender, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.states import ControllerRole
from fleet.supervise import alongside, end, own
from gates import fleet_keys
from gates.receipts import keys, sshsig
from tests.flying import FastClock


@pytest.fixture
def led(store: Store, tmp_path: Path) -> Path:
    """The home of a controller that led."""
    home = tmp_path / "led"
    with store.transaction() as tx:
        controllers.note(tx, Contender("box:led:1", "box", str(home), "1"), ControllerRole.LEADS, RunsOn("same"))
    return home


def copied(led: Path, name: str = "other") -> Path:
    home = led.parent / name
    shutil.copytree(led / "keys", home / "keys")
    return home


async def test_the_first_that_coordinates_makes_them_and_a_copy_leads_too(store: Store, led: Path) -> None:
    assert not await fleet_keys.check(store, led), "nobody has led"
    assert not (led / "keys").exists(), "one that only takes part makes none"
    await fleet_keys.settle(store, led)
    assert await fleet_keys.check(store, led)
    other = copied(led)
    assert await fleet_keys.check(store, other)
    await fleet_keys.settle(store, other)
    pinned = [(home / "pinned" / sshsig.PINNED).read_text() for home in (led, other)]
    assert pinned[0] == pinned[1], "what the key signs verifies in the other home"


async def test_a_home_without_the_keys_or_with_others_is_refused_in_words(store: Store, led: Path) -> None:
    await fleet_keys.settle(store, led)
    empty, stranger, half = led.parent / "empty", led.parent / "stranger", copied(led, "half")
    (half / "keys" / "fingerprint.key").unlink()
    swapped = copied(led, "swapped")
    (swapped / "keys" / "fingerprint.key").write_bytes(b"x" * 32)
    sshsig.load_or_create(stranger)
    (stranger / "keys" / "fingerprint.key").write_bytes(b"x" * 32)
    for home, why in (
        (empty, "lacks its keys"),
        (half, "lacks its keys"),
        (stranger, f"the fleet signs with .*, and {stranger}/keys has SHA256:"),
        (swapped, "the fingerprints of leaks are made with another key"),
    ):
        for coordinates in (False, True):
            with pytest.raises(Refused, match=why) as refused:
                await (fleet_keys.settle(store, home) if coordinates else fleet_keys.check(store, home))
            assert f"Copy the folder keys/ of box:{led} to {home}" in refused.value.hint
    assert not (empty / "keys").exists(), "no key is made in place of the fleet's"
    assert not (half / "keys" / "fingerprint.key").exists()


async def test_a_rotated_key_is_the_fleets_once_its_coordinator_says_so(store: Store, led: Path) -> None:
    await fleet_keys.settle(store, led)
    other = copied(led)
    keys.rotate(led)
    with pytest.raises(Refused, match=r"keys has SHA256:"):
        await fleet_keys.check(store, led)
    assert await fleet_keys.check(store, other), "not yet"
    await fleet_keys.settle(store, led)
    assert await fleet_keys.check(store, led)
    for refuses in (fleet_keys.check, fleet_keys.settle):
        with pytest.raises(Refused, match="the fleet signs with"):
            await refuses(store, other)


async def test_a_rotated_key_with_another_fingerprint_key_is_not_the_fleets(store: Store, led: Path) -> None:
    await fleet_keys.settle(store, led)
    half = copied(led)
    keys.rotate(half)
    (half / "keys" / "fingerprint.key").write_bytes(b"x" * 32)
    with pytest.raises(Refused, match="the fleet signs with"):
        await fleet_keys.settle(store, half)
    assert await fleet_keys.check(store, led)


async def test_of_two_homes_that_make_keys_at_once_the_first_has_the_fleets(store: Store, led: Path) -> None:
    held, go = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        held.set()
        go.wait(60)

    async with alongside(store.write(hold), "hold the writer"):
        await asyncio.to_thread(held.wait)
        async with alongside(fleet_keys.adopt(store, led.parent / "first"), "adopt") as first:
            await _has_keys(led.parent / "first")
            async with alongside(fleet_keys.settle(store, led), "settle") as second:
                await _has_keys(led)
                go.set()
                await first
                with pytest.raises(Refused, match="the fleet signs with"):
                    await second
    assert await fleet_keys.check(store, led.parent / "first")


async def _has_keys(home: Path) -> None:
    """And so, most likely, waits to write which ones."""
    while not (home / "keys" / "fingerprint.key").exists():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


async def test_one_that_takes_part_waits_for_the_keys_and_ends_when_they_change(store: Store, led: Path) -> None:
    clock = FastClock()
    other = led.parent / "other"
    waiting = own(fleet_keys.wait(store, other, clock), "wait for keys")
    await fleet_keys.settle(store, led)
    with pytest.raises(Refused, match="lacks its keys"):
        await waiting
    shutil.copytree(led / "keys", other / "keys")
    await fleet_keys.wait(store, other, clock)
    watching = own(fleet_keys.watch(store, other, clock, coordinates=False), "watch")
    coordinating = own(fleet_keys.watch(store, led, clock, coordinates=True), "watch, and say so")
    keys.rotate(led)
    with pytest.raises(Refused, match="the fleet signs with"):
        await watching
    assert not coordinating.done()
    await end(coordinating)


async def test_keys_that_are_lost_are_replaced_once_no_controller_runs(store: Store, led: Path) -> None:
    await fleet_keys.settle(store, led)
    left = led.parent / "left"
    with pytest.raises(Refused, match="lacks its keys") as refused:
        await fleet_keys.check(store, left)
    assert "airboss keys adopt" in refused.value.hint
    other = Contender("box:other:1", "box", "/other", "1")
    with store.transaction() as tx:
        controllers.note(tx, other, ControllerRole.SHARES, RunsOn("same"))
    with pytest.raises(Refused, match="the controller box:/other runs"):
        await fleet_keys.adopt(store, left)
    with store.transaction() as tx:
        controllers.forget(tx, other)
    adopted = await fleet_keys.adopt(store, left)
    assert adopted == sshsig.public_of(sshsig.load_or_create(left))
    assert await fleet_keys.check(store, left)
    with pytest.raises(Refused, match="the fleet signs with"):
        await fleet_keys.settle(store, led)

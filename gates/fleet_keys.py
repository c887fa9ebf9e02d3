"""The keys of a fleet: every controller that leads some of its work signs with the same one.

Private keys are in homes only; an operator copies them. The store knows the public key, and a hash by which the key
of leak fingerprints is told. A controller whose home has others, or none, does not lead.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet.errors import Refused
from fleet.ports import Clock
from fleet.store import controllers
from fleet.store.chat import settings
from fleet.store.controllers import Condition
from fleet.store.core import Store, Tx
from gates.leaks.search import fingerprint_key, has_fingerprint_key
from gates.receipts import keys, sshsig
from gates.receipts.sshsig import PublicKey

LOOK_SECONDS: Final = 2.0
_SETTING: Final = "fleet-keys"


@dataclass(frozen=True, slots=True)
class FleetKeys:
    """What the store knows of them. ``fingerprints``: a hash of the other one."""

    signing: PublicKey
    fingerprints: str

    @classmethod
    def parse(cls, text: str) -> FleetKeys | None:
        line, _, fingerprints = text.rpartition(" ")
        return cls(PublicKey.parse(line), fingerprints) if text else None

    def __str__(self) -> str:
        return f"{self.signing.line} {self.fingerprints}"


async def check(store: Store, home: Path) -> bool:
    """Whether this home has the fleet's keys; false while no controller has led. Raises ``Refused`` when it has
    others, or none."""
    known, where = await store.read(_known)
    return known is not None and await asyncio.to_thread(_is_theirs, home, known, where)


async def settle(store: Store, home: Path) -> None:
    """The controller that coordinates has the fleet's keys: it makes them where no controller has led before, and a
    key that was rotated here is the fleet's from now on. Raises ``Refused`` when it has others, or none."""
    known, where = await store.read(_known)
    mine, before = await asyncio.to_thread(_mine, home, make=known is None)
    if known is None or (mine is not None and known.signing in before and known.fingerprints == mine.fingerprints):

        def note(tx: Tx) -> None:
            if _known(tx)[0] == known:
                settings.put(tx, _SETTING, str(mine))

        await store.write(note)
        known, where = await store.read(_known)
    if known is not None:
        await asyncio.to_thread(_is_theirs, home, known, where)


async def adopt(store: Store, home: Path) -> PublicKey:
    """This home's keys are the fleet's from now on, made where there are none: the ones before are lost.

    Returns the key that signs. Raises ``Refused`` while any controller of the store runs.
    """
    mine, _ = await asyncio.to_thread(_mine, home, make=True)
    assert mine is not None, "they were made"

    def note(tx: Tx) -> None:
        running = [each for each in controllers.seen(tx) if each.condition is not Condition.SILENT]
        if running:
            one = running[0].controller
            raise Refused(
                attempted="change the fleet's keys",
                on=str(home),
                cause=f"the controller {one.host}:{one.home} runs",
                hint="If it has the keys, copy them. Otherwise end every controller first: airboss controllers.",
            )
        settings.put(tx, _SETTING, str(mine))

    await store.write(note)
    return mine.signing


async def wait(store: Store, home: Path, clock: Clock) -> None:
    """Until this home has the fleet's keys, once they are known. Raises as :func:`check`."""
    while not await check(store, home):
        await clock.sleep(LOOK_SECONDS)


async def watch(store: Store, home: Path, clock: Clock, *, coordinates: bool) -> None:
    """Until cancelled. Raises ``Refused`` once this home no longer has the fleet's keys."""
    while True:
        await clock.sleep(LOOK_SECONDS)
        await (settle(store, home) if coordinates else check(store, home))


def _known(tx: Tx) -> tuple[FleetKeys | None, str]:
    """The fleet's keys, and where a controller has them."""
    leader = controllers.last_leader(tx)
    where = f"{leader.host}:{leader.home}" if leader is not None else "the home of a controller that has them"
    return FleetKeys.parse(settings.get(tx, _SETTING)), where


def _mine(home: Path, *, make: bool) -> tuple[FleetKeys | None, Sequence[PublicKey]]:
    """This home's keys, and those that signed before; ``None``: it lacks one."""
    there = (home / "keys" / sshsig.KEY_FILE).exists() and has_fingerprint_key(home)
    if not there and not make:
        return None, ()
    signing = sshsig.public_of(sshsig.load_or_create(home))
    if not (home / "pinned" / sshsig.PINNED).exists():
        sshsig.announce(home, signing)  # only keys/ was copied
    told = hashlib.sha256(b"airboss fingerprints\0" + fingerprint_key(home)).hexdigest()[:32]
    return FleetKeys(signing, told), keys.retired(home)


def _is_theirs(home: Path, known: FleetKeys, where: str) -> bool:
    mine, _ = _mine(home, make=False)
    if mine == known:
        return True
    here = home / "keys"
    cause = f"the fingerprints of leaks are made with another key than {here} has"
    if mine is None:
        cause = f"the fleet signs with {known.signing.fingerprint}, and {here} lacks its keys"
    elif mine.signing != known.signing:
        cause = f"the fleet signs with {known.signing.fingerprint}, and {here} has {mine.signing.fingerprint}"
    raise Refused(
        attempted="lead with the other controllers",
        on=str(home),
        cause=cause,
        hint=f"Copy the folder keys/ of {where} to {home}, readable only by its login, and start this again. "
        "If no copy is left anywhere: airboss keys adopt.",
    )

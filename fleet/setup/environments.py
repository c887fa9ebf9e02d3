"""Environments: what a setup made, built once for each inputs, definition, kind of machine and login.

It is built in a checkout of the commit whose inputs these are, at the path where every run will see it; moved aside
in one step when it is whole; and never written again. Runs see it through a read-only mount. Neither it nor the
directory it is in can be reached from inside a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

from fleet.errors import Unavailable
from fleet.excerpts import lacks_network
from fleet.exits import succeeded
from fleet.failpoints import failpoint
from fleet.git.workspace import Workspaces
from fleet.limits import words_for
from fleet.ports import Ended
from fleet.refs import Refs
from fleet.setup import scripts
from fleet.setup.process import end_of, in_workspace, process_of
from fleet.setup.site import (
    ProvidedDirectory,
    Room,
    SetupCaller,
    SetupFailed,
    SetupRecords,
    SetupSite,
    SetupUse,
    WantedSetup,
)
from fleet.untrusted import clean, tail_that_matters

_LINES: Final = 40
_UNUSED_DAYS: Final = "14"
_MODES: Final = {SetupUse.GATES: "a-w,u+rX", SetupUse.AGENTS: "u+rwX"}


class Environments:
    """Builds and finds environments. No two stores share one."""

    def __init__(self, records: SetupRecords, workspaces: Workspaces) -> None:
        self._records, self._workspaces = records, workspaces
        self._building: dict[tuple[str, str], asyncio.Lock] = {}

    async def kept(
        self, site: SetupSite, wanted: WantedSetup, caller: SetupCaller
    ) -> tuple[ProvidedDirectory, ...]:
        """The environment of a commit of the base branch; built now unless it is there. For sites with walls.

        Raises ``SetupFailed``, and ``Unavailable`` when the machine cannot do it.
        """
        place = f"{site.executor.root}/setup/{self._records.instance}-{site.use}/{await _key(site, wanted)}"
        async with (
            self._building.setdefault((site.where, place), asyncio.Lock()),
            self._records.alone(f"set up {site.where}: {place}"),
            self._recorded(site, wanted, caller),
        ):
            if await scripts.run(site, scripts.FIND, place) != "found":
                await self._build(site, wanted, place, caller)
        paths = wanted.setup.provides
        return tuple(ProvidedDirectory(path, f"{place}/{number}") for number, path in enumerate(paths))

    async def once(
        self, site: SetupSite, wanted: WantedSetup, room: Room, pipe: str, caller: SetupCaller
    ) -> tuple[ProvidedDirectory, ...]:
        """An environment for one run alone, in a checkout of its own. The caller discards the room."""
        paths = wanted.setup.provides
        async with self._recorded(site, wanted, caller):
            place = await self._checkout(site, wanted, room)
            await self._set_up(site, wanted, place, pipe, caller)
            await scripts.run(site, scripts.CHECK, f"{place}/tree", *paths, of=wanted.setup)
        return tuple(ProvidedDirectory(path, f"{place}/tree/{path}") for path in paths)

    async def in_workspace(self, site: SetupSite, wanted: WantedSetup, workspace: str, caller: SetupCaller) -> None:
        """Runs a setup where an agent works, without walls, in the login's own home. Raises ``SetupFailed``."""
        paths = wanted.setup.provides
        async with self._recorded(site, wanted, caller):
            await scripts.run(site, scripts.REMOVE, workspace, *paths)
            pipe = f"{self._records.instance}-setup-{secrets.token_hex(8)}"
            spec = in_workspace(site, wanted.setup, workspace, pipe)
            ended, output = await end_of(site.executor, spec, caller.given_up)
            if not succeeded(ended.exit):
                raise self._failure(site, wanted, ended, output)
            await scripts.run(site, scripts.CHECK, workspace, *paths, of=wanted.setup)

    async def put(
        self, site: SetupSite, made: Sequence[ProvidedDirectory], tree: str
    ) -> tuple[ProvidedDirectory, ...]:
        """Moves directories to their paths in another tree of the same login."""
        for each in made:
            await scripts.run(site, scripts.PUT, each.source, f"{tree}/{each.path}")
        return tuple(ProvidedDirectory(each.path, f"{tree}/{each.path}") for each in made)

    # --- parts ----------------------------------------------------------------------------------------

    async def _build(self, site: SetupSite, wanted: WantedSetup, place: str, caller: SetupCaller) -> None:
        checkouts = f"{site.executor.root}/gates"
        mine = f"{self._records.instance}-setup-{site.use}-{place.rpartition('/')[2][:16]}-"
        for stale in (await scripts.run(site, scripts.STALE, checkouts, mine)).split():
            await site.executor.stop(stale, 1.0)  # of a controller that ended in the middle of it
            await self._workspaces.discard(site.executor, f"{checkouts}/{stale}")
        room, setup = Room(mine + secrets.token_hex(4)), wanted.setup
        try:
            built = await self._checkout(site, wanted, room)
            ended = await self._set_up(site, wanted, built, room.name, caller)
            failpoint("setup-built")
            paths = (place, _UNUSED_DAYS, _MODES[site.use], f"{built}/tree", *setup.provides)
            content = await scripts.run(site, scripts.KEEP, *paths, of=setup)
        finally:
            with contextlib.suppress(Unavailable):
                await self._workspaces.discard(site.executor, f"{checkouts}/{room.name}")
        user, took_us = site.facts.user, ended.ended_us - ended.started_us
        await self._records.built(wanted, content, user, took_us, _refs(site, caller))

    async def _checkout(self, site: SetupSite, wanted: WantedSetup, room: Room) -> str:
        tree = await self._workspaces.checkout(
            site.executor, wanted.repository, wanted.commit, room.name, room.inner
        )
        place = tree.removesuffix("/tree")
        for folder in ("home", "scratch"):
            await site.executor.write_file(f"{place}/{folder}/.keep", b"")
        return place

    async def _set_up(
        self, site: SetupSite, wanted: WantedSetup, place: str, pipe: str, caller: SetupCaller
    ) -> Ended:
        """Runs the steps in a checkout to their end."""
        setup = wanted.setup
        ended, output = await end_of(site.executor, process_of(site, setup, place, pipe), caller.given_up)
        if succeeded(ended.exit):
            return ended
        if caller.given_up():
            raise Unavailable(attempted=f"run [setup.{setup.name}]", on=site.where, cause="nobody waits for it")
        raise self._failure(site, wanted, ended, output)

    @contextlib.asynccontextmanager
    async def _recorded(self, site: SetupSite, wanted: WantedSetup, caller: SetupCaller) -> AsyncIterator[None]:
        """Puts the failure of a setup into the ledger."""
        try:
            yield
        except SetupFailed as failed:
            await self._records.broke(wanted, site.facts.user, failed, _refs(site, caller))
            raise

    def _failure(self, site: SetupSite, wanted: WantedSetup, ended: Ended, output: bytes) -> SetupFailed:
        text = clean(output.decode("utf-8", "replace"), len(output) + 1)
        if self._records.redact is not None:
            text = self._records.redact(text)
        causes = [ended.unavailable or str(ended.exit)]
        if ended.reached:
            causes.append(words_for(ended.reached))
        if not wanted.setup.network and site.facts.walled and lacks_network(text.splitlines()):
            causes.append("it has no network; `network = true` in its definition allows it")
        return SetupFailed(wanted.setup.name, site.where, "; ".join(causes), tail_that_matters(text, _LINES))


def _refs(site: SetupSite, caller: SetupCaller) -> Refs:
    who = caller.refs
    return Refs(task=who.task, session=who.session, turn=who.turn, machine=site.executor.machine)


async def _key(site: SetupSite, wanted: WantedSetup) -> str:
    """What an environment depends on, as one name."""
    programs = sorted({step[0] for step in wanted.setup.steps if "/" not in step[0]})
    kind = await scripts.run(site, scripts.KIND, *programs)
    parts = (wanted.setup.sha256, wanted.inputs_sha256, site.path, *site.read, kind)
    return hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]

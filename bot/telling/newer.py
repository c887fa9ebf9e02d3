"""Tells the admins once that an agent's program is newer than the one that was tested: it works or it does not, and
whoever sees it fail should know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bot.agent_view import seen_agents
from bot.cards import Card, line, one_line
from bot.outbox.posting import Outbox
from bot.telling import direct
from fleet.agents.versions import TESTED, Fit, install, written
from fleet.config import FleetConfig
from fleet.machines.watch import MachineSeen
from fleet.store.chat import settings
from fleet.store.core import Tx
from gates.people import Right

EVERY_SECONDS: Final = 60.0
_TOLD: Final = "told:newer:"
"""Prefix of the settings that say which versions were told."""


@dataclass(frozen=True, slots=True)
class NewerAgents:
    """``machines``: what was last seen of each. ``direct_on``: the platforms where an admin has a private chat."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    machines: Callable[[], Mapping[str, MachineSeen]]
    direct_on: Collection[str]

    async def look(self) -> None:
        """One card to each admin for each version that was not told yet."""
        newer = dict(self._newer())
        if not newer:
            return
        if await self.outbox.store.read(lambda tx: _untold(tx, newer)):
            await self.outbox.store.write(lambda tx: self._tell(tx, newer))

    def _newer(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Where each such version was seen, by driver and version."""
        config, machines = self.config(), self.machines()
        for name, agent in config.agents.items():
            for seen in seen_agents(config, name, machines):
                if seen.fit is Fit.NEWER:
                    yield (agent.driver, seen.version), seen.machine

    def _tell(self, tx: Tx, newer: Mapping[tuple[str, str], str]) -> None:
        posts, config = self.outbox.open(tx), self.config()
        for driver, version in _untold(tx, newer):
            key = f"{_TOLD}{driver}:{version}"
            settings.put(tx, key, str(tx.now_us()))
            lines = (
                line(f"Seen on {newer[driver, version]}. Airboss is tested with {written(TESTED[driver])}."),
                line("It is used all the same. If it misbehaves: ", install(driver)),
            )
            card = Card(line(f"{driver} {one_line(version, 40)} is newer than tested"), lines)
            for admin in direct.recipients(tx, config, Right.MANAGE, self.direct_on):
                posts.post(admin.chat, card, key=key)


def _untold(tx: Tx, newer: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [each for each in newer if not settings.get(tx, f"{_TOLD}{each[0]}:{each[1]}")]

"""The port of what makes slots for pools. A slot is a login on some host that our own runner is started in: whoever
made it, identity, exit record and proof of a stop stay ours.
"""

from __future__ import annotations

from typing import Protocol

from fleet.config.pools import Target


class SlotProvider(Protocol):
    """Makes slots and ends them, each under a name that is unique for good.

    Nothing that it says is believed alone. Every method raises ``Unavailable`` when the provider fails, and may be
    called again for the same name.
    """

    async def acquire(self, name: str) -> Target:
        """Makes a slot and says where it is."""

    async def release(self, name: str, target: str) -> None:
        """Ends a slot, or what there is of one; none of that name is fine. ``target``: what was said of it, JSON or
        empty."""

    async def names(self) -> frozenset[str] | None:
        """All that exist, those of others too; ``None``: this provider cannot say."""

"""Whether somebody else changed a session's output or input on its machine.

On a login that a session shares with its supervisor, the agent's shell can write to the files through which both
pass: say what the agent never said, or answer for the controller. The supervisor signs what it took from the
process and what it gave it. What the controller read, and what it sent, must be just that; if not, the session is
lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from fleet.exits import Lost, Passed, tampered
from fleet.ports import Ended
from fleet.store import inputs
from fleet.store.core import Store


class OutputRead:
    """What was read of a process's output. Where an earlier controller read its beginning, its length counts."""

    def __init__(self, offset: int) -> None:
        self._bytes = offset
        self._hash = None if offset else hashlib.sha256()

    def add(self, data: bytes) -> None:
        """This came next."""
        self._bytes += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def differs(self, said: Passed) -> str:
        """Why this is not what the process printed; empty when it is."""
        same = self._hash is None or self._hash.hexdigest() == said.sha256
        if self._bytes == said.bytes and same:
            return ""
        return f"{self._bytes:,} bytes of output were read, and they are not the {said.bytes:,} that it printed"


async def input_checked(store: Store, pipe: str, ended: Ended) -> Ended:
    """The end of a process; lost when its input had what the controller never sent."""
    fed = ended.streams.fed if ended.streams is not None else None
    if fed is None or await store.read(lambda tx: inputs.was_given(tx, pipe, fed.bytes, fed.sha256)):
        return ended
    why = tampered(f"not all of the {fed.bytes:,} bytes that were put into its input are the controller's")
    return replace(ended, exit=Lost(why), gone=False)

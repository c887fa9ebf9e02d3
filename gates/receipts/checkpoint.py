"""A checkpoint: the size and the root of the ledger, signed. Its text is a C2SP tlog-checkpoint, three lines.

It is signed as SSHSIG in a namespace of its own, so that ``ssh-keygen`` alone can check it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from fleet.errors import Malformed

_FORM: Final = re.compile(r"airboss/([0-9a-zA-Z-]{1,64})\n(0|[1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first ``size`` events of the ledger of the store ``instance`` have this root."""

    instance: str
    size: int
    root: bytes

    @property
    def origin(self) -> str:
        """Whose it is, as witnesses and notes name it."""
        return f"airboss/{self.instance}"

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The inverse. Raises ``Malformed``."""
        found = _FORM.fullmatch(text)
        try:
            if found is None:
                raise ValueError("it does not have three lines: origin, size, root")
            return cls(found[1], int(found[2]), base64.b64decode(found[3], validate=True))
        except (ValueError, binascii.Error) as error:
            raise Malformed(attempted="read the checkpoint", cause=str(error)) from error

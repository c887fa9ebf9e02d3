"""Git and ``sh`` on a machine, under an executor's login: their environment, and how their end is read.

Parameters reach scripts only as positional arguments, never as part of their text. Output is testimony.
"""

from __future__ import annotations

import re
from typing import Final

from fleet.errors import MachineFull, Unavailable
from fleet.exits import succeeded
from fleet.git.command import CLEAN_CONFIG, CLEAN_ENV, RAW_ATTRIBUTES
from fleet.git.taking import CONFLICT, EOL_ATTRIBUTES, GONE, LITTER, RULES_BYTES
from fleet.ports import Ran

TRANSFER_SECONDS: Final = 900.0
#: As programs say it, and dash for what it prints itself.
_FULL: Final = re.compile(rb"No space left on device|Out of diskspace|Disk quota exceeded|printf: I/O error")
#: The settings of a repository that an agent works in. Its submodules are in their places.
_AGENTS_CONFIG: Final = """\
[gc]
\tauto = 0
[user]
\tname = Agent
\temail = agent@localhost
[submodule]
\tactive = ."""
MACHINE_ENV: Final = {
    **CLEAN_ENV,
    "GIT_CONFIG_COUNT": str(len(CLEAN_CONFIG)),
    **{f"GIT_CONFIG_KEY_{n}": setting.partition("=")[0] for n, setting in enumerate(CLEAN_CONFIG)},
    **{f"GIT_CONFIG_VALUE_{n}": setting.partition("=")[2] for n, setting in enumerate(CLEAN_CONFIG)},
    "AIRBOSS_ATTRIBUTES": RAW_ATTRIBUTES.strip(),
    "AIRBOSS_EOL": EOL_ATTRIBUTES,
    "AIRBOSS_AGENTS_CONFIG": _AGENTS_CONFIG,
    "AIRBOSS_LITTER": "\n".join(LITTER),
    "AIRBOSS_CONFLICT": CONFLICT,
    "AIRBOSS_GONE": GONE,
    "AIRBOSS_RULES": str(RULES_BYTES),
}


def checked(ran: Ran, attempted: str, on: str, hint: str = "") -> str:
    """What it printed. Raises ``Unavailable`` with its words when it failed, ``MachineFull`` where its disk was
    full. ``on`` ends with the machine."""
    if not succeeded(ran.exit):
        if _FULL.search(ran.err):
            machine = on.rpartition(" on ")[2]
            full = f"the disk of {machine} is full"
            raise MachineFull(attempted=attempted, on=on, cause=full, hint=f"Free some space on {machine}.")
        cause = ran.err.decode("utf-8", "replace").strip()[-800:] or str(ran.exit)
        raise Unavailable(attempted=attempted, on=on, cause=cause, hint=hint)
    return ran.out.decode("ascii", "replace")

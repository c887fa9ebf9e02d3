"""The first process of a run in a login of its own: sealed, then it becomes the command."""

from __future__ import annotations

import os
import struct
import sys

from . import light_json as json
from . import seccomp
from .alone import clear, inside
from .children import exec_command
from .containment import harden
from .facts import LINUX
from .files import attempt, read_exactly, write_all
from .libc import Libc
from .limits import RunnerLimits, lower_priority
from .trees import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

    from .files import Json

UMASK = 0o077  # what it writes where others may read is its own


def seal() -> None:
    """No privilege can be gained any more, and what the kernel keeps for all of a login is out of reach."""
    if LINUX:
        libc = Libc()
        libc.drop_capabilities()
        seccomp.install(libc)


def order() -> Json:
    """What the supervisor of another login wants, from standard input."""
    (size,) = struct.unpack(">I", read_exactly(0, 4))
    wanted: Json = json.loads(read_exactly(0, size))
    return wanted


def missing(program: str, cwd: str, path: Optional[str]) -> str:
    """Why the command cannot be run; empty where it can."""
    if os.path.islink(cwd):
        return "directory %s: it is a link" % cwd
    if not os.path.isdir(cwd):
        return "directory %s: No such file or directory" % cwd
    import shutil  # it costs milliseconds, which each supervisor would pay, too

    if not shutil.which(os.path.join(cwd, program) if "/" in program else program, path=path):
        return "program %s: No such file or directory" % program
    return ""


def begin() -> NoReturn:
    """Reads the order, says in the first line of output what is in force or failed, becomes the command."""
    wanted = order()
    tree, cause = check(wanted["expect_trees"], wanted["beside"], wanted["large"], submodules=wanted["submodules"])
    if not cause:
        cause = missing(wanted["argv"][0], wanted["cwd"], wanted["env"].get("PATH"))
    answer = {"failed": cause, "tree": tree} if cause else {"walls": inside([]), "tree": tree}
    write_all(1, json.dumps(answer).encode() + b"\n")
    if cause:
        os._exit(127)
    attempt(os.setsid)  # sudo may have done so
    lower_priority()
    if wanted["limits"]:
        RunnerLimits(wanted["limits"]).bind(False)
    seal()
    exec_command(wanted["argv"], wanted["env"], wanted["cwd"], (0, 1, 2), 2, UMASK)


def clear_here() -> NoReturn:
    """Clears this login, and says so in JSON."""
    libc = harden()
    write_all(1, json.dumps(clear(order(), libc)).encode())
    sys.exit(0)

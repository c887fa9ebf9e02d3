"""An agent whose login has rules of its own, by which commands run without a question, does without them.

Behind walls their folder is empty. Without walls the agent gets another folder for its settings, in which
everything is a link to the login's own, rules apart. So its login, its settings and its conversations stay where
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fleet.agents.logins import KEEPINGS
from fleet.errors import Unavailable
from fleet.exits import succeeded
from fleet.ports import Executor, PipeSpec

_LINK = """
umask 077
mkdir -p "$1/sessions" "$2" && rm -rf "$2/$3" || exit 1
for each in "$1"/* "$1"/.[!.]*; do
  name=${each##*/}
  [ "$name" = "$3" ] || [ ! -e "$each" ] || [ -e "$2/$name" ] || ln -sfn "$each" "$2/$name" || exit 1
done
"""


async def left_out(executor: Executor, driver: str, spec: PipeSpec, home: str, room: str) -> PipeSpec:
    """The process without the login's rules; ``room``: a directory of the session's own. Raises ``Unavailable``."""
    keeping = KEEPINGS.get(driver)
    if keeping is None or not keeping.rules or spec.walls is not None:
        return spec
    env: Mapping[str, str] = spec.env
    here = f"{room}/{keeping.folder.strip('.')}"
    theirs = keeping.directory(env, env.get("HOME") or home)
    ran = await executor.run(["/bin/sh", "-c", _LINK, "link", theirs, here, keeping.rules])
    if not succeeded(ran.exit):
        raise Unavailable(
            attempted="leave out the rules of the agent's login",
            on=theirs,
            cause=ran.err.decode(errors="replace").strip()[-300:] or str(ran.exit),
        )
    return replace(spec, env={**env, keeping.variable: here})

"""A provider of slots: a program with the three commands of a pool, whose allocations are files in a directory.

Each allocation is the login of one SSH server with a home of its own. Files in the directory tell it to misbehave:
``refuse`` (acquire fails with these words), ``say`` (acquire prints this instead), ``stuck`` (release fails with
these words), ``wait`` (acquire waits until the file is gone), ``hold`` (so does release).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.far_end.sshd import Sshd

_PROGRAM = """\
import json, os, pathlib, sys, time
here, verb = pathlib.Path(sys.argv[1]), sys.argv[2]
slots, name = here / "slots", os.environ.get("AIRBOSS_SLOT", "")
with (here / "calls").open("a") as calls:
    calls.write(f"{verb} {name}\\n")
def told(file):
    return (here / file).read_text() if (here / file).exists() else ""
if verb == "acquire":
    (slots / name).touch()
    while (here / "wait").exists():
        time.sleep(0.02)
    if told("refuse"):
        sys.exit(told("refuse"))
    target = json.loads((here / "target.json").read_text())
    print(told("say") or json.dumps({**target, "home": str(here / "homes" / name)}))
elif verb == "release":
    while (here / "hold").exists():
        time.sleep(0.02)
    if told("stuck"):
        sys.exit(told("stuck"))
    (slots / name).unlink(missing_ok=True)
else:
    print(json.dumps(sorted(os.listdir(slots))))
"""


@dataclass(frozen=True, slots=True)
class Farm:
    """A provider in a directory."""

    directory: Path

    @classmethod
    def at(cls, directory: Path, sshd: Sshd) -> Farm:
        """A new one, whose slots are logins of this server."""
        return cls.of(directory, sshd.host_key, sshd.user, sshd.port)

    @classmethod
    def of(cls, directory: Path, host_key: str, user: str = "agents", port: int = 1) -> Farm:
        """A new one; without a server nobody answers there."""
        (directory / "slots").mkdir(parents=True)
        (directory / "farm.py").write_text(_PROGRAM)
        target = {"host": "127.0.0.1", "port": port, "user": user, "host_key": host_key}
        (directory / "target.json").write_text(json.dumps(target))
        return cls(directory)

    def move(self, sshd: Sshd) -> None:
        """From now on its slots are logins of this server."""
        target = {"host": "127.0.0.1", "port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
        (self.directory / "target.json").write_text(json.dumps(target))

    def pool(self, **more: Any) -> dict[str, Any]:
        """What ``[pools.NAME]`` says of it."""
        verbs = ("acquire", "release", "inventory")
        commands = {
            verb: [sys.executable, str(self.directory / "farm.py"), str(self.directory), verb] for verb in verbs
        }
        return {"provider": "command", **commands, "python": sys.executable, **more}

    def tell(self, file: str, words: str) -> None:
        """Makes it misbehave; no words: no longer."""
        path = self.directory / file
        if words:
            path.write_text(words)
        else:
            path.unlink(missing_ok=True)

    @property
    def slots(self) -> list[str]:
        """What it has now."""
        return sorted(path.name for path in (self.directory / "slots").iterdir())

    @property
    def calls(self) -> list[str]:
        """What it was asked for, in order: the verb and the slot's name."""
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

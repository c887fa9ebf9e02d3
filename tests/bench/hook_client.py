"""What a person waits for at each edit of a hooked session, against an empty Python; and a month later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fleet.events import Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from tests.bench.harness import Trial, compare, report, timed
from tests.bench.serving import AIRBOSS, FLEET, Served, serving
from tests.far_end.repositories import git, make_bare

BAR = 1.5
ASKED = 2.5
GROWTH = 1.2
MONTH = 60_000
PYTHON = os.path.realpath(sys.executable)


def main() -> int:
    """Prints the figures; 1 when one misses its bar."""
    with tempfile.TemporaryDirectory(prefix="ab-") as name:
        directory = Path(name)
        bare = make_bare(directory / "shop.git", {"a.txt": "a\n"})
        copy = directory / "copy"
        git(directory, "clone", "--quiet", str(bare), str(copy))
        fleet = FLEET.format(machine=directory / "machine", url=bare)
        new, old = directory / "new", directory / "old"
        for each in (new, old):
            (each / "home").mkdir(mode=0o700, parents=True)
        _fill(old / "home")
        with serving(new, fleet) as served, serving(old, fleet) as month:
            env = {**served.env, "HOME": str(new)}
            empty = ("python3 -I -S -E", _run([PYTHON, "-I", "-S", "-E", "-c", "pass"], b"", env))
            asked = ("the hook client, asking", _client(new, copy, served))
            later = ("after 60,000 calls of a month", _client(old, copy, month))
            elsewhere = ("the hook client", _client(new, directory, served))
            return report(
                [
                    compare("an edit outside the fleet's repositories", elsewhere, empty, bar=BAR),
                    compare("an edit that the controller allows", asked, empty, bar=ASKED),
                    compare("with what was recorded before", later, asked, bar=GROWTH),
                ]
            )


def _client(home: Path, at: Path, served: Served) -> Trial:
    """The installed client, without the shell that an agent starts around it."""
    env = {**served.env, "HOME": str(home)}
    subprocess.run([AIRBOSS, "hooks", "install"], env=env, check=True, capture_output=True)
    start = f'import sys;sys.path.insert(0,"{home}/.airboss-hooks/client");import airboss_hook'
    start += ";airboss_hook.main(*sys.argv[1:])"
    event = {
        "session_id": "bench", "cwd": str(at), "hook_event_name": "PreToolUse", "tool_name": "Write",
        "tool_use_id": "c", "tool_input": {"file_path": str(at / "a.txt"), "content": "x" * 2_000},
    }  # fmt: skip
    return _run([PYTHON, "-I", "-S", "-E", "-c", start, "claude", "edit"], json.dumps(event).encode(), env)


def _run(argv: list[str], given: bytes, env: Mapping[str, str]) -> Trial:
    def work() -> None:
        done = subprocess.run(argv, input=given, env=env, capture_output=True, check=True)
        assert done.stdout == b"", done

    return timed(work)


def _fill(home: Path) -> None:
    """A month of a busy person's calls."""
    with Store.open(f"sqlite:///{home / 'airboss.db'}") as store:
        refs = Refs(session="h1", machine="here")
        for first in range(0, MONTH, 5_000):
            entries = [
                Entry(event, "console:a:b", Source.AGENT, refs)
                for number in range(first, first + 5_000)
                for event in (
                    ToolCallStarted(f"m{number}", "Write", "a"),
                    ToolCallEnded(f"m{number}", "ok", None, ""),
                )
            ]
            with store.transaction() as tx:
                ledger.append_all(tx, entries)


if __name__ == "__main__":
    sys.exit(main())

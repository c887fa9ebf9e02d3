"""``airboss demo``: runs a whole task in a console chat and checks at the end that it was real."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bot.app import App
from bot.demo import proof, world
from bot.local.client import ask
from bot.local.verify import verify
from fleet.events import GateClosed, LocksRefused
from fleet.git.command import own_environment
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.verdict import TAMPERING
from gates.receipts.sshsig import load_or_create, public_of

_WIDTH: Final = 76
_TASK: Final = "t1"
_REFUSED: Final = "the gate failed the agent's first attempt"
_CAUGHT: Final = "an attempt to talk past the gate was caught, and the card says by which layer"
_LOCKED: Final = "an edit of a locked file was refused, with its holder named"
_EDIT: Final = "Say hello in README.md"
_EDITING: Final = "t2"
_MACHINES: Final = 2
_LOOKS: Final = 100


def demo(agent: str = "", keep: Path | None = None) -> int:
    """Runs the demo and says how to continue. ``keep``: the directory to use, else a temporary one.

    Returns 0 if the change landed, its receipt was verified, and the macbook's session really went over SSH.
    """
    directory = keep or Path(tempfile.mkdtemp(prefix="airboss-demo-"))
    if keep is not None and keep.exists():
        shutil.rmtree(keep)
    directory.mkdir(parents=True, exist_ok=True)
    agent = agent or "demo"
    world.ready(agent)
    _print("Airboss demo: one task from chat to receipt", heading=True)
    _print(
        f"A temporary repository with a failing test, and two machines: evo-x2 (this one) and macbook (over real "
        f"SSH, a server on loopback). Agent: {agent}. No token. Everything is in {directory}."
    )
    with world.make(directory, agent) as made:
        status = asyncio.run(_run(made, agent))
    if status == 0:
        _next_steps(made)
    return status


async def _run(made: world.World, agent: str) -> int:
    async with App.open(made.home) as app:
        await _seen(app)
        await _say(app, "/status", "First, look at the fleet.")
        ran = await _say(
            app,
            f"/run on=macbook {world.PROMPT}",
            "Ask for a change. Each card is what a phone would show.",
            wait=True,
        )
        if ran.get("end") != 0:
            return await _not_landed(app, agent)
        await _say(app, "/digest", "The day's figures, all recomputable from the ledger, and a picture.")
        await _say(app, f"/receipt {_TASK}", "The receipt: what was tested, by which command, and what landed.")
        caught = await _caught(app)
        refused = agent == "demo" and await _locked(app)  # a real agent would cost its owner's tokens
    checks = results(made, ended=int(ran["end"]))
    if agent == "demo":
        checks |= {_CAUGHT: caught, _LOCKED: refused}
    else:
        del checks[_REFUSED]  # a real agent may succeed at the first attempt
    _print("Verify the receipt against the pinned key and the repository:")
    checks["the receipt is verified"] = await _verified(made) == 0
    _print("The day: its figures, its receipt, and the same figures by forty lines that import nothing of ours:")
    checks |= await proof.day_agrees(made.home, made.directory)
    _print("What this run showed", heading=True)
    for what, true in checks.items():
        sys.stdout.write(f"  {'✅' if true else '❌'} {what}\n")
    return 0 if all(checks.values()) else 1


async def _caught(app: App) -> bool:
    """Whether a gate of the task ended with exit status 0, and failed by what a layer saw."""

    def tampering(tx: Tx) -> bool:
        closed = ledger.read(tx, kinds=(GateClosed.KIND,), task=_TASK)
        return any(item.event.reason.startswith(TAMPERING) for item in closed if isinstance(item.event, GateClosed))

    return await app.core.context.store.read(tampering)


async def _locked(app: App) -> bool:
    """A person locks a file, and a task edits it all the same. Whether the refusal named the person."""
    _print("Locks: anna takes README.md, and another task is asked to edit it.")
    words = ("lock", "acquire", "path:shop:README.md", "--holder", "anna", "--ttl", "600")
    sys.stdout.write(f"\n  $ airboss {' '.join(words)}\n")
    taken = await asyncio.to_thread(airboss_lock, app.home, words)
    await _say(app, f"/run on=evo-x2 {_EDIT}", "You are told before it starts, and it queues:")
    await _say(
        app, f"/queue anyway {_EDITING}", "Run it anyway. Its edit is refused, and says who holds it:", wait=True
    )
    await _say(app, "/locks", "Who holds what, and for how long:")

    def told(tx: Tx) -> bool:
        turns = ledger.read(tx, kinds=(LocksRefused.KIND,), task=_EDITING)
        return any(isinstance(item.event, LocksRefused) and item.event.by == "anna" for item in turns)

    return taken and await app.core.context.store.read(told)


def airboss_lock(home: Path, words: Sequence[str]) -> bool:
    """Runs the command as a person would."""
    command = [sys.executable, "-P", "-m", "bot.cli", "--home", str(home), *words]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def results(made: world.World, *, ended: int) -> dict[str, bool]:
    """What a demo that ended with this exit status must have done, and whether it did."""
    return {
        "the change landed on main": ended == 0 and _landed(made),
        _REFUSED: _refused_first(made),
        "the macbook's session went over SSH": made.channels_opened() > 0,
    }


async def _not_landed(app: App, agent: str) -> int:
    """Shows what the agent said, and the usual cause."""
    await _say(app, f"/logs {_TASK}", "It did not land. What happened:")
    if agent != "demo":
        _print(f"Is {agent} logged in here? Run `{agent}` once by hand and check that it answers. Then try again.")
    return 1


async def _seen(app: App) -> None:
    """Waits a little until both machines have answered, so that the first card shows it."""
    for _ in range(_LOOKS):
        if sum(1 for seen in app.core.context.control.machines().values() if seen.seen_us) == _MACHINES:
            return
        await asyncio.sleep(0.05)


async def _say(app: App, text: str, why: str, *, wait: bool = False) -> dict[str, Any]:
    _print(why)
    sys.stdout.write(f"\n  {'you':>3} ▸ {text}\n\n")
    sys.stdout.flush()
    return await asyncio.to_thread(ask, str(app.home), "say", text=text, wait=wait)


async def _verified(made: world.World) -> int:
    key = public_of(load_or_create(made.home)).line
    receipt = made.home / "receipts" / f"{_TASK}.json"
    if not receipt.exists():
        return 1
    sys.stdout.write(f"\n  $ airboss verify {receipt.name} --key '{key[:40]}…' --repo shop.git\n\n")
    return await verify(
        receipt, home=made.home, keys=[key], repo=made.repository, ledger=str(made.home / "airboss.db")
    )


def _landed(made: world.World) -> bool:
    log = subprocess.run(
        ["git", "-C", str(made.repository), "log", "-1", "--format=%(trailers:key=Airboss-Task,valueonly)", "main"],
        capture_output=True,
        env=own_environment(),
        text=True,
        check=False,
    )
    return log.stdout.strip() == _TASK


def _refused_first(made: world.World) -> bool:
    receipt = made.home / "receipts" / f"{_TASK}.json"
    if not receipt.exists():
        return False
    statement = json.loads(receipt.read_text("utf-8"))
    return bool(statement["predicate"]["failed_rounds"])


def _next_steps(made: world.World) -> None:
    airboss, home, repository = map(
        shlex.quote, map(str, (Path(sys.argv[0]).absolute(), made.home, made.repository))
    )
    _print("Continue by hand", heading=True)
    sys.stdout.write(
        textwrap.dedent(
            f"""
            export AIRBOSS_HOME={home}
            {airboss} chat --embedded

            opens a chat that runs this fleet while it is open (evo-x2 only: the macbook is now off). Try:
              /run on=evo-x2 Say hello in README.md
              /status   /diff t1   /help

            See what landed, and verify its receipt with OpenSSH alone:
            git -C {repository} log --stat -1
            ssh-keygen -Y verify -n airboss-receipt-v1 -I airboss -f "$AIRBOSS_HOME/receipts/allowed_signers" \\
              -s "$AIRBOSS_HOME/receipts/{_TASK}.json.sig" < "$AIRBOSS_HOME/receipts/{_TASK}.json"

            Your own fleet in ten minutes: see README.md.
            """
        )
    )


def _print(text: str, *, heading: bool = False) -> None:
    if heading:
        sys.stdout.write(f"\n━━ {text} {'━' * max(0, _WIDTH - len(text) - 4)}\n")
    else:
        sys.stdout.write("\n" + textwrap.fill(text, _WIDTH) + "\n")
    sys.stdout.flush()

"""The plan of the house holds, and the checker that says so turns red on each breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.walls import check

ROOT = Path(__file__).resolve().parents[2]


def tracked(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    return [name for name in listed.stdout.decode().split("\0") if name]


def places() -> tuple[str, ...]:
    """Absolute paths of this machine that no committed file should name.

    A checkout called airboss is left out: instructions name such places, /opt/airboss for one.
    """
    named = [path for path in (ROOT, Path(sys.base_prefix)) if len(path.parts) > 2 and path.name != "airboss"]
    ordinary = ("/usr", "/opt/homebrew", "/Library", "/System")
    return tuple(str(path) for path in named if not str(path).startswith(ordinary))


def test_the_house_stands_as_planned() -> None:
    found = check(ROOT, tracked(ROOT), places())
    assert not found, "\n" + "\n".join(map(str, found))


BREACHES = {
    "fleet asks gates": ("fleet/a.py", "from gates.policy import AllOf", "arrows"),
    "fleet asks bot inside a function": ("fleet/a.py", "def f():\n    import bot.cards", "arrows"),
    "gates ask bot": ("gates/a.py", "import bot", "arrows"),
    "gates ask bot by name": ("gates/a.py", "import importlib\nimportlib.import_module('bot.cards')", "arrows"),
    "fleet asks gates relatively": ("fleet/store/a.py", "from ...gates import policy", "arrows"),
    "the product asks its tests": ("bot/a.py", "from tests.walls import check", "arrows"),
    "a notice asks a command": ("bot/telling/a.py", "from bot.commands.pages import Page", "rooms"),
    "a notice asks a command by its room": ("bot/telling/a.py", "from bot.commands import pages", "rooms"),
    "the carrier asks what is told": (
        "bot/outbox/delivering.py",
        "def f():\n    from bot.telling import asks",
        "rooms",
    ),
    "hearing knows a chat": ("bot/hearing/a.py", "from bot.chats.telegram_inbox import NAME", "rooms"),
    "ssh outside its executor": ("fleet/machines/local.py", "import asyncssh", "homes"),
    "ssh in gates": ("gates/a.py", "from asyncssh import connect", "homes"),
    "sql outside the store": ("fleet/flight/dispatcher.py", "from sqlalchemy import select", "homes"),
    "migrations outside the store": ("bot/app.py", "import alembic.command", "homes"),
    "the timer elsewhere": ("fleet/schedule.py", "import apscheduler", "homes"),
    "slack in telegram": ("bot/chats/telegram/chat.py", "import slack_sdk", "homes"),
    "aiohttp at large": ("bot/app.py", "import aiohttp", "homes"),
    "telegram in a command": ("bot/commands/run.py", "from telegram import Bot", "homes"),
    "rich in cards": ("bot/cards.py", "import rich.table", "homes"),
    "plots in the digest": ("bot/digest.py", "import matplotlib.pyplot", "homes"),
    "the runner asks us": ("fleet/machines/runner/serve.py", "from fleet.exits import Exit", "runner"),
    "the runner asks its neighbour": ("fleet/machines/runner/serve.py", "from ..channel import Frame", "runner"),
    "the runner asks itself by its name here": (
        "fleet/machines/runner/serve.py",
        "from fleet.machines.runner.files import parse",
        "runner",
    ),
    "the runner asks a library": ("fleet/machines/runner/facts.py", "import psutil", "runner"),
    "the runner asks a young module": ("fleet/machines/runner/files.py", "import tomllib", "runner"),
    "the runner speaks young Python": ("fleet/machines/runner/files.py", "match 1:\n    case 1: pass", "runner"),
    "the runner grows a god file again": ("fleet/machines/runner/serve.py", "x = 1\n" * 401, "size"),
    "a driver starts a process": ("fleet/agents/claude.py", "import subprocess", "drivers"),
    "a driver reads the clock": ("fleet/agents/claude.py", "from time import time", "drivers"),
    "a driver opens a file": ("fleet/agents/families.py", "open('x')", "drivers"),
    "a file is written at large": ("bot/a.py", "from pathlib import Path\nPath('x').write_text('y')", "writes"),
    "a file is opened for writing": ("gates/a.py", "with open('x', 'wb') as file: pass", "writes"),
    "a path is opened to append": ("fleet/a.py", "def f(path):\n    return path.open(mode='a')", "writes"),
    "a descriptor is opened for writing": ("bot/a.py", "import os\nos.open('x', os.O_CREAT | os.O_RDWR)", "writes"),
    "a file is put in place": ("bot/a.py", "def f(part, path):\n    part.replace(path)", "writes"),
    "a file is renamed": ("bot/a.py", "import os\nos.replace('x', 'y')", "writes"),
    "a picture is saved": ("bot/plots.py", "def f(figure, path):\n    figure.savefig(path)", "writes"),
    "a test mocks": ("tests/unit/test_a.py", "from unittest.mock import Mock", "tests"),
    "a test mocks by the package": ("tests/unit/test_a.py", "from unittest import mock", "tests"),
    "a test patches": ("tests/unit/test_a.py", "def test_a(monkeypatch): monkeypatch.setattr(1, 2, 3)", "tests"),
    "a test skips": ("tests/unit/test_a.py", "import pytest\npytest.skip('no sshd')", "tests"),
    "a test is marked skipped": (
        "tests/unit/test_a.py",
        "import pytest\n@pytest.mark.skip\ndef test(): ...",
        "tests",
    ),
    "an ignore without a reason": ("bot/a.py", "x = 1  # type: ignore[misc]", "excuses"),
    "a noqa without a reason": ("bot/a.py", "x = 1  # noqa: S603, E501", "excuses"),
    "a loop variable says nothing": ("bot/a.py", "for one in tasks:\n    print(one)", "names"),
    "a variable of a comprehension says nothing": ("fleet/a.py", "x = [a for a, ones in pairs]", "names"),
    "a god file": ("bot/cli.py", "x = 1\n" * 401, "size"),
    "a transaction remembers": (
        "gates/a.py",
        "def work(tx: Tx) -> None:\n    self.task = find(tx)",
        "transactions",
    ),
    "a transaction remembers by a lambda": ("gates/a.py", "write(lambda tx: seen.append(1))", "transactions"),
    "a transaction counts": ("gates/a.py", "def f(tx: core.Tx):\n    self.count += 1", "transactions"),
    "a transaction assigns an outer name": (
        "gates/a.py",
        "def f():\n    n = 0\n    def work(tx: Tx):\n        nonlocal n\n        n = 1",
        "transactions",
    ),
    "a transaction assigns a global": ("gates/a.py", "def f(tx: Tx):\n    global n\n    n = 1", "transactions"),
    "a transaction fills a dict": ("gates/a.py", "def f(tx: Tx):\n    known[task.id] = 1", "transactions"),
    "a transaction empties a dict": ("gates/a.py", "def f(tx: Tx):\n    del self.known[1]", "transactions"),
    "a transaction takes from a queue": (
        "gates/a.py",
        "class A:\n    def f(self, tx: Tx):\n        lines = self.lines\n        lines.popleft()",
        "transactions",
    ),
    "a transaction remembers by a method": (
        "gates/a.py",
        "class A:\n    def f(self, tx: Tx):\n        self.g()\n    def g(self):\n        self.n = 1",
        "transactions",
    ),
    "a transaction rings a bell": ("gates/a.py", "def f(tx: Tx):\n    self.bell.set()", "transactions"),
    "a transaction sets an attribute by name": (
        "gates/a.py",
        "def f(tx: Tx):\n    setattr(self, 'n', 1)",
        "transactions",
    ),
    "a transaction writes a file": (
        "bot/demo/a.py",
        "def f(tx: Tx, path: Path):\n    path.write_text('x')",
        "transactions",
    ),
    "a transaction opens a file": ("gates/a.py", "def f(tx: Tx):\n    open('x')", "transactions"),
    "a task that nobody supervises": ("gates/a.py", "import asyncio\nasyncio.create_task(f())", "tasks"),
    "a task by the loop": ("bot/a.py", "import asyncio\nasyncio.get_running_loop().create_task(f())", "tasks"),
    "a task by a kept loop": ("bot/a.py", "self._loop.create_task(f())", "tasks"),
    "a task by its bare name": ("fleet/a.py", "from asyncio import create_task\ncreate_task(f())", "tasks"),
    "a future of a coroutine": ("bot/a.py", "import asyncio\nasyncio.ensure_future(f())", "tasks"),
    "a task group": ("fleet/a.py", "import asyncio\nasyncio.TaskGroup()", "tasks"),
    "a wait that swallows a cancel": ("fleet/a.py", "import asyncio\nasyncio.wait_for(queue.get(), 1)", "tasks"),
    "a second root for gates": ("bot/local/gate_try.py", "Pipeline()", "root"),
    "a second root": ("bot/commands/run.py", "Dispatcher()", "root"),
    "an address in a lock": ("package-lock.json", '{"res' + 'olved": "https://x"}', "addresses"),
    "an address in a recipe": ("Makefile", "\tpip install --index-" + "url=https://x", "addresses"),
    "a path of this machine": ("README.md", "see " + "/srv/somewhere/airboss/README.md", "addresses"),
}

LAWFUL = {
    "gates ask fleet": ("gates/a.py", "from fleet.verdict import Verdict"),
    "ssh at home": ("fleet/machines/ssh_server.py", "import asyncssh"),
    "sql at home": ("fleet/store/migrations/versions/v1.py", "import sqlalchemy as sa\nfrom alembic import op"),
    "tests may speak ssh": ("tests/far_end/a.py", "import asyncssh"),
    "a reason beside it": ("bot/a.py", "x = 1  # type: ignore[misc]  # the stub omits this overload"),
    "a reason beside a noqa": ("bot/a.py", "x = 1  # noqa: S603 - argv is a constant of ours"),
    "the runner asks itself": (
        "fleet/machines/runner/serve.py",
        "import os\nfrom . import files\nfrom .jobs import Job",
    ),
    "hearing changes what is told": ("bot/hearing/core.py", "from bot.telling import buttons"),
    "a transaction assigns its own name from within": (
        "gates/a.py",
        "def f(tx: Tx):\n    n = 0\n    def g():\n        nonlocal n\n        n = 1\n    g()",
    ),
    "a transaction fills its own list": (
        "gates/a.py",
        "def f(tx: Tx):\n    found = []\n    found.append(1)\n    made = A()\n    made.n = 1",
    ),
    "a transaction calls others": (
        "gates/a.py",
        "from fleet.store import ledger\ndef f(tx: Tx):\n    ledger.append(tx, 1)\n    self.rows.add(tx, 1)",
    ),
    "a transaction remembers once committed": (
        "gates/a.py",
        "def f(tx: Tx):\n    tx.after_commit(lambda: self.seen.add(1))\n    tx.after_commit(self.bell.set)",
    ),
    "a transaction remembers once committed, by a function": (
        "gates/a.py",
        "def f(tx: Tx):\n    def later():\n        self.n = 1\n    tx.after_commit(later)",
    ),
    "a new object takes the transaction": (
        "gates/a.py",
        "class A:\n    def __init__(self, tx: Tx):\n        self.tx = tx",
    ),
    "a helper fills a transaction's own list": (
        "gates/a.py",
        "def g(to):\n    to.append(1)\ndef f(tx: Tx):\n    to = []\n    g(to)",
    ),
    "what is no transaction remembers": ("gates/a.py", "def f(self):\n    self.n = 1"),
    "the supervisor makes tasks": ("fleet/supervise.py", "import asyncio\nasyncio.create_task(f())"),
    "the store's tasks": ("bot/a.py", "from fleet.store import tasks\ntasks.create_task(tx)"),
    "a condition waits": ("bot/a.py", "self._moved.wait_for(lambda: True)"),
    "the root builds": ("bot/app.py", "Dispatcher()"),
}


@pytest.mark.parametrize(("path", "text", "rule"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_is_found(tmp_path: Path, path: str, text: str, rule: str) -> None:
    plant(tmp_path, path, text)
    assert [finding.rule for finding in check(tmp_path, [path], ("/srv/somewhere/airboss",))] == [rule]


@pytest.mark.parametrize(("path", "text"), LAWFUL.values(), ids=LAWFUL.keys())
def test_what_is_lawful_passes(tmp_path: Path, path: str, text: str) -> None:
    plant(tmp_path, path, text)
    assert check(tmp_path, [path], ("/srv/somewhere/airboss",)) == []


CIRCLES = {
    "two": {"bot/a.py": "from bot.b import f", "bot/b.py": "from bot.a import g"},
    "by a type": {
        "fleet/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fleet.b import B",
        "fleet/b.py": "import fleet.a",
    },
    "inside a function": {"gates/a.py": "def f():\n    from gates import b", "gates/b.py": "from gates.a import f"},
    "through a third": {"bot/a.py": "import bot.b", "bot/b.py": "import bot.c", "bot/c.py": "from .a import g"},
    "through a package": {"bot/x/__init__.py": "from bot.x.a import f", "bot/x/a.py": "from bot.x import g"},
}


def test_two_classes_of_one_name_are_found(tmp_path: Path) -> None:
    files = {"bot/a.py": "class A:\n    pass\n", "fleet/b.py": "class A:\n    class B:\n        pass\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (found,) = check(tmp_path, list(files))
    assert (found.rule, found.where) == ("names", "bot/a.py:1") and "fleet/b.py:1" in found.what


@pytest.mark.parametrize("files", CIRCLES.values(), ids=CIRCLES.keys())
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        plant(tmp_path, path, text)
    assert [finding.rule for finding in check(tmp_path, list(files))] == ["cycles"]


FOLDERS = {
    "two": (
        {
            "fleet/x/a.py": "import fleet.y.b",
            "fleet/x/c.py": "",
            "fleet/y/b.py": "",
            "fleet/y/d.py": "import fleet.x.c",
        },
        ["folders"],
    ),
    "through a third": (
        {
            "bot/x/a.py": "import bot.y.b",
            "bot/y/b.py": "import bot.z.c",
            "bot/z/c.py": "import bot.x.d",
            "bot/x/d.py": "",
        },
        ["folders"],
    ),
    "one direction": (
        {"fleet/x/a.py": "import fleet.y.b", "fleet/x/c.py": "import fleet.y.b", "fleet/y/b.py": ""},
        [],
    ),
    "a folder and one inside it": (
        {"bot/a.py": "import bot.x.b", "bot/x/b.py": "import bot.c", "bot/c.py": ""},
        [],
    ),
}


@pytest.mark.parametrize(("files", "found"), FOLDERS.values(), ids=FOLDERS.keys())
def test_folders_that_import_each_other(tmp_path: Path, files: dict[str, str], found: list[str]) -> None:
    for path, text in files.items():
        plant(tmp_path, path, text)
    assert [finding.rule for finding in check(tmp_path, list(files))] == found


def plant(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


HEAVY = (
    "sqlalchemy",
    "alembic",
    "asyncssh",
    "telegram",
    "slack_bolt",
    "aiohttp",
    "matplotlib",
    "cryptography",
    "asyncio",
)


@pytest.mark.parametrize("words", [["--help"], ["chat", "--help"], ["version"]], ids=" ".join)
def test_a_short_answer_loads_no_heavy_library(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from bot.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_a_try_of_gates_loads_no_database_and_no_ledger() -> None:
    heavy = ("sqlalchemy", "alembic", "cryptography", "fleet.events", "fleet.store.core", "aiohttp", "asyncssh")
    script = (
        "import bot.local.gate_try, bot.local.judging_alone, bot.local.verdicts, sys\n"
        f"print('loaded:', *[name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "loaded:"


def test_a_controller_starts_without_the_libraries_that_it_may_never_need() -> None:
    heavy = ("alembic", "asyncssh", "telegram", "slack_bolt", "aiohttp", "matplotlib")
    script = (
        "import bot.app, sys\n"
        "from bot.commands import every_command\n"
        "every_command()\n"
        f"print('loaded:', *[name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "loaded:"

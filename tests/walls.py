"""Reads a source tree and says where it breaks the plan of the house (`test_walls.py` runs it on ours).

Every rule is a function from one parsed file to the findings in it. Nothing is imported, only read.
"""

from __future__ import annotations

import ast
import gc
import io
import re
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.circles import between_folders, circles
from tests.file_writes import file_writes
from tests.plain_names import loop_names, shared_names
from tests.sources import Source, called
from tests.transaction_functions import TAKEN, UNWRITTEN, breaches

#: Arrows run one way: what each package may import of ours.
MAY_IMPORT = {
    "fleet": {"fleet"},
    "gates": {"fleet", "gates"},
    "bot": {"fleet", "gates", "bot"},
    "deploy": set[str](),
}
OURS = {"fleet", "gates", "bot", "tests", "deploy"}

#: Which rooms of bot each of them must not import: what is told knows nothing of who asked and how, what is heard
#: nothing of single commands, and only the root knows the chats.
APART = {
    "bot/outbox/*.py": ("telling", "commands", "chats", "local"),
    "bot/telling/*.py": ("hearing", "commands", "chats", "local"),
    "bot/hearing/*.py": ("commands", "chats", "local"),
    "bot/commands/*.py": ("chats", "local"),
    "bot/chats/*/*.py": ("commands", "local"),
}

#: Libraries with a home of their own, and the files that may import them.
HOMES = {
    "asyncssh": ("fleet/machines/ssh*.py",),
    "sqlalchemy": ("fleet/store/*.py",),
    "alembic": ("fleet/store/*.py",),
    "apscheduler": ("fleet/schedule/timer.py",),
    "slack_bolt": ("bot/chats/slack/*.py",),
    "slack_sdk": ("bot/chats/slack/*.py",),
    "aiohttp": (
        *("bot/chats/slack/*.py", "bot/chats/telegram/*.py", "bot/metrics_server.py", "bot/speech/endpoint.py"),
        *("gates/review/endpoint.py", "gates/witness/*.py"),
    ),
    "telegram": ("bot/chats/telegram/*.py",),
    "rich": ("bot/chats/console/*.py",),
    "matplotlib": ("bot/plots.py",),
    "duckdb": ("bot/local/call_files.py",),
}

RUNNER = "fleet/machines/runner/*.py"
RUNNER_PYTHON = (3, 9)
YOUNGER_THAN_RUNNER = {"tomllib"}

#: What a pure translator has no business with.
DRIVERS = "fleet/agents/*.py"
INPUT_OUTPUT = {
    *("os", "io", "sys", "pathlib", "shutil", "tempfile", "glob", "mmap", "fcntl"),
    *("subprocess", "multiprocessing", "threading", "concurrent", "asyncio", "signal", "pty"),
    *("socket", "ssl", "select", "selectors", "http", "urllib", "httpx", "requests", "aiohttp", "anyio"),
    *("time", "random", "secrets", "logging"),
}

MOCKS = {"mock", "pytest_mock", "unittest.mock"}

#: The one place that makes asyncio tasks, what makes them elsewhere, and what to write instead.
TASKS = "fleet/supervise.py"
MAKES_TASKS = {
    "create_task": "Supervisor.run, own or alongside of fleet/supervise.py",
    "ensure_future": "own or alongside of fleet/supervise.py",
    "TaskGroup": "OwnedTasks of fleet/supervise.py",
    "gather": "side_by_side of fleet/supervise.py: after an error gather leaves the others running",
    "wait_for": "asyncio.timeout: on Python 3.11 wait_for may swallow a cancel",
}

#: The one place that writes the controller's files, and what writes elsewhere. Left out: what runs on a machine or
#: under another login, the demo's own far ends, the log and the database, whose libraries have errors of their own,
#: and the helper that unpacks, whose failure is a refusal.
WRITER = "fleet/files.py"
WRITES_ITSELF = (
    *("fleet/machines/runner/*.py", "fleet/machines/bootstrap.py", "fleet/machines/ssh_server.py"),
    *("bot/demo/*.py", "bot/doctor/planting.py", "bot/doctor/probe.py", "deploy/*.py"),
    *(
        "gates/layers/kit/*.py",
        "fleet/logs.py",
        "fleet/git/unpack.py",
        "fleet/store/databases.py",
        "fleet/config/schema.py",
    ),
)

#: What is kept in memory in transactions, because it knows by itself when one was rolled back: the store has the
#: stamp of its last change, or it is read anew.
STAMPED = ("gates/locks/memory.py",)

#: The one place that wires, and what only it may build.
ROOT_ONLY = {"Dispatcher": "bot/app.py", "Pipeline": "bot/gatekeeping.py"}

LONGEST = 400
_EXCUSE = re.compile(r"#\s*(?:type:\s*ignore(?:\[[^\]]*\])?|noqa(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?)")
_TRANSACTION = re.compile(rf"\b(?:{'|'.join(TAKEN | UNWRITTEN)})\b")
_REASON = re.compile(r"[A-Za-z]{2,}\W+[A-Za-z]{2,}")

#: Text that ties a committed file to one machine's registry.
_ADDRESSES = (
    re.compile(r'"resolved"\s*:'),
    re.compile(r"--(?:extra-)?index-" + "url"),
    re.compile(r"--find-" + "links"),
    re.compile(r"registry\.npmjs" + r"\.org|files\.python" + r"hosted\.org|pypi\.org/simple"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach: ``where`` is ``path:line``, ``rule`` a short name, ``what`` the remedy in words."""

    where: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.what}"


def arrows(source: Source) -> Iterator[Finding]:
    """``fleet <- gates <- bot``, and nothing of ours imports the tests."""
    allowed = MAY_IMPORT.get(source.package)
    if allowed is None:
        return
    for name, node in source.imported:
        top = name.split(".")[0]
        if top in OURS - allowed:
            yield Finding(source.at(node), "arrows", f"{source.package} must not import {name}")


def rooms(source: Source) -> Iterator[Finding]:
    """Arrows run one way within ``bot`` too."""
    for pattern, others in APART.items():
        if not fnmatch(source.path, pattern):
            continue
        for name, node in source.imported:
            if any(f"{name}.".startswith(f"bot.{other}.") for other in others):
                yield Finding(source.at(node), "rooms", f"{pattern} must not import {name}")


def homes(source: Source) -> Iterator[Finding]:
    """A library that has a home is imported only there."""
    if source.package not in MAY_IMPORT:
        return
    for name, node in source.imported:
        top = name.split(".")[0]
        patterns = HOMES.get(top)
        if patterns and not any(fnmatch(source.path, pattern) for pattern in patterns):
            yield Finding(source.at(node), "homes", f"{top} belongs in {' or '.join(patterns)}")


def runner_alone(source: Source) -> Iterator[Finding]:
    """What runs on a machine needs that machine's Python 3.9 and itself, which it names relatively: it is shipped
    under another name."""
    if not fnmatch(source.path, RUNNER):
        return
    for name, node in source.imported:
        top = name.split(".")[0]
        if isinstance(node, ast.ImportFrom) and node.level:
            if not name.startswith("fleet.machines.runner."):
                yield Finding(source.at(node), "runner", f"{name} is not shipped with the runner")
        elif top not in sys.stdlib_module_names - YOUNGER_THAN_RUNNER:
            yield Finding(source.at(node), "runner", f"{name} is not in the standard library of Python 3.9")
    try:
        ast.parse(source.text, feature_version=RUNNER_PYTHON)
    except SyntaxError as error:
        yield Finding(f"{source.path}:{error.lineno}", "runner", f"not Python 3.9: {error.msg}")


def pure_drivers(source: Source) -> Iterator[Finding]:
    """Drivers translate: no input, no output, no clock, no chance."""
    if not fnmatch(source.path, DRIVERS):
        return
    for name, node in source.imported:
        if name.split(".")[0] in INPUT_OUTPUT:
            yield Finding(source.at(node), "drivers", f"a translator has no use for {name}")
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print"}:
            yield Finding(source.at(node), "drivers", f"a translator calls no {node.func.id}()")


def honest_tests(source: Source) -> Iterator[Finding]:
    """The far end is faked, never our own code; and no test is passed over."""
    if source.package != "tests":
        return
    for name, node in source.imported:
        if any(name == mock or name.startswith(f"{mock}.") for mock in MOCKS):
            yield Finding(source.at(node), "tests", f"{name}: fake the far end, not our own code")
    for node in source.nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="monkeypatch"), attr="setattr"):
                yield Finding(source.at(node), "tests", "monkeypatch.setattr: fake the far end, not our own code")
            case ast.Attribute(value=ast.Name(id="pytest"), attr="skip" | "importorskip" | "xfail"):
                yield Finding(source.at(node), "tests", "a missing component is an error that says what to install")
            case ast.Attribute(attr="skip" | "skipif" | "xfail", value=ast.Attribute(attr="mark")):
                yield Finding(source.at(node), "tests", "a missing component is an error that says what to install")


def excuses(source: Source) -> Iterator[Finding]:
    """Switching a checker off needs a reason in words, beside it."""
    if not _EXCUSE.search(source.text):
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and _EXCUSE.search(token.string):
            rest = _EXCUSE.sub("", token.string)
            if not _REASON.search(rest):
                where = f"{source.path}:{token.start[0]}"
                yield Finding(where, "excuses", f"say why beside `{token.string.strip()}`")


def size(source: Source) -> Iterator[Finding]:
    """A file that grows past the alarm is two files."""
    lines = source.text.count("\n")
    if lines > LONGEST:
        yield Finding(f"{source.path}:{lines}", "size", f"{lines} lines; split it (the alarm is {LONGEST})")


def one_root(source: Source) -> Iterator[Finding]:
    """Only the composition root builds what wires the packages together."""
    if source.package not in MAY_IMPORT:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and (home := ROOT_ONLY.get(called(node))) and source.path != home:
            yield Finding(source.at(node), "root", f"{called(node)} is built in {home} only")


def transactions(source: Source) -> Iterator[Finding]:
    """A function that takes a ``Tx`` returns values: it assigns nothing that outlives it, and writes no file."""
    if source.package not in MAY_IMPORT or source.path in STAMPED or not _TRANSACTION.search(source.text):
        return
    for node, what in breaches(source.tree):
        yield Finding(source.at(node), "transactions", f"{what} in a transaction, which may be rolled back")


def supervised(source: Source) -> Iterator[Finding]:
    """A task that nobody supervises dies unseen. ``tasks.create_task`` is the store's, ``Condition.wait_for`` waits
    for a predicate: a call counts when it is made on ``asyncio``, a loop or a task group, or by a bare name."""
    if source.package not in MAY_IMPORT or source.path == TASKS:
        return
    bare = {name.rsplit(".", 1)[1] for name, _ in source.imported if name.startswith("asyncio.")}
    for node in source.nodes:
        if not isinstance(node, ast.Call) or (remedy := MAKES_TASKS.get(name := called(node))) is None:
            continue
        if name in bare if isinstance(node.func, ast.Name) else _on_asyncio(node.func):
            yield Finding(source.at(node), "tasks", f"{name}: use {remedy}")


def _on_asyncio(called: ast.expr) -> bool:
    """Whether ``x.name`` is asyncio's: ``x`` is the module, a call such as ``get_running_loop()``, or is called
    a loop or a group."""
    match called:
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name == "asyncio" or name.strip("_") in {"loop", "group", "tg"}
        case ast.Attribute(value=ast.Call()):
            return True
    return False


def one_writer(source: Source) -> Iterator[Finding]:
    """A write that no test can make fail is one whose failure nobody has seen."""
    if source.package not in MAY_IMPORT or source.path == WRITER:
        return
    if any(fnmatch(source.path, pattern) for pattern in WRITES_ITSELF):
        return
    for node, name in file_writes(source.nodes):
        yield Finding(source.at(node), "writes", f"{name}: use {WRITER}")


def loop_variables(source: Source) -> Iterator[Finding]:
    """A loop variable says what it holds."""
    if source.package not in MAY_IMPORT:
        return
    for node in loop_names(source.nodes):
        yield Finding(source.at(node), "names", f"{node.id} says nothing: name what the loop variable holds")


def class_names(sources: Sequence[Source]) -> Iterator[Finding]:
    """One name, one class."""
    nodes = {source.path: source.nodes for source in sources if source.package in MAY_IMPORT}
    for name, places in shared_names(nodes):
        yield Finding(places[0], "names", f"class {name} is also at {', '.join(places[1:])}: rename one of them")


RULES: tuple[Callable[[Source], Iterator[Finding]], ...] = (
    arrows,
    rooms,
    homes,
    runner_alone,
    pure_drivers,
    honest_tests,
    excuses,
    size,
    one_root,
    transactions,
    supervised,
    one_writer,
    loop_variables,
)


def cycles(sources: Sequence[Source]) -> Iterator[Finding]:
    """Modules that import each other, through whatever others, types and imports inside functions included; and
    folders that do. A folder and one inside it are no pair: the files of ``bot/`` itself are both what its folders
    share and what connects them."""
    modules = {_module(source.path): source for source in sources if source.package in MAY_IMPORT}
    arrows = {module: _asked(module, source, modules) for module, source in modules.items()}
    for circle in circles(arrows):
        yield Finding(modules[circle[0]].path, "cycles", f"these import each other: {', '.join(circle)}")
    folders = {module: source.path.rsplit("/", 1)[0] for module, source in modules.items()}
    for circle in circles(between_folders(arrows, folders)):
        yield Finding(circle[0], "folders", f"these import each other: {', '.join(circle)}")


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _asked(module: str, source: Source, modules: Collection[str]) -> set[str]:
    """The modules of ours that a file imports; a name in a module counts as that module."""
    asked: set[str] = set()
    for name, _ in source.imported:
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        asked.update([next((prefix for prefix in prefixes if prefix in modules), module)])
    return asked - {module}


def addresses(path: str, text: str, places: tuple[str, ...]) -> Iterator[Finding]:
    """A committed file names no registry and none of ``places`` (absolute paths of the machine at hand)."""
    for number, line in enumerate(text.splitlines(), 1):
        if any(pattern.search(line) for pattern in _ADDRESSES):
            yield Finding(f"{path}:{number}", "addresses", "names a package registry's address")
        for place in places:
            if place in line:
                yield Finding(f"{path}:{number}", "addresses", f"names {place}, a path of one machine")


def check(root: Path, files: list[str], places: tuple[str, ...] = ()) -> list[Finding]:
    """Every breach in ``files`` (paths relative to ``root``); binary files are passed over."""
    gc.disable()  # it would go through millions of nodes again and again, all of which are kept until the end
    try:
        return list(_breaches(root, files, places))
    finally:
        gc.enable()


def _breaches(root: Path, files: list[str], places: tuple[str, ...]) -> Iterator[Finding]:
    sources: list[Source] = []
    for path in sorted(files):
        try:
            text = (root / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        yield from addresses(path, text, places)
        if path.endswith(".py"):
            source = Source(path, text, ast.parse(text, path))
            sources.append(source)
            for rule in RULES:
                yield from rule(source)
    yield from cycles(sources)
    yield from class_names(sources)

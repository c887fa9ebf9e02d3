"""What the demo runs on: a temporary repository with a failing test, two machines, one fleet.toml."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import tomlkit

from fleet.errors import Misused, Unavailable
from fleet.git.command import own_environment

PROMPT = "A 10% discount raises the price. Fix shop/pricing.py."

_PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex"}
_FILES = {
    "shop/__init__.py": "",
    "shop/pricing.py": (
        '"""What a thing costs, in cents."""\n\n\n'
        "def discounted(price: int, percent: int) -> int:\n"
        '    """The price after a discount of ``percent``."""\n'
        "    return price + price * percent // 100\n"
    ),
    "tests/test_pricing.py": (
        "from shop.pricing import discounted\n\n\n"
        "def test_ten_percent_off():\n"
        "    assert discounted(1000, 10) == 900\n\n\n"
        "def test_nothing_off():\n"
        "    assert discounted(1000, 0) == 1000\n\n\n"
        "def test_never_below_zero():\n"
        "    assert discounted(1000, 150) == 0\n"
    ),
    "conftest.py": "",
    ".gitignore": "__pycache__/\n.pytest_cache/\n",
    "README.md": "# shop\n\nA small shop, made by the Airboss demo.\n",
}


@dataclass(frozen=True, slots=True)
class World:
    """The files of one demo, all under ``directory``."""

    directory: Path
    home: Path
    repository: Path
    channels: Path

    def channels_opened(self) -> int:
        """How many SSH session channels the macbook's server has seen."""
        return len(self.channels.read_text("utf-8").splitlines()) if self.channels.exists() else 0


@contextmanager
def make(directory: Path, agent: str) -> Iterator[World]:
    """Creates the files, and runs the macbook's SSH server on loopback while the demo runs.

    ``agent`` is "demo" (a plain program), or "claude" or "codex": the real program on PATH with its own login.
    Raises ``Misused`` for another name, ``Unavailable`` when git or the SSH server does not start.
    """
    repository = _repository(directory)
    ssh = directory / "macbook-ssh"
    ssh.mkdir(parents=True)
    with _ssh_server(ssh) as ready:
        home = directory / "home"
        home.mkdir(mode=0o700)
        _fleet_file(home, repository, directory, ready, agent)
        yield World(directory, home, repository, ssh / "channels.jsonl")


def _repository(directory: Path) -> Path:
    source, bare = directory / "shop", directory / "shop.git"
    for name, text in {**_FILES, "airboss.toml": _gates()}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    identity = ("-c", "user.name=Demo", "-c", "user.email=demo@localhost")
    _git(source, "init", "-q", "--initial-branch=main")
    _git(source, "add", "-A")
    _git(source, *identity, "commit", "-q", "-m", "A shop with a wrong discount")
    _git(directory, "clone", "-q", "--bare", str(source), str(bare))
    return bare


def _gates() -> str:
    document = tomlkit.document()
    gate = tomlkit.table()
    gate["run"] = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={junit}"]
    gate["timeout"] = "2m"
    gate["needs"] = ["linux" if sys.platform == "linux" else "macos"]
    gate["protected"] = ["tests/**", "**/conftest.py", "pytest.ini", "pyproject.toml", "airboss.toml"]
    gate["rework_turns"] = 3
    document["gates"] = {"tests": gate}
    return tomlkit.dumps(document)


def _fleet_file(home: Path, repository: Path, directory: Path, ready: dict[str, str], agent: str) -> None:
    system = "linux" if sys.platform == "linux" else "macos"
    here = directory / "machines"
    path = _path_of(agent)
    machines = {
        "evo-x2": {
            "executor": "local",
            "labels": [system],
            "slots": 4,
            "python": sys.executable,
            "path": path,
            "gate_path": [str(Path(sys.executable).parent)],
            "gate_read": [sys.prefix, sys.base_prefix],
            "home": str(here / "evo-x2"),
        },
        "macbook": {
            "executor": "ssh",
            "host": "127.0.0.1",
            "port": ready["port"],
            "user": ready["user"],
            "host_key": ready["host_key"],
            "identity": ready["identity"],
            "labels": ["macos", "ios"],
            "slots": 2,
            "gates": False,
            "python": sys.executable,
            "path": path,
            "home": str(here / "macbook"),
        },
    }
    program = [sys.executable, str(Path(__file__).with_name("agent.py"))]
    known = {
        "demo": {"driver": "acp", "program": program},
        "claude": {"driver": "claude", "program": ["claude"]},
        "codex": {"driver": "codex", "program": ["codex"]},
    }
    if agent not in known:
        raise Misused(attempted="run the demo", on=f"AGENT={agent}", hint=f"Known: {', '.join(known)}.")
    document = {
        "isolation": "unsafe-same-user",
        "machines": machines,
        "agents": {agent: known[agent]},
        "repos": {"shop": {"url": str(repository), "base": "main", "agent": agent}},
    }
    (home / "fleet.toml").write_text(tomlkit.dumps(document), "utf-8")


def ready(agent: str) -> None:
    """Raises ``Unavailable``, with the remedy, when this real agent is not on PATH, or codex is not logged in; or
    when there is no pytest, which a wheel does not bring and the demo's gate runs.

    Codex without a login would try to connect for minutes; Claude Code says at once that it is not logged in.
    """
    if importlib.util.find_spec("pytest") is None:
        raise Unavailable(
            attempted="run the demo",
            cause="its gate runs pytest, which is not installed beside Airboss",
            hint=f"pipx inject airboss pytest, or otherwise: {sys.executable} -m pip install pytest",
        )
    if agent in _PACKAGES and shutil.which(agent) is None:
        raise Unavailable(
            attempted="run the demo",
            on=f"AGENT={agent}",
            cause=f"{agent} is not on PATH",
            hint=f"Install it (npm install -g {_PACKAGES[agent]}), log in once by running it, and try again.",
        )
    if agent == "codex" and not _own_model_server() and not _answers("codex", "login", "status"):
        raise Unavailable(
            attempted="run the demo",
            on="AGENT=codex",
            cause="codex is not logged in",
            hint="Run `codex login` by hand, then try again.",
        )


def _answers(*command: str) -> bool:
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0


def _own_model_server() -> bool:
    """Whether codex is configured with another model server, which needs no login with the vendor."""
    config = Path.home() / ".codex" / "config.toml"
    return config.exists() and "model_provider" in config.read_text(errors="replace")


def _path_of(agent: str) -> list[str]:
    """The directories of a real agent and of the node that runs it: a login's own PATH may have neither."""
    found = [shutil.which(name) for name in (agent, "node")] if agent in _PACKAGES else []
    return list(dict.fromkeys(str(Path(program).parent) for program in found if program))


@contextmanager
def _ssh_server(directory: Path) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-P", "-m", "fleet.machines.ssh_server", "--dir", str(directory)]
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            yield _ready(directory, server)
        finally:
            _close(server.stdin)
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


def _ready(directory: Path, server: subprocess.Popen[bytes]) -> dict[str, str]:
    path = directory / "ready.json"
    deadline = time.monotonic() + 20
    while not path.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            log = (directory / "server.log").read_text(errors="replace")[-500:]
            raise Unavailable(attempted="start the macbook's SSH server", on=str(directory), cause=log)
        time.sleep(0.02)
    found: dict[str, str] = json.loads(path.read_text("utf-8"))
    return found


def _git(directory: Path, *arguments: str) -> None:
    ran = subprocess.run(
        ["git", *arguments], cwd=directory, env=own_environment(), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Unavailable(attempted=f"run git {arguments[0]}", on=str(directory), cause=ran.stderr.strip())

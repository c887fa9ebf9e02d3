"""``airboss gate try``: the gates by hand, over commits, with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bot.local.gate_try import gate_try
from bot.local.pythons import behind, python_at
from fleet.errors import Misused
from tests.far_end.repositories import commit, git, make_work
from tests.scenarios.gate_house import airboss_toml
from tests.schema import load, problems

SH = "/bin/sh"


@pytest.mark.parametrize(
    ("toml", "files", "status", "outcome", "states"),
    [
        (airboss_toml("true"), {"a": "1"}, 0, "passed", {"tests": "passed"}),
        (
            airboss_toml(SH, "-c", "echo E broken; exit 3") + '[gates.zz]\nkind = "review"\n',
            {"a": "1"},
            1,
            "failed",
            {"tests": "failed", "zz": "missing"},
        ),
        (airboss_toml(SH, "-c", "sleep 100", timeout="1s"), {"a": "1"}, 1, "failed", {"tests": "timed-out"}),
        ("", {"a": "1"}, 2, "refused", {}),
        ("[gates.tests]\nrun = 3\n", {"a": "1"}, 2, "refused", {}),
        (airboss_toml("no-such-program"), {"a": "1"}, 3, "unavailable", {"tests": "unavailable"}),
        (airboss_toml(SH, "-c", "exit 75"), {"a": "1"}, 3, "unavailable", {"tests": "unavailable"}),
        (airboss_toml("true", more='protected = ["a"]'), {"a": "1"}, 4, "held", {"tests": "held"}),
    ],
)
async def test_trying_gates_by_hand(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    toml: str,
    files: dict[str, str | bytes],
    status: int,
    outcome: str,
    states: dict[str, str],
) -> None:
    work = make_work(tmp_path / "work", {"airboss.toml": toml, "x": "x"})
    commit(work, files)
    before = git(work, "status", "--porcelain", "--ignored") + git(work, "for-each-ref")
    assert await gate_try(work, "HEAD~1", "main", False, None) == status
    text = capsys.readouterr().out
    assert f"{outcome}: {git(work, 'rev-parse', 'HEAD')[:12]}" in text
    assert await gate_try(work, "HEAD~1", "main", True, tmp_path / "home") == status
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["outcome"], said["status"]) == (outcome, outcome, status)
    assert {gate["name"]: gate["state"] for gate in said["gates"]} == states
    assert problems(said, load("gate-try.json")) == []
    assert git(work, "status", "--porcelain", "--ignored") + git(work, "for-each-ref") == before
    assert list((tmp_path / "home").iterdir()) == []
    if states.get("tests") == "failed":
        assert "  E broken" in text
        assert "exit status 3" in text


async def test_a_setup_is_run_with_the_programs_that_the_shell_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools" / "bin"
    tools.mkdir(parents=True)
    (tools / "installer").write_text("#!/bin/sh\nmkdir -p made/bin && printf '#!/bin/sh\\n' > made/bin/checker\n")
    (tools / "installer").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    setup = '[setup.tools]\nrun = [["installer"], ["chmod", "+x", "made/bin/checker"]]\ninputs = ["x"]\n'
    toml = setup + 'provides = ["made"]\n' + airboss_toml("checker")
    work = make_work(tmp_path / "work", {"airboss.toml": toml, "x": "x"})
    commit(work, {"a": "1"})
    assert await gate_try(work, "HEAD~1", "main", False, tmp_path / "home") == 0, capsys.readouterr().out
    assert list((tmp_path / "home").iterdir()) == []


def test_a_try_that_is_ended_ends_its_gate_and_leaves_nothing(tmp_path: Path) -> None:
    work = make_work(tmp_path / "work", {"airboss.toml": airboss_toml(SH, "-c", "sleep 300"), "x": "x"})
    commit(work, {"a": "a_name_that_may_be_a_secret = 1\n"})
    argv = [str(Path(sys.executable).with_name("airboss")), "gate", "try", "--repo", str(work)]
    ends = {"int": signal.SIGINT, "term": signal.SIGTERM, "hup": signal.SIGHUP, "nohup": signal.SIGTERM}
    tries: dict[str, subprocess.Popen[bytes]] = {}
    for name in ends:
        (tmp_path / name).mkdir()
        env = {**os.environ, "TMPDIR": str(tmp_path / name), "HOME": str(tmp_path)}
        words = [*(["nohup"] if name == "nohup" else ["env", "--default-signal=HUP"]), *argv]
        none = subprocess.DEVNULL
        tries[name] = subprocess.Popen(
            [*words, "--base", "HEAD~1", "--head", "HEAD"], env=env, stdin=none, stdout=none, stderr=-1
        )
    for name, tried in tries.items():
        while not (found := running(tmp_path / name)):
            assert tried.poll() is None
            time.sleep(0.05)
        assert ignores_hangups(tried.pid) is (name == "nohup")
        tried.send_signal(ends[name])
        _, said = tried.communicate(timeout=60)
        assert (said, tried.returncode) == (b"", 128 + ends[name]), name
        assert not any(map(alive, found)) and list((tmp_path / name).iterdir()) == []


def running(scratch: Path) -> list[int]:
    """The gate's first process, once its supervisor has started it."""
    told = [path.read_bytes() for path in scratch.glob("gate-try-*/.airboss/pipes/*/status")]
    return [main for each in told if each and (main := json.loads(each)["main"])]


def ignores_hangups(pid: int) -> bool:
    ignored = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn")
    )
    return bool(int(ignored.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("toml", ["", airboss_toml("true")])
async def test_a_search_that_stood_ready_leaves_nothing(tmp_path: Path, toml: str) -> None:
    """Without gates, nothing is searched."""
    work = make_work(tmp_path / "work", {"airboss.toml": toml, "x": "x"})
    commit(work, {"a": "a_name_that_may_be_a_secret = 1\n"})
    await gate_try(work, "HEAD~1", "main", False, None)
    assert not list(Path(tempfile.gettempdir()).glob(f"airboss-search-{os.getpid()}-*"))


async def test_trying_gates_on_a_ref_that_is_not_there(tmp_path: Path) -> None:
    work = make_work(tmp_path / "work", {"x": "x"})
    with pytest.raises(Misused, match="no such commit"):
        await gate_try(work, "HEAD", "nowhere", False, None)
    with pytest.raises(Misused, match="there is no such directory"):
        await gate_try(tmp_path / "nowhere", "HEAD", "HEAD", False, None)


@pytest.mark.parametrize("script", ["echo '{}'", "echo '[1]'", "echo no JSON", "exit 3", "kill -9 $$"])
def test_a_python_that_is_none_is_passed_over(tmp_path: Path, script: str) -> None:
    program = tmp_path / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    assert python_at(str(program)) is None
    program.chmod(0o755)
    assert python_at(str(program)) is None
    found = python_at(sys.executable)
    assert found is not None and found.pytest


def test_a_shim_of_pyenv_is_looked_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shim itself starts dozens of processes. Where it is not plain what it would start, it starts it."""
    shim, real = tmp_path / "shims" / "python3", tmp_path / "versions" / "3.12.1" / "bin" / "python3"
    work = tmp_path / "work" / "deep"
    for directory in (shim.parent, real.parent, work):
        directory.mkdir(parents=True)
    for program in (shim, real):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    monkeypatch.setenv("PYENV_DIR", str(work))
    assert behind(str(shim)) == str(shim), "no version is chosen"
    (tmp_path / "version").write_text("3.12.1\n")
    assert behind(str(shim)) == str(real)
    (tmp_path / "work" / ".python-version").write_text("system\n")
    assert behind(str(shim)) == str(shim)
    for chosen, found in (("3.12.1", real), ("3.12", shim), ("../3.12.1", shim), ("3.12.1\n3.11", shim)):
        monkeypatch.setenv("PYENV_VERSION", chosen)
        assert behind(str(shim)) == str(found), chosen
    assert behind(str(real)) == str(real)

"""What doctor says of the repositories: who answers, where a change can land, and who else could land one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.doctor.findings import Finding, Severity
from bot.doctor.repositories import apart, check_repositories
from fleet.config import FleetConfig, parse_fleet
from fleet.git.repository import Repository
from tests.contracts.nested import gitmodules, record
from tests.far_end.repositories import advance, git, make_bare

GATES = '[gates.tests]\nrun = ["true"]\nneeds = ["linux"]\n'
FLEET = """
isolation = "unsafe-same-user"
[machines.here]
executor = "local"
labels = ["linux"]
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "{url}"
"""


def config(url: Path) -> FleetConfig:
    return parse_fleet(FLEET.format(url=url), "fleet.toml")


async def found(url: Path, home: Path) -> list[Finding]:
    fleet = config(url)
    mirror = home / "repos" / "shop.git"
    return await check_repositories(fleet, lambda name: Repository(name, str(url), "main", mirror))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir(mode=0o755)
    made = make_bare(tmp_path / "srv" / "shop.git", {"a.txt": "a\n", "airboss.toml": GATES})
    made.chmod(0o750)
    return made


async def test_a_good_repository_has_no_complaint(bare: Path, tmp_path: Path) -> None:
    findings = await found(bare, tmp_path / "home")
    assert {finding.level for finding in findings} == {Severity.OK}
    said = " ".join(finding.what for finding in findings)
    assert "main is at" in said and "changes can land there" in said and "its owner and group" in said


async def test_submodules_answer_or_are_named(bare: Path, tmp_path: Path) -> None:
    lib = make_bare(tmp_path / "srv" / "lib.git", {"lib.txt": "1\n"})
    named = gitmodules(vendor__lib="../lib.git")
    record(bare, {".gitmodules": named}, vendor__lib=git(lib, "rev-parse", "main"))
    said = [finding.what for finding in await found(bare, tmp_path / "home")]
    assert "it has 1 submodule, and each one's repository answers" in said
    shutil.rmtree(lib)
    (bad,) = [finding for finding in await found(bare, tmp_path / "home") if finding.level is Severity.BAD]
    assert bad.unavailable and "the submodule 'vendor/lib' at" in bad.what and "lib.git" in bad.what
    record(bare, {".gitmodules": gitmodules(vendor__lib="http://example.com/lib.git")})
    (bad,) = [finding for finding in await found(bare, tmp_path / "home") if finding.level is Severity.BAD]
    assert "'vendor/lib'" in bad.what and "not usable" in bad.what and bad.remedy


def gone(bare: Path) -> None:
    shutil.rmtree(bare)


def label(bare: Path) -> None:
    advance(bare, {"airboss.toml": GATES.replace("linux", "gpu")})


def no_gates(bare: Path) -> None:
    advance(bare, {"airboss.toml": "[gates]\n"})


def checked_out(bare: Path) -> None:
    git(bare, "worktree", "add", "-q", str(bare.with_suffix(".tree")), "main")


def open_to_all(bare: Path) -> None:
    bare.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "what", "remedy"),
    [
        (gone, "no such directory", "check the path in fleet.toml"),
        (label, "the gate tests needs gpu, and no machine", "needs in airboss.toml"),
        (no_gates, "it defines no gate", "commit an airboss.toml"),
        (checked_out, "main is checked out in", "Remove that worktree"),
        (open_to_all, "other logins can change", "chmod -R go-w"),
    ],
)
async def test_what_is_wrong_comes_with_its_remedy(
    bare: Path, tmp_path: Path, spoil: Callable[[Path], None], what: str, remedy: str
) -> None:
    spoil(bare)
    bad = [finding for finding in await found(bare, tmp_path / "home") if finding.level is Severity.BAD]
    assert any(what in finding.what and remedy in finding.remedy for finding in bad), bad


async def test_the_command_does_not_touch_the_mirror_of_a_running_controller(bare: Path, tmp_path: Path) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    mirror = home / "repos" / "shop.git"
    await Repository("shop", str(bare), "main", mirror).fetch()
    label(bare)
    before = sorted((path, path.stat().st_mtime_ns) for path in mirror.rglob("*"))
    findings = await check_repositories(config(bare), lambda name: apart(config(bare), home, name, scratch))
    assert any("needs gpu" in finding.what for finding in findings), "it reads the base as it is now"
    assert sorted((path, path.stat().st_mtime_ns) for path in mirror.rglob("*")) == before

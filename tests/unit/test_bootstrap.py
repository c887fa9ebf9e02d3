"""Installing honours the machine's own registry, checks every file, and says what is missing."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "deploy" / "bootstrap.py"


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("airboss_bootstrap", BOOTSTRAP)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uv_is_told_what_pip_was_told(bootstrap: ModuleType) -> None:
    config = "\n".join(
        (
            "global.index-url='https://mirror.example/simple'",
            r"global.extra-index-url='https://one.example/simple\nhttps://two.example/simple'",
            "global.find-links='/srv/wheels /srv/more'",
            ":env:.cert='/etc/own.pem'",
            "global.timeout='60'",
        )
    )
    told = bootstrap.uv_settings(config)
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert told["UV_INDEX"] == "https://one.example/simple https://two.example/simple"
    assert told["UV_FIND_LINKS"] == "/srv/wheels,/srv/more"
    assert told.get("SSL_CERT_FILE", "/etc/own.pem") == "/etc/own.pem"


def test_what_uv_was_told_itself_counts(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/simple")
    assert "UV_DEFAULT_INDEX" not in bootstrap.uv_settings("global.index-url='https://pip.example/simple'")


def test_what_a_start_imports_is_compiled_whatever_the_environment_says(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    bootstrap.CACHE.mkdir(exist_ok=True)
    for name in ("airboss", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "started.py").write_text("VALUE = 1\n")
    bootstrap.compile_python(sys.executable, tmp_path)
    compiled = [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.pyc")]
    assert compiled == ["airboss"]


def test_uv_itself_is_installed_by_hash(bootstrap: ModuleType) -> None:
    lines = bootstrap.only((ROOT / "requirements.lock").read_text(), "uv").splitlines()
    assert re.match(r"uv==[0-9.]+ \\$", lines[0])
    assert any("--hash=sha256:" in line for line in lines[1:])
    assert not any(re.match(r"\S+==", line) for line in lines[1:])


def test_every_package_of_the_locks_has_a_hash() -> None:
    pinned = re.split(r"^(?=\S+==)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert [block.split()[0] for block in pinned if "==" in block and "--hash=sha256:" not in block] == []
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


def test_the_bootstrap_is_readable_to_an_old_python() -> None:
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 7))


def test_without_git_it_says_what_to_install(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "deploy").mkdir(parents=True)
    shutil.copy(BOOTSTRAP, checkout / "deploy")
    done = subprocess.run(
        [sys.executable, str(checkout / "deploy" / "bootstrap.py")],
        env={"PATH": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Airboss needs git" in done.stderr
    assert "Traceback" not in done.stderr


def test_ci_runs_what_a_person_can_run() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "export CI=true", "exec make test </dev/null"]

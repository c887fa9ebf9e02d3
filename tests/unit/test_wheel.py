"""The wheel has all that the command needs, outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_an_installed_wheel_runs_makes_a_store_and_installs_its_hooks(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("airboss-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        packed.extractall(site)
        entry = packed.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert "airboss = airboss:main" in entry
    assert not [name for name in names if name.startswith(("tests/", "deploy/")) or "__pycache__" in name]
    tracked = subprocess.run(
        ["git", "ls-files", "--", "bot", "fleet", "gates"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    packed_as = {name.removeprefix("bot/entry/") for name in tracked}
    assert packed_as <= set(names), "every file of the three packages, data too, and the command beside them"
    verifier = (site / "bot/demo/verify_bundle.py.txt").read_bytes()
    assert verifier == (ROOT / "docs/verify_bundle.py").read_bytes(), "the demo's last step needs it"

    home, person = tmp_path / "home", tmp_path / "person"
    home.mkdir(mode=0o700)
    person.mkdir()
    (home / "fleet.toml").write_text('isolation = "unsafe-same-user"\n[repos.shop]\nurl = "/nowhere/shop.git"\n')
    hiding = tmp_path / "hiding" / "bot"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("raise ImportError('of a person, and of the same name')\n")
    run = "import sys; site = sys.argv.pop(1); sys.path.insert(1, site); import airboss; status = airboss.main(); "
    run += "import bot; assert bot.__file__.startswith(site); sys.exit(status)"
    env = {**os.environ, "HOME": str(person), "AIRBOSS_HOME": str(home), "PYTHONPATH": str(hiding.parent)}

    def airboss(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-c", run, str(site), *words],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout

    airboss("lock", "acquire", "deploy", "--holder", "a", "--ttl", "5", "--json")
    assert (home / "airboss.db").exists(), "the migrations are in it"
    airboss("hooks", "install")
    assert (person / ".airboss-hooks/client/airboss_hook/hook_stop.py").exists()
    assert json.loads(airboss("hooks", "show", "--json"))["repositories"] == ["shop"]
    assert "ExecStart=" in airboss("service", "show")

"""The suite's own guards: a skipped test and a process left behind both fail the run; a failed command is shown."""

from __future__ import annotations

import sys
from itertools import groupby
from multiprocessing import spawn
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import dealt
from tests.scenarios.controllers import no_main_module

pytest_plugins = ["pytester"]

CONFTEST = (Path(__file__).resolve().parents[1] / "conftest.py").read_text()


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.replace("GRACE_SECONDS = 30.0", "GRACE_SECONDS = 0.5"))
    return pytester


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skipped_test_fails_the_run(run: pytest.Pytester, workers: str) -> None:
    run.makepyfile("import pytest\ndef test_a(): pytest.skip('no sshd here')\ndef test_b(): pass\n")
    result = run.runpytest_subprocess("-n", workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*not run, so this run fails*", "*test_a*no sshd here*", "*1 passed, 1 skipped*"])


def test_a_module_passed_over_fails_the_run(run: pytest.Pytester) -> None:
    run.makepyfile(test_a="import pytest\npytest.importorskip('no_such_library')\n", test_b="def test_b(): pass\n")
    result = run.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_a.py: *no_such_library*"])


def test_a_process_that_outlives_its_test_fails_it(run: pytest.Pytester) -> None:
    run.makepyfile(
        "import subprocess\n"
        "def test_a(tmp_path):\n"
        "    left = subprocess.Popen(['sh', '-c', 'echo up; sleep 60; :'], cwd=tmp_path, start_new_session=True,\n"
        "                            stdout=subprocess.PIPE)\n"
        "    left.stdout.read(3)\n"
    )
    result = run.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left behind, and ended now: * sleep 60*"])


def test_an_orderly_run_passes(run: pytest.Pytester) -> None:
    run.makepyfile(
        "import os, subprocess\n"
        "def test_a(tmp_path): subprocess.run(['true'], cwd=tmp_path)\n"
        "def test_b(): assert not os.path.exists(os.environ['AIRBOSS_HOME'])\n"
    )
    result = run.runpytest_subprocess("-n", "2")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", ["0", "2"])
def test_without_root_what_needs_it_is_left_out_and_counted(pytester: pytest.Pytester, workers: str) -> None:
    pytester.makeconftest(CONFTEST.replace("os.geteuid() != 0", "os.geteuid() >= 0"))
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.mark.needs_root\n"
        "def test_a(): assert False\n"
        "@pytest.mark.parametrize('way', ['plain', pytest.param('root', marks=pytest.mark.needs_root)])\n"
        "def test_b(way): assert way == 'plain'\n"
    )
    result = pytester.runpytest_subprocess("-n", workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["2 tests need root and were not run: sudo make test", "*1 passed*"])


def test_each_worker_begins_with_long_tests_and_none_is_lost() -> None:
    names = [f"/tests/{room}/test_{name}.py" for room in ("contracts", "scenarios", "unit") for name in "abc"]
    items: list[Any] = [SimpleNamespace(path=Path(name), at=at) for name in names for at in range(4)]
    for workers in (1, 2, 3, 5, 50):
        order = dealt(items, workers)
        assert sorted(map(id, order)) == sorted(map(id, items))
        assert len(list(groupby(order, key=lambda item: item.path))) <= len(names) + workers, (
            "modules stay together"
        )
    order = dealt(items, 2)
    for half in (order[:18], order[18:]):
        rooms = [item.path.parent.name == "unit" for item in half]
        assert rooms == sorted(rooms) and rooms.count(False) == 12


def test_a_command_that_failed_shows_its_words(run: pytest.Pytester) -> None:
    run.makepyfile(
        "import pytest, subprocess\n"
        "@pytest.fixture\n"
        "def server(): subprocess.run(['sh', '-c', 'echo no lib >&2; exit 1'], check=True, capture_output=True)\n"
        "def test_a(server): pass\n"
    )
    run.runpytest_subprocess().stdout.fnmatch_lines(["*no lib"])


def test_a_script_that_starts_a_controller_is_not_run_again_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases that reviewers keep are plain scripts without a ``__main__`` guard."""
    script = ModuleType("__main__")
    script.__file__ = "/srv/case.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert any(key.startswith("init_main") for key in spawn.get_preparation_data("controller"))
    with no_main_module():
        assert not any(key.startswith("init_main") for key in spawn.get_preparation_data("controller"))

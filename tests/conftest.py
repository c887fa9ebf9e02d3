"""What every test gets: a machine as bare as a stranger's, and a run that cannot look better than it was.

A run fails when a test was skipped, and a test fails when a process that it started outlives it. Without root,
tests that need it are left out when collecting, and the run's last lines say how many and how to run them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.far_end.foreign_witness import younger_python
from tests.far_end.logins import remove_kept_logins
from tests.plans import Watch, watching

T = TypeVar("T")

settings.register_profile(
    "quick", max_examples=50, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", settings.get_profile("quick"), max_examples=2_000)
settings.load_profile(os.environ.get("AIRBOSS_CAMPAIGN", "quick"))

#: What all random choices of a run come from, so that a run can be repeated. Workers of pytest-xdist inherit it.
SEED = int(os.environ.setdefault("AIRBOSS_SEED", str(secrets.randbelow(2**32))))

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's `&` does that, and programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def sampled(values: Iterable[T], most: int) -> list[T]:
    """So many of the values, in order and chosen by the seed; all of them in a full campaign (``make torture``)."""
    every = list(values)
    if FULL or len(every) <= most:
        return every
    chosen = Random(SEED).sample(range(len(every)), most)
    return [every[at] for at in sorted(chosen)]


#: How long a process may take to die after the test that started it ended.
GRACE_SECONDS = 30.0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = SEED


def pytest_report_header() -> str:
    return f"seed: {SEED}; the same choices again: AIRBOSS_SEED={SEED}"


@pytest.fixture(scope="session", autouse=True)
def bare_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads this person's git settings or Airboss home; none leaves a process at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        # Each of the hundreds of controllers that tests start would compile all it imports; that is half its start.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        # A version manager's python3 is a script that starts dozens of programs before Python.
        patch.setenv("PATH", str(Path(sys.base_prefix) / "bin"), prepend=os.pathsep)
        patch.setenv("AIRBOSS_HOME", str(tmp_path_factory.mktemp("nobodys-home") / "home"))
        yield
    remove_kept_logins()
    fail_if_any_lives_in(tmp_path_factory.getbasetemp())


_watch = Watch()


@pytest.fixture(scope="session", autouse=True)
def every_statement_is_looked_at() -> Iterator[None]:
    with watching(_watch):
        yield


@pytest.fixture(autouse=True)
def nothing_that_grows_is_read_whole() -> Iterator[None]:
    """Fails a test whose store walked all of a growing table or sorted it (``tests/plans.py``)."""
    _watch.found()
    yield
    if found := _watch.found():
        pytest.fail("costs more as the store grows:\n" + "\n\n".join(found))


@pytest.fixture(autouse=True)
def no_process_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Looks for processes that name or stand in the test's own directory, after all else was torn down."""
    own = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    before = _processes() if own is not None else set()
    yield
    if own is not None:
        fail_if_any_lives_in(own, before)


def fail_if_any_lives_in(directory: Path, before: Collection[str] = ()) -> None:
    """Fails, and ends them, when processes other than those ``before`` still live in ``directory``.

    Says nothing where there is no /proc.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := living_in(directory, before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail(f"left behind, and ended now: {'; '.join(f'{pid} {line}' for pid, line in left.items())}")


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()} if os.path.isdir("/proc") else set()


def living_in(directory: Path, before: Collection[str] = ()) -> dict[int, str]:
    """Processes, ourselves, zombies and those ``before`` apart, whose command line or working directory lies in
    ``directory``. It is asked after each test: nothing is opened twice, nor through ``pathlib``."""
    found: dict[int, str] = {}
    name = str(directory)
    for pid in _processes().difference(before, {str(os.getpid())}):
        try:
            with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            if line and (f"{name}/" in f"{line}/" or f"{os.readlink(f'/proc/{pid}/cwd')}/".startswith(f"{name}/")):
                found[int(pid)] = line[:300]
        except OSError:
            continue
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """A command that failed shows its own words, which Python's error leaves out."""
    failed = call.excinfo.value if call.excinfo else None
    while failed and not isinstance(failed, subprocess.CalledProcessError):
        failed = failed.__cause__ or failed.__context__
    if isinstance(failed, subprocess.CalledProcessError) and not getattr(failed, "__notes__", ()):
        for said in (failed.stdout, failed.stderr):
            if said:
                failed.add_note(said if isinstance(said, str) else said.decode(errors="replace"))


_without_root = pytest.StashKey[int]()
#: The name under which a worker of pytest-xdist hands its count to the process that prints the summary.
_COUNT = "needs_root"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        left_out = [item for item in items if item.get_closest_marker("needs_root")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("needs_root")]
        config.stash[_without_root] = len(left_out)
    items[:] = dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def dealt(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in an order by which no worker is alone with a long one at the end.

    Each of the workers begins with an equal stretch of the list, and who is done takes from another's end. So each
    stretch begins with modules of long tests, which wait for programs, and ends with unit tests, which do not.
    """
    modules = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    long, short = (
        [tests for tests in modules if not _is_unit(tests[0])],
        [item for tests in modules if _is_unit(tests[0]) for item in tests],
    )
    order: list[pytest.Item] = []
    for worker in range(workers):
        order += [item for tests in long[worker::workers] for item in tests]
        upto = len(items) * (worker + 1) // workers
        fill = max(0, upto - len(order))
        order += short[:fill]
        del short[:fill]
    return order


def _is_unit(item: pytest.Item) -> bool:
    return item.path.parent.name == "unit"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    count = getattr(node, "workeroutput", {}).get(_COUNT, 0)  # absent when the worker crashed
    node.config.stash[_without_root] = max(count, node.config.stash.get(_without_root, 0))


def pytest_collection_finish() -> None:
    """What was collected stays to the end. Looking through it for garbage took a fifth of a test's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


_passed_over: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _passed_over.append(f"{report.nodeid}: {_why(report.longrepr)}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _passed_over.append(f"{report.nodeid}: {_why(report.longrepr)}")


def _why(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else "expected to fail"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_COUNT] = session.config.stash.get(_without_root, 0)
    if _passed_over and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(_without_root, 0):
        terminalreporter.line(f"{count} tests need root and were not run: sudo make test", yellow=True)
    if FULL and not younger_python():
        terminalreporter.line("no Python 3.12 here: no witness of others was asked", yellow=True)
    if _passed_over:
        terminalreporter.section("not run, so this run fails", red=True)
        for line in _passed_over:
            terminalreporter.line(line)

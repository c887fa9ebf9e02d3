"""What contract suites share: the store on its two databases, an executor on each kind of login, real agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet.store.core import Store
from tests.conftest import FULL
from tests.contracts.agent_stand import AGENTS, Stand, stand_of
from tests.contracts.executor_logins import KINDS, QUICK_KINDS, Login, far_end, opened
from tests.empty_store import filled, filled_database
from tests.far_end.cluster import Cluster, running_cluster
from tests.far_end.postgres import Postgres, running_postgres
from tests.far_end.sshd import Sshd


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the tests of one worker; each test gets a database of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that nobody has made yet; of the test's store, if it has one."""
    has_one = "store" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "airboss.db"
        return f"sqlite:///{filled(path) if has_one else path}"
    server: Postgres = request.getfixturevalue("postgres")
    return filled_database(server) if has_one else server.new_database()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new store."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with far_end() as server:
        yield server


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for the tests of one worker; each test has a job of its own."""
    with running_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as made:
        yield made


@pytest.fixture(params=KINDS if FULL else QUICK_KINDS)
async def login(request: pytest.FixtureRequest, sshd: Sshd) -> AsyncIterator[Login]:
    cluster = request.getfixturevalue("slurm_cluster") if request.param == "slurm" else None
    async with opened(request.param, sshd, cluster) as made:
        yield made


@pytest.fixture(params=AGENTS if FULL else AGENTS[:2])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    """A real agent, with a scripted model."""
    with stand_of(request.param, tmp_path) as made:
        yield made

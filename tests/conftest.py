"""Fixtures for every test: real servers.

Shared (one server for the whole run, all xdist workers; each test gets its own part of it; never harm it):
    postgres      str: URL of a new database with the schema on PostgreSQL 18 with pgvector; dropped after the test.
    empty_postgres    str: the same without the schema.
    rabbitmq      testkit.rabbitmq.QueuePlace: ``.url``, and ``.queue``, a name of the test's own for DOCTRAIN_BROKER_QUEUE.
    etcd          str: URL for DOCTRAIN_REGISTRY_URL. One key space for all tests: use keys of your own, or own_etcd.

A server of its own (may be killed, frozen, wiped: ``kill()``, ``freeze()``, ``thaw()``, ``await restart()``, ``await wipe()``;
one a worker process, running again at the next test's start). Give such tests ``@pytest.mark.xdist_group("postgres-faults")``
or the like, so that one process runs them all and one server is started:
    own_postgres  testkit.postgres.PostgresServer: ``.url("database")``, ``async with .database() as url``.
    own_rabbitmq  testkit.rabbitmq.RabbitMQServer: ``.url``, ``async with .place() as place``.
    own_etcd      testkit.etcd.EtcdServer: ``.url``.

A browser for all tests of one process, each of which opens a tab of its own (``testkit.chromium.tab``):
    chromium      selenium's Chrome, headless.

What is missing skips the test, and fails it where CI=true.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from selenium.webdriver import Chrome

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before gRPC is loaded, by whatever comes next
# Unless a URL says otherwise: asyncpg prepares TLS for each connection, which is most of what one costs.
os.environ.setdefault("PGSSLMODE", "disable")

from testkit.chromium import running_chromium
from testkit.etcd import EtcdServer
from testkit.postgres import PostgresServer
from testkit.rabbitmq import QueuePlace, RabbitMQServer
from testkit.server import own_server, shared_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of whoever runs the tests in the background; programs that are started inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts how fast something is; a busy machine is no finding (CONTRIBUTING.md).
hypothesis.settings.register_profile("doctrain", deadline=None)
hypothesis.settings.load_profile("doctrain")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait, for a lease or for a server that starts."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder for all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def shared_postgres(run_folder: Path) -> Iterator[PostgresServer]:
    with shared_server(PostgresServer, run_folder / "shared-postgres") as server:
        yield server


@pytest.fixture
async def postgres(shared_postgres: PostgresServer) -> AsyncIterator[str]:
    async with shared_postgres.database() as url:
        yield url


@pytest.fixture
async def empty_postgres(shared_postgres: PostgresServer) -> AsyncIterator[str]:
    async with shared_postgres.database(empty=True) as url:
        yield url


@pytest.fixture(scope="session")
def started_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with own_server(PostgresServer, tmp_path_factory.mktemp("own-postgres")) as server:
        yield server


@pytest.fixture
def own_postgres(started_postgres: PostgresServer) -> PostgresServer:
    started_postgres.ensure_started()
    return started_postgres


@pytest.fixture(scope="session")
def shared_rabbitmq(run_folder: Path) -> Iterator[RabbitMQServer]:
    with shared_server(RabbitMQServer, run_folder / "shared-rabbitmq") as server:
        yield server


@pytest.fixture
async def rabbitmq(shared_rabbitmq: RabbitMQServer) -> AsyncIterator[QueuePlace]:
    async with shared_rabbitmq.place() as place:
        yield place


@pytest.fixture(scope="session")
def started_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    with own_server(RabbitMQServer, tmp_path_factory.mktemp("own-rabbitmq")) as server:
        yield server


@pytest.fixture
def own_rabbitmq(started_rabbitmq: RabbitMQServer) -> RabbitMQServer:
    started_rabbitmq.ensure_started()
    return started_rabbitmq


@pytest.fixture(scope="session")
def shared_etcd(run_folder: Path) -> Iterator[EtcdServer]:
    with shared_server(EtcdServer, run_folder / "shared-etcd") as server:
        yield server


@pytest.fixture
def etcd(shared_etcd: EtcdServer) -> str:
    return shared_etcd.url


@pytest.fixture(scope="session")
def started_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with own_server(EtcdServer, tmp_path_factory.mktemp("own-etcd")) as server:
        yield server


@pytest.fixture
def own_etcd(started_etcd: EtcdServer) -> EtcdServer:
    started_etcd.ensure_started()
    return started_etcd


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver

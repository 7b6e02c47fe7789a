"""Fixtures for every test: real servers.

Shared (one server for the whole run, all xdist workers; each test gets its own part of it; never harm it):
    postgres      str: URL of a new, empty database on PostgreSQL 18 with pgvector; dropped after the test.

A server of its own (may be killed, frozen, wiped: ``kill()``, ``freeze()``, ``thaw()``, ``await restart()``, ``await wipe()``;
one a worker process, running again at the next test's start). Give such tests ``@pytest.mark.xdist_group("postgres-faults")``
or the like, so that one process runs them all and one server is started:
    own_postgres  testkit.postgres.PostgresServer: ``.url("database")``, ``async with .database() as url``.

A missing server skips the test, and fails it where CI=true.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from testkit.postgres import PostgresServer
from testkit.server import own_server, shared_server


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


@pytest.fixture(scope="session")
def started_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with own_server(PostgresServer, tmp_path_factory.mktemp("own-postgres")) as server:
        yield server


@pytest.fixture
def own_postgres(started_postgres: PostgresServer) -> PostgresServer:
    started_postgres.ensure_started()
    return started_postgres

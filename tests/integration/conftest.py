"""What several files of tests stand on: a broker in the process, a guardian and its children, a service that a test scripts."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from doctrain import AsyncClient
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec
from testkit import sandbox
from testkit.coordinator import Coordinators, coordinators
from testkit.pipelines import Bench, open_bench
from testkit.postgres import PostgresServer
from testkit.scripted_service import ScriptedService, serving
from testkit.shell import Shell


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    made = MemoryBroker()
    yield made
    await made.close()


@pytest.fixture
def scratch_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where guardians that start now make scratch folders: whatever becomes of them, nothing stays."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
async def guardian(scratch_root: Path) -> AsyncIterator[Guardian]:
    async with Guardian.open() as opened:
        yield opened


@pytest.fixture(scope="session", params=isolation.WAYS)
def shut_in(request: pytest.FixtureRequest) -> Isolation:
    """Every way that this machine has to shut children in, one after the other."""
    return sandbox.shut_in(request.param)


@pytest.fixture
def spec() -> ChildSpec:
    """What the children of ``pool`` run; a file of tests may have another."""
    return sandbox.SPEC


@pytest.fixture
def children() -> int:
    """How many ``pool`` has."""
    return 2


@pytest.fixture
async def pool(guardian: Guardian, spec: ChildSpec, children: int, shut_in: Isolation) -> AsyncIterator[ChildPool]:
    async with ChildPool.open(guardian, spec, children, shut_in) as opened:
        yield opened


@pytest.fixture
def mark() -> Iterator[str]:
    """A word that stands on the command lines of what a test's children start."""
    word = f"mark-{secrets.token_hex(8)}"
    yield word
    for process in sandbox.marked(word):
        process.kill()


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    """A coordinator on a database of its own; a file of tests may have others."""
    async with coordinators(postgres, tmp_path) as running:
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> AsyncClient:
    """A tenant's client."""
    return await served.tenant("acme")


@pytest.fixture
async def service() -> ScriptedService:
    """What the client talks to; a file of tests may have another."""
    return ScriptedService()


@pytest.fixture
async def client(service: ScriptedService) -> AsyncIterator[AsyncClient]:
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        yield client


@pytest.fixture
async def shell(service: ScriptedService) -> AsyncIterator[Shell]:
    """The command line, told of the service."""
    async with serving(service) as now:
        yield Shell(now.address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files to train, and an empty one."""
    for name in ("a.txt", "b.txt", "deep/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty.txt").write_text("")
    return tmp_path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """The whole pipeline on a database of its own, opened once for a file."""
    async with open_bench(shared_postgres, tmp_path_factory.mktemp("documents")) as made:
        yield made

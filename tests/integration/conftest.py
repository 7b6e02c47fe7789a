"""The in-process broker, for tests of what stands around it; a guardian and its children, for tests of what these may do."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_worker.sandbox import isolation
from doctrain_worker.sandbox.isolation import Isolation
from doctrain_worker.sandbox.link import Guardian
from doctrain_worker.sandbox.pool import ChildPool, ChildSpec
from testkit import sandbox


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

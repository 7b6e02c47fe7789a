"""Loading on a real Postgres: tenants in turn, slow sources, dead ones (docs/protocol.md, "StartTraining")."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.trainings import chunks, loaders, storing, unfinished
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.loaders import Bounds, Loaders
from doctrain_mesh import postgres as postgres_of_mesh
from doctrain_mesh.documents.blobs import OpenedObject
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import BlobUnavailableError, StoreUnavailableError
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.postgres import sizes
from testkit.core import Core, core
from testkit.waiting import wait_until

Pieces = Callable[[int], AsyncIterator[bytes]]


class Scripted:
    """Sources whose bytes a test writes; ``opened`` holds the offsets that were asked for."""

    def __init__(self, pieces: Pieces | None) -> None:
        self._pieces = pieces
        self.rules = UriRules()
        self.opened: list[int] = []

    @asynccontextmanager
    async def open_ranged(self, _tenant: str, _uri: str, offset: int) -> AsyncIterator[OpenedObject]:
        self.opened.append(offset)
        if self._pieces is None:
            await asyncio.sleep(0.2)
            raise BlobUnavailableError("The object store did not answer.")
        yield OpenedObject(1, "e", self._pieces(offset))


@pytest.fixture
async def one(postgres: str) -> AsyncIterator[Core]:
    async with core(postgres) as made:
        yield made


@asynccontextmanager
async def running(one: Core, sources: Scripted, *, patience_seconds: float = 3600) -> AsyncIterator[None]:
    bounds = Bounds(10**6, patience_seconds)
    made = Loaders(Database(one.url), one.locks, one.changes, sources=cast(Sources, sources), bounds=bounds)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run())
        try:
            yield
        finally:
            task.cancel()


async def manifest(one: Core, tenant: int, name: str) -> int:
    new = storing.NewTraining(tenant, name, b"", "", size=1, manifest_uri="s3://bucket/m", load_etag="e", load_count=10)
    return await one.create(new, Chunk(0, 0, last=False))


async def numbered(one: Core, tenant: int, name: str) -> int:
    new = storing.NewTraining(tenant, name, b"", "", size=10, uri_template="s3://b/{n}", load_count=20)
    return await one.create(new, Chunk(10, 10, last=False))


async def sealed(one: Core, training: int) -> dict[str, Any] | None:
    row = await one.row("training", training)
    return row if row["sealed"] else None


def line(number: int) -> bytes:
    return b'{"document_id":"d%d","uri":"s3://bucket/x"}\n' % number


async def test_a_tenant_whose_sources_are_down_delays_no_other(one: Core) -> None:
    dead, other = await one.tenant("dead"), await one.tenant("other")
    for number in range(100):
        await manifest(one, dead, f"m{number}")
    good = await numbered(one, other, "good")
    async with running(one, Scripted(None)):
        row = await wait_until(lambda: sealed(one, good), timeout=5)
    assert row["loaded"] == 20


async def test_a_training_whose_number_is_long_is_loaded_by_one_at_a_time(one: Core) -> None:
    await one.pool.execute("select setval(pg_get_serial_sequence('training', 'id'), (2^40)::bigint)")
    training = await numbered(one, await one.tenant("a"), "t")
    assert training > 2**40
    claims = [await postgres_of_mesh.connect(one.url) for _ in range(2)]
    try:
        assert [await unfinished.claim(connection, training) is not None for connection in claims] == [True, False]
    finally:
        for connection in claims:
            await postgres_of_mesh.close_connection(connection)
    async with running(one, Scripted(None)):
        row = await wait_until(lambda: sealed(one, training), timeout=5)
    assert row["loaded"] == 20


async def test_a_source_slower_than_any_limit_of_the_session_loads_to_its_end(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "IDLE_SECONDS", 1)
    monkeypatch.setattr(chunks, "SECONDS", 0.4)

    async def pieces(offset: int) -> AsyncIterator[bytes]:
        assert offset == 0
        for number in range(3):
            await asyncio.sleep(1.5)
            yield line(number)

    sources = Scripted(pieces)
    training = await manifest(one, await one.tenant("a"), "t")
    seen = set()
    async with running(one, sources):

        async def ended() -> bool:
            row = await one.row("training", training)
            seen.add(row["loaded"])
            return bool(row["sealed"])

        await wait_until(ended, timeout=20)
    assert (await one.row("training", training))["loaded"] == 3
    assert seen >= {1, 2}, "what came is stored while the rest is waited for"
    assert sources.opened == [0]


async def trickle(_offset: int) -> AsyncIterator[bytes]:
    """An attack: a server that never falls silent and never sends a document."""
    while True:
        await asyncio.sleep(0.05)
        yield b"\n"


async def test_manifests_that_trickle_hold_no_place(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SECONDS", 0.1)
    for name, value in (("TURN_SECONDS", 0.3), ("SCAN_SECONDS", 0.2)):
        monkeypatch.setattr(loaders, name, value)
    attacker, other = await one.tenant("attacker"), await one.tenant("other")
    for number in range(2 * sizes.LOADS):
        await manifest(one, attacker, f"m{number}")
    sources = Scripted(trickle)
    async with running(one, sources):
        await wait_until(lambda: len(sources.opened) >= sizes.LOADS)
        good = await numbered(one, other, "good")
        await wait_until(lambda: sealed(one, good), timeout=10)
        await wait_until(lambda: len(sources.opened) >= 2 * sizes.LOADS, timeout=10, what="all had a turn")


async def test_a_manifest_that_trickles_is_given_up_though_nobody_waits(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SECONDS", 0.1)
    for name, value in (("QUIET_SECONDS", 0.2), ("RETRY_SECONDS", 0.05), ("SCAN_SECONDS", 0.1)):
        monkeypatch.setattr(loaders, name, value)
    training = await manifest(one, await one.tenant("a"), "t")
    await one.pool.execute("update training set load_progress_at = now() - interval '2 hours' where id = $1", training)
    async with running(one, Scripted(trickle), patience_seconds=3600):
        await wait_until(lambda: sealed(one, training), timeout=20)
    row = await one.row("training", training)
    assert row["state"] == TrainingState.FAILED
    assert row["reason"].startswith("Nothing of its manifest could be read for 1 hour: No document of it came within")


@pytest.mark.parametrize("documents", [2, 0])
async def test_blank_lines_are_gone_over_once_and_lead_to_the_end(one: Core, monkeypatch: pytest.MonkeyPatch, documents: int) -> None:
    """An attack: each turn of its load began before the same blank lines and ended with them."""
    monkeypatch.setattr(chunks, "SECONDS", 0.1)
    for name, value in (("QUIET_SECONDS", 0.5), ("RETRY_SECONDS", 0.05), ("SCAN_SECONDS", 0.1)):
        monkeypatch.setattr(loaders, name, value)
    whole = b"\n" * 30 + b"".join(line(number) for number in range(documents))

    async def pieces(offset: int) -> AsyncIterator[bytes]:
        for at in range(offset, len(whole)):
            await asyncio.sleep(0.05 if at < 30 else 0)
            yield whole[at : at + 1]

    sources = Scripted(pieces)
    training = await manifest(one, await one.tenant("a"), "t")
    async with running(one, sources):

        async def ended() -> bool:
            row = await one.row("training", training)
            return bool(row["sealed"] or row["state"] == TrainingState.FAILED)

        await wait_until(ended, timeout=20)
    row = await one.row("training", training)
    assert row["loaded"] == documents
    assert row["load_lines"] == 30 + documents if documents else row["reason"] == "The manifest holds no documents."
    assert len(sources.opened) > 1
    assert sources.opened == sorted(set(sources.opened))


async def test_a_long_load_gives_its_place_to_those_that_wait_and_goes_on_where_it_was(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "LOADS", 1)
    monkeypatch.setattr(loaders, "TURN_SECONDS", 0.3)
    monkeypatch.setattr(chunks, "SECONDS", 0.1)
    monkeypatch.setattr(loaders, "SCAN_SECONDS", 0.2)
    size = len(line(10))

    async def pieces(offset: int) -> AsyncIterator[bytes]:
        for number in range(10 + offset // size, 40):
            await asyncio.sleep(0.1)
            yield line(number)

    sources = Scripted(pieces)
    long = await manifest(one, await one.tenant("a"), "long")
    async with running(one, sources):
        await wait_until(lambda: sources.opened)
        short = await numbered(one, await one.tenant("b"), "short")
        await wait_until(lambda: sealed(one, short), timeout=5)
        assert not (await one.row("training", long))["sealed"]
        row = await wait_until(lambda: sealed(one, long), timeout=20)
    assert (row["loaded"], row["load_lines"]) == (30, 30)
    assert len(sources.opened) > 1
    assert sources.opened == sorted(set(sources.opened))


async def test_a_load_that_never_goes_on_fails_with_a_sentence(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(loaders, "LONGEST_RETRY_SECONDS", 0.3)
    monkeypatch.setattr(loaders, "SCAN_SECONDS", 0.1)
    tenant = await one.tenant("a")
    old, young = await manifest(one, tenant, "old"), await manifest(one, tenant, "young")
    await one.pool.execute("update training set load_progress_at = now() - interval '2 hours' where id = $1", old)
    async with running(one, Scripted(None), patience_seconds=3600):

        async def ended() -> dict[str, Any] | None:
            row = await one.row("training", old)
            return row if row["state"] != TrainingState.QUEUED else None

        row = await wait_until(ended, timeout=40)
    assert row["state"] == TrainingState.FAILED
    assert row["reason"] == "Nothing of its manifest could be read for 1 hour: The object store did not answer."
    assert (await one.row("training", young))["state"] == TrainingState.QUEUED


async def test_a_fault_of_ours_ends_no_training_while_there_is_patience(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(loaders, "LONGEST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(loaders, "SCAN_SECONDS", 0.05)

    async def pieces(_offset: int) -> AsyncIterator[bytes]:
        if len(sources.opened) < 2 * loaders.LEAST_TRIES:
            raise RuntimeError("a test says so")
        yield line(1)

    sources = Scripted(pieces)
    training = await manifest(one, await one.tenant("a"), "t")
    async with running(one, sources, patience_seconds=3600):
        row = await wait_until(lambda: sealed(one, training), timeout=40)
    assert (row["state"], row["loaded"]) == (TrainingState.QUEUED, 1)


async def test_a_chunk_that_meets_a_lock_is_given_up_in_time_and_leaves_nothing(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await one.tenant("a")
    training = await numbered(one, tenant, "t")
    connection = await postgres_of_mesh.connect(one.url)
    monkeypatch.setattr(storing, "COMMIT_SECONDS", 0.5)
    chunk = Chunk(10, 20, last=True)
    async with one.pool.acquire() as other, other.transaction():
        await other.execute("select 1 from training where id = $1 for update", training)
        with pytest.raises(StoreUnavailableError, match="loading documents"):
            async with asyncio.timeout(20):
                await storing.extend(connection, training, tenant, loaded=10, expected=20, lanes=1, chunk=chunk)
    await postgres_of_mesh.close_connection(connection)
    assert await one.pool.fetchval("select count(*) from document where training = $1", training) == 10
    assert (await one.row("training", training))["loaded"] == 10


async def test_a_machine_that_is_cut_off_loses_its_claim_within_half_a_minute(one: Core) -> None:
    """What a COPY waits for is the network's keepalive alone; that Postgres is told to use it is all that can be seen in time."""
    connection = await postgres_of_mesh.connect(one.url)
    settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    idle, interval, count = [int(await connection.fetchval("select current_setting($1)", name)) for name in settings]
    await postgres_of_mesh.close_connection(connection)
    assert 0 < idle + interval * count <= 30

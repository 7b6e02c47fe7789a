"""Puts a training's documents into Postgres: small ones in one transaction, large ones chunk by chunk while they already run.

A chunk is read into memory first and copied in one go, so that no slow source holds locks. Each commit moves the durable
offset on under a guard, so two loaders of one training cannot load anything twice, and any coordinator goes on where a
dead one stopped (docs/protocol.md, "StartTraining").
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from doctrain_coordinator import outcomes
from doctrain_coordinator.core.documents import duplicate_id
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.sharding import cut
from doctrain_coordinator.core.states import ShardState, TrainingState, after_counts
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.trainings import named_uploads
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.manifests import fault
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, OwnConnection, Pool, binary_copy, statements
from doctrain_mesh.supervise import deadline

SQL = statements.of(__name__, ShardState, TrainingState)
COMMIT_SECONDS = 120.0
ROWS_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class NewTraining:
    """What a training row begins with. ``size`` is how many documents it is expected to have, for the size of shards."""

    tenant: int
    task_id: str
    request_hash: bytes
    traceparent: str
    size: int = 0
    manifest_uri: str | None = None
    load_etag: str | None = None
    uri_template: str | None = None
    number_offset: int = 0
    load_count: int | None = None
    retry_of: int | None = None
    load_source: int | None = None
    load_classes: Sequence[int] = ()
    retrain: bool = False


class ExistsError(Exception):
    """Another call made a training of that id first."""


async def create(pool: Pool, new: NewTraining, first: Chunk, deed: Deed) -> int:
    """Stores the training with its first documents, and the deed, in one transaction; answers its key.

    Raises ExistsError, StoreUnavailableError. That no id is there twice was seen before: nothing of the training is stored yet.
    """
    async with postgres.acquired(pool, "storing a training", seconds=COMMIT_SECONDS) as c, c.transaction():
        training, lanes = await c.fetchrow(SQL["begin_training"]) or (0, 0)
        await _copy_documents(c, training, 0, first)
        await _store_shards(c, training, new.tenant, number=0, first=0, count=first.count, expected=new.size, lanes=lanes)
        further_lines = new.manifest_uri is not None and not first.last
        await named_uploads.keep(c, new.tenant, training, first, new.uri_template, further_lines=further_lines)
        await _insert(c, training, new, first)
        again = "" if new.retry_of is None else ", to train again what was not trained"
        await deed.write(c, f"Training {training} ({new.task_id}) was started{again}", subject=f"training {new.task_id}")
    return training


async def count_lanes(c: Connection) -> int:
    """How many shards all workers together run at once."""
    lanes: int = await c.fetchval(SQL["lanes"])
    return lanes


async def _insert(c: Connection, training: int, new: NewTraining, first: Chunk) -> None:
    made = await c.fetchval(
        SQL["insert_training"],
        training,
        new.tenant,
        new.task_id,
        new.request_hash,
        first.last,
        first.count,
        first.offset,
        first.lines,
        new.load_etag,
        new.manifest_uri,
        new.uri_template,
        new.number_offset,
        new.traceparent,
        new.load_count,
        new.retry_of,
        new.load_source,
        new.load_classes,
        new.retrain,
    )
    if made is None:
        raise ExistsError


async def extend(c: OwnConnection, training: int, tenant: int, *, loaded: int, expected: int, lanes: int, chunk: Chunk) -> bool:
    """Stores the documents after the first ``loaded``; answers False when the training ended or another loader went ahead.

    Raises InvalidManifestError for an id that was loaded before. After any other error the connection is to be closed: it is not rolled
    back, which on one that does not answer would wait all over again.
    """
    async with postgres.available("loading documents", c), deadline("Storing a chunk of documents", COMMIT_SECONDS):
        await c.execute("begin")
        try:
            await _copy_documents(c, training, loaded, chunk)
            number = await c.fetchval(SQL["next_shard_number"], training)
            await _store_shards(c, training, tenant, number=number, first=loaded, count=chunk.count, expected=expected, lanes=lanes)
            row = await _advance(c, training, loaded, chunk)
        except postgres.UniqueViolationError as error:
            await c.execute("rollback")
            if error.constraint_name == "document_by_id":
                await _name_duplicate(c, training, chunk)
            return False
        await c.execute("rollback" if row is None else "commit")
    if row is not None and row.state.ended:
        outcomes.tell_ended(training, row.task_id, row.state, total=row.total, completed=row.completed, failed=row.failed)
    return row is not None


async def _advance(c: Connection, training: int, loaded: int, chunk: Chunk) -> TrainingRow | None:
    """The training as it is with the chunk; None when there is nothing to go on with."""
    row = await c.fetchrow(SQL["lock_loading"], training, loaded)
    if row is None:
        return None
    if row["paused"]:
        await c.execute(SQL["pause_loaded"], training, loaded)
    total = loaded + chunk.count
    state = after_counts(TrainingState(row["state"]), sealed=chunk.last, total=total, completed=row["completed"], failed=row["failed"])
    version = row["version"] + 1
    await c.execute(SQL["advance"], training, total, chunk.offset, chunk.lines, chunk.last, state, version, state.ended, chunk.goes_on)
    return TrainingRow(training, state, chunk.last, total, row["completed"], row["failed"], version, row["task_id"])


async def _name_duplicate(c: Connection, training: int, chunk: Chunk) -> None:
    """Raises InvalidManifestError that names the first line whose id an earlier chunk has; Postgres says it in its own language only."""
    known = {row["document_id"] for row in await c.fetch(SQL["known_ids"], training, [row[0] for row in chunk.rows])}
    for row, line in zip(chunk.rows, chunk.line_of, strict=True):
        if row[0] in known:
            raise fault(line, duplicate_id(row[0]))


async def _copy_documents(c: Connection, training: int, first: int, chunk: Chunk) -> None:
    if chunk.copied is not None:
        await c.execute(SQL["copy_documents"], training, first, chunk.copied.training, chunk.copied.ordinals)
        return
    if not chunk.rows:
        if chunk.count:
            source = _numbered_rows(training, first, chunk.count)
            await c.copy_to_table("document", source=source, columns=["training", "ordinal"], format="binary")
        return
    records = [
        (training, ordinal, document_id, uri, media_type, metadata)
        for ordinal, (document_id, uri, media_type, metadata) in enumerate(chunk.rows, first)
    ]
    await c.copy_records_to_table(
        "document", records=records, columns=["training", "ordinal", "document_id", "uri", "media_type", "metadata"]
    )


async def _numbered_rows(training: int, first: int, count: int) -> AsyncIterator[bytes]:
    """Documents that differ by number only, as COPY BINARY takes them: 40 % less of Postgres's time than INSERT ... SELECT."""
    yield binary_copy.START
    key = binary_copy.int8(training)
    for start in range(first, first + count, ROWS_AT_ONCE):
        yield binary_copy.numbered_rows(key, numbers=range(start, min(start + ROWS_AT_ONCE, first + count)))
    yield binary_copy.END


async def _store_shards(
    c: Connection, training: int, tenant: int, *, number: int, first: int, count: int, expected: int, lanes: int
) -> None:
    shards = list(cut(first, count, expected=expected, lanes=lanes))
    if shards:
        firsts, counts = zip(*shards, strict=True)
        await c.execute(SQL["insert_shards"], training, tenant, number, firsts, counts)

"""The statements that store documents, and those that tell a worker what is open, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg

from simulation.store.locks import Mode
from simulation.store.statements import columns, named, open_ordinals
from simulation.store.tables import FOREVER, NEVER, Row, Transaction


@named("trainings.storing")
async def begin_training(tx: Transaction) -> list[Row]:
    return [{"training": tx.database.next_id("training"), "lanes": _lanes(tx)}]


@named("trainings.storing")
async def lanes(tx: Transaction) -> list[Row]:
    return [{"lanes": _lanes(tx)}]


def _lanes(tx: Transaction) -> int:
    return sum(row["lanes"] for row in tx.scan("session") if row["state"] == 1)


@named("trainings.storing")
async def insert_training(
    tx: Transaction,
    training: int,
    tenant: int,
    task_id: str,
    request_hash: bytes,
    sealed: bool,
    loaded: int,
    offset: int,
    lines: int,
    etag: str | None,
    manifest: str | None,
    template: str | None,
    number_offset: int,
    traceparent: str,
    load_count: int | None,
    retry_of: int | None,
    load_source: int | None,
    load_classes: list[int],
    retrain: bool,
) -> list[Row]:
    await tx.database.locks.take(tx, ("task", tenant, task_id), Mode.UPDATE)
    if any(row["tenant"] == tenant and row["task_id"] == task_id for row in tx.scan("training")):
        return []
    row = {
        "id": training,
        "tenant": tenant,
        "task_id": task_id,
        "request_hash": request_hash,
        "state": 1,
        "paused": False,
        "sealed": sealed,
        "loaded": loaded,
        "load_offset": offset,
        "load_lines": lines,
        "load_etag": etag,
        "manifest_uri": manifest,
        "uri_template": template,
        "number_offset": number_offset,
        "load_count": load_count,
        "load_source": load_source,
        "load_classes": load_classes,
        "total": loaded,
        "completed": 0,
        "failed": 0,
        "unchanged": 0,
        "version": 1,
        "retry_of": retry_of,
        "retrain": retrain,
        "load_progress_at": tx.now,
        "reason": None,
        "traceparent": traceparent,
        "created_at": tx.now,
        "started_at": None,
        "ended_at": None,
    }
    await tx.insert("training", training, row)
    return [columns(row, "id")]


@named("trainings.storing")
async def insert_shards(
    tx: Transaction, training: int, tenant: int, number: int, firsts: Sequence[int], counts: Sequence[int]
) -> list[Row]:
    for place, (first, count) in enumerate(zip(firsts, counts, strict=True), number):
        await tx.database.locks.take(tx, ("shard number", training, place), Mode.UPDATE)
        if any(row["shard_number"] == place for row in tx.shards(training)):
            raise asyncpg.UniqueViolationError("duplicate key value violates unique constraint")
        key = tx.database.next_id("shard")
        await tx.insert(
            "shard", key, _new_shard(key, training=training, tenant=tenant, shard_number=place, first=first, count=count, open=count)
        )
    return []


@named("trainings.storing")
async def next_shard_number(tx: Transaction, training: int) -> list[Row]:
    return [{"number": max((row["shard_number"] for row in tx.shards(training)), default=-1) + 1}]


def _loading(row: Row) -> bool:
    return row["state"] in {1, 2} and not row["sealed"]


@named("trainings.storing")
async def lock_loading(tx: Transaction, training: int, loaded: int) -> list[Row]:
    locked = await tx.lock_rows(
        "training", tx.some("training", [training]), Mode.NO_KEY_UPDATE, lambda row: _loading(row) and row["loaded"] == loaded
    )
    return [
        columns(row, "id", "task_id", "state", "sealed", "total", "completed", "failed", "version", "loaded", "paused") for row in locked
    ]


@named("trainings.storing")
async def pause_loaded(tx: Transaction, training: int, first: int) -> list[Row]:
    for shard in [row for row in tx.scan("shard") if row["training"] == training and row["first"] >= first]:
        await tx.update("shard", shard["id"], lambda row: row["state"] == 0, lambda _: {"not_before": FOREVER})
    return []


@named("trainings.storing")
async def advance(
    tx: Transaction,
    training: int,
    loaded: int,
    offset: int,
    lines: int,
    sealed: bool,
    state: int,
    version: int,
    ended: bool,
    goes_on: bool,
) -> list[Row]:
    def change(row: Row) -> Row:
        return {
            "loaded": loaded,
            "total": loaded,
            "load_offset": offset,
            "load_lines": lines,
            "sealed": sealed,
            "state": int(state),
            "version": version,
            "ended_at": row["ended_at"] or (tx.now if ended else None),
            "load_progress_at": tx.now if goes_on else row["load_progress_at"],
        }

    await tx.update("training", training, lambda _: True, change)
    return []


_UNSEALED = ("loaded", "load_offset", "load_lines", "load_etag", "load_count", "manifest_uri", "load_source", "load_classes")


@named("trainings.unfinished")
async def unsealed(tx: Transaction, but: list[int]) -> list[Row]:
    of_tenant: Counter[int] = Counter()
    found = []
    for row in sorted((row for row in tx.scan("training") if _loading(row) and row["id"] not in but), key=lambda row: row["id"]):
        of_tenant[row["tenant"]] += 1
        if of_tenant[row["tenant"]] <= 100:
            found.append(columns(row, "id", "tenant"))
    return found


@named("trainings.unfinished")
async def one_unsealed(tx: Transaction, training: int) -> list[Row]:
    found = []
    for row in tx.some("training", [training]):
        tenant = tx.get("tenant", row["tenant"])
        if tenant is not None and _loading(row):
            found.append({**columns(row, "id", "tenant"), "tenant_id": tenant["name"], **columns(row, *_UNSEALED), "training_documents": 0})
    return found


@named("trainings.unfinished")
async def silent_seconds(tx: Transaction, training: int) -> list[Row]:
    return [{"seconds": (tx.now - row["load_progress_at"]).total_seconds()} for row in tx.some("training", [training])]


@named("trainings.unfinished")
async def try_load(tx: Transaction, training: int) -> list[Row]:
    raise AssertionError("a lock of a session is the connection's affair")


@named("tracking.opened")
async def tenant_name(tx: Transaction, tenant: int) -> list[Row]:
    return [columns(row, "name") for row in tx.some("tenant", [tenant])]


@named("tracking.opened")
async def open_documents(tx: Transaction, training: int, first: int, last: int) -> list[Row]:
    wanted = ("ordinal", "document_id", "uri", "media_type", "metadata")
    return [columns(row, *wanted) for row in tx.documents(training, first, last) if row["state"] == 0]


@named("tracking.opened", "open_ordinals")
async def opened_ordinals(tx: Transaction, training: int, first: int, last: int) -> list[Row]:
    return [{"ordinal": ordinal} for ordinal in open_ordinals(tx, training, first, last)]


def new_document(training: int, ordinal: int, **values: Any) -> Row:
    """A row as COPY makes it."""
    return {
        "training": training,
        "ordinal": ordinal,
        "state": 0,
        "error_class": 0,
        "attempt": 0,
        "tries": 0,
        "stages": None,
        "unchanged": False,
        "losses": 0,
        "took_ms": None,
        "started_at": None,
        "document_id": None,
        "uri": None,
        "media_type": None,
        "metadata": None,
        "error_code": None,
        "error": None,
        **values,
    }


def _new_shard(key: int, **values: Any) -> Row:
    """As an insert makes it that names these values."""
    return {
        "id": key,
        "state": 0,
        "number": 0,
        "holder": None,
        "width": 0,
        "narrow_to": None,
        "resize": 0,
        "yields": False,
        "fences": 0,
        "fenced_open": 0,
        "not_before": NEVER,
        "cool_downs": 0,
        "yield_reason": None,
        "running": [],
        "losses": 0,
        "suspects": [],
        "trial": None,
        "version": 1,
        **values,
    }

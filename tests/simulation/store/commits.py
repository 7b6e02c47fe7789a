"""The statements of the group commit, in memory."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from simulation.store.locks import Mode
from simulation.store.statements import columns, named, told_width
from simulation.store.tables import Row, Transaction

_TRAINING = (
    "id",
    "state",
    "sealed",
    "total",
    "completed",
    "failed",
    "version",
    "uri_template",
    "number_offset",
    "traceparent",
    "task_id",
    "retrain",
)
_SHARD = ("id", "training", "tenant", "first", "count", "state", "number", "holder", "resize", "open", "suspects", "trial", "cool_downs")


@named("tracking.training_rows")
async def lock_trainings(tx: Transaction, shards: list[int]) -> list[Row]:
    trainings = sorted({row["training"] for row in tx.some("shard", shards)})
    locked = await tx.lock_rows("training", tx.some("training", trainings), Mode.NO_KEY_UPDATE, lambda _: True)
    return [{**columns(row, *_TRAINING), "index_order": row["retry_of"] or row["id"]} for row in locked]


@named("tracking.group_transaction")
async def lock_live_sessions(tx: Transaction, ids: list[int]) -> list[Row]:
    locked = await tx.lock_rows("session", tx.some("session", ids), Mode.SHARE, lambda row: row["state"] == 1)
    return [columns(row, "id") for row in locked]


@named("tracking.group_transaction")
async def lock_shards(tx: Transaction, ids: list[int]) -> list[Row]:
    locked = await tx.lock_rows("shard", tx.some("shard", ids), Mode.NO_KEY_UPDATE, lambda _: True)
    return [columns(row, *_SHARD) | {"told_width": told_width(row)} for row in locked]


def _array(text: str) -> list[int]:
    return [int(number) for number in text[1:-1].split(",")] if text != "{}" else []


@named("tracking.recording")
async def record_done(
    tx: Transaction, training: int, first: int, last: int, attempt: int, base: datetime, started: str, took: str
) -> list[Row]:
    at, lasted, recorded = _array(started), _array(took), 0
    for row in list(tx.documents(training, first, last)):
        place = row["ordinal"] - first
        if at[place] < 0:
            continue
        values = {
            "state": 1,
            "attempt": attempt,
            "tries": 1,
            "started_at": base + timedelta(milliseconds=at[place]),
            "took_ms": lasted[place],
        }
        recorded += await tx.update("document", (training, row["ordinal"]), _is_open, partial(_values, values)) is not None
    return [{"count": recorded}]


def _values(values: Row, _row: Row) -> Row:
    return values


def _is_open(row: Row) -> bool:
    return bool(row["state"] == 0)


@named("tracking.recording")
async def record_failed(
    tx: Transaction,
    training: int,
    ordinal: int,
    attempt: int,
    error_class: int,
    code: str,
    error: str,
    base: datetime,
    started: int,
    took: int,
) -> list[Row]:
    values = {
        "state": 2,
        "attempt": attempt,
        "tries": 1,
        "error_class": error_class,
        "error_code": code,
        "error": error,
        "started_at": base + timedelta(milliseconds=started),
        "took_ms": took,
    }
    return [{"count": int(await tx.update("document", (training, ordinal), _is_open, lambda _: values) is not None)}]


@named("tracking.recording")
async def set_tries(tx: Transaction, training: int, ordinal: int, attempt: int, tries: int) -> list[Row]:
    await tx.update("document", (training, ordinal), lambda row: row["attempt"] == attempt and row["state"] > 0, lambda _: {"tries": tries})
    return []


@named("tracking.recording")
async def set_stages(tx: Transaction, training: int, ordinal: int, attempt: int, stages: str) -> list[Row]:
    await tx.update(
        "document", (training, ordinal), lambda row: row["attempt"] == attempt and row["state"] > 0, lambda _: {"stages": stages}
    )
    return []


@named("tracking.recording")
async def record_unchanged(tx: Transaction, training: int, attempt: int, ordinals: list[int]) -> list[Row]:
    def is_new(row: Row) -> bool:
        return row["attempt"] == attempt and row["state"] == 1 and not row["unchanged"]

    marked = [await tx.update("document", (training, ordinal), is_new, lambda _: {"unchanged": True}) for ordinal in ordinals]
    count = sum(row is not None for row in marked)
    await tx.update("training", training, lambda _: True, lambda row: {"unchanged": row["unchanged"] + count})
    return [{"count": count}]


@named("tracking.group_transaction")
async def update_shard(
    tx: Transaction,
    shard: int,
    state: int,
    holder: int | None,
    still_open: int,
    running: list[int],
    suspects: list[int],
    trial: int | None,
    version: int,
) -> list[Row]:
    values = {
        "state": int(state),
        "holder": holder,
        "open": still_open,
        "running": list(running),
        "suspects": list(suspects),
        "trial": trial,
        "version": version,
    }
    await tx.update("shard", shard, lambda _: True, lambda _: values)
    return []


@named("tracking.recording")
async def set_under_way(tx: Transaction, shard: int, under_way: str | None) -> list[Row]:
    await tx.update("shard", shard, lambda _: True, lambda _: {"under_way": under_way})
    return []


@named("tracking.group_transaction")
async def order_yield(tx: Transaction, ids: list[int]) -> list[Row]:
    for shard in ids:
        await tx.update("shard", shard, lambda _: True, lambda _: {"yields": True})
    return []


@named("tracking.training_rows")
async def update_training(
    tx: Transaction, training: int, state: int, completed: int, failed: int, version: int, begun: bool, ended: bool
) -> list[Row]:
    def change(row: Row) -> Row:
        return {
            "state": int(state),
            "completed": completed,
            "failed": failed,
            "version": version,
            "started_at": row["started_at"] or (tx.now if begun else None),
            "ended_at": row["ended_at"] or (tx.now if ended else None),
        }

    await tx.update("training", training, lambda _: True, change)
    return []

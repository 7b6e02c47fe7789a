"""The statements about trainings: looked up, read for watchers, ended early; in memory."""

from __future__ import annotations

from simulation.store.locks import Mode
from simulation.store.statements import columns, cordoned, in_flight, is_ready, laned_shards, named, open_ordinals, takes
from simulation.store.tables import FOREVER, NEVER, Row, Transaction

OPEN_TRAININGS = {"free": 1_000, "paid": 10_000}
_SHOWN = (
    *("sealed", "total", "completed", "failed", "unchanged", "version", "created_at"),
    *("started_at", "ended_at", "reason", "traceparent", "uri_template", "number_offset"),
)


@named("store.tenant_rows")
async def act_as(tx: Transaction, tenant: int) -> list[Row]:
    """There are no policies here: statements are trusted to ask for their tenant."""
    return [{"role": "doctrain_tenant", "tenant": str(tenant)}]


@named("trainings.reading")
async def by_task(tx: Transaction, tenant: int, task_id: str) -> list[Row]:
    return [columns(row, "id") for row in _of_task(tx, tenant, task_id)]


def _of_task(tx: Transaction, tenant: int, task_id: str) -> list[Row]:
    return [row for row in tx.scan("training") if row["tenant"] == tenant and row["task_id"] == task_id]


@named("trainings.reading")
async def progress(tx: Transaction, ids: list[int], tenant: int | None) -> list[Row]:
    return [_progress(tx, row) for row in _of_tenant(tx, ids, tenant)]


def _of_tenant(tx: Transaction, ids: list[int], tenant: int | None) -> list[Row]:
    return [row for row in tx.some("training", sorted(ids)) if tenant is None or row["tenant"] == tenant]


def _progress(tx: Transaction, training: Row) -> Row:
    shards = sorted(tx.shards(training["id"]), key=lambda row: row["first"])
    flight = [row for row in shards if in_flight(row)]
    unended = [row for row in shards if row["state"] < 4] if training["state"] < 3 else []
    if training["state"] > 4:
        unended = [row for row in shards if row["open"] > 0]
    first_open = None
    if unended:
        found = open_ordinals(tx, training["id"], unended[0]["first"], unended[0]["first"] + unended[0]["count"] - 1)
        first_open = found[0] if found else None
    first = tx.get("training", training["retry_of"])
    last = tx.get("document", (training["id"], (training["total"] if first_open is None else first_open) - 1))
    return {
        **columns(training, "id", "tenant", "task_id", "state", "paused"),
        "suspended": False,
        "retry_of": first and first["task_id"],
        **columns(training, *_SHOWN),
        "in_progress": sum(len(row["running"]) for row in flight),
        "in_flight": len(flight),
        "running": sum(row["state"] == 2 for row in flight),
        "first_open": first_open,
        "last_id": last["document_id"] if last else None,
        "under_way": None,  # likewise, and of documents that run for long
        "pace": 0.0,  # for people alone
    }


@named("trainings.reading")
async def waiting(tx: Transaction, ids: list[int], tenant: int | None) -> list[Row]:
    found = []
    for training in _of_tenant(tx, ids, tenant):
        owner = tx.get("tenant", training["tenant"])
        assert owner is not None
        used = sum(row["width"] for row in tx.scan("shard") if row["tenant"] == training["tenant"] and in_flight(row))
        pending = [row for row in tx.shards(training["id"]) if row["state"] == 0]
        delayed = sorted((row for row in pending if NEVER < row["not_before"] < FOREVER), key=lambda row: row["not_before"])
        found.append(
            {
                "id": training["id"],
                **dict.fromkeys(("slots", "allowed", "guaranteed", "burst"), tx.database.plans[owner["plan"]]),
                "slots_used": used,
                "own_slots": sum(row["width"] for row in tx.shards(training["id"]) if in_flight(row)),
                "pending": any(map(is_ready, pending)),
                "yield_reason": delayed[0]["yield_reason"] if delayed else None,
                "yield_seconds": (delayed[0]["not_before"] - tx.now).total_seconds() if delayed else None,
                **_fleet(tx),
            }
        )
    return found


def _fleet(tx: Transaction) -> Row:
    staying = [row for row in tx.scan("session") if row["state"] == 1 and not row["draining"]]
    return {
        "lanes": sum(row["lanes"] for row in staying if takes(tx, row)),
        "lanes_used": len(laned_shards(tx)),
        "cordoned": sum(cordoned(tx, row) for row in staying),
        "unsubscribed": sum(row["unsubscribed"] and not cordoned(tx, row) for row in staying),
        "unfit": 0,
    }


@named("trainings.endings")
async def lock_for_end(tx: Transaction, training: int) -> list[Row]:
    locked = await tx.lock_rows("training", tx.some("training", [training]), Mode.NO_KEY_UPDATE, lambda _: True)
    return [columns(row, "id", "task_id", "state", "sealed", "total", "completed", "failed", "version") for row in locked]


@named("trainings.endings")
async def end_training(tx: Transaction, training: int, state: int, reason: str | None) -> list[Row]:
    row = await tx.update(
        "training",
        training,
        lambda _: True,
        lambda row: {"state": int(state), "reason": reason, "version": row["version"] + 1, "ended_at": tx.now, "sealed": True},
    )
    return [columns(row, "version")] if row else []


def _unended(row: Row) -> bool:
    return row["state"] in {0, 1, 2}


@named("trainings.endings")
async def running_shards(tx: Transaction, training: int) -> list[Row]:
    return [columns(row, "id") for row in tx.shards(training) if row["state"] == 2]


@named("trainings.endings")
async def lock_open_shards(tx: Transaction, training: int) -> list[Row]:
    return [columns(row, "id") for row in await tx.lock_rows("shard", list(tx.shards(training)), Mode.UPDATE, _unended)]


@named("trainings.endings")
async def end_shards(tx: Transaction, training: int, version: int) -> list[Row]:
    def change(row: Row) -> Row:
        stops = row["state"] == 2
        return {"state": 3 if stops else 5, "version": version}

    for shard in list(tx.shards(training)):
        await tx.update("shard", shard["id"], _unended, change)
    return []


@named("trainings.control")
async def pause_training(tx: Transaction, training: int) -> list[Row]:
    return await _set_paused(tx, training, paused=True)


@named("trainings.control")
async def resume_training(tx: Transaction, training: int) -> list[Row]:
    return await _set_paused(tx, training, paused=False)


@named("tenants.audit")
async def write(tx: Transaction, *_: object) -> list[Row]:
    return []  # for people alone


async def _set_paused(tx: Transaction, training: int, *, paused: bool) -> list[Row]:
    row = await tx.update(
        "training",
        training,
        lambda row: row["state"] in {1, 2} and row["paused"] is not paused,
        lambda row: {"paused": paused, "version": row["version"] + 1},
    )
    return [columns(row, "version")] if row else []


@named("trainings.control")
async def pause_shards(tx: Transaction, training: int, version: int) -> list[Row]:
    def change(row: Row) -> Row:
        if row["state"] == 2:
            return {"yields": True, "version": version}
        return {"state": 0, "not_before": FOREVER, "version": version if row["state"] else row["version"]}

    for shard in list(tx.shards(training)):
        await tx.update("shard", shard["id"], _unended, change)
    return []


@named("trainings.control")
async def resume_shards(tx: Transaction, training: int) -> list[Row]:
    held = tx.get("training", training)
    if held is not None and held["paused"]:
        return []
    for shard in list(tx.shards(training)):
        await tx.update("shard", shard["id"], _held_back, lambda _: {"not_before": NEVER})
    return []


def _held_back(row: Row) -> bool:
    return bool(row["state"] == 0 and row["not_before"] == FOREVER)


@named("trainings.accepting")
async def standing(tx: Transaction, tenant: int, task_id: str) -> list[Row]:
    open_count = sum(row["tenant"] == tenant and row["state"] in {1, 2} for row in tx.scan("training"))
    known = (_of_task(tx, tenant, task_id) or [{"id": None, "request_hash": None}])[0]
    return [
        {
            "known": known["id"],
            "request_hash": known["request_hash"],
            "plan": row["plan"],
            "slots": tx.database.plans[row["plan"]],
            "open_trainings": OPEN_TRAININGS[row["plan"]],
            "training_documents": 0,
            "open_documents": 0,
            "backlog": 0,
            "all_used": open_count >= OPEN_TRAININGS[row["plan"]],
        }
        for row in tx.some("tenant", [tenant])
    ]

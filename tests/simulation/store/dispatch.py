"""The leader's statements, in memory."""

from __future__ import annotations

from collections import Counter

from simulation.store.locks import Mode
from simulation.store.statements import columns, has_lane, in_flight, is_ready, laned_shards, named, open_ordinals, takes
from simulation.store.tables import FOREVER, NEVER, Row, Transaction


@named("dispatch.leadership")
async def lead(tx: Transaction, lock: int) -> list[Row]:
    raise AssertionError("a lock of a session is the connection's affair")


@named("dispatch.grants")
async def room(tx: Transaction) -> list[Row]:
    live = [row for row in tx.scan("session") if row["state"] == 1]
    others = {row["id"] for row in live if not takes(tx, row)}
    aside = [row for row in tx.scan("shard") if row["holder"] in others and row["state"] in {2, 3}]
    return [
        {
            "lanes": sum(row["lanes"] for row in live if takes(tx, row)),
            "to_start_aside": sum(map(has_lane, aside)),
            "used_aside": sum(row["width"] for row in aside),
        }
    ]


@named("dispatch.grants", "in_flight")
async def in_flight_shards(tx: Transaction) -> list[Row]:
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in tx.scan("shard"):
        if in_flight(row):
            groups.setdefault((row["tenant"], row["training"]), []).append(row)
    return [
        {
            "tenant": tenant,
            "training": training,
            "used": sum(row["width"] for row in rows),
            "to_start": sum(row["state"] == 1 or has_lane(row) for row in rows),
        }
        for (tenant, training), rows in sorted(groups.items())
    ]


def _startable(row: Row | None) -> bool:
    return row is not None and row["state"] in {1, 2} and not row["paused"]


@named("dispatch.grants")
async def runnable(tx: Transaction, most: int, most_idle: int, tenants: list[int]) -> list[Row]:
    pending: dict[tuple[int, int], list[Row]] = {}
    flying = set()
    for row in tx.scan("shard"):
        if is_ready(row) and row["tenant"] in tenants:
            pending.setdefault((row["tenant"], row["training"]), []).append(row)
        elif in_flight(row):
            flying.add(row["training"])
    found: list[Row] = []
    idle: Counter[int] = Counter()
    for (tenant, training), rows in sorted(pending.items()):
        if idle[tenant] >= most_idle:
            continue
        idle[tenant] += training not in flying
        if not _startable(tx.get("training", training)):
            continue
        found += (
            {"tenant": tenant, "training": training, "id": row["id"], "open": row["open"], "suspected": bool(row["suspects"])}
            for row in sorted(rows, key=lambda row: row["shard_number"])[:most]
        )
    return found


@named("dispatch.grants")
async def claimants(tx: Transaction) -> list[Row]:
    plans, ready = tx.database.plans, {row["tenant"] for row in tx.scan("shard") if is_ready(row)}
    return [{"id": row["id"], "slots": plans[row["plan"]], "weight": row["weight"]} for row in tx.some("tenant", sorted(ready))]


@named("dispatch.grants")
async def lock_tenants(tx: Transaction, ids: list[int]) -> list[Row]:
    locked = await tx.lock_rows("tenant", tx.some("tenant", ids), Mode.NO_KEY_UPDATE, lambda _: True)
    return [{"id": row["id"], "tenant_name": row["name"], "plan": row["plan"]} for row in locked]


@named("dispatch.grants")
async def lock_startable_trainings(tx: Transaction, ids: list[int]) -> list[Row]:
    locked = await tx.lock_rows("training", tx.some("training", ids), Mode.SHARE, _startable)
    return [columns(row, "id", "task_id", "traceparent") for row in locked]


def last_processed(tx: Transaction, shard: Row) -> int | None:
    """The last of the contiguous ended prefix; None: none has ended."""
    if shard["open"] == shard["count"]:
        return None
    first, end = shard["first"], shard["first"] + shard["count"]
    still_open = open_ordinals(tx, shard["training"], first, end - 1)
    lowest = still_open[0] if still_open else end
    return None if lowest == first else lowest - 1


_PUBLISHED = ("id", "number", "tenant", "training", "first", "count", "width", "shard_number")


@named("dispatch.grants")
async def grant(tx: Transaction, shard: int, width: int, tenant: int) -> list[Row]:
    return await grant_within(tx, shard, width, tenant, _limit(tx, tenant))


def _limit(tx: Transaction, tenant: int) -> int:
    """What the tenant may use now; the ledger holds what is counted against it."""
    slots: int = _with_plan(tx, tenant)["slots"]
    tx.database.limits[tenant] = slots
    return slots


async def grant_within(tx: Transaction, shard: int, width: int, tenant: int, slots: int) -> list[Row]:
    """What the statement does with that limit."""
    used = sum(row["width"] for row in tx.scan("shard") if row["tenant"] == tenant and in_flight(row))
    granted = await tx.update(
        "shard",
        shard,
        lambda row: is_ready(row) and width + used <= slots,
        lambda row: {
            "state": 1,
            "number": row["number"] + 1,
            "width": width,
            "narrow_to": None,
            "resize": 0,
            "holder": None,
            "yields": False,
        },
    )
    if granted is None:
        return []
    return [{**columns(granted, *_PUBLISHED), "last_processed": last_processed(tx, granted)}]


@named("dispatch.dispatcher")
async def dispatched(tx: Transaction) -> list[Row]:
    found = []
    for shard in tx.scan("shard"):
        training, tenant = tx.get("training", shard["training"]), tx.get("tenant", shard["tenant"])
        if shard["state"] != 1 or training is None or tenant is None:
            continue
        found.append(
            {
                **columns(shard, *_PUBLISHED),
                "last_processed": last_processed(tx, shard),
                "tenant_name": tenant["name"],
                "plan": tenant["plan"],
                **columns(training, "task_id", "traceparent"),
            }
        )
    return found


@named("dispatch.dispatcher")
async def end_delays(tx: Transaction, most: int) -> list[Row]:
    over = [row for row in tx.scan("shard") if row["state"] == 0 and NEVER < row["not_before"] <= tx.now]
    over.sort(key=lambda row: (row["not_before"], row["id"]))
    for row in over:
        if most > 0 and tx.lock_free("shard", [row], Mode.NO_KEY_UPDATE):
            tx.put("shard", row["id"], {**row, "not_before": NEVER})
            most -= 1
    return []


@named("dispatch.dispatcher")
async def next_delay_ends_in(tx: Transaction) -> list[Row]:
    delays = [row["not_before"] for row in tx.scan("shard") if row["state"] == 0 and NEVER < row["not_before"] < FOREVER]
    return [{"extract": (min(delays) - tx.now).total_seconds() if delays else None}]


def _with_plan(tx: Transaction, key: int) -> Row:
    tenant = tx.get("tenant", key)
    assert tenant is not None
    return {"tenant": key, "weight": tenant["weight"], "slots": tx.database.plans[tenant["plan"]]}


@named("dispatch.preemption")
async def in_lanes(tx: Transaction) -> list[Row]:
    return [
        {**columns(row, "id", "number"), **_with_plan(tx, row["tenant"]), "waiting": row["state"] == 1, "yields": row["yields"]}
        for row in laned_shards(tx)
    ]


@named("dispatch.preemption")
async def pending(tx: Transaction, most: int, lane_slots: int) -> list[Row]:
    ready: dict[int, list[Row]] = {}
    for row in tx.scan("shard"):
        if is_ready(row):
            ready.setdefault(row["tenant"], []).append(row)
    used = Counter(dict.fromkeys(ready, 0))
    for row in tx.scan("shard"):
        used[row["tenant"]] += row["width"] if row["state"] in (1, 2, 3) else 0
    widths = {
        tenant: [
            1 if row["suspects"] else min(row["open"], lane_slots)
            for row in sorted(rows, key=lambda row: (row["training"], row["shard_number"]))[:most]
        ]
        for tenant, rows in ready.items()
    }
    return [{**_with_plan(tx, tenant), "widths": widths[tenant], "used": used[tenant]} for tenant in sorted(ready)]


@named("dispatch.preemption")
async def lock(tx: Transaction, ids: list[int]) -> list[Row]:
    return [columns(row, "id") for row in await tx.lock_rows("shard", tx.some("shard", ids), Mode.NO_KEY_UPDATE, lambda _: True)]


@named("dispatch.balancing")
async def workers(tx: Transaction) -> list[Row]:
    return [columns(row, "id", "lanes") for row in tx.scan("session") if row["state"] == 1 and takes(tx, row) and row["lanes"] > 0]


@named("dispatch.balancing", "in_lanes")
async def lanes_of(tx: Transaction, sessions: list[int]) -> list[Row]:
    return [
        {**columns(row, "holder", "id", "number", "yields"), "left_open": row["open"] - len(row["running"])}
        for row in tx.scan("shard")
        if has_lane(row) and row["holder"] in sessions
    ]


@named("dispatch.balancing")
async def granted(tx: Transaction) -> list[Row]:
    return [{"exists": any(row["state"] == 1 for row in tx.scan("shard"))}]


@named("dispatch.training_turns")
async def running(tx: Transaction) -> list[Row]:
    shards = list(tx.scan("shard"))
    counted = [row for row in shards if in_flight(row)]
    busy, yields = {row["training"] for row in counted}, {row["tenant"] for row in counted if row["yields"]}
    used = Counter[int]()
    for row in counted:
        used[row["tenant"]] += row["width"]
    held_back = {
        row["tenant"]
        for row in shards
        if is_ready(row)
        and row["training"] not in busy
        and (training := tx.get("training", row["training"])) is not None
        and _startable(training)
        and used[row["tenant"]] >= _with_plan(tx, row["tenant"])["slots"]
    }
    return [
        columns(row, "tenant", "training", "id", "number", "width")
        for row in shards
        if has_lane(row) and row["tenant"] in held_back - yields
    ]


async def _change(tx: Transaction, shard: int, number: int, state: int, change: Row) -> list[Row]:
    changed = await tx.update("shard", shard, lambda row: row["number"] == number and row["state"] == state, lambda _: change)
    return [] if changed is None else [columns(changed, "id")]


@named("dispatch.preemption")
async def withdraw(tx: Transaction, shard: int, number: int) -> list[Row]:
    return await _change(tx, shard, number, 1, {"state": 0})


@named("dispatch.yields")
async def tell_to_yield(tx: Transaction, shard: int, number: int) -> list[Row]:
    return await _change(tx, shard, number, 2, {"yields": True})


@named("dispatch.resizing")
async def sized(tx: Transaction, lane_slots: int) -> list[Row]:
    by_tenant: dict[int, list[Row]] = {}
    waiting = set()
    for row in tx.scan("shard"):
        if in_flight(row):
            by_tenant.setdefault(row["tenant"], []).append(row)
        elif is_ready(row):
            waiting.add(row["tenant"])
    found: list[Row] = []
    for tenant, rows in sorted(by_tenant.items()):
        slots, used, waits = _with_plan(tx, tenant)["slots"], sum(row["width"] for row in rows), tenant in waiting
        could_widen = any(_may_widen(row) and row["width"] < min(lane_slots, row["open"]) for row in rows)
        if used > slots or (used < slots and could_widen and not waits):
            found += (_sized(row) | {"slots": slots, "waits": waits} for row in sorted(rows, key=lambda row: row["id"]))
    return found


def _sized(row: Row) -> Row:
    return {
        **columns(row, "id", "number", "tenant", "width", "narrow_to", "open"),
        "runs": row["state"] == 2,
        "suspected": bool(row["suspects"]),
        "leaving": row["yields"] or row["state"] == 3,
    }


def _may_widen(row: Row) -> bool:
    return bool(row["state"] == 2 and row["narrow_to"] is None and not row["yields"] and not row["suspects"])


@named("dispatch.resizing", "lock_tenants")
async def lock_tenants_to_widen(tx: Transaction, ids: list[int]) -> list[Row]:
    return [columns(row, "id") for row in await lock_tenants(tx, ids)]


@named("dispatch.resizing", "lock_shards")
async def lock_shards_to_resize(tx: Transaction, ids: list[int]) -> list[Row]:
    return [columns(row, "id") for row in tx.lock_free("shard", tx.some("shard", sorted(ids)), Mode.NO_KEY_UPDATE)]


@named("dispatch.resizing")
async def widen(tx: Transaction, shard: int, number: int, width: int, tenant: int) -> list[Row]:
    slots = _limit(tx, tenant)
    used = sum(row["width"] for row in tx.scan("shard") if row["tenant"] == tenant and in_flight(row))
    widened = await tx.update(
        "shard",
        shard,
        lambda row: row["number"] == number and _may_widen(row) and row["width"] < width and width - row["width"] + used <= slots,
        lambda row: {"width": width, "resize": row["resize"] + 1},
    )
    return [] if widened is None else [columns(widened, "id")]


@named("dispatch.resizing")
async def narrow(tx: Transaction, shard: int, number: int, width: int) -> list[Row]:
    def change(row: Row) -> Row:
        to = {"narrow_to": width} if row["state"] == 2 else {"width": width, "narrow_to": None}
        return to | {"resize": row["resize"] + 1}

    narrowed = await tx.update(
        "shard",
        shard,
        lambda row: row["number"] == number and row["state"] in {1, 2} and row["narrow_to"] is None and row["width"] > width,
        change,
    )
    return [] if narrowed is None else [columns(narrowed, "id")]

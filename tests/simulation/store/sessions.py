"""The statements about sessions and what they hold, in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from doctrain_coordinator.core.states import Intake
from simulation.store.locks import Mode
from simulation.store.statements import columns, cordoned, named, order_of, told_width
from simulation.store.tables import FOREVER, Row, Transaction, now


def _live(row: Row) -> bool:
    return bool(row["state"] == 1)


@named("tracking.sessions")
async def open_session(tx: Transaction, worker: str, lanes: int, version: str, predecessor: int | None, secret_hash: bytes) -> list[Row]:
    key = tx.database.next_id("session")
    row = {
        "id": key,
        "worker_id": worker,
        "state": 1,
        "beat": 0,
        "attached": 1,
        "lanes": lanes,
        "secret_hash": secret_hash,
        "draining": False,
        "unsubscribed": False,
        "predecessor": predecessor,
        "version": version,
        "unfit": None,
        "spared": False,
        "gone_at": None,
    }
    await tx.insert("session", key, row)
    return [columns(row, "id", "attached", "beat") | {"cordoned": order_of(tx, row) is not None}]


@named("tracking.sessions")
async def attach_session(tx: Transaction, session: int, worker: str, lanes: int, secret_hash: bytes) -> list[Row]:
    row = await tx.update(
        "session",
        session,
        lambda row: (row["worker_id"], row["secret_hash"]) == (worker, secret_hash) and _live(row),
        lambda row: {"attached": row["attached"] + 1, "lanes": lanes, "gone_at": None},
    )
    return [columns(row, "id", "attached", "beat") | {"cordoned": cordoned(tx, row)}] if row else []


@named("tracking.heartbeats")
async def lock_for_beats(tx: Transaction, ids: list[int]) -> list[Row]:
    locked = tx.lock_free("session", tx.some("session", sorted(ids)), Mode.NO_KEY_UPDATE)
    return [{"id": row["id"], "intake": _intake(tx, row)} for row in locked]


@named("tracking.heartbeats")
async def known_sessions(tx: Transaction, ids: list[int]) -> list[Row]:
    return [columns(row, "id") for row in tx.some("session", sorted(ids))]


@named("tracking.heartbeats")
async def beat(tx: Transaction, session: int, attached: int, draining: bool, unsubscribed: bool) -> list[Row]:
    row = await tx.update(
        "session",
        session,
        lambda row: _live(row) and row["attached"] == attached,
        lambda row: {"beat": row["beat"] + 1, "draining": draining, "unsubscribed": unsubscribed, "gone_at": None},
    )
    return [columns(row, "id", "beat")] if row else []


def _intake(tx: Transaction, row: Row) -> Intake:
    if not _live(row):
        return Intake.OPEN
    order = order_of(tx, row)
    if order is None or order["drain_until"] is None:
        return Intake.CORDONED if cordoned(tx, row) else Intake.OPEN
    return Intake.DRAINING if order["drain_until"] > tx.now else Intake.CUT


def _held(tx: Transaction, *holders: int) -> list[Row]:
    return [row for row in tx.scan("shard") if row["holder"] in holders and row["state"] in {2, 3}]


@named("tracking.heartbeats")
async def held_shards(tx: Transaction, holders: list[int]) -> list[Row]:
    return [
        columns(row, "holder", "id", "number", "state", "yields")
        | {"told_width": told_width(row), "narrows": row["narrow_to"] is not None, "resize": row["resize"]}
        for row in _held(tx, *holders)
    ]


@named("tracking.heartbeats")
async def confirm(tx: Transaction, shard: int, number: int, holder: int, resize: int, attached: int) -> list[Row]:
    session = tx.get("session", holder)
    for row in tx.some("shard", [shard]):
        is_so = (row["number"], row["holder"], row["resize"], row["state"]) == (number, holder, resize, 2) and row["narrow_to"] is not None
        if is_so and session is not None and _live(session) and session["attached"] == attached:
            for locked in tx.lock_free("shard", [row], Mode.NO_KEY_UPDATE):
                tx.put("shard", shard, {**locked, "width": locked["narrow_to"], "narrow_to": None})
    return []


@named("dispatch.dispatcher")
async def live_sessions(tx: Transaction) -> list[Row]:
    return [columns(row, "id", "beat", "attached") for row in tx.scan("session") if _live(row)]


@named("dispatch.dispatcher")
async def forget_sessions(_: Transaction, _most: int) -> list[Row]:
    """No run lasts a day."""
    return []


@named("tracking.sessions")
async def predecessor(tx: Transaction, session: int, worker: str, secret_hash: bytes) -> list[Row]:
    return [
        columns(row, "beat", "attached")
        for row in tx.some("session", [session])
        if (row["worker_id"], row["secret_hash"]) == (worker, secret_hash) and _live(row)
    ]


@named("tracking.takeback")
async def held_by(tx: Transaction, session: int) -> list[Row]:
    return [columns(row, "id", "training") for row in _held(tx, session)]


def _as_seen(seen_beat: int | None, seen_attached: int | None) -> Callable[[Row], bool]:
    return lambda row: _live(row) and seen_beat in {None, row["beat"]} and seen_attached in {None, row["attached"]}


@named("tracking.lost_sessions")
async def mark_gone(tx: Transaction, session: int, seen_beat: int | None, seen_attached: int | None) -> list[Row]:
    row = await tx.update("session", session, _as_seen(seen_beat, seen_attached), lambda row: {"gone_at": row["gone_at"] or now()})
    return [columns(row, "id")] if row else []


@named("tracking.lost_sessions")
async def losses_beside(tx: Transaction, session: int, window: float, before_trial: int, free: int) -> list[Row]:
    mine = tx.get("session", session)
    if mine is None or mine["gone_at"] is None:
        return []
    sessions = list(tx.scan("session"))
    apart = [(row["gone_at"] - mine["gone_at"]).total_seconds() for row in sessions if row["gone_at"] is not None]
    held = [row for row in _held(tx, session) if row["state"] == 2]
    if free:
        held = [row for row in held if row["fences"] >= free and row["fenced_open"] == row["open"]]
    return [
        {
            "age": (now() - mine["gone_at"]).total_seconds(),
            "apart": [seconds for seconds in apart if abs(seconds) <= window],
            "live": sum(_live(row) and row["gone_at"] is None for row in sessions),
            "at_stake": any(row["trial"] is not None or row["losses"] + 1 >= before_trial for row in held),
        }
    ]


@named("tracking.takeback")
async def forgive_shards(tx: Transaction, ids: list[int]) -> list[Row]:
    charged = [row["id"] for row in tx.some("shard", ids) if row["losses"] > 0]
    if charged:
        await tx.lock_rows("shard", tx.some("shard", ids), Mode.NO_KEY_UPDATE, lambda _: True)
    for shard in charged:
        await tx.update("shard", shard, lambda row: row["losses"] > 0, lambda row: {"losses": row["losses"] - 1})
    return []


@named("tracking.takeback")
async def end_session(tx: Transaction, session: int, seen_beat: int | None, seen_attached: int | None) -> list[Row]:
    row = await tx.update("session", session, _as_seen(seen_beat, seen_attached), lambda _: {"state": 2})
    return [columns(row, "draining", "worker_id")] if row else []


_LOST = (
    "id",
    "training",
    "tenant",
    "state",
    "number",
    "width",
    "first",
    "count",
    "open",
    "running",
    "losses",
    "suspects",
    "trial",
    "fences",
    "fenced_open",
)


@named("tracking.takeback")
async def lock_held_shards(tx: Transaction, session: int) -> list[Row]:
    locked = await tx.lock_rows("shard", _held(tx, session), Mode.UPDATE, lambda row: row["holder"] == session and row["state"] in {2, 3})
    return [columns(row, *_LOST) for row in locked]


@named("tracking.handback")
async def lock_attached_session(tx: Transaction, session: int, attached: int) -> list[Row]:
    locked = await tx.lock_rows(
        "session", tx.some("session", [session]), Mode.SHARE, lambda row: _live(row) and row["attached"] == attached
    )
    return [columns(row, "id") for row in locked]


@named("tracking.handback")
async def lock_held_shards_of(tx: Transaction, session: int, ids: list[int]) -> list[Row]:
    locked = await tx.lock_rows(
        "shard", tx.some("shard", ids), Mode.UPDATE, lambda row: row["holder"] == session and row["state"] in {2, 3}
    )
    return [columns(row, "id", "training", "state", "number") for row in locked]


@named("tracking.handback")
async def free_shard(tx: Transaction, shard: int, state: int, version: int, delay_ms: int, why: str) -> list[Row]:
    def change(row: Row) -> Row:
        rests = {"not_before": tx.now + timedelta(milliseconds=delay_ms), "cool_downs": row["cool_downs"] + 1, "yield_reason": why}
        freed: Row = {"state": int(state), "holder": None, "running": [], "trial": None, "yields": False, "version": version}
        return freed | (rests if delay_ms > 0 else {"cool_downs": 0, "yield_reason": None}) | _held_back(tx, row)

    await tx.update("shard", shard, lambda _: True, change)
    return []


def _held_back(tx: Transaction, shard: Row) -> Row:
    training = tx.get("training", shard["training"])
    return {"not_before": FOREVER} if training is not None and training["paused"] else {}


@named("tracking.takeback")
async def take_back_shard(
    tx: Transaction, shard: int, state: int, version: int, losses: int, suspects: list[int], still_open: int, fences: int
) -> list[Row]:
    def change(row: Row) -> Row:
        return {
            "state": int(state),
            "holder": None,
            "running": [],
            "trial": None,
            "yields": False,
            "version": version,
            "losses": losses,
            "suspects": list(suspects),
            "open": still_open,
            "fences": fences,
            "fenced_open": still_open,
            "yield_reason": None,
            **_held_back(tx, row),
        }

    await tx.update("shard", shard, lambda _: True, change)
    return []


@named("tracking.takeback")
async def document_losses(tx: Transaction, training: int, ordinal: int) -> list[Row]:
    return [columns(row, "losses") for row in tx.some("document", [(training, ordinal)])]


@named("tracking.takeback")
async def charge_document(tx: Transaction, training: int, ordinal: int) -> list[Row]:
    await tx.update("document", (training, ordinal), lambda row: row["state"] == 0, lambda row: {"losses": row["losses"] + 1})
    return []


@named("tracking.takeback")
async def fail_document(tx: Transaction, training: int, ordinal: int, attempt: int, code: str, error: str) -> list[Row]:
    row = await tx.update(
        "document",
        (training, ordinal),
        lambda row: row["state"] == 0,
        lambda row: {
            "state": 2,
            "attempt": attempt,
            "losses": row["losses"] + 1,
            "error_class": 4,
            "error_code": code,
            "error": error,
        },
    )
    return [columns(row, "ordinal")] if row else []


@named("tracking.trials")
async def start_trial(tx: Transaction, shard: int, number: int, session: int, ordinal: int) -> list[Row]:
    row = await tx.update(
        "shard",
        shard,
        lambda row: row["state"] == 2 and row["number"] == number and row["holder"] == session and ordinal in row["suspects"],
        lambda _: {"trial": ordinal},
    )
    return [columns(row, "id")] if row else []

"""Workers' signs of life: one small transaction for all that came within a few milliseconds, then the orders that stand.

A session whose row somebody else has locked beats a moment later, so that it delays nobody else's heartbeat.

A shard of a session that its own heartbeat does not name was lost on the way to the worker; it is released, not charged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from doctrain_coordinator.core.states import Intake, Order, SessionState, ShardState
from doctrain_coordinator.tracking.handback import HandBacks, Unless
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Pool, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, Intake, SessionState, ShardState)
BEAT_SECONDS = 5.0
GATHER_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class SessionStanding:
    """What stands of a session: None for ``beat`` when it is lost; orders as (shard, number, kind).

    ``resizes`` are (shard, number, width, resize), of shards whose last change the heartbeat did not name.
    ``cordoned``: its worker is to take no messages.
    """

    beat: int | None
    orders: Sequence[tuple[int, int, Order]] = ()
    not_yours: Sequence[tuple[int, int]] = ()
    cordoned: bool = False
    resizes: Sequence[tuple[int, int, int, int]] = ()


@dataclass(slots=True)
class Beat:
    """One heartbeat. ``held`` are shards, each with its number and the last resize that is in force.

    ``unsubscribed``: its worker would take messages, and the broker delivers none to it.

    ``asked`` are shards begun since it was sent: they may be the session's without being named.

    ``over`` tells whether its stream has ended, so that nobody waits for the answer.
    """

    session: int
    attached: int
    draining: bool
    unsubscribed: bool
    held: Mapping[int, tuple[int, int]]
    asked: Callable[[], set[int]]
    answer: Callable[[SessionStanding], None]
    over: Callable[[], bool]
    unnamed: list[tuple[int, int]] = field(default_factory=list)


class Heartbeats:
    """Gathers beats and answers them; ``run`` is supervised by the application."""

    def __init__(self, pool: Pool, handbacks: HandBacks) -> None:
        self._pool, self._handbacks = pool, handbacks
        self._waiting: list[Beat] = []
        self._arrived = asyncio.Event()
        self._unnamed: dict[int, Beat] = {}
        self._forgotten = asyncio.Event()

    def submit(self, beat: Beat) -> None:
        """Queues a heartbeat; it is answered once it is committed, and not at all while Postgres is away."""
        self._waiting.append(beat)
        self._arrived.set()

    async def run(self) -> None:
        """Answers heartbeats until cancelled; what they leave unnamed is released beside, so that no lock delays a beat."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._answer_all(), name="answers to heartbeats")
            loops.create_task(self._release_all(), name="shards that no heartbeat names")

    async def _answer_all(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_SECONDS)
            beats, self._waiting = self._waiting, []
            self._arrived.clear()
            try:
                await self._answer(beats)
            except StoreUnavailableError as error:
                log.warning("%d heartbeats stay unanswered: %s", len(beats), error)

    async def _answer(self, beats: Sequence[Beat]) -> None:
        newest = {beat.session: beat for beat in sorted(beats, key=lambda b: b.attached)}
        async with postgres.acquired(self._pool, "committing heartbeats", seconds=BEAT_SECONDS) as c:
            async with c.transaction():
                intakes = {row["id"]: Intake(row["intake"]) for row in await c.fetch(SQL["lock_for_beats"], list(newest))}
                rest = newest.keys() - intakes.keys()
                held_up = {row["id"] for row in await c.fetch(SQL["known_sessions"], list(rest))} if rest else set()
                rows = sorted((b.session, b.attached, b.draining, b.unsubscribed) for b in newest.values() if b.session in intakes)
                alive = {row["id"]: row["beat"] for row in await c.fetchmany(SQL["beat"], rows)} if rows else {}
            held = await c.fetch(SQL["held_shards"], list(alive))
            settled = [(*hold, newest[shard["holder"]].attached) for shard in held if (hold := _narrowed(newest[shard["holder"]], shard))]
            if settled:
                await c.executemany(SQL["confirm"], sorted(settled))
        late = [beat for beat in (newest.pop(session) for session in held_up) if not beat.over()]
        if late:
            self._waiting[:0] = late  # in front: a newer heartbeat of the same stream comes after and counts
            self._arrived.set()
        by_holder: dict[int, list[Record]] = {}
        for shard in held:
            by_holder.setdefault(shard["holder"], []).append(shard)
        for beat in newest.values():
            standing = SessionStanding(None)
            if (counted := alive.get(beat.session)) is not None:
                standing = _standing(beat, counted, intakes[beat.session], by_holder.get(beat.session, []))
            beat.answer(standing)
            if beat.unnamed:
                self._unnamed[beat.session] = beat
                self._forgotten.set()

    async def _release_all(self) -> None:
        while True:
            await self._forgotten.wait()
            self._forgotten.clear()
            beats, self._unnamed = self._unnamed, {}
            async with asyncio.TaskGroup() as releases:
                for beat in beats.values():
                    releases.create_task(self._release(beat), name=f"shards that session {beat.session} does not name")

    async def _release(self, beat: Beat) -> None:
        log.warning("Session %d does not name %d of its shards; they are dispatched again.", beat.session, len(beat.unnamed))
        try:
            await self._handbacks.release_unnamed(beat.session, beat.unnamed, Unless(beat.attached, beat.asked))
        except StoreUnavailableError as error:
            log.warning("They are released after a later heartbeat: %s", error)


def _standing(beat: Beat, counted: int, intake: Intake, shards: Sequence[Record]) -> SessionStanding:
    own = {shard["id"]: shard["number"] for shard in shards}
    asked = beat.asked()
    orders, resizes = [], []
    for shard in shards:
        number, resize = beat.held.get(shard["id"], (0, 0))
        if number != shard["number"]:
            if shard["id"] not in asked:
                beat.unnamed.append((shard["id"], shard["number"]))
            continue
        if resize != shard["resize"]:
            resizes.append((shard["id"], number, shard["told_width"], shard["resize"]))
        if (order := _order(shard, intake)) is not None:
            orders.append((shard["id"], shard["number"], order))
    foreign = [(s, n) for s, (n, _) in beat.held.items() if own.get(s) != n and s not in asked]
    return SessionStanding(counted, orders, foreign, cordoned=intake is not Intake.OPEN, resizes=resizes)


def _narrowed(beat: Beat, shard: Record) -> tuple[int, int, int, int] | None:
    """The hold, with its session and resize, of which the heartbeat says that no more runs than it was told."""
    if not shard["narrows"] or beat.held.get(shard["id"]) != (shard["number"], shard["resize"]):
        return None
    return shard["id"], shard["number"], beat.session, shard["resize"]


def _order(shard: Record, intake: Intake) -> Order | None:
    """To one shard of a worker; what its training wants of it comes before what is wanted of the worker."""
    if shard["state"] == ShardState.STOPPING:
        return Order.STOP
    if intake is Intake.CUT:
        return Order.CUT
    return Order.YIELD if shard["yields"] or intake is Intake.DRAINING else None

"""Workers as their sessions tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.core.health import Fitness
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__, SessionState, ShardState)
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A live session, with the lanes and slots that what it holds takes and for how many seconds it has been silent.

    ``newest``: of its worker's sessions, so its present boot; ``gone``: it was seen to be lost and is not taken back yet. ``unsubscribed``:
    the broker delivers nothing to it. ``unfit``: why it is not well, None where it is; one that is ``spared`` works all the same.
    """

    id: int
    worker_id: str
    lanes: int
    draining: bool
    unsubscribed: bool
    opened_at: datetime
    version: str
    unfit: str | None
    spared: bool
    newest: bool
    silence: float
    gone: bool
    lanes_in_use: int
    slots: int

    @property
    def verdict(self) -> Fitness:
        """What was last judged of its health."""
        return Fitness(self.unfit, self.spared)


@dataclass(frozen=True, slots=True)
class IntakeCounts:
    """How many workers in session take new shards, and how many do not, each by one cause."""

    taking: int
    going_away: int
    drained: int
    cordoned: int
    unsubscribed: int
    unfit: int

    @property
    def kept_out(self) -> str:
        """That workers are connected and none takes new work, with why; empty where one does, and where none is connected."""
        causes = {
            "cordoned": self.cordoned,
            "drained": self.drained,
            "cut off from RabbitMQ": self.unsubscribed,
            "unfit": self.unfit,
            "going away": self.going_away,
        }
        connected = sum(causes.values())
        if self.taking or not connected:
            return ""
        who = "1 worker is connected and takes" if connected == 1 else f"{connected} workers are connected and take"
        return f"{who} no new work: {', '.join(f'{count} {cause}' for cause, count in causes.items() if count)}."

    @property
    def alarm(self) -> str:
        """Why nothing that waits can start; empty where a worker takes new work."""
        return "" if self.taking else self.kept_out or "No worker is connected."


async def read_intake(c: Connection) -> IntakeCounts:
    """As it stands."""
    row = await c.fetchrow(SQL["intake"])
    assert row is not None
    return IntakeCounts(**row)


async def live_workers(pool: Pool) -> list[LiveSession]:
    """All of them, by worker. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, "listing workers", seconds=READ_SECONDS) as c:
        return [LiveSession(**row) for row in await c.fetch(SQL["workers"])]


def alarm(workers: Iterable[tuple[str, Fitness]]) -> str:
    """What to tell of workers, by their names, that are not well and work all the same; empty when there is none."""
    spared = [(name, verdict.unfit) for name, verdict in workers if verdict.spared]
    if not spared:
        return ""
    who = "1 worker is not well and works" if len(spared) == 1 else f"{len(spared)} workers are not well and work"
    return f"{who} all the same, because too few would be left: {spared[0][0]}: {spared[0][1]}"


async def health_alarm(c: Connection) -> str:
    """The alarm that stands."""
    return alarm([(row["worker_id"], Fitness(row["unfit"], spared=True)) for row in await c.fetch(SQL["spared"])])

"""The tables in memory, with transactions as READ COMMITTED has them: nobody sees what is not committed.

A transaction keeps what it writes to itself until it commits, and writes a row only with its lock. Watchers of commits
see every changed row before and after, at the instant of the commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from simulation.store.locks import Locks, Mode, Owner
from simulation.virtual_loop import virtual_loop

Row = dict[str, Any]
EPOCH = 1_790_000_000.0
NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""-infinity, as asyncpg reads it."""
FOREVER = datetime.max.replace(tzinfo=UTC)
"""infinity, likewise."""
TABLES = ("tenant", "training", "session", "shard", "document", "worker_order")


class Change:
    """A row that a commit wrote; ``old`` is None when it was made."""

    __slots__ = ("key", "new", "old", "table")

    def __init__(self, table: str, key: Any, old: Row | None, new: Row) -> None:
        self.table, self.key, self.old, self.new = table, key, old, new


class Database:
    """What is committed. ``plans`` are names and their slots, ``limits`` what a tenant might use when its row was locked last."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, Row]] = {name: {} for name in TABLES}
        self.plans = {"free": 5, "paid": 30}
        self.limits: dict[int, int] = {}
        self.locks = Locks()
        self.watchers: list[Callable[[list[Change]], None]] = []
        self.shards_of: dict[int, list[int]] = {}
        self._sequences = dict.fromkeys(TABLES, 0)

    def next_id(self, table: str) -> int:
        """Of a sequence; one that is not used leaves a gap."""
        self._sequences[table] += 1
        return self._sequences[table]

    def add_tenant(self, name: str, plan: str, weight: float = 1.0) -> int:
        """As an operator makes one."""
        key = self.next_id("tenant")
        self.tables["tenant"][key] = {"id": key, "name": name, "plan": plan, "weight": weight}
        return key

    def order(self, worker: str, drain_seconds: float | None) -> None:
        """As an operator cordons a worker or, within so many seconds, drains it."""
        until = None if drain_seconds is None else now() + timedelta(seconds=drain_seconds)
        self.tables["worker_order"][worker] = {"worker_id": worker, "stands": True, "drain_until": until}

    def end_order(self, worker: str) -> None:
        """As an operator uncordons it."""
        self.tables["worker_order"][worker] = {"worker_id": worker, "stands": False, "drain_until": None}


def now() -> datetime:
    """The time of day."""
    return datetime.fromtimestamp(EPOCH + virtual_loop().time(), UTC)


class Transaction(Owner):
    """One transaction. ``now`` is when it began. ``failed``: it can only be rolled back."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.now = now()
        self.failed = False
        self.notices: deque[tuple[str, str]] = deque()
        self._written: dict[str, dict[Any, Row]] = {}

    def get(self, table: str, key: Any) -> Row | None:
        """A row as this transaction sees it."""
        written = self._written.get(table)
        if written is not None and key in written:
            return written[key]
        return self.database.tables[table].get(key)

    def scan(self, table: str) -> Iterator[Row]:
        """All rows that this transaction sees, by the order of their keys' making."""
        rows = self.database.tables[table]
        written = self._written.get(table)
        if not written:
            return iter(rows.values())
        return iter([written.get(key, row) for key, row in rows.items()] + [row for key, row in written.items() if key not in rows])

    def shards(self, training: int) -> Iterator[Row]:
        """The training's shards by number; those of this transaction are not among them before its commit."""
        rows = (self.get("shard", key) for key in self.database.shards_of.get(training, ()))
        return (row for row in rows if row is not None)

    def documents(self, training: int, first: int, last: int) -> Iterator[Row]:
        """Those that exist, by ordinal."""
        rows = (self.get("document", (training, ordinal)) for ordinal in range(first, last + 1))
        return (row for row in rows if row is not None)

    async def lock(self, table: str, key: Any, mode: Mode) -> Row | None:
        """Waits for the row's lock and answers the newest of it: what was read before may be old by now."""
        await self.database.locks.take(self, (table, key), mode)
        return self.get(table, key)

    async def update(self, table: str, key: Any, guard: Callable[[Row], bool], change: Callable[[Row], Row]) -> Row | None:
        """UPDATE of one row: None when ``guard`` does not hold, before or after its lock was waited for.

        ``change`` answers the columns to write.
        """
        row = self.get(table, key)
        if row is None or not guard(row):
            return None
        row = await self.lock(table, key, Mode.NO_KEY_UPDATE)
        if row is None or not guard(row):
            return None
        return self.put(table, key, {**row, **change(row)})

    async def lock_rows(self, table: str, rows: Iterable[Row], mode: Mode, guard: Callable[[Row], bool]) -> list[Row]:
        """SELECT ... ORDER BY id FOR: of the rows that the statement saw, those that still pass ``guard`` once locked."""
        locked = []
        for key in sorted(row["id"] for row in rows if guard(row)):
            row = await self.lock(table, key, mode)
            if row is not None and guard(row):
                locked.append(row)
        return locked

    def lock_free(self, table: str, rows: Iterable[Row], mode: Mode) -> list[Row]:
        """FOR ... SKIP LOCKED: those that nobody has locked."""
        return [row for row in rows if self.database.locks.try_take(self, (table, row["id"]), mode)]

    def some(self, table: str, keys: Iterable[Any]) -> list[Row]:
        """The rows of those keys that there are."""
        rows = (self.get(table, key) for key in keys)
        return [row for row in rows if row is not None]

    def put(self, table: str, key: Any, row: Row) -> Row:
        """Writes a row whose lock this transaction has."""
        assert self.held.get((table, key), 0) >= Mode.NO_KEY_UPDATE, f"{table} {key} is written without its lock"
        self._written.setdefault(table, {})[key] = row
        return row

    async def insert(self, table: str, key: Any, row: Row) -> bool:
        """False when there is such a row, after waiting for whoever makes it now."""
        if await self.lock(table, key, Mode.UPDATE) is not None:
            return False
        self.put(table, key, row)
        return True

    def commit(self) -> None:
        """All at once; then the locks are free."""
        changes = []
        for table, rows in self._written.items():
            committed = self.database.tables[table]
            for key, row in rows.items():
                changes.append(Change(table, key, committed.get(key), row))
                if table == "shard" and key not in committed:
                    self.database.shards_of.setdefault(row["training"], []).append(key)
                committed[key] = row
        self.database.locks.release(self)
        if changes:
            for watcher in self.database.watchers:
                watcher(changes)

    def rollback(self) -> None:
        """As if it had not been."""
        self.database.locks.release(self)

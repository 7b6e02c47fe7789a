"""The two stores, Postgres and the tables in memory, with one script for both: what it says and what it leaves are compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg

from doctrain_coordinator.store.migrate import migrate
from simulation.store import statements
from simulation.store.server import StoreServer
from simulation.virtual_loop import VirtualLoop

Script = Callable[["Store"], Awaitable[list[Any]]]
BASE = datetime(2026, 9, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
DOCUMENTS, SHARD = 24, 4
UNORDERED = {
    "in_flight",
    "pending",
    "in_lanes",
    "workers",
    "running",
    "held_shards",
    "held_by",
    "live_sessions",
    "known_sessions",
    "running_shards",
    "free",
    "claimants",
    "dispatched",
    "progress",
    "waiting",
}
TIMES = {"created_at", "gone_at", "load_progress_at", "age", "started_at", "ended_at", "yield_seconds", "extract"}
TABLES = {
    "training": "id, state, paused, retry_of, sealed, loaded, load_offset, total, completed, failed, unchanged, version, reason",
    "session": "id, worker_id, state, beat, attached, lanes, draining, unsubscribed, predecessor, unfit, spared, gone_at",
    "shard": "id, training, shard_number, first, count, open, state, number, holder, width, yields, not_before, cool_downs, running, "
    "narrow_to, resize, losses, fences, fenced_open, suspects, trial, version, yield_reason",
    "document": "training, ordinal, state, error_class, attempt, tries, losses, took_ms, error_code, stages, unchanged, document_id",
}


class Store(Protocol):
    """Either of the two."""

    async def connect(self) -> Any: ...

    async def is_locked_out(self, connection: Any) -> bool: ...


async def waits(store: Store, connection: Any, task: asyncio.Task[Any]) -> bool:
    """Whether a statement that was just sent waits for a lock; False once it is done."""
    while not task.done():
        await asyncio.sleep(0.005)
        if await store.is_locked_out(connection):
            return True
    return False


class OnPostgres:
    """The real one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.opened: list[Any] = []

    async def connect(self) -> Any:
        self.opened.append(await asyncpg.connect(self._url))
        return self.opened[-1]

    async def is_locked_out(self, connection: Any) -> bool:
        asked = "select exists (select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')"
        return bool(await self.opened[0].fetchval(asked, connection.get_server_pid()))


class InMemory:
    """Ours."""

    def __init__(self) -> None:
        self.server = StoreServer(random.Random(0), lambda *_: None)

    async def connect(self) -> Any:
        return await self.server.dial({}, 60.0)

    async def is_locked_out(self, connection: Any) -> bool:
        transaction = connection.backend.transaction
        return transaction is not None and transaction.waits is not None


async def on_postgres(url: str, script: Script) -> list[Any]:
    await migrate(url)
    store = OnPostgres(url)
    setting = await store.connect()
    await setting.execute("insert into tenant (name, plan) values ('acme', 'free'), ('bolt', 'paid')")
    try:
        answers = await script(store)
        for table, columns in TABLES.items():
            rows = await setting.fetch(f"select {columns} from {table}")
            answers.append(sorted(repr([_plain(name.strip(), row[name.strip()]) for name in columns.split(",")]) for row in rows))
    finally:
        for connection in store.opened:
            connection.terminate()
    return answers


def in_memory(script: Script) -> list[Any]:
    async def run() -> list[Any]:
        store = InMemory()
        store.server.database.add_tenant("acme", "free")
        store.server.database.add_tenant("bolt", "paid")
        answers = await script(store)
        for table, columns in TABLES.items():
            rows = store.server.database.tables[table].values()
            answers.append(sorted(repr([_plain(name.strip(), row[name.strip()]) for name in columns.split(",")]) for row in rows))
        return answers

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


async def same(url: str, script: Script) -> list[Any]:
    """Runs it on both and answers what both say."""
    real = await on_postgres(url, script)
    simulated = await asyncio.to_thread(in_memory, script)
    for place, (theirs, ours) in enumerate(zip(real, simulated, strict=True)):
        assert ours == theirs, f"answer {place}: {ours} is not {theirs}"
    return real


class Speaker:
    """Runs named statements on one connection and notes their answers, in a form that both stores share."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.answers: list[Any] = []
        self._texts = {
            f"{module.rpartition('.')[2]}.{name}": text for module in statements.MODULES for name, text in statements.of(module).items()
        }

    async def say(self, name: str, *args: Any) -> list[Any]:
        rows = await self.connection.fetch(self._texts[name], *args)
        plain = [tuple(_plain(key, row[key]) for key in row.keys()) for row in rows]  # noqa: SIM118 - asyncpg's rows iterate over values
        if name.partition(".")[2] in UNORDERED:
            plain.sort(key=repr)
        self.answers.append((name, plain))
        return plain

    async def load(self, training: int, tenant: int, *, numbered: bool) -> None:
        """As loading does."""
        if numbered:
            rows: list[Any] = [(training, n, None, None) for n in range(DOCUMENTS)]
        else:
            rows = [(training, n, f"d{n}", f"s3://b/{n}") for n in range(DOCUMENTS)]
        columns = ["training", "ordinal", "document_id", "uri"]
        await self.connection.copy_records_to_table("document", records=rows, columns=columns)
        firsts = range(0, DOCUMENTS, SHARD)
        await self.say("storing.insert_shards", training, tenant, 0, list(firsts), [SHARD] * len(firsts))
        template = "s3://b/{n}" if numbered else None
        await self.say(
            *("storing.insert_training", training, tenant, f"t{training}", b"h", training % 3 > 0, DOCUMENTS, 0, 0, None, None),
            *(template, 0, "", None, 1 if training == 3 else None, None, [], False),
        )


def _plain(key: str, value: Any) -> Any:
    if key == "apart":
        return len(value)
    if key in TIMES or isinstance(value, float):
        return value is not None
    if key == "not_before":  # -infinity, infinity, or by a clock of its own
        return {1: "never", 9999: "forever"}.get(value.year, "set")
    return list(value) if isinstance(value, list | tuple) else value

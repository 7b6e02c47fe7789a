"""asyncpg's surface, as far as the product uses it, over the tables in memory."""

from __future__ import annotations

import asyncio
import contextvars
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import asyncpg

from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from simulation.store import loading, statements
from simulation.store.backend import Backend
from simulation.store.tables import Row, Transaction
from simulation.virtual_loop import PROCESS, Process, virtual_loop


class Record:
    """A row of an answer, by name or place."""

    __slots__ = ("_row",)

    def __init__(self, row: Row) -> None:
        self._row = row

    def __getitem__(self, key: str | int) -> Any:
        return self._row[key] if isinstance(key, str) else list(self._row.values())[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._row.values())

    def __len__(self) -> int:
        return len(self._row)

    def keys(self) -> Iterable[str]:
        return self._row.keys()

    def __repr__(self) -> str:
        return f"<Record {self._row}>"


class Connection:
    """A client's side. ``command_seconds`` bounds each call, as asyncpg's command_timeout does."""

    def __init__(self, server: Any, pid: int, settings: dict[str, str], command_seconds: float) -> None:
        self._backend = Backend(server, pid, settings, self._end)
        self._context = contextvars.copy_context()
        self._server, self._command_seconds = server, command_seconds
        self._reply: asyncio.Future[Any] | None = None
        self._closed = False
        self._termination: list[Callable[[Any], None]] = []
        self._listeners: list[tuple[str, Callable[[Any, int, str, object], None]]] = []

    # Calls

    async def execute(self, sql: str, *args: Any) -> str:
        await self._ask(sql, [args])
        return ""

    async def fetch(self, sql: str, *args: Any) -> list[Record]:
        return await self._ask(sql, [args])

    async def fetchrow(self, sql: str, *args: Any) -> Record | None:
        rows = await self._ask(sql, [args])
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any) -> Any:
        rows = await self._ask(sql, [args])
        return rows[0][0] if rows else None

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._ask(sql, list(rows))

    async def fetchmany(self, sql: str, rows: Iterable[Sequence[Any]]) -> list[Record]:
        return await self._ask(sql, list(rows))

    async def copy_to_table(self, table: str, *, source: AsyncIterator[bytes], columns: Sequence[str], format: str) -> None:
        assert (table, list(columns), format) == ("document", ["training", "ordinal"], "binary")
        data = b"".join([piece async for piece in source])[19:-2]
        await self._copy(table, [{"training": t, "ordinal": o} for _, _, t, _, o in struct.iter_unpack(">hiqii", data)])

    async def copy_records_to_table(self, table: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
        await self._copy(table, [dict(zip(columns, record, strict=True)) for record in records])

    def transaction(self, *, readonly: bool = False) -> _ClientTransaction:
        return _ClientTransaction(self)

    # Life

    def get_server_pid(self) -> int:
        return self._backend.pid

    def is_closed(self) -> bool:
        return self._closed

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None:
        self._termination.append(callback)

    async def add_listener(self, channel: str, callback: Callable[[Any, int, str, object], None]) -> None:
        await self._ask("select 1", [()])
        self._listeners.append((channel, callback))

    async def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        """Drops the connection without a word to the server."""
        if not self._closed:
            self._closed = True
            self._backend.abandon()

    async def reset(self) -> None:
        """As a pool does before it lends the connection again: no request and no transaction is left, or it is dropped."""
        try:
            await self._backend.settled()
            if not self._closed and self._backend.transaction is not None:
                await self.execute("rollback")
        except BaseException:
            self.terminate()
            raise

    def heard(self, pid: int, channel: str, payload: str) -> None:
        """The server sends a notification; the client's process hears it when it runs."""
        for wanted, callback in self._listeners:
            if wanted == channel:
                self._in_process(callback, self, pid, channel, payload)

    def _end(self) -> None:
        self._closed = True
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
            self._reply.exception()
        for callback in self._termination:
            self._in_process(callback, self)

    def _in_process(self, callback: Callable[..., None], *args: Any) -> None:
        virtual_loop().call_soon(callback, *args, context=self._context)

    @property
    def backend(self) -> Backend:
        """The server's side."""
        return self._backend

    @property
    def process(self) -> Process | None:
        """Whose connection it is."""
        return self._context.get(PROCESS)

    async def request(self, work: Any) -> Any:
        """One request and its answer."""
        await self._backend.settled()
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        if self._reply is not None and not self._reply.done():
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")
        reply = self._reply = virtual_loop().create_future()
        self._backend.request(work, reply)
        try:
            async with asyncio.timeout(self._command_seconds):
                return await reply
        except (asyncio.CancelledError, TimeoutError):
            self._backend.cancel()
            raise

    async def _ask(self, sql: str, rows: list[Any]) -> list[Record]:
        special = _SPECIAL.get(sql)
        if special is not None:
            return [Record(row) for row in await self.request(lambda backend: special(backend, *rows[0]))]
        known = self._server.statements.get(sql)
        if known is None:
            raise statements.UnknownStatementError(sql)
        function = known[1]

        async def run(transaction: Transaction) -> list[Row]:
            found: list[Row] = []
            for row in rows:
                found += await function(transaction, *row)
            return found

        return [Record(row) for row in await self.request(lambda backend: backend.within(run))]

    async def _copy(self, table: str, rows: list[Row]) -> None:
        async def run(transaction: Transaction) -> None:
            for row in rows:
                await _copy_row(transaction, table, row)

        await self.request(lambda backend: backend.within(run))


async def _copy_row(transaction: Transaction, table: str, row: Row) -> None:
    assert table == "document"
    if not await transaction.insert("document", (row["training"], row["ordinal"]), loading.new_document(**row)):
        raise asyncpg.UniqueViolationError("duplicate key value violates unique constraint")


class _ClientTransaction:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self) -> None:
        await self._connection.execute("begin")

    async def commit(self) -> None:
        await self._connection.execute("commit")

    async def rollback(self) -> None:
        await self._connection.execute("rollback")

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: object, *_: object) -> None:
        await (self.commit() if kind is None else self.rollback())


async def _begin(backend: Backend) -> list[Row]:
    await backend.begin()
    return []


async def _commit(backend: Backend) -> list[Row]:
    backend.close_transaction(commit=True)
    return []


async def _rollback(backend: Backend) -> list[Row]:
    backend.close_transaction(commit=False)
    return []


async def _nothing(backend: Backend) -> list[Row]:
    return [{"?column?": 1}]


async def _notify(backend: Backend, channel: str, payload: str) -> list[Row]:
    async def note(transaction: Transaction) -> list[Row]:
        transaction.notices.append((channel, payload))
        return []

    answer: list[Row] = await backend.within(note)
    return answer


async def _lead(backend: Backend) -> list[Row]:
    await backend.advisory(AdvisoryLock.LEADERSHIP, wait=True)
    return []


async def _try_load(backend: Backend, training: int) -> list[Row]:
    return [{"locked": await backend.advisory(-training, wait=False)}]


_SPECIAL: dict[str, Any] = {
    "begin": _begin,
    "commit": _commit,
    "rollback": _rollback,
    "select 1": _nothing,
    statements.of("changes")["notify"]: _notify,
    statements.of("dispatch.leadership")["lead"]: _lead,
    statements.of("trainings.unfinished")["try_load"]: _try_load,
}

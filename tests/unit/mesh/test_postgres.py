"""What a lost Postgres looks like, whatever asyncpg calls it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest

from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreRestoredError, StoreUnavailableError
from doctrain_mesh.postgres import connections


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        asyncpg.InternalClientError("cannot switch to state 13; another operation (2) is in progress"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.PostgresIOError("could not read block 7 in file base/5/16384: Input/output error"),
        asyncpg.StatementCompletionUnknownError("the outcome of the statement is not known"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_server_is_told_as_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailableError, match="reading"):
        async with postgres.available("reading"):
            raise error


class Connection:
    """As far as it is asked whether it is closed; one that its pool took back refuses to say so."""

    def __init__(self, *, closed: bool = False, taken_back: bool = False) -> None:
        self._closed, self._taken_back = closed, taken_back

    def is_closed(self) -> bool:
        if self._taken_back:
            raise asyncpg.InterfaceError("connection has been released back to the pool")
        return self._closed


LOST: Any = Connection(closed=True)
TAKEN_BACK: Any = Connection(taken_back=True)
OPEN: Any = Connection()


@pytest.mark.parametrize("connection", [LOST, TAKEN_BACK], ids=["lost", "taken back"])
async def test_what_a_closed_connection_refuses_is_an_absent_store(connection: Any) -> None:
    with pytest.raises(StoreUnavailableError, match="reading"):
        async with postgres.available("reading", connection):
            raise asyncpg.InterfaceError("connection is closed")


@pytest.mark.parametrize("connection", [OPEN, None], ids=["open", "unknown"])
async def test_what_an_open_connection_refuses_is_a_mistake(connection: Any) -> None:
    with pytest.raises(asyncpg.InterfaceError, match="in progress"):
        async with postgres.available("reading", connection):
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")


async def test_what_is_refused_while_an_overdue_statement_is_cleaned_up_after_is_an_absent_store() -> None:
    def roll_back_what_is_overdue() -> None:
        try:
            raise TimeoutError
        finally:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is cancelling")

    with pytest.raises(StoreUnavailableError):
        async with postgres.available("reading", OPEN):
            roll_back_what_is_overdue()


@pytest.mark.parametrize(
    ("error", "alarm"),
    [
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), False),
        (asyncpg.IdleInTransactionSessionTimeoutError("terminating connection due to idle-in-transaction timeout"), False),
        (ConnectionRefusedError(111, "Connection refused"), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_session_that_its_own_process_lost_is_no_outage(error: Exception, alarm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(connections.OUTAGE, "away", told.append)
    with pytest.raises(StoreUnavailableError):
        async with postgres.available("writing index rows"):
            raise error
    assert bool(told) == alarm


REFUSED = asyncpg.InterfaceError("connection is closed")


async def _is_cancelled_and_raises(error: Exception) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise error from None


@pytest.mark.parametrize("error", [REFUSED, StoreRestoredError("Postgres is not where it was.")], ids=["rollback", "refused connection"])
async def test_who_is_cancelled_does_not_work_on_though_the_clean_up_raises_something_else(error: Exception) -> None:
    async def would_work_on() -> None:
        with contextlib.suppress(StoreUnavailableError):
            async with postgres.available("working"):
                await _is_cancelled_and_raises(error)

    task = asyncio.create_task(would_work_on())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    assert task.cancelled()


async def test_a_timeout_whose_rollback_fails_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), postgres.available("working"):
            await _is_cancelled_and_raises(REFUSED)


async def test_a_lost_connection_is_an_absent_store_also_while_a_task_cleans_up() -> None:
    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(StoreUnavailableError):
                async with postgres.available("cleaning up", LOST):
                    raise asyncpg.InterfaceError("connection is closed")

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    assert task.cancelled()

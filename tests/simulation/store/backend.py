"""The server's side of one connection: runs requests one by one, holds their locks, and notices when its client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from simulation.store.locks import Mode, Owner
from simulation.store.tables import Transaction
from simulation.virtual_loop import virtual_loop

Work = Callable[["Backend"], Awaitable[Any]]


class Backend(Owner):
    """``lost`` is called once, when the server has ended the connection. Its tasks belong to the world: no client freezes them."""

    def __init__(self, server: Any, pid: int, settings: dict[str, str], lost: Callable[[], None]) -> None:
        super().__init__()
        self.server, self.pid, self._lost = server, pid, lost
        self.transaction: Transaction | None = None
        self.ended = False
        self._abandoned = self._given_up = False
        self._request: asyncio.Task[None] | None = None
        self._idle_seconds = _seconds(settings.get("idle_session_timeout"))
        self._idle_in_transaction_seconds = _seconds(settings.get("idle_in_transaction_session_timeout"))
        self._active = virtual_loop().time()
        self._watch_idleness()

    # What the client sends

    def request(self, work: Work, reply: asyncio.Future[Any]) -> None:
        """Runs ``work`` after the way here; the answer, if the fates let it through, is in ``reply``."""
        self._given_up = False
        self._request = virtual_loop().outside(self._serve(work, reply), name="a statement")

    def cancel(self) -> None:
        """Asks that the running request be given up: at once where it waits for a lock, else before it begins, if it is a statement."""
        self._given_up = True
        waits = self.waits or (self.transaction.waits if self.transaction is not None else None)
        if self._request is not None and waits is not None:
            self._request.cancel()

    async def settled(self) -> None:
        """Waits for a request that was given up."""
        if self._request is not None and not self._request.done():
            await asyncio.wait({self._request})

    def abandon(self) -> None:
        """The client is gone. What runs goes on to its end, as a server does that has not yet looked at its socket."""
        self._abandoned = True
        if self._request is None or self._request.done():
            self.end()

    def end(self) -> None:
        """The connection is over: rolled back, all locks free."""
        if self.ended:
            return
        self.ended = True
        if self._request is not None:
            self._request.cancel()
        self.close_transaction(commit=False)
        self.server.database.locks.release(self)
        self.server.forget(self)
        self._lost()

    # What requests do

    async def begin(self) -> None:
        self.transaction = Transaction(self.server.database)

    def close_transaction(self, *, commit: bool) -> None:
        """A failed one is rolled back whatever is asked, as Postgres does, without a word."""
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        if commit and not transaction.failed:
            notices = tuple(transaction.notices)
            transaction.commit()
            self.server.notify(self.pid, notices)
        else:
            transaction.rollback()

    async def within(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        """Runs ``work`` in the open transaction, or in one of its own."""
        own = self.transaction is None
        if self._given_up:
            if self.transaction is not None:
                self.transaction.failed = True
            raise asyncpg.QueryCanceledError("canceling statement due to user request")
        if own:
            await self.begin()
        transaction = self.transaction
        assert transaction is not None
        if transaction.failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted, commands ignored until end of transaction block")
        try:
            answer = await work(transaction)
        except BaseException:
            transaction.failed = True
            if own:
                self.close_transaction(commit=False)
            raise
        if own:
            self.close_transaction(commit=True)
        return answer

    async def advisory(self, key: int, *, wait: bool) -> bool:
        """A lock of this session; kept until it ends."""
        if not wait:
            return bool(self.server.database.locks.try_take(self, ("advisory", key), Mode.UPDATE))
        if self.server.faults.two_leaders:
            return True
        await self.server.database.locks.take(self, ("advisory", key), Mode.UPDATE)
        return True

    async def _serve(self, work: Work, reply: asyncio.Future[Any]) -> None:
        fate = self.server.faults.fate()
        try:
            await asyncio.sleep(self.server.faults.latency())
            if fate == "before":
                self.end()
                return
            answer = await work(self)
        except asyncio.CancelledError:
            self._answer(reply, error=asyncpg.QueryCanceledError("canceling statement due to user request"))
        except Exception as error:
            self._answer(reply, error=error)
        else:
            if fate == "after":
                self.end()
                return
            self._answer(reply, answer)
        self._active = virtual_loop().time()
        if self._abandoned:
            self.end()

    def _answer(self, reply: asyncio.Future[Any], answer: Any = None, error: Exception | None = None) -> None:
        if reply.done() or self.ended:
            return
        if error is None:
            reply.set_result(answer)
        else:
            reply.set_exception(error)
            reply.exception()  # seen: a client that gave up does not ask

    def _watch_idleness(self) -> None:
        waits = [seconds for seconds in (self._idle_seconds, self._idle_in_transaction_seconds) if seconds]
        if waits and not self.ended:
            virtual_loop().later(min(waits) / 4, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        busy = self._request is not None and not self._request.done()
        limit = self._idle_in_transaction_seconds if self.transaction is not None else self._idle_seconds
        if not busy and not self.ended and limit and virtual_loop().time() - self._active > limit:
            self.server.note("idle connection ended", self.pid)
            self.end()
        self._watch_idleness()


def _seconds(setting: str | None) -> float:
    if setting is None:
        return 0.0
    return float(setting[:-2]) / 1000 if setting.endswith("ms") else float(setting.removesuffix("s"))

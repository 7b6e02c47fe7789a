"""Every ack of every worker, seen on the wire, and the shard's row right after it.

A row never goes back to a number and state that it left, so a row that after the ack still waits for its begin, or is still
held by the worker that acked, proves that the ack came before the commit that allows it. No such proof comes
from rows that moved on meanwhile: what is found is wrong for certain, what is not found may be luck.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import asyncpg
from google.protobuf.message import DecodeError

from chaos.away import AWAY
from chaos.journal import Journal
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from testkit.amqp import DeliveryTap

_ROWS = """
select shard.id, shard.number, shard.state, session.worker_id, session.state as session_state,
    session.id = (select max(id) from session newest where newest.worker_id = session.worker_id) as newest
from shard left join session on session.id = shard.holder where shard.id = any($1::bigint[])
"""


class AckWatch:
    """``tap`` is for the broker's proxy; ``run`` asks the database."""

    def __init__(self, url: str, journal: Journal) -> None:
        self._url, self._journal = url, journal
        self._acks: asyncio.Queue[tuple[float, str, int, int]] = asyncio.Queue()
        self._taps: list[tuple[str, DeliveryTap]] = []

    def tap(self, owner: str) -> DeliveryTap | None:
        """A tap for a worker's connection."""
        if not owner.startswith("worker"):
            return None
        self._taps = [(known, tap) for known, tap in self._taps if tap.open]
        tap = DeliveryTap(partial(self._settled, owner))
        self._taps.append((owner, tap))
        return tap

    @property
    def unsettled(self) -> int:
        """Deliveries that workers have in hand."""
        return sum(len(tap.unsettled) for _, tap in self._taps if tap.open)

    def _settled(self, owner: str, how: str, body: bytes) -> None:
        grant = _grant(body)
        if how != "ack":
            self._journal.write("rejects", worker=owner, shard=grant[0])
        elif not self._has_copy(owner, grant):
            self._acks.put_nowait((time.monotonic(), owner, *grant))

    def _has_copy(self, owner: str, grant: tuple[int, int]) -> bool:
        """Whether the worker has a newer copy of the message in hand: then the one that it acked is not needed."""
        return any(known == owner and tap.open and grant in map(_grant, tap.unsettled.values()) for known, tap in self._taps)

    async def run(self) -> None:
        """Until cancelled."""
        connection: asyncpg.Connection[Any] | None = None
        while True:
            batch = [await self._acks.get()]
            while not self._acks.empty():
                batch.append(self._acks.get_nowait())
            rows = None
            while rows is None:
                try:
                    async with asyncio.timeout(2):
                        connection = connection or await asyncpg.connect(self._url, server_settings={"application_name": "chaos"})
                        rows = await connection.fetch(_ROWS, [shard for _, _, shard, _ in batch])
                except AWAY:
                    if connection is not None:
                        connection.terminate()
                    connection = None
                    await asyncio.sleep(0.1)
            found = {row["id"]: dict(row) for row in rows}
            for at, worker, shard, number in batch:
                self._journal.write("acks", at=at, worker=worker, shard=shard, number=number, row=found.get(shard))


def _grant(body: bytes) -> tuple[int, int]:
    """(shard, number), or (0, 0) for what carries no grant."""
    try:
        message = ShardMessage.FromString(body)
    except DecodeError:
        return 0, 0
    return message.shard, message.number

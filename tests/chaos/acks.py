"""Every ack of every worker, seen on the wire, and the shard's row right after it.

A row never goes back to a number and state that it left, so a row that after the ack still waits for its begin, or is still
held by the worker that acked, proves that the ack came before the commit that allows it (PROTOCOL I2). No such proof comes
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
        self._taps: list[DeliveryTap] = []

    def tap(self, owner: str) -> DeliveryTap | None:
        """A tap for a worker's connection."""
        if not owner.startswith("worker"):
            return None
        self._taps = [tap for tap in self._taps if tap.open]
        self._taps.append(DeliveryTap(partial(self._settled, owner)))
        return self._taps[-1]

    @property
    def unsettled(self) -> int:
        """Deliveries that workers have in hand."""
        return sum(len(tap.unsettled) for tap in self._taps if tap.open)

    def _settled(self, owner: str, how: str, body: bytes) -> None:
        try:
            message = ShardMessage.FromString(body)
        except DecodeError:
            message = ShardMessage()
        if how == "ack":
            self._acks.put_nowait((time.monotonic(), owner, message.shard, message.number))
        else:
            self._journal.write("rejects", worker=owner, shard=message.shard)

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

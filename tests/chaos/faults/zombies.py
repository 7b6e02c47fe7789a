"""A worker that holds nothing and reports all the same: for shards in flight elsewhere, under their numbers of now and before."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import grpc

from chaos.away import AWAY
from chaos.faults.fault import Fault
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc

ANSWER_SECONDS = 15.0
NAME = "zombie"
_HELD = "select id, number, first, count from shard where state = 2 order by random() limit 12"


class Reports(Fault):
    """Its session is live and its words are well formed; only the fence keeps them out."""

    name = "reports from a worker that holds nothing"

    async def inject(self) -> str:
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    outcomes = await self._report()
                break
            except (*AWAY, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.sleep(0.5)  # other faults may be under way
        recorded = outcomes.count(pb.BLOCK_OUTCOME_RECORDED)
        self.world.journal.write("zombies", reports=len(outcomes), recorded=recorded)
        return f"{len(outcomes)} reports"

    async def _report(self) -> list[int]:
        address = self.draw.choice(self.world.addresses)
        async with grpc.aio.insecure_channel(address) as channel:
            key = (("authorization", f"Bearer {self.world.worker_key}"),)
            call = tracker_pb2_grpc.TrackerServiceStub(channel).Track(metadata=key)
            try:
                await call.write(pb.TrackRequest(hello=pb.Hello(worker_id=NAME, lanes=1, version="chaos")))
                await call.read()
                blocks = await self._blocks()
                await call.write(pb.TrackRequest(heartbeat=pb.Heartbeat(sequence=1, draining=True), blocks=blocks))
                outcomes: list[int] = []
                while len(outcomes) < len(blocks):
                    answer = await call.read()
                    if not isinstance(answer, pb.TrackResponse):
                        raise TimeoutError("The stream ended.")
                    outcomes += [block.outcome for block in answer.blocks]
                await call.write(pb.TrackRequest(goodbye=pb.Goodbye(reason="it never was")))
                while isinstance(await call.read(), pb.TrackResponse):
                    pass
                return outcomes
            finally:
                call.cancel()

    async def _blocks(self) -> list[pb.Block]:
        connection = await asyncpg.connect(self.world.database, timeout=5)
        try:
            rows = await connection.fetch(_HELD, timeout=5)
        finally:
            connection.terminate()
        if not rows:
            raise TimeoutError("Nothing is held.")
        now = int(time.time() * 1000)
        grants = [(row, number) for row in rows for number in (row["number"], row["number"] - 1) if number > 0]
        return [
            pb.Block(
                sequence=place,
                shard=pb.ShardRef(shard=row["id"], number=number),
                first=row["first"],
                base_ms=now,
                started=[0] * row["count"],
                took=[1] * row["count"],
            )
            for place, (row, number) in enumerate(grants, 1)
        ]


FAULTS = (Reports,)

"""What a stream's writer is given: everything that came meanwhile, once, and nothing is lost while it writes."""

from __future__ import annotations

import asyncio

from doctrain_coordinator.rpc.tracker_outbox import Outbox
from doctrain_mesh.v1 import tracker_pb2 as pb


async def test_the_welcome_is_there_at_once_and_what_comes_while_it_is_written_is_next() -> None:
    outbox = Outbox(pb.Welcome(session=3), draining=False)
    assert await outbox.take() == pb.TrackResponse(welcome=pb.Welcome(session=3))
    outbox.block(pb.BlockAnswer(sequence=1))
    outbox.block(pb.BlockAnswer(sequence=2))
    outbox.drain()
    response = await outbox.take()
    assert [answer.sequence for answer in response.blocks] == [1, 2]
    assert response.draining
    assert not response.HasField("welcome")


async def test_who_has_nothing_to_write_waits_for_the_next_answer() -> None:
    outbox = Outbox(pb.Welcome(), draining=True)
    assert (await outbox.take()).draining
    waiting = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.begin(pb.BeginAnswer(tenant=4))
    assert [answer.tenant for answer in (await waiting).begins] == [4]


async def test_of_several_standings_the_newest_is_told() -> None:
    outbox = Outbox(pb.Welcome(), draining=False)
    outbox.heartbeat(pb.HeartbeatAnswer(sequence=1, session_lost=True))
    outbox.heartbeat(pb.HeartbeatAnswer(sequence=2))
    assert (await outbox.take()).heartbeat == pb.HeartbeatAnswer(sequence=2)


async def test_a_closed_outbox_lets_its_writer_go() -> None:
    outbox = Outbox(pb.Welcome(), draining=False)
    await outbox.take()
    outbox.close()
    assert await outbox.take() == pb.TrackResponse()
    assert outbox.closed

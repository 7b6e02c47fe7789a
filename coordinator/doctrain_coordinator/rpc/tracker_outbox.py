"""What a worker is told next over its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from doctrain_mesh.v1 import tracker_pb2 as pb


class Outbox:
    """Answers are added by whoever has them; one writer takes all that came meanwhile as one response.

    ``closed``: the stream's writer ends after the response that it takes next.
    """

    def __init__(self, welcome: pb.Welcome, *, draining: bool) -> None:
        self._next = pb.TrackResponse(welcome=welcome, draining=draining)
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        self.closed = False

    async def take(self) -> pb.TrackResponse:
        """The next response, once there is something to say."""
        await self._wakeup.wait()
        self._wakeup.clear()
        response, self._next = self._next, pb.TrackResponse()
        return response

    def drain(self) -> None:
        """The worker is to move to another coordinator."""
        self._next.draining = True
        self._wakeup.set()

    def close(self) -> None:
        """There is nothing more to say."""
        self.closed = True
        self._wakeup.set()

    def begin(self, answer: pb.BeginAnswer) -> None:
        """What came of a begin."""
        self._next.begins.append(answer)
        self._wakeup.set()

    def block(self, answer: pb.BlockAnswer) -> None:
        """What came of a block of results."""
        self._next.blocks.append(answer)
        self._wakeup.set()

    def heartbeat(self, answer: pb.HeartbeatAnswer) -> None:
        """What stands of the session; takes the place of what was said before and is not taken yet."""
        self._next.heartbeat.CopyFrom(answer)
        self._wakeup.set()

    def trial(self, answer: pb.TrialAnswer) -> None:
        """Whether a trial was started."""
        self._next.trial_answers.append(answer)
        self._wakeup.set()

    def yielded(self, shard: pb.ShardRef) -> None:
        """Tells the worker that the hold is released."""
        self._next.yields.append(shard)
        self._wakeup.set()

    def stopped(self, shards: Iterable[pb.ShardRef]) -> None:
        """Tells the worker that the holds are released: nothing of them ran any more."""
        self._next.stopped.extend(shards)
        self._wakeup.set()

"""One WatchStatus stream: the present state, then every change, documents when asked for, and signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc import tokens, translate
from doctrain_coordinator.trainings.changed_documents import ChangedDocuments
from doctrain_coordinator.trainings.long_documents import LongDocuments
from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_coordinator.trainings.watchers import WatchHub

# Which shards changed is read from all of a training's: of one with so many documents, seldom.
MANY, MANY_SECONDS = 100_000, 1.0


class Watching:
    """Follows one training for one caller. What is sent is taken from the hub's mailbox, so a slow reader skips states."""

    def __init__(self, reads: WatchReads, hub: WatchHub, tenant: int, training: int, heartbeat_seconds: float) -> None:
        self._hub, self._tenant, self._training, self._heartbeat = hub, tenant, training, heartbeat_seconds
        self._changed, self._long = ChangedDocuments(reads, tenant, training), LongDocuments(reads, tenant, training)

    async def responses(self, resume_position: str, *, documents: bool) -> AsyncIterator[pb.WatchStatusResponse]:
        """What to send, until the training has ended; raises InvalidResumePositionError, ShuttingDownError."""
        scope = f"WatchStatus {self._training}"
        known = tokens.read(scope, resume_position, 1, "resume position")[0] if resume_position else 0
        sent, waiting = -1, ""
        clock = asyncio.get_running_loop().time
        with self._hub.watching(self._tenant, self._training) as mailbox:
            silent_until = clock() + self._heartbeat
            while True:
                seen = await mailbox.take(silent_until - clock())
                if seen is not None and seen.training.version < max(known, sent):
                    known, sent = 0, -1  # what is known is from before Postgres was restored: the present state is the truth
                    self._changed.forget()
                if seen is None or (seen.training.version <= sent and seen.waiting == waiting):  # why it waits changes without a version
                    if clock() >= silent_until:
                        yield pb.WatchStatusResponse(heartbeat=True, resume_position=tokens.make(scope, max(known, sent)))
                        silent_until = clock() + self._heartbeat
                    continue
                version, state = seen.training.version, translate.training(seen)
                if documents and version != sent:
                    before = tokens.make(scope, known)
                    async for ended in self._changed.since(known, seen):
                        # The first message of a stream has the training, so that it is told whose documents come; the position
                        # moves on only after the last of them.
                        if sent < 0:
                            yield pb.WatchStatusResponse(training=state, resume_position=before)
                            sent = 0
                        batch = [translate.document(document, seen.training) for document in ended]
                        yield pb.WatchStatusResponse(documents=batch, resume_position=before)
                known, sent, waiting = version, version, seen.waiting
                under_way = [translate.document(document, seen.training, stages) for document, stages in await self._long.first(seen)]
                yield pb.WatchStatusResponse(training=state, resume_position=tokens.make(scope, version), under_way=under_way)
                if seen.training.state.ended:
                    return
                if documents and seen.training.total >= MANY:
                    await asyncio.sleep(MANY_SECONDS)
                silent_until = clock() + self._heartbeat

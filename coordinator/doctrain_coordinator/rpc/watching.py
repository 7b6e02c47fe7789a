"""One WatchStatus stream: the present state, then every change, documents when asked for, and signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc import tokens, translate
from doctrain_coordinator.store import statements
from doctrain_coordinator.trainings.reading import Seen, read_documents
from doctrain_coordinator.trainings.watchers import WatchHub
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool

SQL = statements.load("trainings")
READ_SECONDS = 10.0
MOST_DOCUMENTS = 200
ENOUGH_BYTES = 128 * 1024
"""Of documents in one message: a client that reads nothing is to hold little of this process's memory."""
# Which shards changed is read from all of a training's: of one with so many documents, seldom.
MANY, MANY_SECONDS = 100_000, 1.0


class Watching:
    """Follows one training for one caller. What is sent is taken from the hub's mailbox, so a slow reader skips states."""

    def __init__(self, pool: Pool, hub: WatchHub, training: int, heartbeat_seconds: float) -> None:
        self._pool, self._hub, self._training, self._heartbeat = pool, hub, training, heartbeat_seconds
        self._told: dict[int, set[int]] = {}

    async def responses(self, resume_position: str, *, documents: bool) -> AsyncIterator[pb.WatchStatusResponse]:
        """What to send, until the training has ended; raises InvalidResumePositionError, ShuttingDownError."""
        scope = f"WatchStatus {self._training}"
        known = tokens.read(scope, resume_position, 1, "resume position")[0] if resume_position else 0
        sent = -1
        clock = asyncio.get_running_loop().time
        with self._hub.watching(self._training) as mailbox:
            silent_until = clock() + self._heartbeat
            while True:
                seen = await mailbox.take(silent_until - clock())
                if seen is not None and seen.row["version"] < max(known, sent):
                    known, sent = 0, -1  # what is known is from before Postgres was restored: the present state is the truth
                    self._told.clear()
                if seen is None or seen.row["version"] <= sent:
                    if clock() >= silent_until:
                        yield pb.WatchStatusResponse(heartbeat=True, resume_position=tokens.make(scope, max(known, sent)))
                        silent_until = clock() + self._heartbeat
                    continue
                version, state = seen.row["version"], translate.training(seen)
                if documents:
                    before = tokens.make(scope, known)
                    async for batch in self._documents(seen, known):
                        # The first message of a stream has the training, so that it is told whose documents come; the position
                        # moves on only after the last of them.
                        if sent < 0:
                            yield pb.WatchStatusResponse(training=state, resume_position=before)
                            sent = 0
                        yield pb.WatchStatusResponse(documents=batch, resume_position=before)
                known = sent = version
                yield pb.WatchStatusResponse(training=state, resume_position=tokens.make(scope, version))
                if seen.state.ended:
                    return
                if documents and seen.row["total"] >= MANY:
                    await asyncio.sleep(MANY_SECONDS)
                silent_until = clock() + self._heartbeat

    async def _documents(self, seen: Seen, known: int) -> AsyncIterator[list[pb.Document]]:
        """Documents that ended since the version that is known, in batches."""
        async with postgres.acquired(self._pool, "reading what changed", seconds=READ_SECONDS) as c:
            shards = await c.fetch(SQL["changed_shards"], self._training, known)
        for shard in shards:
            told = self._told.setdefault(shard["id"], set())
            first, last = shard["first"], shard["first"] + shard["count"] - 1
            while first <= last:
                async with postgres.acquired(self._pool, "reading what changed", seconds=READ_SECONDS) as c:
                    arguments = self._training, first, last, MOST_DOCUMENTS
                    found = await read_documents(c, SQL["ended_documents"], *arguments, most_bytes=ENOUGH_BYTES)
                fresh = [row for row in found.rows if row["ordinal"] not in told]
                told.update(row["ordinal"] for row in fresh)
                if fresh:
                    yield [translate.document(row, seen.row) for row in fresh]
                first = found.rows[-1]["ordinal"] + 1 if found.cut or len(found.rows) == MOST_DOCUMENTS else last + 1
            if shard["open"] == 0 and shard["version"] <= seen.row["version"]:
                del self._told[shard["id"]]

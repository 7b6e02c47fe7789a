"""What a worker is told of a shard that it begun: its open documents in columns, and the training they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from doctrain_coordinator.commits import ShardFacts
from doctrain_coordinator.store import statements
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, Record
from doctrain_mesh.v1 import tracker_pb2 as pb

SQL = statements.load("opened")
READ_SECONDS = 10.0


class Opened:
    """Reads outside the group commit: the shard is its holder's by then, so what is open changes by its reports only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def describe(self, facts: ShardFacts, ref: pb.ShardRef) -> pb.BeginAnswer:
        """The answer to a begin that succeeded; raises StoreUnavailableError."""
        last = facts.first + facts.count - 1
        async with postgres.acquired(self._pool, "reading a shard", seconds=READ_SECONDS) as c:
            shard = await c.fetchrow(SQL["shard"], facts.id)
            assert shard is not None
            if shard["uri_template"] is not None and shard["open"] == facts.count:
                documents = pb.OpenDocuments(run_first=[facts.first], run_count=[facts.count])
            elif shard["uri_template"] is not None:
                rows = await c.fetch(SQL["open_ordinals"], facts.training, facts.first, last)
                documents = _runs([row["ordinal"] for row in rows])
            else:
                documents = _columns(await c.fetch(SQL["open_documents"], facts.training, facts.first, last))
        if shard["uri_template"] is not None:
            documents.uri_template, documents.number_offset = shard["uri_template"], shard["number_offset"]
        return pb.BeginAnswer(
            shard=ref,
            outcome=pb.BEGIN_OUTCOME_BEGUN,
            tenant=facts.tenant,
            tenant_id=shard["tenant_id"],
            training=facts.training,
            training_task_id=shard["task_id"],
            width=shard["width"],
            documents=documents,
            suspects=shard["suspects"],
            traceparent=shard["traceparent"],
        )


def _runs(ordinals: Sequence[int]) -> pb.OpenDocuments:
    documents = pb.OpenDocuments()
    previous = None
    for ordinal in ordinals:
        if previous is not None and ordinal == previous + 1:
            documents.run_count[-1] += 1
        else:
            documents.run_first.append(ordinal)
            documents.run_count.append(1)
        previous = ordinal
    return documents


def _columns(rows: Sequence[Record]) -> pb.OpenDocuments:
    documents = _runs([row["ordinal"] for row in rows])
    documents.document_ids.extend([row["document_id"] for row in rows])
    documents.uris.extend([row["uri"] for row in rows])
    if any(row["media_type"] for row in rows):
        documents.media_types.extend([row["media_type"] or "" for row in rows])
    if any(row["metadata"] for row in rows):
        documents.metadata.extend([row["metadata"] or "{}" for row in rows])
    return documents

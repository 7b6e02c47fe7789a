"""What a worker is told of a shard that it begun: its open documents in columns, and the training they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from doctrain_coordinator.store import statements
from doctrain_coordinator.tracking.commits import BegunShard
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, Record
from doctrain_mesh.v1 import tracker_pb2 as pb

SQL = statements.load("opened")
READ_SECONDS = 10.0
MOST_TENANTS = 100_000


class Opened:
    """Reads outside the group commit: the shard is its holder's by then, so what is open changes by its reports only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tenant_names: dict[int, str] = {}

    def known(self, begun: BegunShard) -> pb.BeginAnswer | None:
        """The answer where nothing needs to be read: a shard of numbered documents that are all open."""
        facts = begun.facts
        if begun.training["uri_template"] is None or begun.shard["open"] != facts.count or facts.tenant not in self._tenant_names:
            return None
        return self._answer(begun, pb.OpenDocuments(run_first=[facts.first], run_count=[facts.count]))

    async def read(self, begun: BegunShard) -> pb.BeginAnswer:
        """The answer with what is open now; raises StoreUnavailableError."""
        facts = begun.facts
        last = facts.first + facts.count - 1
        async with postgres.acquired(self._pool, "reading a shard", seconds=READ_SECONDS) as c:
            if facts.tenant not in self._tenant_names:
                if len(self._tenant_names) >= MOST_TENANTS:
                    self._tenant_names.clear()
                self._tenant_names[facts.tenant] = await c.fetchval(SQL["tenant_name"], facts.tenant)
            if begun.training["uri_template"] is not None:
                documents = _runs([row["ordinal"] for row in await c.fetch(SQL["open_ordinals"], facts.training, facts.first, last)])
            else:
                documents = _columns(await c.fetch(SQL["open_documents"], facts.training, facts.first, last))
        return self._answer(begun, documents)

    def _answer(self, begun: BegunShard, documents: pb.OpenDocuments) -> pb.BeginAnswer:
        facts, shard, training = begun.facts, begun.shard, begun.training
        if training["uri_template"] is not None:
            documents.uri_template, documents.number_offset = training["uri_template"], training["number_offset"]
        return pb.BeginAnswer(
            shard=pb.ShardRef(shard=facts.id, number=shard["number"]),
            outcome=pb.BEGIN_OUTCOME_BEGUN,
            tenant=facts.tenant,
            tenant_id=self._tenant_names[facts.tenant],
            training=facts.training,
            training_task_id=training["task_id"],
            index_order=training["index_order"],
            width=shard["width"],
            documents=documents,
            suspects=shard["suspects"],
            cool_downs=shard["cool_downs"],
            traceparent=training["traceparent"],
            retrain=training["retrain"],
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

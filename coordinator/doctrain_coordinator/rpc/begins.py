"""The answer to a begin: the shard's open documents in columns, and the training they belong to."""

from __future__ import annotations

from doctrain_coordinator.tracking.opened import Opened
from doctrain_mesh.v1 import tracker_pb2 as pb


def begun(opened: Opened) -> pb.BeginAnswer:
    """What a worker is told of a shard that it begun."""
    facts, shard, training = opened.begun.facts, opened.begun.shard, opened.begun.training
    return pb.BeginAnswer(
        shard=pb.ShardRef(shard=facts.id, number=shard["number"]),
        outcome=pb.BEGIN_OUTCOME_BEGUN,
        tenant=facts.tenant,
        tenant_id=opened.tenant_id,
        training=facts.training,
        training_task_id=training["task_id"],
        index_order=training["index_order"],
        width=shard["width"],
        documents=_documents(opened),
        suspects=shard["suspects"],
        cool_downs=shard["cool_downs"],
        traceparent=training["traceparent"],
        retrain=training["retrain"],
    )


def _documents(opened: Opened) -> pb.OpenDocuments:
    training, rows = opened.begun.training, opened.rows
    documents = pb.OpenDocuments(run_first=[first for first, _ in opened.runs], run_count=[count for _, count in opened.runs])
    if training["uri_template"] is not None:
        documents.uri_template, documents.number_offset = training["uri_template"], training["number_offset"]
        return documents
    documents.document_ids.extend([row["document_id"] for row in rows])
    documents.uris.extend([row["uri"] for row in rows])
    if any(row["media_type"] for row in rows):
        documents.media_types.extend([row["media_type"] or "" for row in rows])
    if any(row["metadata"] for row in rows):
        documents.metadata.extend([row["metadata"] or "{}" for row in rows])
    return documents

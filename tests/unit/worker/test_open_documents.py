"""The open documents of a shard as the tracker sends them."""

from __future__ import annotations

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.shards.documents import open_documents


def test_numbered_documents_are_made_from_their_template() -> None:
    documents = open_documents(pb.OpenDocuments(run_first=[0, 10], run_count=[2, 1], uri_template="s3://b/{n}.pdf", number_offset=100))
    assert list(documents) == [0, 1, 10]
    task = documents[10]
    assert (task.ordinal, task.document_id, task.uri) == (10, "110", "s3://b/110.pdf")


def test_columns_are_found_across_gaps() -> None:
    documents = open_documents(
        pb.OpenDocuments(
            run_first=[4, 9],
            run_count=[2, 2],
            document_ids=["a", "b", "c", "d"],
            uris=["ua", "ub", "uc", "ud"],
            media_types=["", "", "text/x", ""],
        )
    )
    assert [task.document_id for task in documents.values()] == ["a", "b", "c", "d"]
    task = documents[9]
    assert (task.uri, task.media_type, task.metadata) == ("uc", "text/x", "")

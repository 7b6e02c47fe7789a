"""The open documents of a shard, from the columns or the template in which the tracker sent them."""

from __future__ import annotations

from itertools import chain, starmap

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.pipeline.processor import DocumentTask


def open_documents(documents: pb.OpenDocuments) -> dict[int, DocumentTask]:
    """Each by its ordinal, ascending."""
    runs = zip(documents.run_first, documents.run_count, strict=True)
    ordinals = list(chain.from_iterable(range(first, first + count) for first, count in runs))
    none = [""] * len(ordinals)
    before, is_template, after = documents.uri_template.partition("{n}")
    if is_template:
        ids = [str(ordinal + documents.number_offset) for ordinal in ordinals]
        uris = [before + number + after for number in ids]
    else:
        ids, uris = list(documents.document_ids), list(documents.uris)
    rows = zip(ordinals, ids, uris, documents.media_types or none, documents.metadata or none, strict=True)
    return dict(zip(ordinals, starmap(DocumentTask, rows), strict=True))

"""A delete of any size, as calls of a bounded one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from doctrain import requests
from doctrain.endpoints import Endpoints
from doctrain.v1 import search_pb2, training_pb2

MOST_DELETED = 1000
"""Documents that one DeleteDocuments may name."""


async def delete(
    endpoints: Endpoints, document_ids: Iterable[str], training_task_id: str, *, on_missing: Callable[[str], None], seconds: float
) -> int:
    """See ``AsyncClient.delete_documents``; each call has ``seconds``, and is made again while the service has not come to the end."""
    ids, gone, count = list(document_ids), set[str](), 0
    for start in range(0, len(ids) or 1, MOST_DELETED):
        some = ids[start : start + MOST_DELETED]
        request, complete = requests.made(search_pb2.DeleteDocumentsRequest, document_ids=some, training_task_id=training_task_id), False
        while not complete:
            answer = await endpoints.call("delete documents", lambda e: e.search.DeleteDocuments, request, seconds=seconds)
            count, complete = count + answer.deleted_count, answer.complete
            gone.update(answer.deleted_document_ids)
            request.resume_position = answer.resume_position
    for document_id in ids:
        if document_id not in gone:
            on_missing(document_id)
    return count


async def drop(endpoints: Endpoints, *, validate_only: bool, seconds: float) -> training_pb2.DropUploadsResponse:
    """See ``AsyncClient.drop_uploads``; each call has ``seconds``, and goes on where the one before ended, while one gets further."""
    request, count, size = requests.made(training_pb2.DropUploadsRequest, validate_only=validate_only), 0, 0
    while True:
        answer = await endpoints.call("drop uploads", lambda e: e.training.DropUploads, request, seconds=seconds)
        count, size = count + answer.uploads, size + answer.bytes
        if answer.complete or answer.resume_position == request.resume_position:
            answer.uploads, answer.bytes = count, size
            return answer
        request.resume_position = answer.resume_position

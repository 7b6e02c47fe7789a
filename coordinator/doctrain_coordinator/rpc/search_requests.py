"""Requests to search and to delete, checked whole and put into the service's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from doctrain.v1 import search_pb2 as pb
from doctrain_coordinator.core.documents import document_id_fault, media_type_fault, metadata_fault
from doctrain_coordinator.rpc import tokens
from doctrain_coordinator.rpc.caller import CALLER
from doctrain_coordinator.rpc.violations import TASK_ID_FAULT, Violations, is_task_id, limit
from doctrain_coordinator.search.deleting import Rest
from doctrain_coordinator.search.remains import Delete
from doctrain_coordinator.search.searching import Filter, Wanted

MOST_QUERY_BYTES = 4096
MOST_PASSAGES, PASSAGES = 100, 10
MOST_DOCUMENTS = 1000
MOST_TRAININGS = 100
MOST_TYPES = 100
_MODES = frozenset(pb.SearchMode.values())
_EPOCH, _UNIT = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
"""Of the time in a resume position."""


def wanted(request: pb.SearchRequest) -> Wanted:
    """What the request asks for. Raises InvalidRequestError that names every field that is wrong."""
    found = Violations()
    size = len(request.query.encode())
    if not request.query.strip():
        found.add("query", "There is nothing to look for; say it in words.")
    elif size > MOST_QUERY_BYTES:
        found.add("query", f"The query has {size:,} bytes; the limit is {MOST_QUERY_BYTES:,}. Ask in fewer words.")
    if request.mode not in _MODES:
        found.add("mode", "There is no such mode; the modes are hybrid, vectors and words.")
    if request.limit < 0:
        found.add("limit", "A limit must not be negative.")
    _check_filter(request.filter, found)
    found.raise_any()
    chosen = request.filter
    return Wanted(
        request.query,
        by_vectors=request.mode != pb.SEARCH_MODE_WORDS,
        by_words=request.mode != pb.SEARCH_MODE_VECTORS,
        most=limit(request.limit, PASSAGES, MOST_PASSAGES),
        filter=Filter(chosen.training_task_ids, chosen.document_ids, chosen.metadata, chosen.media_types),
    )


def _check_filter(chosen: pb.SearchFilter, found: Violations) -> None:
    for where, task_id in found.of_each("filter.training_task_ids", chosen.training_task_ids, MOST_TRAININGS):
        if not is_task_id(task_id):
            found.add(where, TASK_ID_FAULT)
    _check_documents("filter.document_ids", chosen.document_ids, found)
    if reason := metadata_fault(chosen.metadata):
        found.add("filter.metadata", reason)
    for where, media_type in found.of_each("filter.media_types", chosen.media_types, MOST_TYPES):
        if reason := media_type_fault(media_type):
            found.add(where, reason)


def check_delete(request: pb.DeleteDocumentsRequest) -> Rest | None:
    """Where the delete goes on, None for one that begins.

    Raises InvalidRequestError that names every field that is wrong, and InvalidResumePositionError.
    """
    found = Violations()
    if not request.document_ids and not request.training_task_id:
        found.add("document_ids", "There is nothing to delete: name documents or a training.")
    if request.document_ids and request.training_task_id:
        found.add("document_ids", "Documents and a training exclude each other; give one of them.")
    _check_documents("document_ids", request.document_ids, found)
    if request.training_task_id and not is_task_id(request.training_task_id):
        found.add("training_task_id", TASK_ID_FAULT)
    found.raise_any()
    if not request.resume_position:
        return None
    place, called, done = tokens.read(_delete_scope(request), request.resume_position, 3, "resume position")
    called_at = _EPOCH + min(called, (datetime.now(UTC) - _EPOCH) // _UNIT) * _UNIT
    return Rest(Delete(place, called_at), max(0, done))


def delete_position(request: pb.DeleteDocumentsRequest, rest: Rest) -> str:
    """From where the same request goes on."""
    called = (rest.delete.called_at - _EPOCH) // _UNIT
    return tokens.make(_delete_scope(request), rest.delete.place, called, rest.done)


def _delete_scope(request: pb.DeleteDocumentsRequest) -> str:
    return "\n".join(("DeleteDocuments", str(CALLER.get().tenant), request.training_task_id, *request.document_ids))


def _check_documents(field: str, ids: Sequence[str], found: Violations) -> None:
    for where, document_id in found.of_each(field, ids, MOST_DOCUMENTS):
        if reason := document_id_fault(document_id):
            found.add(where, reason)

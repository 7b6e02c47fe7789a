"""Requests to train, checked whole and put into the service's own terms: every field that is wrong is named, with what to do."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.documents import document_id_fault, duplicate_id, duplicates, media_type_fault, metadata_fault
from doctrain_coordinator.rpc.violations import TASK_ID_FAULT, Violations, is_task_id
from doctrain_coordinator.trainings.retrying import Retry
from doctrain_coordinator.trainings.starting import Beginning, Document, Numbered, Start
from doctrain_mesh.errors import RequestTooLargeError
from doctrain_mesh.network.uris import UriRules, parse_blob

MOST_NUMBER = 2**31 - 1
MOST_RETRIED = 10_000
LARGE_BYTES, MANY_DOCUMENTS = 32 * 1024, 100
"""A request from that size on is read in a thread; the largest takes a third of a second."""
MOST_CLASSES = 100
NOTHING_GIVEN = "There is nothing to train: name documents, a manifest or numbered documents."
TOO_MUCH_GIVEN = "Documents, a manifest and numbered documents exclude each other; give one of them."
_CLASSES = frozenset(pb.ErrorClass.values()) - {pb.ERROR_CLASS_UNSPECIFIED}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry."""

    request_bytes: int
    request_documents: int
    document_bytes: int
    manifest_documents: int


async def start(request: pb.StartTrainingRequest, limits: Limits, uris: UriRules) -> Start:
    """What the request asks for. Raises InvalidRequestError or RequestTooLargeError for one that can never be accepted."""
    if len(request.documents) >= MANY_DOCUMENTS or request.ByteSize() >= LARGE_BYTES:  # the size of many takes long to tell, too
        return await asyncio.to_thread(_start, request, limits, uris)
    return _start(request, limits, uris)


def _start(request: pb.StartTrainingRequest, limits: Limits, uris: UriRules) -> Start:
    _check_start(request, limits, uris)
    twice = duplicates(document.document_id for document in request.documents)
    if twice and not request.validate_only:
        _refuse_duplicates(request, set(twice))
    documents = [_document(document) for document in request.documents]
    numbered = request.numbered
    return Start(
        request.training_task_id,
        _start_hash(request, documents),
        documents,
        request.manifest_uri,
        Numbered(numbered.uri_template, numbered.first, numbered.count) if request.HasField("numbered") else None,
        request.retrain,
        request.validate_only,
        twice,
        Beginning(request.manifest_beginning.lines, request.manifest_beginning.goes_on) if request.HasField("manifest_beginning") else None,
    )


def _document(given: pb.DocumentInput) -> Document:
    return Document(
        given.document_id,
        given.uri,
        given.content if given.WhichOneof("source") == "content" else None,
        given.media_type or None,
        json.dumps(dict(given.metadata), ensure_ascii=False) if given.metadata else None,
    )


def _check_start(request: pb.StartTrainingRequest, limits: Limits, uris: UriRules) -> None:
    size = request.ByteSize()
    if size > limits.request_bytes:
        raise RequestTooLargeError(
            f"The request has {size:,} bytes; the limit is {limits.request_bytes:,}. "
            "Upload large documents first, or name them in a manifest.",
            metadata={"limit": str(limits.request_bytes), "unit": "bytes"},
        )
    if len(request.documents) > limits.request_documents:
        raise RequestTooLargeError(
            f"The request has {len(request.documents):,} documents; the limit is {limits.request_documents:,}. Name them in a manifest.",
            metadata={"limit": str(limits.request_documents), "unit": "documents"},
        )
    found = Violations()
    if request.training_task_id and not is_task_id(request.training_task_id):
        found.add("training_task_id", TASK_ID_FAULT)
    given = bool(request.documents) + bool(request.manifest_uri) + request.HasField("numbered")
    if given != 1:
        found.add("documents", NOTHING_GIVEN if not given else TOO_MUCH_GIVEN)
    if request.manifest_uri and (reason := uris.reason(request.manifest_uri)):
        found.add("manifest_uri", reason)
    elif request.manifest_uri and (key := parse_blob(request.manifest_uri)) is not None and key.length is not None:
        found.add("manifest_uri", "A manifest is a whole upload, not a range of one.")
    if request.HasField("manifest_beginning") and not (request.manifest_uri and request.validate_only):
        found.add("manifest_beginning", "Only a dry run of a manifest takes its beginning.")
    if request.HasField("numbered"):
        _check_numbered(request.numbered, limits, uris, found)
    for place, document in enumerate(request.documents):
        _check_document(document, f"documents[{place}]", limits, uris, found)
    found.raise_any()


def _check_document(document: pb.DocumentInput, where: str, limits: Limits, uris: UriRules, found: Violations) -> None:
    if reason := document_id_fault(document.document_id):
        found.add(f"{where}.document_id", reason)
    match document.WhichOneof("source"):
        case "uri":
            if reason := uris.reason(document.uri):
                found.add(f"{where}.uri", reason)
        case "content":
            if not document.content:
                found.add(f"{where}.content", "The document is empty.")
            elif len(document.content) > limits.document_bytes:
                found.add(f"{where}.content", f"The document is larger than {limits.document_bytes:,} bytes.")
        case _:
            found.add(where, "The document has neither content nor a URI.")
    if document.media_type and (reason := media_type_fault(document.media_type)):
        found.add(f"{where}.media_type", reason)
    if document.metadata and (reason := metadata_fault(document.metadata)):
        found.add(f"{where}.metadata", reason)


def _check_numbered(numbered: pb.NumberedDocuments, limits: Limits, uris: UriRules, found: Violations) -> None:
    if numbered.uri_template.count("{n}") != 1:
        found.add("numbered.uri_template", "The template must contain {n} exactly once, where the number goes.")
    elif reason := uris.reason(numbered.uri_template.replace("{n}", str(MOST_NUMBER))):
        found.add("numbered.uri_template", reason)
    elif numbered.uri_template.startswith("blob://") and "{n}" in numbered.uri_template.split("/")[2]:
        found.add("numbered.uri_template", "The number cannot stand within an upload's key; put {n} in the place of the offset or length.")
    if not 1 <= numbered.count <= limits.manifest_documents:
        found.add("numbered.count", f"The count must be 1 to {limits.manifest_documents:,}.")
    if numbered.first < 0 or numbered.first + numbered.count - 1 > MOST_NUMBER:
        found.add("numbered.first", "The first number must be 0 or more, and the last at most 2,147,483,647.")


def _refuse_duplicates(request: pb.StartTrainingRequest, twice: Collection[str]) -> None:
    found = Violations()
    for place, document in enumerate(request.documents):
        if document.document_id in twice:
            found.add(f"documents[{place}].document_id", duplicate_id(document.document_id))
    found.raise_any()


def _start_hash(request: pb.StartTrainingRequest, documents: Sequence[Document]) -> bytes:
    """A hash that is equal for requests of the same content: order counts, the order of metadata does not."""
    digest = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)

    add(request.manifest_uri.encode(), request.numbered.uri_template.encode(), bytes([request.retrain]))
    add(str(request.numbered.first).encode(), str(request.numbered.count).encode())
    for given, document in zip(request.documents, documents, strict=True):
        content = hashlib.sha256(document.content).digest() if document.content is not None else b""
        add(document.document_id.encode(), document.uri.encode(), content, (document.media_type or "").encode())
        add(json.dumps(sorted(given.metadata.items())).encode())
    return digest.digest()


def retry(request: pb.RetryFailedDocumentsRequest) -> Retry:
    """What the request asks for. Raises InvalidRequestError that names every field that is wrong."""
    found = Violations()
    if request.new_training_task_id and not is_task_id(request.new_training_task_id):
        found.add("new_training_task_id", TASK_ID_FAULT)
    for where, error_class in found.of_each("error_classes", request.error_classes, MOST_CLASSES):
        if error_class not in _CLASSES:
            found.add(where, "There is no such class; the classes are permanent, transient, resource and crash.")
    for where, document_id in found.of_each("document_ids", request.document_ids, MOST_RETRIED):
        if reason := document_id_fault(document_id):
            found.add(where, reason)
    found.raise_any()
    classes, ids = sorted(set(request.error_classes)), sorted(set(request.document_ids))
    return Retry(request.training_task_id, request.new_training_task_id, _retry_hash(request.training_task_id, classes, ids), classes, ids)


def _retry_hash(task_id: str, classes: Sequence[int], ids: Sequence[str]) -> bytes:
    parts = ["retry", task_id, *map(str, classes), *ids]
    return hashlib.sha256(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)).digest()

"""What a request must be, checked whole: every field that is wrong is named, with what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.documents import document_id_fault, media_type_fault, metadata_fault
from doctrain_mesh.errors import FieldViolation, InvalidRequestError, RequestTooLargeError
from doctrain_mesh.uris import UriRules

MOST_VIOLATIONS = 100
MOST_NUMBER = 2**31 - 1
MOST_RETRIED = 10_000
TASK_ID_FAULT = "An id is 1 to 128 letters, digits and ._:- characters."
_TASK_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry."""

    request_bytes: int
    request_documents: int
    document_bytes: int
    manifest_documents: int


class Violations:
    """Gathers what is wrong, up to ``MOST_VIOLATIONS``."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """One field is wrong."""
        if len(self._found) < MOST_VIOLATIONS:
            self._found.append(FieldViolation(field, description))

    def raise_any(self) -> None:
        """Raises InvalidRequestError with all that was found, if anything was."""
        if self._found:
            first = self._found[0]
            more = f" ({len(self._found) - 1} more)" if len(self._found) > 1 else ""
            raise InvalidRequestError(f"{first.field}: {first.description}{more}", violations=self._found)


def check_start(request: pb.StartTrainingRequest, size: int, limits: Limits, uris: UriRules) -> None:
    """Raises InvalidRequestError or RequestTooLargeError for a request that can never be accepted; duplicates are not looked for."""
    if size > limits.request_bytes:
        raise RequestTooLargeError(
            f"The request has {size:,} bytes; at most {limits.request_bytes:,} are taken. "
            "Upload large documents, or put them into a manifest.",
            metadata={"limit": str(limits.request_bytes), "unit": "bytes"},
        )
    if len(request.documents) > limits.request_documents:
        raise RequestTooLargeError(
            f"The request has {len(request.documents):,} documents; at most {limits.request_documents:,} are taken. "
            "Put them into a manifest (manifest_uri).",
            metadata={"limit": str(limits.request_documents), "unit": "documents"},
        )
    found = Violations()
    if request.training_task_id and not _TASK_ID.fullmatch(request.training_task_id):
        found.add("training_task_id", TASK_ID_FAULT)
    given = bool(request.documents) + bool(request.manifest_uri) + request.HasField("numbered")
    if given != 1:
        found.add("documents", "Give exactly one of documents, manifest_uri and numbered" + ("; there is none." if not given else "."))
    if request.manifest_uri and (reason := uris.reason(request.manifest_uri)):
        found.add("manifest_uri", reason)
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
                found.add(f"{where}.content", "The content is empty.")
            elif len(document.content) > limits.document_bytes:
                found.add(f"{where}.content", f"A document has at most {limits.document_bytes:,} bytes.")
        case _:
            found.add(where, "Give the document's content or its uri.")
    if document.media_type and (reason := media_type_fault(document.media_type)):
        found.add(f"{where}.media_type", reason)
    if document.metadata and (reason := metadata_fault(document.metadata)):
        found.add(f"{where}.metadata", reason)


def _check_numbered(numbered: pb.NumberedDocuments, limits: Limits, uris: UriRules, found: Violations) -> None:
    if numbered.uri_template.count("{n}") != 1:
        found.add("numbered.uri_template", "The template holds {n} once, in the number's place.")
    elif reason := uris.reason(numbered.uri_template.replace("{n}", str(MOST_NUMBER))):
        found.add("numbered.uri_template", reason)
    if not 1 <= numbered.count <= limits.manifest_documents:
        found.add("numbered.count", f"A count is 1 to {limits.manifest_documents:,}.")
    if numbered.first < 0 or numbered.first + numbered.count - 1 > MOST_NUMBER:
        found.add("numbered.first", "Numbers run from 0 to 2,147,483,647.")


def check_retry(request: pb.RetryFailedDocumentsRequest) -> None:
    """Raises InvalidRequestError that names every field that is wrong."""
    found = Violations()
    if request.new_training_task_id and not _TASK_ID.fullmatch(request.new_training_task_id):
        found.add("new_training_task_id", TASK_ID_FAULT)
    for place, error_class in enumerate(request.error_classes):
        if error_class not in pb.ErrorClass.values() or not error_class:
            found.add(f"error_classes[{place}]", "This is no way to fail; see ErrorClass.")
    if len(request.document_ids) > MOST_RETRIED:
        found.add("document_ids", f"Name at most {MOST_RETRIED:,} documents, or leave the field empty to retry all.")
    for place, document_id in enumerate(request.document_ids):
        fault = document_id_fault(document_id)
        if fault:
            found.add(f"document_ids[{place}]", fault)
    found.raise_any()


def page_size(asked: int, default: int, most: int) -> int:
    """The size of a page: 0 is the default, too much is the most; raises InvalidRequestError for a negative one."""
    if asked < 0:
        violation = FieldViolation("page_size", "A page size is 0 or more.")
        raise InvalidRequestError("page_size: A page size is 0 or more.", violations=[violation])
    return min(asked or default, most)


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequestError for what is no name of a tenant or plan."""
    if not _NAME.fullmatch(name):
        sentence = "A name is 1 to 64 lower-case letters, digits and -, and begins with a letter or digit."
        raise InvalidRequestError(f"{field}: {sentence}", violations=[FieldViolation(field, sentence)])


def invalid(field: str, sentence: str) -> InvalidRequestError:
    """One wrong field."""
    return InvalidRequestError(f"{field}: {sentence}", violations=[FieldViolation(field, sentence)])

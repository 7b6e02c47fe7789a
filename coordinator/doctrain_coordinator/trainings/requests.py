"""What a request must be, checked whole: every field that is wrong is named, with what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.documents import document_id_fault, media_type_fault, metadata_fault
from doctrain_mesh.errors import FieldViolation, InvalidRequestError, RequestTooLargeError
from doctrain_mesh.uris import UriRules, parse_blob

MOST_VIOLATIONS = 100
MOST_NUMBER = 2**31 - 1
MOST_RETRIED = 10_000
TASK_ID_FAULT = "An id has 1 to 128 characters: letters, digits and any of . _ : -"
NOTHING_GIVEN = "There is nothing to train: name documents, a manifest or numbered documents."
TOO_MUCH_GIVEN = "Documents, a manifest and numbered documents exclude each other; give one of them."
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
            several = len(self._found) > 1
            sentence = f"{len(self._found)} fields of the request are wrong." if several else self._found[0].description
            raise InvalidRequestError(sentence, violations=self._found)


def check_start(request: pb.StartTrainingRequest, size: int, limits: Limits, uris: UriRules) -> None:
    """Raises InvalidRequestError or RequestTooLargeError for a request that can never be accepted; duplicates are not looked for."""
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
    if not 1 <= numbered.count <= limits.manifest_documents:
        found.add("numbered.count", f"The count must be 1 to {limits.manifest_documents:,}.")
    if numbered.first < 0 or numbered.first + numbered.count - 1 > MOST_NUMBER:
        found.add("numbered.first", "The first number must be 0 or more, and the last at most 2,147,483,647.")


def check_retry(request: pb.RetryFailedDocumentsRequest) -> None:
    """Raises InvalidRequestError that names every field that is wrong."""
    found = Violations()
    if request.new_training_task_id and not is_task_id(request.new_training_task_id):
        found.add("new_training_task_id", TASK_ID_FAULT)
    for place, error_class in enumerate(request.error_classes):
        if error_class not in pb.ErrorClass.values() or not error_class:
            found.add(f"error_classes[{place}]", "There is no such class; the classes are permanent, transient, resource and crash.")
    if len(request.document_ids) > MOST_RETRIED:
        found.add("document_ids", f"Name at most {MOST_RETRIED:,} documents, or none to retry all.")
    for place, document_id in enumerate(request.document_ids):
        fault = document_id_fault(document_id)
        if fault:
            found.add(f"document_ids[{place}]", fault)
    found.raise_any()


def page_size(asked: int, default: int, most: int) -> int:
    """The size of a page: 0 is the default, too much is the most; raises InvalidRequestError for a negative one."""
    if asked < 0:
        raise invalid("page_size", "A page size must not be negative.")
    return min(asked or default, most)


def is_task_id(text: str) -> bool:
    """Whether it can be a training's id."""
    return _TASK_ID.fullmatch(text) is not None


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequestError for what is no name of a tenant or plan."""
    if not _NAME.fullmatch(name):
        raise invalid(field, "A name has 1 to 64 characters, lower-case letters, digits and -, and begins with a letter or digit.")


def invalid(field: str, sentence: str) -> InvalidRequestError:
    """One wrong field."""
    return InvalidRequestError(sentence, violations=[FieldViolation(field, sentence)])

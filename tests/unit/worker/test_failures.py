"""What goes wrong, told to the owner of a document."""

from __future__ import annotations

import pytest

from doctrain_mesh.documents.errors import (
    BlobCredentialsError,
    BlobForbiddenError,
    BlobNotFoundError,
    BlobRangeError,
    BlobTooLargeError,
)
from doctrain_mesh.errors import BlobUnavailableError, DoctrainError, InvalidRequestError, OperationTimeoutError
from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.processor import ErrorClass
from doctrain_worker.sandbox.shared import ends


@pytest.mark.parametrize(
    ("error", "error_class", "code"),
    [
        (BlobUnavailableError("Away.", retry_after_seconds=3), ErrorClass.TRANSIENT, "UNAVAILABLE"),
        (OperationTimeoutError("Slow."), ErrorClass.TRANSIENT, "UNAVAILABLE"),
        (BlobTooLargeError(5), ErrorClass.RESOURCE, "TOO_LARGE"),
        (BlobNotFoundError("Not there."), ErrorClass.PERMANENT, "NOT_FOUND"),
        (BlobForbiddenError("Not yours."), ErrorClass.PERMANENT, "FORBIDDEN"),
        (BlobCredentialsError("No credentials."), ErrorClass.PERMANENT, "NO_CREDENTIALS"),
        (BlobRangeError(100, 5, 5), ErrorClass.PERMANENT, "INVALID_RANGE"),
        (InvalidRequestError("Not so."), ErrorClass.PERMANENT, "INVALID_URI"),
    ],
)
def test_errors_of_stores(error: DoctrainError, error_class: ErrorClass, code: str) -> None:
    failure = failures.of_error(error)
    assert (failure.error_class, failure.code) == (error_class, code)
    assert failure.retry_after_seconds == (3 if code == "UNAVAILABLE" and error.retry_after_seconds else 0)
    assert failure.sentence.endswith(".")


@pytest.mark.parametrize(
    ("end", "error_class", "code", "word"),
    [
        (ends.Refused("ENCRYPTED", "It is locked.", False), ErrorClass.PERMANENT, "ENCRYPTED", "locked"),
        (ends.Refused("TOO_MANY", "Too many pages.", True), ErrorClass.RESOURCE, "TOO_MANY", "pages"),
        (ends.Raised("KeyError", "secret"), ErrorClass.PERMANENT, "UNREADABLE", "KeyError"),
        (ends.Crashed("SIGSEGV"), ErrorClass.CRASH, "CRASHED", "SIGSEGV"),
        (ends.TimedOut(5.0), ErrorClass.RESOURCE, "TIME_LIMIT", "5 s"),
        (ends.OutOfMemory(512 << 20), ErrorClass.RESOURCE, "MEMORY_LIMIT", "512 MiB"),
        (ends.OutOfSpace(256 << 20), ErrorClass.RESOURCE, "SPACE_LIMIT", "256 MiB"),
        (ends.TooMuchOutput(64 << 20), ErrorClass.RESOURCE, "TOO_MUCH_TEXT", "64 MiB"),
    ],
)
def test_ends_of_calls(end: ends.Failed, error_class: ErrorClass, code: str, word: str) -> None:
    failure = failures.of_call(end, "reading")
    assert (failure.error_class, failure.code) == (error_class, code)
    assert word in failure.sentence
    assert "secret" not in failure.sentence
    assert failure.sentence.endswith(".")


def test_a_document_that_used_its_time_is_at_fault_and_one_that_waited_is_not() -> None:
    assert failures.overdue(1200.0, 700.0).final
    assert "20 minutes" in failures.overdue(1200.0, 700.0).sentence
    assert failures.overdue(1200.0, 500.0).error_class == ErrorClass.TRANSIENT

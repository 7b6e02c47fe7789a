"""What goes wrong, as a failure of the document: its class, a code, and a sentence for its owner. Pure."""

from __future__ import annotations

import dataclasses

from doctrain_mesh.documents.errors import BlobCredentialsError, BlobForbiddenError, BlobNotFoundError, BlobRangeError, BlobTooLargeError
from doctrain_mesh.errors import DoctrainError, InvalidRequestError, UnavailableError
from doctrain_worker.pipeline.processor import ErrorClass, Failure, StageTiming
from doctrain_worker.sandbox.shared import ends

_MIB = 1 << 20


def of_error(error: DoctrainError) -> Failure:
    """A failure to fetch or to store."""
    if isinstance(error, UnavailableError):
        return Failure(ErrorClass.TRANSIENT, "UNAVAILABLE", error.sentence, error.retry_after_seconds or 0.0)
    if isinstance(error, BlobTooLargeError):
        return Failure(ErrorClass.RESOURCE, "TOO_LARGE", f"The document is too large. {error.sentence}", final=True)
    if isinstance(error, BlobNotFoundError):
        return Failure(ErrorClass.PERMANENT, "NOT_FOUND", f"The document was not found. {error.sentence}")
    if isinstance(error, BlobForbiddenError):
        code = "NO_CREDENTIALS" if isinstance(error, BlobCredentialsError) else "FORBIDDEN"
        return Failure(ErrorClass.PERMANENT, code, error.sentence)
    if isinstance(error, BlobRangeError):
        return Failure(ErrorClass.PERMANENT, "INVALID_RANGE", error.sentence)
    code = "INVALID_URI" if isinstance(error, InvalidRequestError) else error.reason
    return Failure(ErrorClass.PERMANENT, code, error.sentence)


def fetch_overdue(seconds: float) -> Failure:
    """A fetch that did not end in its time, though bytes may still be coming."""
    sentence = f"The document did not arrive within {seconds:g} s, the limit here; offer it at a faster place, or upload it."
    return Failure(ErrorClass.RESOURCE, "FETCH_TIME_LIMIT", sentence)


def overdue(seconds: float, worked_seconds: float) -> Failure:
    """A document that is not done after its whole time, of which it was worked on so long."""
    if worked_seconds < seconds / 2:
        return transient("BUSY", f"The worker had too much else to do to finish the document within {seconds / 60:.0f} minutes.")
    sentence = f"The document was not done after {seconds / 60:.0f} minutes, the limit here; split it or ask the operator for more."
    return Failure(ErrorClass.RESOURCE, "TIME_LIMIT", sentence, final=True)


def of_call(end: ends.Failed, doing: str) -> Failure:
    """A call in a child that gave no result; ``doing`` is what it was to do, as in "reading"."""
    match end:
        case ends.Refused(code, sentence, resource):
            return Failure(ErrorClass.RESOURCE if resource else ErrorClass.PERMANENT, code, sentence, final=True)
        case ends.Raised(kind, _):
            sentence = f"The document could not be read: {doing} it ended with {kind}. Save it again, or leave it out."
            return Failure(ErrorClass.PERMANENT, "UNREADABLE", sentence)
        case ends.Crashed(how):
            sentence = f"The document crashed the process that was {doing} it ({how}); it may be damaged. Save it again, or leave it out."
            return Failure(ErrorClass.CRASH, "CRASHED", sentence)
    return _beyond_a_limit(end, doing)


def _beyond_a_limit(end: ends.Failed, doing: str) -> Failure:
    match end:
        case ends.TimedOut(seconds):
            sentence = (
                f"One step of {doing} the document took more than {seconds:g} s, the limit here; split it or ask the operator for more."
            )
            return Failure(ErrorClass.RESOURCE, "TIME_LIMIT", sentence)
        case ends.OutOfMemory(limit):
            sentence = (
                f"The document needed more than {limit // _MIB} MiB of memory, the limit here; split it or ask the operator for more."
            )
            return Failure(ErrorClass.RESOURCE, "MEMORY_LIMIT", sentence)
        case ends.OutOfSpace(limit):
            sentence = f"The document needed more than {limit // _MIB} MiB of scratch space, the limit here; split it."
            return Failure(ErrorClass.RESOURCE, "SPACE_LIMIT", sentence)
        case ends.TooMuchOutput(limit):
            return Failure(
                ErrorClass.RESOURCE, "TOO_MUCH_TEXT", f"Some of the document's text is more than {limit // _MIB} MiB at once; split it."
            )
    raise AssertionError(f"{end} is no failure")


def transient(code: str, sentence: str) -> Failure:
    """A fault of ours that may be gone the next time."""
    return Failure(ErrorClass.TRANSIENT, code, sentence, 1.0)


def with_stages(failure: Failure, stages: list[StageTiming]) -> Failure:
    """The failure, with what ran before it."""
    return dataclasses.replace(failure, stages=tuple(stages))

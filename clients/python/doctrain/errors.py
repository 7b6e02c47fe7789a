"""What can go wrong with a call: one tree by reason, each error with a sentence for a person.

The service sends ``google.rpc`` details in the trailing metadata ``grpc-status-details-bin``: ``ErrorInfo`` always, and where
they apply ``BadRequest``, ``RetryInfo`` and ``QuotaFailure``. ``from_rpc_error`` reads them once, for every call. An error
without an ``ErrorInfo`` was made on the way (no connection, a limit of time), and its ``reason`` is empty.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from doctrain import causes

DETAILS_KEY = "grpc-status-details-bin"

log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong: its path (``documents[3].uri``) and a sentence that says what to do."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Details:
    """What the service said beside its sentence."""

    reason: str = ""
    """Name of an ``ErrorReason`` without its prefix; empty when the error was made on the way."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    quotas: tuple[str, ...] = ()
    """The limits that are reached, each a sentence."""
    retry_after_seconds: float | None = None
    """When the same call may be made again."""


class DoctrainError(Exception):
    """Base of all errors of this client. ``str()`` is the sentence, with a line for each wrong field.

    Args:
        sentence: what was wrong and what to do, for a person.
        status: the call's, when there was one.
        details: what the service said beside its sentence.
        cause: of an error made on the way, what happened there, as a part of a sentence.
    """

    def __init__(self, sentence: str, *, status: grpc.StatusCode | None = None, details: Details | None = None, cause: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        self.details = details or Details()
        self.cause = cause

    @property
    def reason(self) -> str:
        """Name of an ``ErrorReason`` without its prefix, for programs; empty when the error was made on the way."""
        return self.details.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """Facts for programs, as ``ErrorReason`` documents them."""
        return self.details.metadata

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields that are wrong."""
        return self.details.violations

    @property
    def retry_after_seconds(self) -> float | None:
        """When the same call may be made again, if the service said so."""
        return self.details.retry_after_seconds

    def __str__(self) -> str:
        lines = [self.sentence]
        if len(self.violations) == 1 and self.violations[0].description in self.sentence:
            only = self.violations[0]
            lines = [f"{only.field}: {self.sentence}" if self.sentence == only.description else self.sentence]
        else:
            lines += [f"  {violation.field}: {violation.description}" for violation in self.violations]
        lines += [f"  {quota}" for quota in self.details.quotas if quota not in self.sentence]
        return "\n".join(lines)


class UsageError(DoctrainError, ValueError):
    """What this client was given can never work, and nothing was sent: an address, a CA file, a folder, a word."""


class InvalidRequestError(DoctrainError):
    """The request can never succeed as it is; ``violations`` names the fields."""


class InvalidManifestError(InvalidRequestError):
    """One of the first lines of a manifest is wrong; nothing was stored."""

    @property
    def line(self) -> int | None:
        """The wrong line, 1-based."""
        text = self.metadata.get("line", "")
        return int(text) if text.isdecimal() else None


class InvalidResumePositionError(InvalidRequestError):
    """A page token or a resume position that the service did not make for this call."""


class RequestTooLargeError(DoctrainError):
    """More than one request may carry: put the documents into a manifest."""


class QuotaExceededError(DoctrainError):
    """More than the tenant's plan allows, or too many calls at once; where waiting helps, ``retry_after_seconds`` says how long."""


class NotFoundError(DoctrainError):
    """What the call names does not exist, or is another tenant's."""


class TrainingNotFoundError(NotFoundError):
    """No such training of this tenant."""


class TenantNotFoundError(NotFoundError):
    """No such tenant (operators' calls)."""


class PlanNotFoundError(NotFoundError):
    """No such plan (operators' calls)."""


class KeyNotFoundError(NotFoundError):
    """No key has that number (operators' calls)."""


class WorkerNotFoundError(NotFoundError):
    """No worker has that name, or none has had it for a day (operators' calls)."""


class AlreadyExistsError(DoctrainError):
    """The name is taken by something with other settings."""


class TrainingExistsError(AlreadyExistsError):
    """The ``training_task_id`` names a training with other content."""


class NothingToRetryError(DoctrainError):
    """No document failed or was cancelled, or none that was asked for and that was not indexed or deleted since."""


class TrainingNotEndedError(DoctrainError):
    """The documents of a training can be deleted as a whole when it has ended."""


class TenantSuspendedError(DoctrainError):
    """The operators suspended the tenant, or delete it; the sentence has their reason."""


class PlanInUseError(DoctrainError):
    """Tenants have the plan (operators' calls)."""


class LastOperatorKeyError(DoctrainError):
    """It is the only operator's key in force; make another one first."""


class AccessError(DoctrainError):
    """The API key does not open this."""


class UnauthenticatedError(AccessError):
    """No API key was sent, or none that is known and in force."""


class PermissionDeniedError(AccessError):
    """The key's role may not make this call."""


class InvalidKeyError(AccessError, UsageError):
    """What was given can be no API key; nothing was sent."""


class UnavailableError(DoctrainError):
    """The service, or a part that it needs, did not answer. The same call may be made again."""


class CallTimeoutError(UnavailableError):
    """No answer came within the call's limit: the outcome is unknown, and the same call may be made again."""


class ConfigurationError(DoctrainError):
    """The service is configured so that it cannot do this."""


class InternalError(DoctrainError):
    """A fault of the service; the sentence carries the trace id to report."""


BY_REASON: Mapping[str, type[DoctrainError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "INVALID_MANIFEST": InvalidManifestError,
    "INVALID_RESUME_POSITION": InvalidResumePositionError,
    "REQUEST_TOO_LARGE": RequestTooLargeError,
    "TRAINING_NOT_FOUND": TrainingNotFoundError,
    "TENANT_NOT_FOUND": TenantNotFoundError,
    "PLAN_NOT_FOUND": PlanNotFoundError,
    "KEY_NOT_FOUND": KeyNotFoundError,
    "WORKER_NOT_FOUND": WorkerNotFoundError,
    "TRAINING_EXISTS": TrainingExistsError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "NOTHING_TO_RETRY": NothingToRetryError,
    "TRAINING_NOT_ENDED": TrainingNotEndedError,
    "TENANT_SUSPENDED": TenantSuspendedError,
    "PLAN_IN_USE": PlanInUseError,
    "LAST_OPERATOR_KEY": LastOperatorKeyError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "QUOTA_EXCEEDED": QuotaExceededError,
    "DEPENDENCY_UNAVAILABLE": UnavailableError,
    "TIMEOUT": UnavailableError,
    "UPLOAD_STALLED": CallTimeoutError,
    "SHUTTING_DOWN": UnavailableError,
    "CONFIGURATION": ConfigurationError,
    "INTERNAL": InternalError,
}

# For reasons that a later service may add, and for errors that were made on the way.
BY_STATUS: Mapping[grpc.StatusCode, type[DoctrainError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QuotaExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: CallTimeoutError,
    grpc.StatusCode.FAILED_PRECONDITION: ConfigurationError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def from_rpc_error(error: grpc.aio.AioRpcError, *, operation: str, address: str) -> DoctrainError:
    """Translates what gRPC raised. ``operation`` says what was attempted, such as ``start the training``."""
    status = error.code()
    details = parse_details(error.trailing_metadata())
    kind = BY_REASON.get(details.reason) or BY_STATUS.get(status, DoctrainError)
    text = (error.details() or "").strip()
    if details.reason:
        return kind(text or f"The service could not {operation} ({details.reason}).", status=status, details=details)
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return unreachable(causes.in_words(text), operation=operation, address=address)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        sentence = f"The service at {address} cannot {operation}; is it a doctrain service of this version? ({text})"
    else:
        sentence = f"The call to {operation} at {address} ended with {status.name}: {text}"
    return kind(sentence, status=status, details=details, cause=text)


def unreachable(cause: str, *, operation: str, address: str) -> UnavailableError:
    """No connection came about, or it broke before the answer."""
    sentence = f"No doctrain service could be reached at {address} to {operation}: {cause}."
    return UnavailableError(sentence, status=grpc.StatusCode.UNAVAILABLE, cause=cause)


def parse_details(trailing_metadata: Sequence[tuple[str, str | bytes]] | grpc.aio.Metadata | None) -> Details:
    """Reads the ``google.rpc`` details; what is missing or cannot be read is left at its default."""
    for key, value in trailing_metadata or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return _from_status(status_pb2.Status.FromString(value))
            except DecodeError as error:
                log.warning("The details of an error could not be read: %s", error)
    return Details()


def _from_status(status: status_pb2.Status) -> Details:
    info = _unpack(status, error_details_pb2.ErrorInfo())
    request = _unpack(status, error_details_pb2.BadRequest())
    quota = _unpack(status, error_details_pb2.QuotaFailure())
    retry = _unpack(status, error_details_pb2.RetryInfo())
    return Details(
        reason=info.reason if info else "",
        metadata=dict(info.metadata) if info else {},
        violations=tuple(FieldViolation(v.field, v.description) for v in request.field_violations) if request else (),
        quotas=tuple(v.description for v in quota.violations) if quota else (),
        retry_after_seconds=retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else None,
    )


def _unpack(status: status_pb2.Status, kind: _M) -> _M | None:
    for detail in status.details:
        if detail.Unpack(kind):
            return kind
    return None

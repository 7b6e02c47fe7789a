"""One tree of errors: a sentence for a person, a reason for a machine, a gRPC status; translated once, in rpc/.

``reason`` is the name of an ``ErrorReason`` of ``doctrain.v1`` without its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc

from doctrain_mesh import shown


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong: its path (``documents[3].uri``) and a sentence that says what to do."""

    field: str
    description: str


LONGEST_SENTENCE = 1_000


def _shown(text: str) -> str:
    """The text without what cannot be stored or shown: sentences quote what others wrote. Cut where it is too long."""
    clean = shown.printable(text, besides="\n")
    return clean if len(clean) <= LONGEST_SENTENCE else f"{clean[: LONGEST_SENTENCE - 1]}…"


class DoctrainError(Exception):
    """Base of all errors that may reach a person.

    Args:
        sentence: what was wrong and what to do; no secret, no other tenant's name, no stack.
        metadata: machine-readable facts for ``ErrorInfo.metadata``.
        retry_after_seconds: set when the same call may succeed later (``RetryInfo``).
    """

    status: grpc.StatusCode = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        sentence: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        self.sentence = _shown(sentence)
        super().__init__(self.sentence)
        self.metadata = {name: _shown(value) for name, value in (metadata or {}).items()}
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequestError(DoctrainError):
    """The request can never succeed as it is."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


def invalid_field(field: str, sentence: str) -> InvalidRequestError:
    """A request of which one field is wrong."""
    return InvalidRequestError(sentence, violations=[FieldViolation(field, sentence)])


class InvalidManifestError(InvalidRequestError):
    """A line of a manifest is wrong; metadata carries ``line`` (1-based)."""

    reason = "INVALID_MANIFEST"


class InvalidResumePositionError(InvalidRequestError):
    """A page token or a resume position that this service did not make for this call."""

    reason = "INVALID_RESUME_POSITION"


class RequestTooLargeError(DoctrainError):
    """More than one request may carry."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "REQUEST_TOO_LARGE"


class QuotaExceededError(DoctrainError):
    """More than one tenant may ask for; metadata carries ``limit`` and ``unit``, and ``subject``, whose limit it is."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"


class TrainingNotFoundError(DoctrainError):
    """No such training of this tenant: the same answer whether it never was or is another's."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "TRAINING_NOT_FOUND"


class TenantNotFoundError(DoctrainError):
    """No such tenant (operators only)."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "TENANT_NOT_FOUND"


class PlanNotFoundError(DoctrainError):
    """No such plan (operators only)."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "PLAN_NOT_FOUND"


class KeyNotFoundError(DoctrainError):
    """No key has that number (operators only)."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "KEY_NOT_FOUND"


class WorkerNotFoundError(DoctrainError):
    """No worker has that name, or none has had it for a day (operators only)."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "WORKER_NOT_FOUND"


class TrainingExistsError(DoctrainError):
    """The id is taken by a training with other content."""

    status = grpc.StatusCode.ALREADY_EXISTS
    reason = "TRAINING_EXISTS"


class AlreadyExistsError(DoctrainError):
    """A tenant or plan of that name exists with other settings."""

    status = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class NothingToRetryError(DoctrainError):
    """No document failed or was cancelled, or none that was asked for."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOTHING_TO_RETRY"


class TrainingNotEndedError(DoctrainError):
    """What the call asks for can be done once the training has ended."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TRAINING_NOT_ENDED"


class TenantSuspendedError(DoctrainError):
    """The tenant is not served for now, or is being deleted."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TENANT_SUSPENDED"


class PlanInUseError(DoctrainError):
    """Tenants have the plan (operators only)."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "PLAN_IN_USE"


class LastOperatorKeyError(DoctrainError):
    """Without this key nobody could make another one."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "LAST_OPERATOR_KEY"


class UnauthenticatedError(DoctrainError):
    """No key, or none that we know."""

    status = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(DoctrainError):
    """The key's role may not make this call."""

    status = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class UnavailableError(DoctrainError):
    """A part this call needs is away; the same call may be made again."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = "DEPENDENCY_UNAVAILABLE"


class StoreUnavailableError(UnavailableError):
    """Postgres did not answer."""


class StoreBusyError(StoreUnavailableError):
    """Postgres is there, but others had the connections or the locks that the operation waited for."""


class StoreRestoredError(StoreUnavailableError):
    """Postgres is not where it was: what this process remembers of it may not be so."""


class BrokerUnavailableError(UnavailableError):
    """The broker did not confirm: the outcome is unknown, not failed."""


class RegistryUnavailableError(UnavailableError):
    """The registry did not answer."""


class BlobUnavailableError(UnavailableError):
    """The object store did not answer."""


class EmbeddingUnavailableError(UnavailableError):
    """The embedding model's endpoint did not answer, or the model cannot be loaded here."""


class OperationTimeoutError(UnavailableError):
    """An awaited operation took longer than its named timeout."""

    reason = "TIMEOUT"


class UploadStalledError(DoctrainError):
    """A client's bytes stopped coming, came too slowly while others waited, or took too long as a whole."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "UPLOAD_STALLED"


class ShuttingDownError(UnavailableError):
    """This coordinator goes away; another answers."""

    reason = "SHUTTING_DOWN"


class ConfigurationError(DoctrainError):
    """A setting is unknown or out of range; said at start."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CONFIGURATION"

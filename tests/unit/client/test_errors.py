"""What the service says about a failure arrives whole."""

import grpc
import grpc.aio
import pytest

from doctrain import errors
from doctrain.v1 import error_reason_pb2
from testkit.scripted_service import Failure


def translated(failure: Failure) -> errors.DoctrainError:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", failure.status_message().SerializeToString())) if failure.reason else None
    error = grpc.aio.AioRpcError(failure.status, grpc.aio.Metadata(), trailing or grpc.aio.Metadata(), failure.sentence)
    return errors.from_rpc_error(error, operation="start the training", address="here:1")


def test_wrong_fields_are_named_with_what_to_do() -> None:
    error = translated(
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "2 fields are wrong.",
            "INVALID_REQUEST",
            violations={"documents[3].uri": "The scheme ftp is not supported; use s3.", "documents[4].document_id": "It is empty."},
        )
    )
    assert isinstance(error, errors.InvalidRequestError)
    assert error.violations[0] == errors.FieldViolation("documents[3].uri", "The scheme ftp is not supported; use s3.")
    assert str(error).splitlines() == [
        "2 fields are wrong.",
        "  documents[3].uri: The scheme ftp is not supported; use s3.",
        "  documents[4].document_id: It is empty.",
    ]


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("It is negative.", "page_size: It is negative."),
        ("page_size: It is negative.", "page_size: It is negative."),
        ("A field is wrong.", "A field is wrong.\n  page_size: It is negative."),
    ],
)
def test_one_wrong_field_is_told_once(sentence: str, said: str) -> None:
    violations = {"page_size": "It is negative."}
    assert str(translated(Failure(grpc.StatusCode.INVALID_ARGUMENT, sentence, "INVALID_REQUEST", {}, violations))) == said


def test_a_manifest_error_knows_its_line() -> None:
    error = translated(Failure(grpc.StatusCode.INVALID_ARGUMENT, "Line 7 is no JSON.", "INVALID_MANIFEST", metadata={"line": "7"}))
    assert isinstance(error, errors.InvalidManifestError)
    assert error.line == 7


def test_a_quota_and_a_retry_delay_arrive() -> None:
    error = translated(
        Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many.", "QUOTA_EXCEEDED", quota="10 trainings at once.", retry_after_seconds=2.5)
    )
    assert isinstance(error, errors.QuotaExceededError)
    assert error.retry_after_seconds == 2.5
    assert str(error) == "Too many.\n  10 trainings at once."


def test_every_reason_of_the_contract_has_its_class() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert reasons == set(errors.BY_REASON)


def test_a_reason_of_a_later_service_falls_back_to_its_status() -> None:
    error = translated(Failure(grpc.StatusCode.NOT_FOUND, "No such index.", "INDEX_NOT_FOUND"))
    assert type(error) is errors.NotFoundError
    assert error.reason == "INDEX_NOT_FOUND"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError, "No doctrain service could be reached at here:1 to start the training"),
        (grpc.StatusCode.UNIMPLEMENTED, errors.DoctrainError, "is it a doctrain service"),
        (grpc.StatusCode.INTERNAL, errors.InternalError, "ended with INTERNAL"),
    ],
)
def test_errors_made_on_the_way_say_where_and_what(status: grpc.StatusCode, kind: type[Exception], words: str) -> None:
    error = translated(Failure(status, "cause"))
    assert isinstance(error, kind)
    assert error.reason == ""
    assert words in str(error)
    assert "cause" in str(error)


def test_unreadable_details_leave_the_sentence() -> None:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff not protobuf"))
    error = errors.from_rpc_error(
        grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, "gone"), operation="look", address="here:1"
    )
    assert isinstance(error, errors.NotFoundError)
    assert "gone" in str(error)

"""Requests that are larger than their method's, or come with what nobody asked for, cost a coordinator no memory for long."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

import doctrain
from doctrain.v1 import training_pb2
from doctrain_coordinator.rpc.streams import Decoder
from doctrain_mesh.v1 import tracker_pb2, tracker_pb2_grpc
from testkit.coordinator import Coordinators, coordinators

MIB = 2**20
OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))


def unknown_field(size: int) -> bytes:
    """Field 2047, of ``size`` bytes of less than 2**28."""
    length = bytes((size >> shift) & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21))
    return b"\xfa\x7f" + length + bytes(size)


def field(number: int, content: bytes) -> bytes:
    """Field of a number below 16, of less than 2**28 bytes."""
    return bytes([number << 3 | 2]) + unknown_field(len(content))[2:6] + content


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def violations(error: grpc.aio.AioRpcError) -> Sequence[error_details_pb2.BadRequest.FieldViolation]:
    """The fields that are told to be wrong."""
    request = error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"]).details:
        detail.Unpack(request)
    return list(request.field_violations)


async def refusal(served: Coordinators, method: str, data: bytes, key: str = "") -> tuple[grpc.StatusCode, str]:
    """With what a method refuses these bytes, on a connection of their own."""
    async with grpc.aio.insecure_channel(served.running[0].address, options=OPTIONS) as channel:
        ask: Any = channel.unary_stream(method)
        call = ask(data, metadata=metadata(key) if key else ())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize(
    ("method", "limit", "role"),
    [
        ("/grpc.health.v1.Health/Check", "65,536", 0),
        ("/doctrain.v1.TrainingService/WatchStatus", "65,536", 1),
        ("/doctrain.v1.TrainingService/GetTraining", "1,048,576", 1),
        ("/doctrain.v1.FleetService/ListWorkers", "1,048,576", 3),
    ],
)
async def test_a_method_takes_no_more_than_its_requests_need(served: Coordinators, method: str, limit: str, role: int) -> None:
    await served.tenant("acme")
    key = await served.key(role, "acme" if role == 1 else "") if role else ""
    code, sentence = await refusal(served, method, unknown_field(2 * MIB), key)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"at most {limit} bytes" in sentence


TOO_MANY = {
    "documents": ("doctrain.v1.TrainingService/StartTraining", 1, "250,000", b"\x12\x00" * 2_000_000),
    "pairs of a document": ("doctrain.v1.TrainingService/StartTraining", 1, "250,000", field(2, b"\x2a\x00" * 2_000_000)),
    "classes": ("doctrain.v1.TrainingService/RetryFailedDocuments", 1, "25,000", field(1, b"t") + field(3, b"\x01" * 1_000_000)),
    "ids to retry": ("doctrain.v1.TrainingService/RetryFailedDocuments", 1, "25,000", field(1, b"t") + b"\x22\x00" * 2_000_000),
    "states": ("doctrain.v1.TrainingService/ListTrainings", 1, "25,000", field(1, b"\x01" * 1_000_000)),
    "ids to delete": ("doctrain.v1.SearchService/DeleteDocuments", 1, "25,000", b"\x0a\x00" * 520_000),
    "unknown fields": ("doctrain.v1.FleetService/ListWorkers", 3, "25,000", b"\x0a\x00" * 520_000),
    "begins": ("doctrain_mesh.v1.TrackerService/Track", 2, "524,288", b"\x1a\x00" * 600_000),
}


async def test_what_has_too_many_fields_is_refused_before_it_is_decoded(served: Coordinators) -> None:
    await served.tenant("acme")
    for what, (method, role, limit, data) in TOO_MANY.items():
        code, sentence = await refusal(served, f"/{method}", data, await served.key(role, "acme" if role == 1 else ""))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, what
        assert f"at most {limit} fields" in sentence, what
        assert "manifest" in sentence, what


async def test_as_many_documents_and_pairs_as_a_request_may_have_are_taken(acme: doctrain.AsyncClient) -> None:
    pairs = {f"key {n}": f"value {n}" for n in range(20)}
    documents = [training_pb2.DocumentInput(document_id=str(n), content=b"text", metadata=pairs) for n in range(10_000)]
    checked = await acme.start_training(documents, validate_only=True)
    assert checked.summary.documents == 10_000


async def test_more_documents_for_one_request_may_have_more_fields(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, max_request_documents=20_000) as served:
        await served.tenant("acme")
        key = await served.key(1, "acme")
        _, sentence = await refusal(served, "/doctrain.v1.TrainingService/StartTraining", b"\x12\x00" * 600_000, key)
        assert "at most 500,000 fields" in sentence


TOO_MANY_VALUES = {
    "ids to retry": ("TrainingService/RetryFailedDocuments", field(1, b"t") + b"\x22\x00" * 12_000, {"document_ids": "10,000"}),
    "classes": ("TrainingService/RetryFailedDocuments", field(1, b"t") + field(3, b"\x00" * 12_000), {"error_classes": "100"}),
    "states of trainings": ("TrainingService/ListTrainings", field(1, b"\x00" * 12_000), {"states": "100"}),
    "states of documents": ("TrainingService/ListDocuments", field(1, b"t") + field(2, b"\x00" * 12_000), {"states": "100"}),
    "ids to delete": ("SearchService/DeleteDocuments", b"\x0a\x00" * 12_000, {"document_ids": "1,000"}),
    "a filter": (
        "SearchService/Search",
        field(1, b"tide") + field(4, b"\x0a\x00" * 4_000 + b"\x12\x00" * 4_000 + b"\x22\x00" * 4_000),
        {"filter.training_task_ids": "100", "filter.document_ids": "1,000", "filter.media_types": "100"},
    ),
}


async def test_of_too_many_values_is_told_how_many_there_may_be_and_of_none_that_it_is_wrong(served: Coordinators) -> None:
    await served.tenant("acme")
    key = metadata(await served.key(1, "acme"))
    for what, (method, data, most) in TOO_MANY_VALUES.items():
        ask: Any = (await served.channel()).unary_unary(f"/doctrain.v1.{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(data, metadata=key)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, what
        told = {violation.field: violation.description for violation in violations(caught.value)}
        assert told.keys() == most.keys(), what
        assert all(f"at most {most[name]} in one call" in told[name] for name in most), what


FLOOD = """
import asyncio, sys
import grpc

OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))

async def refused(data):
    async with grpc.aio.insecure_channel(sys.argv[1], options=OPTIONS) as channel:
        try:
            await channel.unary_unary("/grpc.health.v1.Health/Check")(data)
        except grpc.aio.AioRpcError as error:
            return error.code().name

async def main():
    data = bytes.fromhex(sys.argv[2]) + bytes(int(sys.argv[3]))
    print(set(await asyncio.gather(*(refused(data) for _ in range(20)))))

asyncio.run(main())
"""


async def test_large_requests_without_a_key_are_read_a_few_at_once(served: Coordinators) -> None:
    size, here = 30 * MIB, psutil.Process()
    before, peak = here.memory_info().rss, 0
    arguments = ("-c", FLOOD, served.running[0].address, unknown_field(size)[:6].hex(), str(size))
    flood = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)

    async def look() -> None:
        nonlocal peak
        while True:
            peak = max(peak, here.memory_info().rss)
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    try:
        said, _ = await flood.communicate()
    finally:
        looking.cancel()
    assert said.decode().strip() == "{'RESOURCE_EXHAUSTED'}"
    assert peak - before < 12 * size, "twenty at once would hold twenty"


async def test_who_sends_no_request_without_a_key_keeps_no_probe_waiting(served: Coordinators) -> None:
    ask: Any = (await served.channel()).stream_unary("/grpc.health.v1.Health/Check")
    silent = [ask() for _ in range(12)]
    for call in silent:
        await call.wait_for_connection()
    stub: Any = health_pb2_grpc.HealthStub(await served.channel())
    async with asyncio.timeout(20):
        answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for call in silent:
        call.cancel()


async def test_workers_that_say_nothing_give_way_to_one_that_does(served: Coordinators) -> None:
    key = metadata(await served.key(2))
    stub: Any = tracker_pb2_grpc.TrackerServiceStub(await served.channel())
    silent = [stub.Track(metadata=key) for _ in range(10)]
    for call in silent:
        await call.wait_for_connection()
    speaks = stub.Track(metadata=key)
    await speaks.write(tracker_pb2.TrackRequest(hello=tracker_pb2.Hello(worker_id="w", lanes=1)))
    async with asyncio.timeout(8):
        assert (await speaks.read()).HasField("welcome")
    for call in (*silent, speaks):
        call.cancel()


def test_what_a_method_does_not_know_is_not_kept() -> None:
    request = Decoder(training_pb2.WatchStatusRequest.FromString).message(b"\x0a\x01t" + unknown_field(MIB))
    assert request == training_pb2.WatchStatusRequest(training_task_id="t")
    assert request.ByteSize() == 3

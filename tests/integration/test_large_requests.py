"""Requests that are larger than their method's, or come with what nobody asked for, cost a coordinator no memory for long."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from doctrain.v1 import training_pb2
from doctrain_coordinator.rpc.streams import Decoder
from doctrain_mesh.v1 import tracker_pb2, tracker_pb2_grpc
from testkit.coordinator import Coordinators

MIB = 2**20
OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))


def unknown_field(size: int) -> bytes:
    """Field 2047, of ``size`` bytes of less than 2**28."""
    length = bytes((size >> shift) & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21))
    return b"\xfa\x7f" + length + bytes(size)


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


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

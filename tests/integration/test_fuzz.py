"""Every RPC, filled from its descriptor with what callers should not send: no INTERNAL, no UNKNOWN, and the coordinator lives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field

from doctrain_coordinator.rpc.policies import POLICIES
from doctrain_coordinator.rpc.server import SERVICES
from doctrain_mesh.v1 import tracker_pb2
from testkit.coordinator import Coordinators, coordinators

ROUNDS = 25
TEXTS = ["", "x", "\x00", "a" * 3000, "t1", "🦆", "blob://" + "0" * 64, "file:///etc/passwd", "s3://bucket/{n}", "../..", "\u202e", "';--"]
NUMBERS = {Field.TYPE_INT32: 31, Field.TYPE_SINT32: 31, Field.TYPE_INT64: 63}


def value(field: Any, draw: random.Random, depth: int) -> Any:
    match field.type:
        case Field.TYPE_MESSAGE:
            return filled(message_factory.GetMessageClass(field.message_type)(), draw, depth + 1)
        case Field.TYPE_STRING:
            return draw.choice(TEXTS)
        case Field.TYPE_BYTES:
            return draw.choice([b"", b"\x00", b"x" * 1000])
        case Field.TYPE_BOOL:
            return draw.choice([True, False])
        case Field.TYPE_ENUM:
            return draw.choice([*field.enum_type.values_by_number, 99, -1])
        case Field.TYPE_DOUBLE:
            return draw.choice([0.0, 1.0, -1.0, float("nan"), float("inf"), 1e300])
        case _:
            bits = NUMBERS[field.type]
            return draw.choice([0, 1, -1, 5, 1000, 2**bits - 1, -(2**bits)])


def filled(message: Any, draw: random.Random, depth: int = 0) -> Any:
    for field in message.DESCRIPTOR.fields:
        if draw.random() < 0.4 or depth > 4:
            continue
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            target[draw.choice(["", "k", "\x00"])] = value(field.message_type.fields_by_name["value"], draw, depth)
        elif hasattr(target, "append"):
            for _ in range(draw.choice([0, 1, 3])):
                target.append(value(field, draw, depth))
        elif field.type == Field.TYPE_MESSAGE:
            target.CopyFrom(value(field, draw, depth))
        else:
            setattr(message, field.name, value(field, draw, depth))
    return message


async def call(channel: grpc.aio.Channel, method: Any, path: str, draw: random.Random, key: str) -> tuple[str, str]:
    """The status of one call and its sentence."""
    request, response = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    metadata = (("authorization", f"Bearer {key}"),)

    async def several() -> AsyncIterator[Any]:
        for number in range(3):
            one = filled(request(), draw)
            if isinstance(one, tracker_pb2.TrackRequest) and not number:
                one.hello.CopyFrom(tracker_pb2.Hello(worker_id="w", lanes=draw.choice([1, 1, 1, 2**31 - 1])))
            yield one

    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    make = kinds[method.client_streaming, method.server_streaming]
    made: Any = make(path, request.SerializeToString, response.FromString)
    running = made(several() if method.client_streaming else filled(request(), draw), metadata=metadata)
    try:
        async with asyncio.timeout(10):
            if method.server_streaming:
                async for _ in running:
                    if not method.client_streaming:
                        break
            else:
                await running
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    finally:
        running.cancel()
    return "OK", ""


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_no_request_gets_an_internal_error(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        await served.tenant("acme")
        keys = {1: await served.key(1, "acme"), 2: await served.key(2), 3: await served.key(3)}
        channel, draw = await served.channel(), random.Random(7)
        wrong = []
        for service in SERVICES:
            for method in descriptor_pool.Default().FindServiceByName(service).methods:
                path = f"/{service}/{method.name}"
                for _ in range(ROUNDS):
                    status, sentence = await call(channel, method, path, draw, keys[POLICIES[path].role])
                    # gRPC's own word where a stream is refused while its client still writes
                    if status in {"INTERNAL", "UNKNOWN"} and sentence != "Internal error from Core":
                        wrong.append((path, status, sentence))
        assert wrong == []
        assert await lives(served)


@pytest.mark.timeout(120)
async def test_bytes_that_are_no_message_are_the_callers_mistake_and_only_told_to_those_who_may_call(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        await served.tenant("acme")
        keys = {1: await served.key(1, "acme"), 2: await served.key(2), 3: await served.key(3)}
        channel = await served.channel()
        for service in SERVICES:
            for method in descriptor_pool.Default().FindServiceByName(service).methods:
                path = f"/{service}/{method.name}"
                for key, expected in ((keys[POLICIES[path].role], "INVALID_ARGUMENT"), ("unknown", "UNAUTHENTICATED")):
                    status, sentence = await garbage(channel, method, path, key)
                    assert status == expected, path
                    assert "protos" in sentence or "key" in sentence


async def garbage(channel: grpc.aio.Channel, method: Any, path: str, key: str) -> tuple[str, str]:
    """The status and sentence for a request that is no protobuf."""
    metadata, junk = (("authorization", f"Bearer {key}"),), b"\xff\xff\xff\xff"
    try:
        async with asyncio.timeout(10):
            if method.client_streaming:
                stream: Any = channel.stream_stream(path)
                call = stream(iter([junk]), metadata=metadata)
            else:
                unary: Any = channel.unary_stream(path)
                call = unary(junk, metadata=metadata)
            async for _ in call:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


async def lives(served: Coordinators) -> bool:
    """Whether it still answers."""
    client = await served.tenant("after")
    return [training async for training in client.list_trainings()] == []

"""Every call of tenants, made by one tenant with another's ids: nothing of the other's is told, and nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

import doctrain
from doctrain.errors import parse_details
from doctrain.v1 import search_pb2, training_pb2
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import indexing, train

pytestmark = [pytest.mark.timeout(120)]
METHODS = [
    method for file in (training_pb2, search_pb2) for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
SECRETS = ("xylophon-id", "xylophon-text", "xylophon-value", "xylophon-training")
REFUSALS = {"TRAINING_NOT_FOUND", "INVALID_REQUEST", "INVALID_RESUME_POSITION"}


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path) as running:
        yield running


def filled(kind: Any, of_other: dict[str, Any]) -> Message:
    """A request of which every field that can name something names the other tenant's."""
    request: Message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if field.name in of_other:
            value = of_other[field.name]
            if field.is_repeated:
                getattr(request, field.name).append(value)
            else:
                setattr(request, field.name, value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated and field.containing_oneof is None:
            getattr(request, field.name).CopyFrom(filled(field.message_type, of_other))
    return request


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, key: str) -> list[Message]:
    """What the call answers; raises AioRpcError."""
    path, metadata = f"/{method.containing_service.full_name}/{method.name}", (("authorization", f"Bearer {key}"),)
    answers = message_factory.GetMessageClass(method.output_type).FromString
    serializer: Any = type(request).SerializeToString
    if method.client_streaming:
        return [await channel.stream_unary(path, serializer, answers)(iter([request]), metadata=metadata)]
    if method.server_streaming:
        return [answer async for answer in channel.unary_stream(path, serializer, answers)(request, metadata=metadata, timeout=10)]
    return [await channel.unary_unary(path, serializer, answers)(request, metadata=metadata)]


async def outcome(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, key: str) -> tuple[str, str]:
    """The reason with which the call is refused, or none, and all that it says."""
    try:
        return "", "".join(map(str, await call(channel, method, request, key)))
    except grpc.aio.AioRpcError as error:
        return parse_details(error.trailing_metadata()).reason or str(error.code()), f"{error.details()}"


async def tokens(client: doctrain.AsyncClient, channel: grpc.aio.Channel, key: str) -> dict[str, str]:
    """A page token and a resume position that the other tenant was given."""
    by_name = {method.name: method for method in METHODS}
    asked = training_pb2.ListDocumentsRequest(training_task_id="xylophon-training", page_size=1)
    (page,) = await call(channel, by_name["ListDocuments"], asked, key)
    last = (await call(channel, by_name["WatchStatus"], training_pb2.WatchStatusRequest(training_task_id="xylophon-training"), key))[-1]
    return {"page_token": page.next_page_token, "resume_position": last.resume_position}  # type: ignore[attr-defined]


async def test_no_call_tells_or_changes_anything_of_another_tenants(served: Coordinators) -> None:
    acme, channel = await served.tenant("acme"), await served.channel()
    await served.tenant("bolt")
    keys = {name: await served.key(1, name) for name in ("acme", "bolt")}
    blob = await acme.upload(b"xylophon-text of the harbour")
    documents = [
        training_pb2.DocumentInput(document_id=f"xylophon-id{number}", uri=blob.uri, metadata={"owner": "xylophon-value"})
        for number in range(2)
    ]
    async with indexing(served):
        await acme.start_training(documents, training_task_id="xylophon-training")
        await acme.wait("xylophon-training")
        await train(acme, {"other": "A harbour."})
        of_acme = {
            "training_task_id": "xylophon-training",
            "training_task_ids": "xylophon-training",
            "document_ids": "xylophon-id0",
            "manifest_uri": blob.uri,
            "query": "harbour",
            "chunk": b"bytes",
        }
        given = [of_acme, of_acme | await tokens(acme, channel, keys["acme"])]
        before = [str(one) async for one in acme.list_trainings()], await acme.get_index()
        for method in METHODS:
            for names in given:
                request = filled(method.input_type, names)
                refusal, said = await outcome(channel, method, request, keys["bolt"])
                assert refusal in {"", *REFUSALS}, (method.name, said)
                told = [secret for secret in SECRETS if secret in said and secret not in str(request)]
                assert told == [], method.name
        assert ([str(one) async for one in acme.list_trainings()], await acme.get_index()) == before
        assert {hit.document_id for hit in await acme.search("harbour")} == {"xylophon-id0", "xylophon-id1", "other"}
        assert await acme.get_usage() == [] or (await acme.get_usage())[0].trained > 0
        bolt = await served.client(keys["bolt"])
        assert [one async for one in bolt.list_trainings()] == []
        assert await bolt.get_usage() == []

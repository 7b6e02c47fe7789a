"""Calls that are slow to come hold up nobody else's, from a coordinator on a real Postgres without workers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc import gates
from testkit.coordinator import Coordinators

SOON_SECONDS = gates.REQUEST_PATIENCE_SECONDS - 2
"""Who is answered within it waited for nobody's patience to end."""


async def hold(served: Coordinators, method: str, tenant: str, calls: int, sent: bytes = b"") -> list[Any]:
    """Calls of one tenant that send their headers, ``sent`` as the first message, and nothing else."""
    await served.running[0].tenants.create(tenant, "paid", 1.0)
    ask: Any = (await served.channel()).stream_unary(f"/doctrain.v1.{method}")
    key = await served.key(1, tenant)
    made = [ask(metadata=(("authorization", f"Bearer {key}"),)) for _ in range(calls)]
    for call in made:
        await call.wait_for_connection()
        if sent:
            await call.write(sent)
    return made


async def test_requests_that_do_not_come_hold_up_nobody_elses(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    for number in range(4):
        await hold(served, "TrainingService/StartTraining", f"starts{number}", 2)
        await hold(served, "SearchService/GetIndex", f"searches{number}", 4)
    for number in range(9):
        await hold(served, "TrainingService/GetTraining", f"looks{number}", 4)
    document = pb.DocumentInput(document_id="one", content=b"text")
    async with asyncio.timeout(SOON_SECONDS):
        await acme.start_training([document], training_task_id="t")
        assert (await acme.get_training("t")).total == 1
        assert (await acme.get_index()).document_count == 0


async def test_however_many_do_not_come_operators_wait_for_none_and_tenants_not_for_long(
    served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    operator = await served.client(await served.key(3))
    held = [call for number in range(17) for call in await hold(served, "TrainingService/GetTraining", f"looks{number}", 4)]
    async with asyncio.timeout(SOON_SECONDS):
        assert [tenant async for tenant in operator.fleet.list_tenants()]
    async with asyncio.timeout(20):
        assert [training async for training in acme.list_trainings()] == []
    ended = {await call.code() for call in held if call.done()}
    assert ended == {grpc.StatusCode.DEADLINE_EXCEEDED}, "whose place was needed"


async def test_the_last_place_for_an_upload_is_not_for_tenants_that_have_one(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    first = pb.UploadDocumentRequest(chunk=bytes(2**19)).SerializeToString()
    for number in range(4):
        await hold(served, "TrainingService/UploadDocument", f"uploads{number}", 4, first)
    assert [training async for training in acme.list_trainings()] == [], "an answer later than the uploads came"
    async with asyncio.timeout(gates.UPLOAD_PATIENCE_SECONDS / 2):
        await acme.upload(b"some text")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "UPLOAD_PATIENCE_SECONDS", 2.0)


async def test_an_upload_that_trickles_is_ended_for_one_that_waits(
    impatient: None, served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    trickling = [await hold(served, "TrainingService/UploadDocument", f"uploads{number}", 4) for number in range(5)]
    calls = [call for held in trickling for call in held]

    async def trickle() -> None:
        piece = pb.UploadDocumentRequest(chunk=bytes(10)).SerializeToString()
        while True:
            for call in calls:
                if not call.done():
                    await call.write(piece)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(trickle())
        async with asyncio.timeout(20):
            await acme.upload(b"some text")
        writing.cancel()
    ended = [call for call in calls if call.done()]
    assert {await call.code() for call in ended} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert "came too slowly while others waited" in await ended[0].details()

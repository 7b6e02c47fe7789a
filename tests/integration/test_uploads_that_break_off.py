"""Uploads whose call ends before the client said that it was all: nothing of them is kept, however much came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import obstore
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.rpc import uploads
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until

AT_ONCE = 3
"""Of a call that breaks off its handler hears in one order or another."""
CHUNK = bytes(2**20)


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path) as running:
        yield running


class Handlers:
    """Those of uploads: how many bytes they stored before they asked for more, how many of them have ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, self.ended = 0, 0
        whole, store = uploads._whole, uploads.store

        async def counted(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for piece in whole(first, rest):
                yield piece
                self.bytes += len(piece)

        async def told(*args: Any) -> Any:
            try:
                return await store(*args)
            finally:
                self.ended += 1

        monkeypatch.setattr(uploads, "_whole", counted)
        monkeypatch.setattr(uploads, "store", told)


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    return Handlers(monkeypatch)


def files(served: Coordinators) -> list[Path]:
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return [path for path in root.rglob("*") if path.is_file()]


async def rows(served: Coordinators) -> int:
    count: int = await (await served.database()).fetchval("select count(*) from upload")
    return count


@pytest.mark.parametrize("chunks", [1, 20], ids=["small", "staged"])
@pytest.mark.parametrize("how", ["cancelled", "out of time", "disconnected"])
async def test_an_upload_that_breaks_off_leaves_nothing(served: Coordinators, handlers: Handlers, how: str, chunks: int) -> None:
    await served.tenant("acme")
    metadata = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    async with grpc.aio.insecure_channel(served.running[0].address) as channel:
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        calls = [stub.UploadDocument(metadata=metadata, timeout=5 if how == "out of time" else None) for _ in range(AT_ONCE)]
        with contextlib.suppress(
            *[grpc.aio.AioRpcError] if how == "out of time" else []
        ):  # on a busy machine it is out before all is written
            for number, call in enumerate(calls):
                for _ in range(chunks):
                    await call.write(pb.UploadDocumentRequest(chunk=CHUNK[:-1] + bytes([number])))
        if how == "out of time":
            await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls])
        else:
            await wait_until(lambda: handlers.bytes == AT_ONCE * chunks * len(CHUNK))
        if how == "cancelled":
            for call in calls:
                call.cancel()
    await wait_until(lambda: handlers.ended == AT_ONCE)
    await wait_until(lambda: files(served) == [])
    assert await rows(served) == 0


@pytest.mark.parametrize("last_then_more", [False, True])
async def test_what_ends_without_its_last_message_is_not_stored(served: Coordinators, last_then_more: bool) -> None:
    await served.tenant("acme")
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    requests = [pb.UploadDocumentRequest(chunk=b"a", last=last_then_more), pb.UploadDocumentRequest(chunk=b"b")]
    call = stub.UploadDocument(iter(requests), metadata=(("authorization", f"Bearer {await served.key(1, 'acme')}"),))
    with pytest.raises(grpc.aio.AioRpcError, match="says that it is"):
        await call
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (files(served), await rows(served)) == ([], 0)


async def test_an_upload_that_came_whole_is_stored_whole_although_its_call_is_cancelled(
    served: Coordinators, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = await served.tenant("acme")
    began, go_on = asyncio.Event(), asyncio.Event()
    rename: Any = obstore.rename_async

    async def slow(*args: Any) -> None:
        began.set()
        await go_on.wait()
        await rename(*args)

    monkeypatch.setattr(obstore, "rename_async", slow)
    sending = asyncio.ensure_future(acme.upload(CHUNK * 9))
    await began.wait()
    sending.cancel()
    await asyncio.wait([sending])
    go_on.set()
    await wait_until(lambda: handlers.ended == 1)
    assert [path.stat().st_size for path in files(served)] == [9 * len(CHUNK)]
    assert [path.parts[-4] for path in files(served)] == ["tenants"]
    assert await rows(served) == 1


async def test_what_a_plan_refuses_was_no_object_at_any_time(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = (await served.client(await served.key(3))).fleet
    await fleet.put_plan("small", slots=5, upload_bytes=100)
    acme = await served.tenant("acme", "small")

    async def no_delete(*args: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(obstore, "delete_async", no_delete)
    with pytest.raises(doctrain.errors.QuotaExceededError):
        await acme.upload(CHUNK * 9)
    await wait_until(lambda: files(served) == [])

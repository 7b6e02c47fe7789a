"""Streams that stay open: their key is looked at again, and a client that reads nothing holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from doctrain.errors import InvalidRequestError
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.rpc import interceptors, streams, tracker_requests, tracker_stream
from doctrain_coordinator.tracking.group_transaction import Batch, GroupTransaction
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.items import Item
from doctrain_mesh.errors import InvalidRequestError as InvalidError
from doctrain_mesh.postgres import OwnConnection
from doctrain_mesh.v1 import tracker_pb2, tracker_pb2_grpc
from doctrain_worker.pipeline.processor import ErrorClass, Failure
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until
from testkit.worker import Documents, worker


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, watch_heartbeat_seconds=0.1) as running:
        yield running


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def test_a_watch_ends_soon_after_its_key_is_revoked(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "KEY_SECONDS", 0.1)
    acme = await served.tenant("acme")
    await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=5), training_task_id="t")
    made = await served.running[0].keys.create(1, "acme", "to be revoked")
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    call = stub.WatchStatus(pb.WatchStatusRequest(training_task_id="t"), metadata=metadata(made.key))
    await call.read()
    await served.running[0].keys.revoke(made.key_id)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await _read_to_its_end(call)
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def _read_to_its_end(call: Any) -> None:
    """A status comes behind what is not read."""
    async with asyncio.timeout(10):
        while await call.read() is not grpc.aio.EOF:
            pass


async def test_a_client_that_reads_nothing_is_cut_and_holds_little(
    served: Coordinators, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(streams, "STALL_SECONDS", 0.5)
    acme = await served.tenant("acme")
    broken = Documents(free=True, outcome=Failure(ErrorClass.PERMANENT, "BROKEN", "x" * 2_000))
    async with worker(served.broker, broken, served.running[0].address, worker_key=await served.key(2)):
        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=2_000), training_task_id="t")
        assert (await acme.wait("t")).failed == 2_000
    options = (("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0))
    async with grpc.aio.insecure_channel(served.running[0].address, options=options) as channel:
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        request = pb.WatchStatusRequest(training_task_id="t", include_documents=True)
        call = stub.WatchStatus(request, metadata=metadata(await served.key(1, "acme")))
        first = await call.read()
        assert isinstance(first, pb.WatchStatusResponse)
        assert first.ByteSize() < 2 * 128 * 1024
        await wait_until(lambda: "read nothing for 0.5 s and is cut off" in caplog.text, 20)


async def test_an_error_with_much_to_tell_still_reaches_its_caller(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    documents = [pb.DocumentInput(document_id="d" * 500 + str(n % 100), uri="s3://bucket/x") for n in range(200)]
    with pytest.raises(InvalidRequestError) as caught:
        await acme.start_training(documents)
    assert caught.value.violations
    manifest = await acme.upload(b'{"document_id": "a", "uri": "s3://bucket/x", "' + b"k" * 30_000 + b'": 1}')
    with pytest.raises(InvalidRequestError):
        await acme.start_training(manifest_uri=manifest.uri)


REFS = [tracker_pb2.ShardRef(shard=number, number=1) for number in range(1, 2_002)]


@pytest.mark.parametrize(
    ("what", "request_"),
    [
        ("begins", tracker_pb2.TrackRequest(begins=[tracker_pb2.Begin(shard=ref) for ref in REFS])),
        ("held shards", tracker_pb2.TrackRequest(heartbeat=tracker_pb2.Heartbeat(held=[tracker_pb2.HeldShard(shard=1)] * 2_001))),
        ("blocks", tracker_pb2.TrackRequest(blocks=[tracker_pb2.Block(shard=ref) for ref in REFS])),
        ("trials", tracker_pb2.TrackRequest(trials=[tracker_pb2.Trial(shard=ref) for ref in REFS])),
        ("yields", tracker_pb2.TrackRequest(yields=[tracker_pb2.Yield(shard=ref) for ref in REFS])),
        ("stopped shards", tracker_pb2.TrackRequest(stopped=[tracker_pb2.Stopped(shard=ref) for ref in REFS])),
    ],
)
def test_a_worker_names_no_more_than_any_has(what: str, request_: tracker_pb2.TrackRequest) -> None:
    with pytest.raises(InvalidError, match=f"There are 2,001 {what}; a worker names at most 2,000 in one message"):
        tracker_requests.check(request_)


async def test_a_worker_that_names_more_than_any_has_ends_its_stream(served: Coordinators) -> None:
    call = tracker_pb2_grpc.TrackerServiceStub(await served.channel()).Track(metadata=metadata(await served.key(2)))
    await call.write(tracker_pb2.TrackRequest(hello=tracker_pb2.Hello(worker_id="w", lanes=1)))
    await call.read()
    begins = [tracker_pb2.Begin(shard=tracker_pb2.ShardRef(shard=number, number=1)) for number in range(2_001)]
    await call.write(tracker_pb2.TrackRequest(begins=begins))
    with pytest.raises(grpc.aio.AioRpcError, match="There are 2,001 begins; a worker names at most 2,000 in one message") as ended:
        await _read_to_its_end(call)
    assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_is_read_no_further_while_much_of_it_waits(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_stream, "MOST_UNANSWERED", 10)
    sizes, run = list[int](), GroupTransaction.run

    async def counted(self: GroupTransaction, c: OwnConnection, items: Sequence[Item]) -> Batch:
        sizes.append(len(items))
        return await run(self, c, items)

    monkeypatch.setattr(GroupTransaction, "run", counted)
    call = tracker_pb2_grpc.TrackerServiceStub(await served.channel()).Track(metadata=metadata(await served.key(2)))
    await call.write(tracker_pb2.TrackRequest(hello=tracker_pb2.Hello(worker_id="w", lanes=1)))
    for first in range(0, 100, 5):
        refs = [tracker_pb2.ShardRef(shard=1_000 + first + place, number=1) for place in range(5)]
        await call.write(tracker_pb2.TrackRequest(begins=[tracker_pb2.Begin(shard=ref) for ref in refs]))
    answered = 0
    async with asyncio.timeout(20):
        while answered < 100:
            response: Any = await call.read()
            answered += len(response.begins)
    assert max(sizes) <= 15
    call.cancel()


class Releases:
    """Hand-backs that wait until they ``go_on``, and how much of the stream was read at most while so many were left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.yielded: list[tuple[tuple[int, int], str]] = []
        self.stopped: list[list[tuple[int, int]]] = []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.read = self.most_ahead = 0
        check = tracker_requests.check

        def counted(request: tracker_pb2.TrackRequest) -> None:
            check(request)
            self.read += len(request.yields)

        async def release_yielded(_: HandBacks, session: int, shard: tuple[int, int], *, why: str, delay_ms: int) -> None:
            self.yielded.append((shard, why))
            self.begun.set()
            await self.go_on.wait()
            await asyncio.sleep(0.001)
            self.most_ahead = max(self.most_ahead, self.read - len(self.yielded))

        async def release_stopped(_: HandBacks, session: int, shards: Sequence[tuple[int, int]]) -> None:
            self.stopped.append(list(shards))

        monkeypatch.setattr(tracker_requests, "check", counted)
        monkeypatch.setattr(HandBacks, "release_yielded", release_yielded)
        monkeypatch.setattr(HandBacks, "release_stopped", release_stopped)


async def opened(served: Coordinators) -> Any:
    call = tracker_pb2_grpc.TrackerServiceStub(await served.channel()).Track(metadata=metadata(await served.key(2)))
    await call.write(tracker_pb2.TrackRequest(hello=tracker_pb2.Hello(worker_id="w", lanes=1)))
    await call.read()
    return call


async def test_what_is_handed_back_again_meanwhile_is_done_once(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    releases, call = Releases(monkeypatch), await opened(served)
    first, second, third = REFS[:3]
    await call.write(tracker_pb2.TrackRequest(yields=[tracker_pb2.Yield(shard=first, reason="0")]))
    await releases.begun.wait()
    for time in range(1, 6):
        again = [tracker_pb2.Yield(shard=ref, reason=str(time)) for ref in (first, second)]
        await call.write(tracker_pb2.TrackRequest(yields=again, stopped=[tracker_pb2.Stopped(shard=ref) for ref in (second, third)]))
    await call.write(tracker_pb2.TrackRequest(heartbeat=tracker_pb2.Heartbeat(sequence=7)))
    while (await call.read()).heartbeat.sequence != 7:
        pass
    await call.write(tracker_pb2.TrackRequest(goodbye=tracker_pb2.Goodbye(reason="done")))
    releases.go_on.set()
    await _read_to_its_end(call)
    assert releases.yielded == [((1, 1), "0"), ((1, 1), "5"), ((2, 1), "5")]
    assert releases.stopped == [[(2, 1), (3, 1)]]


async def test_a_stream_is_read_no_further_while_many_hand_backs_wait(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_stream, "MOST_UNANSWERED", 10)
    releases, call = Releases(monkeypatch), await opened(served)
    releases.go_on.set()
    for first in range(0, 100, 5):
        await call.write(tracker_pb2.TrackRequest(yields=[tracker_pb2.Yield(shard=ref) for ref in REFS[first : first + 5]]))
    await call.write(tracker_pb2.TrackRequest(goodbye=tracker_pb2.Goodbye(reason="done")))
    await _read_to_its_end(call)
    assert [shard for (shard, _), _ in releases.yielded] == [*range(1, 101)]
    assert releases.most_ahead <= 15


async def test_a_message_of_an_upload_has_few_fields(served: Coordinators) -> None:
    await served.tenant("acme")
    upload: Any = (await served.channel()).stream_unary("/doctrain.v1.TrainingService/UploadDocument")
    call = upload(iter([b"\x0a\x00" * 500]), metadata=metadata(await served.key(1, "acme")))
    with pytest.raises(grpc.aio.AioRpcError, match="at most 64 fields"):
        await call

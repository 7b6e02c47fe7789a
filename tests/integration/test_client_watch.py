"""A watch goes on over servers that die or fall silent, and over a database that is restored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from doctrain import AsyncClient, Interruption, Timeouts, Update, errors
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import UNAVAILABLE, Failure, ScriptedService, serving

TOTAL = 20


def state(version: int, *, documents: tuple[str, ...] = ()) -> pb.WatchStatusResponse:
    """The training after ``version`` documents."""
    ended = version == TOTAL
    training = pb.Training(
        training_task_id="t",
        state=pb.TRAINING_STATE_COMPLETED if ended else pb.TRAINING_STATE_PROCESSING,
        total=TOTAL,
        completed=version,
        version=version,
    )
    ended_now = [pb.Document(document_id=name, state=pb.DOCUMENT_STATE_COMPLETED) for name in documents]
    return pb.WatchStatusResponse(training=training, resume_position=f"after {version}", documents=ended_now)


async def test_it_goes_on_at_another_server_when_one_dies_and_counts_never_fall() -> None:
    one, two = ScriptedService(), ScriptedService()
    shown: list[Update] = []
    at_five = asyncio.Event()

    async def until_death(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        for version in range(1, 6):
            yield state(version)
        await asyncio.Event().wait()

    async def on(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        for version in (5, 5, *range(6, TOTAL + 1)):
            yield state(version)

    one.watch = two.watch = until_death
    async with serving(one) as first, serving(two) as second, AsyncClient([first.address, second.address], api_key="secret") as client:

        async def follow() -> None:
            async for update in client.watch("t"):
                shown.append(update)
                if update.training.completed == 5:
                    at_five.set()

        following = asyncio.ensure_future(follow())
        await at_five.wait()
        serves = (one, first) if one.asked(pb.WatchStatusRequest) else (two, second)
        other = two if serves[0] is one else one
        other.watch = on
        killed = asyncio.get_running_loop().time()
        await serves[1].die()
        await following
        took = asyncio.get_running_loop().time() - killed

    assert [update.training.completed for update in shown] == list(range(1, TOTAL + 1))
    assert shown[-1].training.state == pb.TRAINING_STATE_COMPLETED
    assert other.asked(pb.WatchStatusRequest)[0].resume_position == "after 5"
    assert took < 3.0


async def test_it_outlasts_a_time_without_any_server() -> None:
    service = ScriptedService()
    service.failures["WatchStatus"] = [UNAVAILABLE, Failure(grpc.StatusCode.UNKNOWN, "Stream removed")]
    cut = [3, 11]

    async def cut_twice(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        begin = int(request.resume_position.removeprefix("after ") or 1)
        for version in range(begin, TOTAL + 1):
            yield state(version)
            if cut and version == cut[0]:
                cut.pop(0)
                return  # an orderly end that is none: a draining server

    service.watch = cut_twice
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        shown = [update.training.completed async for update in client.watch("t")]
    assert shown == list(range(1, TOTAL + 1))
    assert [request.resume_position for request in service.asked(pb.WatchStatusRequest)] == ["", "", "", "after 3", "after 11"]


async def test_it_ends_with_a_training_that_took_fewer_changes_after_a_restore() -> None:
    service = ScriptedService()
    ended = state(TOTAL)
    ended.training.version = 4

    async def restored(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        if not request.resume_position:
            yield state(5)
            await UNAVAILABLE.abort(context)
        yield state(3)
        yield ended

    service.watch = restored
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client, asyncio.timeout(20):
        assert [update.training.completed async for update in client.watch("t")] == [5, 3, TOTAL]
        assert await client.wait("t") == ended.training


async def test_a_silent_stream_is_left_and_heartbeats_keep_one() -> None:
    silent, lively = ScriptedService(), ScriptedService()

    async def silence(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        yield state(1)
        await asyncio.Event().wait()

    async def heartbeats(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        yield state(2)
        for _ in range(8):
            await asyncio.sleep(0.1)  # altogether longer than the silence that is borne
            yield pb.WatchStatusResponse(heartbeat=True, resume_position="after 2")
        yield state(TOTAL)

    silent.watch, lively.watch = silence, heartbeats
    timeouts = Timeouts(silence_seconds=0.5)
    async with serving(silent) as first, serving(lively) as second:
        for _ in range(2):  # a client begins at a random address
            async with AsyncClient([first.address, second.address], api_key="secret", timeouts=timeouts) as client:
                shown = [update.training.completed async for update in client.watch("t")]
            assert shown in ([1, 2, TOTAL], [2, TOTAL])
    assert len(lively.asked(pb.WatchStatusRequest)) == 2


async def test_documents_that_follow_the_final_state_arrive() -> None:
    service = ScriptedService()

    async def late_documents(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        assert request.include_documents
        yield state(TOTAL, documents=("a", "b"))
        yield pb.WatchStatusResponse(documents=[pb.Document(document_id="c")], resume_position="c")

    service.watch = late_documents
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        updates = [update async for update in client.watch("t", include_documents=True)]
    assert [document.document_id for update in updates for document in update.documents] == ["a", "b", "c"]


async def test_leaving_a_watch_ends_its_stream_at_the_server() -> None:
    service = ScriptedService()
    left = asyncio.Event()

    async def forever(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        try:
            yield state(1)
            await asyncio.Event().wait()
        finally:
            left.set()

    service.watch = forever
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        watch = client.watch("t")
        await anext(watch)
        await watch.aclose()
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_cancelled_watcher_is_cancelled() -> None:
    service = ScriptedService()

    async def forever(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        yield state(1)
        await asyncio.Event().wait()

    service.watch = forever
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        started = asyncio.Event()

        async def follow() -> None:
            async for _ in client.watch("t"):
                started.set()

        following = asyncio.ensure_future(follow())
        await started.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


async def test_what_cannot_be_cured_is_raised() -> None:
    async with serving(ScriptedService()) as now, AsyncClient(now.address, api_key="secret") as client:
        with pytest.raises(errors.TrainingNotFoundError, match="There is no training t"):
            await anext(client.watch("t"))
    async with AsyncClient("localhost:1", api_key="secret") as client:
        with pytest.raises(errors.UnavailableError, match="localhost:1 to watch the training"):
            await anext(client.watch("t", patience_seconds=0.3))


async def test_it_says_that_it_is_interrupted_and_that_it_goes_on() -> None:
    service = ScriptedService()
    told: list[Interruption | None] = []

    async def to_the_end(request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        yield state(TOTAL)

    service.watch = to_the_end
    service.failures["WatchStatus"] = [UNAVAILABLE, UNAVAILABLE]
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        async for _ in client.watch("t", on_interrupted=told.append):
            pass
    first, second, back = told
    assert first is not None
    assert second is not None
    assert first.error.reason == "DEPENDENCY_UNAVAILABLE"
    assert second.silent_seconds > first.silent_seconds
    assert second.left_seconds < first.left_seconds
    assert back is None

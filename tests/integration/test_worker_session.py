"""A worker's session against scripted coordinators on real gRPC: moved, fenced, lost, drained."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import ExitStack

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.registry import membership
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.tenure import REATTACH_SECONDS
from doctrain_worker.tracking import registration
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import Documents, settled, worker

pytestmark = pytest.mark.timeout(30)


async def test_an_ended_stream_is_replaced_elsewhere_and_nothing_is_repeated(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 4)}), Documents()
    async with (
        tracker_server(script, "first") as first,
        tracker_server(script, "second") as second,
        worker(broker, documents, first.address, second.address) as running,
    ):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.answer_blocks = False
        documents.end(0)
        await wait_until(lambda: script.told("block") and 0 in _ordinals(script.told("block")[-1]))
        script.answer_blocks = True
        await first.stop()
        await wait_until(lambda: 0 in script.results.get((1, 1), {}), 3)  # said again on the new stream
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
        assert [(name, hello.session) for name, hello in script.told("open")] == [("first", 0), ("second", 1)]
    assert documents.started == [0, 1, 2, 3]
    assert await settled(broker)


def _ordinals(block: pb.Block) -> list[int]:
    return [block.first + place for place, started in enumerate(block.started) if started >= 0]


async def test_a_worker_that_lost_every_coordinator_fences_itself_and_opens_another_session(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3)}), Documents()
    running_then: list[set[int]] = []
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.on_event = lambda event, _: running_then.append(set(documents.running)) if event == "open" else None
        script.lost_sessions.add(1)
        del script.shards[1, 1]
        tracker.end_streams()
        await wait_until(lambda: script.sessions == 2)
        await wait_until(lambda: not running.holds.named())
        hello = script.told("open")[-1][1]
        assert (hello.session, hello.predecessor, hello.predecessor_end) == (0, 1, pb.PREDECESSOR_END_SELF_FENCED)
        assert running_then[-1] == set()
        assert running.session.id == 2
    assert script.told("begin") == [(1, 1), (1, 1)]
    assert await settled(broker)


async def test_unanswered_heartbeats_fence_a_worker_with_no_other_coordinator(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.answer_beats = False
        await wait_until(lambda: script.sessions == 2)
        assert sorted(documents.cancelled) == [0, 1]


async def test_unanswered_heartbeats_make_a_worker_move_to_another_coordinator(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3)}), Documents()
    silent = Script(script.shards, results=script.results, answer_beats=False)
    async with (
        tracker_server(silent) as first,
        tracker_server(script) as second,
        worker(broker, documents, first.address, second.address),
    ):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        await wait_until(lambda: script.told("open"))
        documents.end_all()  # what ends before the welcome is told to the silent one, which answers blocks
        await wait_until(lambda: script.is_done((1, 1)))
    assert script.told("open")[0][1].session == 1
    assert documents.cancelled == []


async def test_a_draining_coordinator_is_left_only_once_another_has_taken_over(broker: MemoryBroker) -> None:
    script, documents, registry = Script({(1, 1): begun(1, 1, 2)}), Documents(), MemoryRegistry()
    async with tracker_server(script, "first") as first, worker(broker, documents, first.address, registry=registry) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        first.send(pb.TrackResponse(draining=True))
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 3)  # with nowhere to go, it stays
        assert script.told("end") == []
        async with tracker_server(script, "second") as second:
            await registry.register("/doctrain/coordinators/second", json.dumps({"address": second.address}).encode(), 10)
            await wait_until(lambda: script.told("end"))
            assert [event for event, _ in script.events if event in {"open", "end"}] == ["open", "open", "end"]
            documents.end_all()
            await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert documents.cancelled == []
    assert script.sessions == 1


async def test_a_move_whose_welcome_never_comes_is_followed_by_another_stream(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 2)}), Documents()
    async with (
        tracker_server(script, "first") as first,
        tracker_server(script, "second") as second,
        worker(broker, documents, first.address, second.address) as running,
    ):
        second.welcomes = False
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        first.send(pb.TrackResponse(draining=True))
        await wait_until(lambda: script.attached[1] == 2)
        second.end_streams()
        await wait_until(lambda: script.attached[1] == 3, 0.8)  # before "second" would take the session back
        assert [name for name, _ in script.told("open")] == ["first", "second", "first"]
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 3)
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert documents.cancelled == []
    assert script.sessions == 1
    assert await settled(broker)


async def test_a_coordinator_that_cannot_have_taken_the_session_does_not_end_the_stream_in_use(broker: MemoryBroker) -> None:
    script, refusing, documents = Script({(1, 1): begun(1, 1, 2)}), Script(refuses_key=True), Documents()
    async with (
        tracker_server(script, "first") as first,
        tracker_server(refusing, "second") as second,
        worker(broker, documents, first.address, second.address, "127.0.0.1:1") as running,
    ):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        first.send(pb.TrackResponse(draining=True))
        await wait_until(lambda: len(refusing.told("refused")) > 1)
        assert script.attached[1] == 1
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert documents.cancelled == []


async def test_a_move_that_hangs_is_given_up_once_the_session_may_be_attached_there(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 2)}), Documents()
    async with (
        tracker_server(script, "first") as first,
        tracker_server(script, "second") as second,
        worker(broker, documents, first.address, second.address),
    ):
        second.welcomes = False
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        first.send(pb.TrackResponse(draining=True))
        await wait_until(lambda: script.attached[1] == 2)
        asked = time.monotonic()
        await wait_until(lambda: script.attached[1] == 3)
        assert time.monotonic() - asked < 2 * REATTACH_SECONDS + 0.5
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)))
    assert documents.cancelled == []


async def test_a_half_done_move_that_no_other_stream_follows_fences_the_session(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 2)}), Documents()
    async with (
        tracker_server(script, "first") as first,
        tracker_server(script, "second") as second,
        worker(broker, documents, first.address, second.address, drain_seconds=0.1),
    ):
        first.welcomes = second.welcomes = False
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        first.send(pb.TrackResponse(draining=True))
        await wait_until(lambda: script.attached[1] >= 2)
        second.end_streams()
        ended = time.monotonic()
        await wait_until(lambda: not documents.running)
        assert time.monotonic() - ended < 0.9  # a second later the session is taken back
        assert sorted(documents.cancelled) == [0, 1]
        first.welcomes = True
        await wait_until(lambda: script.sessions == 2)


async def test_however_many_coordinators_are_silent_the_session_is_fenced_in_time(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3)}), Documents()
    with ExitStack() as silent:
        addresses = [_silent(silent) for _ in range(20)]
        async with (
            tracker_server(script) as tracker,
            worker(broker, documents, tracker.address, *addresses, drain_seconds=0.1),
        ):
            await broker.publish([message(1, 1)])
            await wait_until(lambda: documents.running == {0, 1})
            ended = time.monotonic()
            await tracker.stop()
            await wait_until(lambda: not documents.running)
            assert time.monotonic() - ended < 0.9  # a second later the session is taken back


def _silent(stack: ExitStack) -> str:
    """Where connections are accepted by the kernel and nobody answers."""
    listening = stack.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    listening.listen(8)
    return f"127.0.0.1:{listening.getsockname()[1]}"


async def test_a_margin_that_leaves_no_time_is_a_sentence(broker: MemoryBroker) -> None:
    script = Script(lease_ms=1000)
    async with tracker_server(script) as tracker:
        with pytest.raises(ExceptionGroup) as raised:
            async with worker(broker, Documents(), tracker.address, fence_margin_seconds=0.6):
                await asyncio.sleep(10)
        assert raised.group_contains(ConfigurationError, match="DOCTRAIN_FENCE_MARGIN_SECONDS is 0.6 here, but .* lease is 1 s")


async def test_a_session_that_was_taken_back_is_followed_by_another_that_asks_again(broker: MemoryBroker) -> None:
    script, documents = Script(answer_begins=False), Documents(free=True)
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("begin"))
        script.lost_sessions.add(1)
        script.answer_begins = True
        script.shards[1, 1] = begun(1, 1, 3)
        await wait_until(lambda: script.is_done((1, 1)))
        assert script.sessions == 2
    assert await settled(broker)


async def test_a_worker_that_goes_away_ends_what_runs_hands_the_rest_back_and_says_goodbye(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 5)}), Documents()
    async with tracker_server(script) as tracker:
        async with worker(broker, documents, tracker.address):
            await broker.publish([message(1, 1)])
            await wait_until(lambda: documents.running == {0, 1})
            asyncio.get_running_loop().call_later(0.3, documents.end_all)
        assert script.results[1, 1].keys() == {0, 1}
        assert [event for event, _ in script.events if event in {"yield", "goodbye"}] == ["yield", "goodbye"]
    assert documents.cancelled == []


async def test_what_does_not_end_in_time_is_killed_before_the_goodbye(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 5)}), Documents()
    running_then: list[set[int]] = []
    script.on_event = lambda event, _: running_then.append(set(documents.running)) if event == "goodbye" else None
    async with tracker_server(script) as tracker:
        async with worker(broker, documents, tracker.address, drain_seconds=0.2):
            await broker.publish([message(1, 1), message(9, 9)])
            await wait_until(lambda: documents.running == {0, 1})
        assert running_then == [set()]
    assert sorted(documents.cancelled) == [0, 1]
    assert script.told("yield") == []


async def test_a_worker_tells_the_registry_what_operators_ask_for(broker: MemoryBroker) -> None:
    script, documents, registry = Script({(1, 1): begun(1, 1, 2)}), Documents(), MemoryRegistry()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address, registry=registry):
        record = json.loads((await registry.list("/doctrain/workers/"))["/doctrain/workers/worker"])
    assert record["worker_id"] == "worker"
    assert record["lanes"] == 2
    assert record["memory_bytes"] > 2**20
    assert record.keys() >= {"session", "lanes_in_use", "slots_in_use", "draining", "cpu", "load1"}
    assert record["children"] == 0
    assert await registry.list("/doctrain/workers/") == {}


async def test_a_worker_takes_no_message_before_its_first_coordinator_and_may_be_stopped_meanwhile(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker(broker, Documents(), "127.0.0.1:1", wait=False) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: "refused the stream" in caplog.text)
        assert not running.session.opened.is_set()
        assert not running.holds.named()
        assert (await broker.depth()).ready == 1


async def test_a_worker_that_drains_waits_for_nothing_once_every_coordinator_is_gone(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 4), (2, 1): begun(2, 1, 4)}), Documents()
    leave = asyncio.Event()

    async def work(address: str) -> None:
        async with worker(broker, documents, address, drain_seconds=20.0):
            await broker.publish([message(shard, 1) for shard in (1, 2)])
            await leave.wait()

    async with tracker_server(script) as tracker:
        working = asyncio.create_task(work(tracker.address))
        await wait_until(lambda: len(documents.started) == 4)
        leave.set()
        await tracker.stop()
        await asyncio.wait_for(working, 10)
    assert len(documents.cancelled) == 4
    assert (await broker.depth()).ready == 2  # for whoever comes when there are coordinators again


async def test_a_worker_whose_key_every_coordinator_refuses_says_so_and_ends(broker: MemoryBroker) -> None:
    with pytest.raises(ExceptionGroup) as refused:
        async with (
            tracker_server(Script(refuses_key=True), "first") as first,
            tracker_server(Script(refuses_key=True), "second") as second,
            worker(broker, Documents(), first.address, second.address),
        ):
            pass
    (error,) = refused.value.exceptions
    assert isinstance(error, ConfigurationError)
    assert error.sentence.startswith("DOCTRAIN_WORKER_KEY is not the key of a worker")
    assert first.address in error.sentence
    assert second.address in error.sentence


async def test_a_worker_that_one_coordinator_refuses_goes_to_another(broker: MemoryBroker) -> None:
    async with (
        tracker_server(Script(refuses_key=True), "first") as first,
        tracker_server(Script(), "second") as second,
        worker(broker, Documents(), first.address, second.address) as running,
    ):
        assert running.session.id == 1


class ReadRegistry(MemoryRegistry):
    """One that knows how often it was read."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = 0

    async def list(self, prefix: str) -> dict[str, bytes]:
        self._reads += 1
        return await super().list(prefix)

    async def read_again(self) -> None:
        """Waits until it was read twice more."""
        enough = self._reads + 2
        await wait_until(lambda: self._reads >= enough)


async def test_two_workers_of_one_name_are_warned_of(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PAUSE_SECONDS", 0.05)
    registry = ReadRegistry()
    async with tracker_server(Script()) as tracker, worker(broker, Documents(), tracker.address, registry=registry):
        await registry.read_again()
        for odd in (b"[1]", b"[" * 16_000, b"\xff"):  # no worker's; whoever may write there ends no worker by it
            await registry.register(f"{membership.WORKERS}worker", odd, 10)
            await registry.read_again()
        assert "Another worker" not in caplog.text
        theirs = json.dumps({"host": "elsewhere", "pid": 7}).encode()
        await registry.register(f"{membership.WORKERS}worker", theirs, 10)
        await wait_until(lambda: "Another worker is named worker, too (process 7 on 'elsewhere')" in caplog.text)
        await asyncio.sleep(0.2)
        assert caplog.text.count("Another worker") == 1

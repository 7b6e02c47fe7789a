"""A worker's channels to the coordinators that it knows of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from doctrain_mesh.ports import Registration
from doctrain_mesh.registry import membership
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_worker.tracking.coordinators import MOST_REGISTERED, Coordinators
from testkit.scripted_tracker import Script, tracker_server
from testkit.waiting import wait_until

CLOSED = grpc.ChannelConnectivity.SHUTDOWN


@asynccontextmanager
async def following(registry: MemoryRegistry, fixed: str = "") -> AsyncIterator[Coordinators]:
    """Coordinators that keep up with the registry."""
    coordinators = Coordinators(fixed)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coordinators.follow(registry))
        yield coordinators
        task.cancel()
    await coordinators.close()


def record(address: str) -> bytes:
    return json.dumps({"address": address}).encode()


async def test_the_channel_to_a_coordinator_that_left_the_registry_is_closed() -> None:
    registry = MemoryRegistry()
    async with tracker_server(Script()) as server, following(registry) as coordinators:
        registration = await registry.register(f"{membership.COORDINATORS}first", record(server.address), 10)
        await wait_until(lambda: coordinators.addresses() == (server.address,))
        channel = coordinators.channel(server.address)
        await registration.close()
        await wait_until(lambda: coordinators.addresses() == ())
        await wait_until(lambda: channel.get_state() is CLOSED)


async def test_a_channel_in_use_outlives_its_coordinators_record() -> None:
    registry = MemoryRegistry()
    async with tracker_server(Script()) as server, following(registry) as coordinators:
        registration = await registry.register(f"{membership.COORDINATORS}first", record(server.address), 10)
        await wait_until(lambda: coordinators.addresses() == (server.address,))
        async with coordinators.connection(server.address) as channel:
            await registration.close()
            await wait_until(lambda: coordinators.addresses() == ())
            await asyncio.wait_for(channel.channel_ready(), 10)
        assert channel.get_state() is CLOSED


async def test_the_channel_to_a_fixed_coordinator_stays() -> None:
    registry = MemoryRegistry()
    async with tracker_server(Script()) as server, following(registry, server.address) as coordinators:
        registration = await registry.register(f"{membership.COORDINATORS}first", record(server.address), 10)
        async with coordinators.connection(server.address) as channel:
            await registration.close()
        await registry.register(f"{membership.COORDINATORS}last", record("127.0.0.1:1"), 10)
        await wait_until(lambda: "127.0.0.1:1" in coordinators.addresses())  # it has heard of all before
        assert coordinators.channel(server.address) is channel
        await asyncio.wait_for(channel.channel_ready(), 10)


async def test_bad_records_are_passed_over_with_one_warning_each_and_the_good_ones_used(caplog: pytest.LogCaptureFixture) -> None:
    registry = MemoryRegistry()
    bad = {"no-object": b"[[7]]", "deep": b"[" * 16_000, "socket": record("unix:/tmp/s"), "giant": record("a" * 9_999 + ":1")}
    async with following(registry) as coordinators:
        for _ in range(2):
            for name, value in bad.items():
                registration = await registry.register(f"{membership.COORDINATORS}{name}", value, 10)
                registration.update(value + b" ")
        await registry.register(f"{membership.COORDINATORS}good", record("127.0.0.1:1"), 10)
        await wait_until(lambda: coordinators.addresses() == ("127.0.0.1:1",))
    told = [entry.getMessage() for entry in caplog.records if "passed over" in entry.getMessage()]
    assert len(told) == len(bad)


async def test_no_number_of_records_makes_a_worker_connect_everywhere() -> None:
    registry = MemoryRegistry()
    async with following(registry, "127.0.0.1:1") as coordinators:
        for number in range(MOST_REGISTERED + 50):
            await registry.register(f"{membership.COORDINATORS}{number}", record(f"127.0.0.1:{number + 2}"), 10)
        registration = await registry.register(f"{membership.COORDINATORS}0", record("127.0.0.1:9999"), 10)  # the last change
        await wait_until(lambda: "127.0.0.1:9999" in coordinators.addresses())
        assert len(coordinators.addresses()) == 1 + MOST_REGISTERED
        assert "127.0.0.1:1" in coordinators.addresses()
        await registration.close()


async def test_a_coordinator_that_was_passed_over_is_used_once_there_is_room() -> None:
    registry = MemoryRegistry()
    others = [await _named(registry, f"other-{number}", number + 1) for number in range(MOST_REGISTERED)]
    for key in ("passed-over", "of-the-same-address"):
        await _named(registry, key, 9_998)
    async with following(registry) as coordinators:
        await wait_until(lambda: len(coordinators.addresses()) == MOST_REGISTERED)
        await (await _named(registry, "passed-over-and-gone", 9_999)).close()
        for other in others[:50]:
            await other.close()
        await wait_until(lambda: len(coordinators.addresses()) == MOST_REGISTERED - 49)
        assert "127.0.0.1:9998" in coordinators.addresses()
        for other in others[50:]:
            await other.close()
        await wait_until(lambda: coordinators.addresses() == ("127.0.0.1:9998",))


async def _named(registry: MemoryRegistry, key: str, port: int) -> Registration:
    return await registry.register(f"{membership.COORDINATORS}{key}", record(f"127.0.0.1:{port}"), 10)

"""What every registry does, the real one and the stand-in.

One difference is meant: in memory no lease can lapse, as who shares the object shares its process. What becomes of a key
whose owner died, and of a server that did, is in tests/integration/test_etcd_faults.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Change, Registry
from doctrain_mesh.registry.etcd import EtcdRegistry
from doctrain_mesh.registry.memory import MemoryRegistry
from testkit.waiting import wait_until

TTL_SECONDS = 5

Connect = Callable[[], Any]


@pytest.fixture
def in_memory() -> Connect:
    shared = MemoryRegistry()

    @asynccontextmanager
    async def connect() -> AsyncIterator[Registry]:
        yield shared

    return connect


@pytest.fixture
def on_etcd(etcd: str) -> Connect:
    return lambda: EtcdRegistry(etcd)


@pytest.fixture(params=["in_memory", pytest.param("on_etcd", marks=pytest.mark.etcd)])
def connect(request: pytest.FixtureRequest) -> Connect:
    found: Connect = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def registry(connect: Connect) -> AsyncIterator[Registry]:
    async with connect() as registry:
        yield registry


@pytest.fixture
async def other(connect: Connect) -> AsyncIterator[Registry]:
    """Another process's view."""
    async with connect() as registry:
        yield registry


@pytest.fixture
def prefix() -> str:
    return f"/{uuid4().hex}/"


async def take(changes: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(10):
        return [await anext(changes) for _ in range(count)]


async def test_what_is_registered_is_listed_by_all(registry: Registry, other: Registry, prefix: str) -> None:
    await registry.register(prefix + "worker-1", b"load 3", TTL_SECONDS)
    await other.register(prefix + "worker-2", b"\x00\xff", TTL_SECONDS)
    expected = {prefix + "worker-1": b"load 3", prefix + "worker-2": b"\x00\xff"}
    assert await registry.list(prefix) == expected
    assert await other.list(prefix) == expected


async def test_a_prefix_sees_its_own_keys_only(registry: Registry, prefix: str) -> None:
    await registry.register(prefix + "workers/a", b"1", TTL_SECONDS)
    await registry.register(prefix + "workers-old/b", b"2", TTL_SECONDS)
    await registry.register(prefix + "übrige/c", b"3", TTL_SECONDS)
    assert await registry.list(prefix + "workers/") == {prefix + "workers/a": b"1"}
    assert await registry.list(prefix + "ü") == {prefix + "übrige/c": b"3"}
    assert await registry.list(prefix + "nothing") == {}
    assert len(await registry.list(prefix)) == 3
    assert len(await registry.list("")) >= 3


async def test_an_update_replaces_the_value(registry: Registry, other: Registry, prefix: str) -> None:
    registration = await registry.register(prefix + "a", b"1", TTL_SECONDS)
    for number in range(20):
        registration.update(b"%d" % number)

    async def updated() -> bool:
        return await other.list(prefix) == {prefix + "a": b"19"}

    await wait_until(updated)


async def test_a_closed_registration_is_gone_at_once_and_stays_so(registry: Registry, other: Registry, prefix: str) -> None:
    registration = await registry.register(prefix + "a", b"1", TTL_SECONDS)
    await registry.register(prefix + "b", b"2", TTL_SECONDS)
    await registration.close()
    assert await other.list(prefix) == {prefix + "b": b"2"}
    await registration.close()
    registration.update(b"3")
    assert await other.list(prefix) == {prefix + "b": b"2"}


async def test_a_key_registered_again_belongs_to_the_last(registry: Registry, other: Registry, prefix: str) -> None:
    old = await registry.register(prefix + "a", b"old", TTL_SECONDS)
    await other.register(prefix + "a", b"new", TTL_SECONDS)
    await old.close()
    assert await registry.list(prefix) == {prefix + "a": b"new"}


async def test_a_watcher_sees_what_is_there_and_then_each_change(registry: Registry, other: Registry, prefix: str) -> None:
    first = await other.register(prefix + "a", b"1", TTL_SECONDS)
    second = await other.register(prefix + "b", b"2", TTL_SECONDS)
    async with aclosing(registry.watch(prefix)) as changes:
        assert await take(changes, 2) == [Change(prefix + "a", b"1"), Change(prefix + "b", b"2")]
        second.update(b"3")
        assert await take(changes, 1) == [Change(prefix + "b", b"3")]
        await first.close()
        assert await take(changes, 1) == [Change(prefix + "a", None)]
        await other.register(f"/other{prefix}c", b"4", TTL_SECONDS)
        await other.register(prefix + "d", b"5", TTL_SECONDS)
        assert await take(changes, 1) == [Change(prefix + "d", b"5")]


async def test_every_watcher_sees_every_change(connect: Connect, prefix: str) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(connect()) for _ in range(2)]
        watchers = [await stack.enter_async_context(aclosing(registry.watch(prefix))) for registry in (one, one, two)]
        registration = await one.register(prefix + "a", b"1", TTL_SECONDS)
        for watcher in watchers:
            assert await take(watcher, 1) == [Change(prefix + "a", b"1")]
        await registration.close()
        for watcher in watchers:
            assert await take(watcher, 1) == [Change(prefix + "a", None)]


async def test_a_watcher_that_waits_can_be_cancelled(registry: Registry, prefix: str) -> None:
    async def watch() -> None:
        async with aclosing(registry.watch(prefix)) as changes:
            async for _ in changes:
                pass

    task = asyncio.create_task(watch())
    await registry.register(prefix + "a", b"1", TTL_SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_removes_the_keys_and_closing_twice_is_closing(connect: Connect, prefix: str) -> None:
    async with connect() as registry, connect() as other:
        await registry.register(prefix + "a", b"1", TTL_SECONDS)
        async with aclosing(other.watch(prefix)) as changes:
            assert await take(changes, 1) == [Change(prefix + "a", b"1")]
            await registry.close()
            await registry.close()
            assert await take(changes, 1) == [Change(prefix + "a", None)]
        with pytest.raises(RegistryUnavailableError):
            await registry.register(prefix + "b", b"1", TTL_SECONDS)


async def test_the_error_of_what_runs_inside_comes_out_as_it_is(connect: Connect, prefix: str) -> None:
    async def fail() -> None:
        async with connect() as registry:
            await registry.register(prefix + "a", b"1", TTL_SECONDS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

"""What talks to RabbitMQ, etcd and Postgres, behind a network that fails in each of its ways: it goes on by itself once that is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.broker import rabbitmq as rabbitmq_adapter
from doctrain_mesh.broker.rabbitmq import RabbitMQBroker
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.ports import Change, Message
from doctrain_mesh.registry.etcd import EtcdRegistry
from testkit.proxy import Proxy, Rule, proxy
from testkit.rabbitmq import QueuePlace
from testkit.waiting import wait_until

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.etcd,
    pytest.mark.chaos,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("network-faults"),
]

POOL_SIZE = 3


@dataclass
class Adapter:
    """``call`` asks the server for something; ``hear`` returns once what is told from now on has arrived at whoever listens."""

    call: Callable[[], Awaitable[object]]
    hear: Callable[[], Awaitable[object]]

    async def answered(self) -> bool:
        try:
            await self.call()
        except UnavailableError:
            return False
        return True


def through(url: str, between: Proxy) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{between.port}")))


@asynccontextmanager
async def on_rabbitmq(url: str, queue: str) -> AsyncIterator[Adapter]:
    broker = RabbitMQBroker(url, queue=queue, heartbeat_seconds=1)

    async def call() -> None:
        await broker.publish([Message(b"any")])

    async with broker.consume(10) as consumer:

        async def hear() -> None:
            told = Message(uuid4().bytes)

            async def published() -> bool:
                """As the dispatcher does it: again where the broker, busy or just back, did not confirm."""
                try:
                    await broker.publish([told])
                except UnavailableError:
                    return False
                return True

            await wait_until(published, 30)
            async for delivery in consumer:
                await delivery.ack()
                if delivery.message.body == told.body:
                    return

        yield Adapter(call, hear)
    await broker.close()


@asynccontextmanager
async def on_etcd(url: str, key: str) -> AsyncIterator[Adapter]:
    async with EtcdRegistry(url) as registry:
        registration = await registry.register(key, b"", 2)
        async with aclosing(registry.watch(key)) as changes:

            async def hear() -> None:
                told = uuid4().bytes
                registration.update(told)
                while await anext(changes) != Change(key, told):
                    pass

            yield Adapter(lambda: registry.list(key), hear)


@asynccontextmanager
async def on_postgres(url: str, _: str) -> AsyncIterator[Adapter]:
    pool = await mesh_postgres.create_pool(url, size=POOL_SIZE, name="test")

    async def call() -> None:
        async with mesh_postgres.acquired(pool, "asking", seconds=2) as connection:
            await connection.execute("select 1")

    async def hear() -> None:
        """All of its connections at once."""
        met = asyncio.Barrier(POOL_SIZE)

        async def one() -> None:
            async with mesh_postgres.acquired(pool, "asking") as connection:
                await met.wait()
                await connection.execute("select 1")

        await asyncio.gather(*(one() for _ in range(POOL_SIZE)))

    try:
        yield Adapter(call, hear)
    finally:
        await mesh_postgres.close_pool(pool)


@dataclass(frozen=True)
class Fault:
    """``silent``: nothing tells whoever waits for an answer, which a limit of time must."""

    happen: Callable[[Rule], object]
    silent: bool


FAULTS = {
    "slow": Fault(lambda rule: rule.slow(0.05), silent=False),
    "cut": Fault(Rule.stall, silent=True),
    "deaf": Fault(lambda rule: rule.back.stall(), silent=True),
    "dumb": Fault(lambda rule: rule.there.stall(), silent=True),
    "reset": Fault(Rule.reset, silent=False),
    "forgotten": Fault(Rule.forget, silent=True),
}


@dataclass(frozen=True)
class Server:
    """A server's URL, what of it is the test's own, and how its adapter is opened."""

    url: str
    place: str
    adapter: Callable[[str, str], AbstractAsyncContextManager[Adapter]]


@pytest.fixture(params=["rabbitmq", "etcd", "postgres"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(rabbitmq_adapter, "PUBLISH_SECONDS", 2.0)
    found = request.getfixturevalue(request.param)
    if isinstance(found, QueuePlace):
        return Server(found.url, found.queue, on_rabbitmq)
    return Server(found, f"/{uuid4().hex}/worker", on_etcd if request.param == "etcd" else on_postgres)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_it_goes_on_by_itself_once_the_fault_is_over(server: Server, fault: Fault) -> None:
    host = urlsplit(server.url)
    async with (
        proxy(host.hostname or "", host.port or 0) as between,
        server.adapter(through(server.url, between), server.place) as adapter,
    ):
        await adapter.hear()
        fault.happen(between.rule())
        if fault.silent:
            with pytest.raises(UnavailableError):
                await adapter.call()
        else:
            await wait_until(adapter.answered, 30)
        between.rule().heal()
        await wait_until(adapter.answered, 60)
        async with asyncio.timeout(60):
            await adapter.hear()

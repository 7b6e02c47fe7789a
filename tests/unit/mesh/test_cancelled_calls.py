"""Who is cancelled while a server fails ends, and does not take the server's absence for a reason to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import aio_pika
import grpc
import pytest

from doctrain_mesh.broker.rabbitmq import RabbitMQBroker
from doctrain_mesh.errors import OperationTimeoutError, UnavailableError
from doctrain_mesh.registry.etcd_endpoints import Endpoints, Servers


async def _fails_once_it_is_cancelled(*_: object) -> NoReturn:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise OperationTimeoutError("Nobody answered.") from None
    raise AssertionError


async def _ends(call: Callable[[], Awaitable[object]]) -> bool:
    """Whether a loop of such calls ends when it is cancelled."""

    async def again_and_again() -> None:
        while True:
            try:
                await call()
            except UnavailableError:
                continue

    task = asyncio.create_task(again_and_again())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    return task.cancelled()


async def test_a_loop_that_asks_rabbitmq_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio_pika.Connection, "connect", _fails_once_it_is_cancelled)
    assert await _ends(RabbitMQBroker("amqp://127.0.0.1:1/", queue="q").depth)


async def test_a_loop_that_asks_etcd_ends() -> None:
    servers = Servers("etcd://127.0.0.1:1", None, None)
    endpoints = Endpoints(servers.connect(grpc.aio), servers)
    try:
        assert await _ends(lambda: endpoints.call("asking", _fails_once_it_is_cancelled))
    finally:
        await endpoints.close()

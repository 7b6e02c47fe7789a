"""Who is cancelled while a server fails ends, and does not take the server's absence for a reason to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

import aio_pika
import grpc
import pytest

from doctrain_mesh import rpc
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


class _Ended:
    """The context of a call that is over by the time its handler refuses it."""

    async def abort(self, *_: object) -> NoReturn:
        raise grpc.aio.InternalError("Failed grpc_call_start_batch")


async def test_a_refusal_that_comes_after_the_end_of_its_call_ends_as_a_call_that_was_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await rpc.abort(cast("Any", _Ended()), UnavailableError("Nobody is left to hear it."))

"""Calls that may not be made twice: they go to the next address while nothing of them was sent, and no further once it may have been."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from doctrain import AsyncClient, Timeouts, errors
from doctrain.v1 import fleet_pb2
from testkit.scripted_service import Failure, ScriptedService, serving
from testkit.server import free_port

CUT_OFF = Failure(grpc.StatusCode.CANCELLED, "CANCELLED")
CLIENTS = 12
"""Each begins at a random address: so many of them begin at every one."""
EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HEADERS = 1

Once = Callable[[AsyncClient], Awaitable[object]]


def away() -> str:
    return f"127.0.0.1:{free_port()}"


async def two_pieces() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


async def make_key(client: AsyncClient) -> object:
    return await client.fleet.create_key("operator")


async def upload(client: AsyncClient) -> object:
    return await client.upload(two_pieces())


async def test_an_address_where_nobody_listens_is_passed_by(service: ScriptedService) -> None:
    async with serving(service) as now:
        for _ in range(CLIENTS):
            async with AsyncClient([away(), "no-such-host.invalid:1", now.address], api_key="secret") as client:
                assert (await client.fleet.create_key("operator")).key == "a-new-key"
            async with AsyncClient([away(), "no-such-host.invalid:1", now.address], api_key="secret") as client:
                assert (await client.upload(two_pieces())).size == 6
    assert len(service.asked(fleet_pb2.CreateKeyRequest)) == CLIENTS


async def test_an_iterator_is_not_read_while_no_address_answers(service: ScriptedService) -> None:
    pieces = two_pieces()
    async with AsyncClient([away(), away()], api_key="secret") as client:
        with pytest.raises(errors.UnavailableError, match="connection refused"):
            await client.upload(pieces)
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        assert (await client.upload(pieces)).size == 6


async def test_an_address_is_passed_by_with_interceptors_and_no_task_is_left(
    service: ScriptedService, caplog: pytest.LogCaptureFixture
) -> None:
    class Passing(grpc.aio.StreamUnaryClientInterceptor):
        async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
            return await continuation(client_call_details, request_iterator)

    async with serving(service) as now:
        for _ in range(CLIENTS):
            async with AsyncClient([away(), now.address], api_key="secret", interceptors=[Passing()]) as client:
                assert (await client.upload(two_pieces())).size == 6
            gc.collect()
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("once", [make_key, upload])
async def test_what_a_service_has_begun_is_not_made_again(once: Once) -> None:
    both = [ScriptedService(), ScriptedService()]
    for service in both:
        service.failures.update(CreateKey=[CUT_OFF], UploadDocument=[CUT_OFF])
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(serving(service))).address for service in both]
        client = await stack.enter_async_context(AsyncClient(addresses, api_key="secret"))
        with pytest.raises(errors.UnavailableError, match="it ended the call"):
            await once(client)
    assert sorted(len(service.failures["CreateKey"] + service.failures["UploadDocument"]) for service in both) == [1, 2]


class Silent:
    """A service that takes a call and does not answer it: it hangs up, or leaves the caller waiting."""

    def __init__(self, *, hangs_up: bool) -> None:
        self.calls = 0
        self._hangs_up = hangs_up

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(EMPTY_SETTINGS)
            await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
                if head[3] == HEADERS:
                    self.calls += 1
                    if self._hangs_up:
                        return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("once", [make_key, upload])
@pytest.mark.parametrize("hangs_up", [True, False])
async def test_what_was_sent_and_not_answered_is_not_made_again(once: Once, hangs_up: bool) -> None:
    both = [Silent(hangs_up=hangs_up), Silent(hangs_up=hangs_up)]
    timeouts = Timeouts(call_seconds=1.0, upload_seconds=1.0)
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(one.listening()) for one in both]
        async with AsyncClient(addresses, api_key="secret", timeouts=timeouts) as client:
            with pytest.raises(errors.UnavailableError) as caught:
                await once(client)
    assert isinstance(caught.value, errors.CallTimeoutError) is not hangs_up
    assert sum(one.calls for one in both) == 1

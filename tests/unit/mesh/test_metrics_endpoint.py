"""The endpoint for Prometheus serves a few at once, and no client can keep it or the process from its work."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.observability import metrics_endpoint
from doctrain_mesh.observability.metrics_endpoint import MOST_AT_ONCE, _Handler, serving
from testkit.scraping import scrape
from testkit.waiting import wait_until


async def answer(url: str, request: bytes) -> bytes:
    """What is answered to that until the connection is closed."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_it_answers_get_of_metrics_and_nothing_else() -> None:
    async with serving("127.0.0.1:0", service="test", instance="one") as url:
        assert (await scrape(url)).total("process_open_fds") > 0
        said = await answer(url, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert said.startswith(b"HTTP/1.0 200 OK\r\nServer: doctrain ")
        assert (await answer(url, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 404")
        assert (await answer(url, b"POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n")).startswith(b"HTTP/1.0 501")
        assert b"400" in await answer(url, b"nonsense of no protocol at all\r\n\r\n")
        assert (await scrape(url)).total("process_open_fds") > 0


async def is_served(url: str) -> bool:
    return (await answer(url, b"GET /metrics HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 OK")


async def hanging(url: str) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """As many clients as are served at once, which ask for nothing."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    return [await asyncio.open_connection(host, int(port)) for _ in range(MOST_AT_ONCE)]


async def test_clients_that_ask_for_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Handler, "timeout", 60)
    monkeypatch.setattr(metrics_endpoint, "ANSWER_SECONDS", 60)
    async with serving("127.0.0.1:0", service="test", instance="one") as url:
        clients = await hanging(url)
        for _ in range(MOST_AT_ONCE + 1):
            assert await is_served(url)
        async with asyncio.timeout(5):
            assert await clients[0][0].read() == b"", "the oldest gave its place"
        for _, writer in clients:
            writer.close()


async def test_more_clients_than_are_served_at_once_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked = threading.Semaphore(0)

    def answer_late(handler: _Handler) -> None:
        handler.server.asks(handler.connection)
        asked.release()
        release.wait(60)

    monkeypatch.setattr(_Handler, "do_GET", answer_late)
    async with serving("127.0.0.1:0", service="test", instance="one") as url:
        clients = await hanging(url)
        for _, writer in clients:
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            await asyncio.to_thread(asked.acquire)
        assert not await is_served(url)
        monkeypatch.undo()
        release.set()
        for _, writer in clients:
            writer.close()
        await wait_until(lambda: is_served(url))


async def test_clients_that_hang_are_hung_up_on_and_the_next_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_endpoint, "ANSWER_SECONDS", 0.1)
    async with serving("127.0.0.1:0", service="test", instance="one") as url:
        for reader, writer in await hanging(url):
            assert await reader.read() == b""
            writer.close()
        monkeypatch.setattr(metrics_endpoint, "ANSWER_SECONDS", 60)
        await wait_until(lambda: is_served(url))


async def test_an_address_in_use_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"Metrics cannot be served on {listen} .*DOCTRAIN_METRICS_LISTEN"):
            async with serving(listen, service="test", instance="one"):
                pass


async def test_nothing_is_served_where_no_address_is_set() -> None:
    async with serving("", service="test", instance="one") as url:
        assert url == ""

"""The client for programs without asyncio, where its threads meet: callbacks, and its end while others wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from doctrain import Client
from doctrain.loop import BackgroundLoop
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import ScriptedService, serving


async def test_a_callback_that_calls_its_own_client_is_told_so(service: ScriptedService, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    def use(address: str) -> None:
        with Client(address, api_key="secret") as client:
            for call in (lambda: client.upload(b"more"), lambda: next(client.list_trainings()), client.close):
                with pytest.raises(RuntimeError, match="A callback cannot call the client that calls it"):
                    client.upload_folder(tmp_path, on_stored=lambda _, call=call: call())  # type: ignore[misc]
            assert client.upload(b"afterwards").size == 10

    async with serving(service) as now:
        await asyncio.to_thread(use, now.address)


async def test_calls_that_wait_when_their_client_is_closed_end_with_an_error(service: ScriptedService) -> None:
    watched = asyncio.Event()

    async def watch(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        watched.set()
        await asyncio.Event().wait()
        yield pb.WatchStatusResponse()

    service.watch = watch
    async with serving(service) as now:
        client = await asyncio.to_thread(Client, now.address, api_key="secret")
        waiting = [asyncio.ensure_future(asyncio.to_thread(client.wait, "t")) for _ in range(2)]
        await watched.wait()
        await asyncio.gather(*(asyncio.to_thread(client.close) for _ in range(2)))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(type(end), str(end)) for end in ends] == [(RuntimeError, "This client was closed meanwhile.")] * 2
        await asyncio.to_thread(client.close)


async def test_work_that_is_given_to_a_loop_while_that_is_closed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, submit = BackgroundLoop(), asyncio.run_coroutine_threadsafe

    async def nothing() -> None:
        await asyncio.sleep(0)

    closing = threading.Thread(target=lambda: loop.close(nothing()))

    def close_first(*arguments: Any) -> Any:
        monkeypatch.undo()
        closing.start()
        closing.join(0.2)  # it may have to wait for what is given just now
        return submit(*arguments)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", close_first)
    (end,) = await asyncio.gather(asyncio.to_thread(loop.run, nothing()), return_exceptions=True)
    assert end is None or str(end) == "This client was closed meanwhile."
    await asyncio.to_thread(closing.join)
    assert loop.closed

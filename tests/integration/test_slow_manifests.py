"""An attack: manifests on servers that answer late kept every tenant's calls that start, retry or delete waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from doctrain.v1 import training_pb2 as pb
from testkit.coordinator import coordinators
from testkit.waiting import wait_until

LINE = b'{"document_id": "d", "uri": "s3://bucket/d"}\n'
TENANTS = 7
OF_TENANT = 2
"""Calls that a gate serves of one tenant; together more than it serves, and has places for."""
NUMBERED = pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=1)


@dataclass
class Withheld:
    """A server of manifests that says nothing, to as many as ``asked``, until it is released."""

    uri: str = ""
    asked: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await self.released.wait()
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\n\r\n' + LINE)
        writer.close()


@asynccontextmanager
async def withheld() -> AsyncIterator[Withheld]:
    made = Withheld()
    async with await asyncio.start_server(made.answer, "127.0.0.1", 0) as server:
        made.uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/manifest"
        try:
            yield made
        finally:
            made.released.set()


async def test_calls_that_wait_for_manifests_of_some_tenants_keep_no_other_waiting(postgres: str, tmp_path: Path) -> None:
    async with withheld() as server, coordinators(postgres, tmp_path, allow_private_addresses=True) as served:
        slow = [await served.tenant(f"slow-{n}") for n in range(TENANTS)]
        other = await served.tenant("other")

        async def all_wait() -> bool:
            return server.asked == TENANTS * OF_TENANT

        async with asyncio.TaskGroup() as group:
            checked = [group.create_task(client.start_training(manifest_uri=server.uri, validate_only=True)) for client in slow]
            started = [group.create_task(client.start_training(manifest_uri=server.uri, training_task_id="m")) for client in slow]
            await wait_until(all_wait, 15, what="every call at its manifest's server")
            async with asyncio.timeout(10):
                assert (await other.start_training(numbered=NUMBERED)).training.total == 1
            assert not server.released.is_set()
            server.released.set()
        assert [(task.result().summary.documents, task.result().summary.partial) for task in checked] == [(1, False)] * TENANTS
        assert [task.result().training.total for task in started] == [1] * TENANTS

"""The guardian's two sides, each against what the other may do at the worst moment: orders and words of memory by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.shared.launch import Launch
from doctrain_worker.sandbox.shared.memory import FenceMemory
from doctrain_worker.sandbox.shared.process_tree import now_ns


class MainProcess:
    """A main process's ends of its guardian's socket and memory."""

    def __init__(self, link: socket.socket, memory: FenceMemory) -> None:
        self.link, self.memory = link, memory

    def order(self, **order: Any) -> None:
        self.link.send(json.dumps(order).encode())

    async def event(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            message = await asyncio.get_running_loop().sock_recv(self.link, 1 << 16)
        return dict(json.loads(message))

    async def has_looked(self) -> None:
        """Returns when the guardian has gone twice through its loop."""
        for _ in range(2):
            looked = self.memory.polled_ns
            await until(lambda: self.memory.polled_ns != looked)  # noqa: B023 - done with before the next


@pytest.fixture
def memory() -> Iterator[FenceMemory]:
    made = FenceMemory.create()
    yield made
    made.close()


@pytest.fixture
def main(memory: FenceMemory) -> Iterator[MainProcess]:
    with ExitStack() as stack:
        link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(link)
        with far:
            guardian = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "doctrain_worker.sandbox.guardian", "--attached", f"{far.fileno()},{memory.fd}"],
                    pass_fds=(far.fileno(), memory.fd),
                )
            )
        stack.callback(guardian.kill)
        link.setblocking(False)
        yield MainProcess(link, memory)


async def test_a_deadline_kills_once_and_its_word_is_left_to_the_main_process(main: MainProcess) -> None:
    main.memory.deadline_ns = passed = now_ns()
    assert await main.event() == {"event": "fenced", "epoch": 1, "cause": "deadline"}
    await main.has_looked()
    assert (main.memory.deadline_ns, main.memory.epoch) == (passed, 1)


async def test_the_deadline_of_a_session_that_opens_while_the_last_one_is_fenced_is_kept(main: MainProcess) -> None:
    for epoch in range(1, 30):
        main.memory.deadline_ns = now_ns()
        await until(lambda: main.memory.epoch == epoch)  # noqa: B023 - done with before the next
        main.memory.taken = epoch
        main.memory.deadline_ns = soon = now_ns() + 20_000_000
        assert (await main.event())["epoch"] == epoch
        assert main.memory.deadline_ns == soon


async def test_an_order_to_fence_that_crosses_the_deadlines_own_fence_spares_the_next_session(main: MainProcess) -> None:
    main.memory.deadline_ns = now_ns()
    assert (await main.event())["epoch"] == 1
    main.memory.deadline_ns, main.memory.taken = 0, 1
    main.order(order="fence", epoch=0)
    main.order(order="kill", key=7)
    await main.has_looked()
    assert main.memory.epoch == 1
    main.order(order="fence", epoch=1)
    assert await main.event() == {"event": "fenced", "epoch": 2, "cause": "ordered"}


async def until(true: Callable[[], bool]) -> None:
    """Asks as often as it can: what is looked for may last for a moment."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - an event of another process
            await asyncio.sleep(0)


@pytest.fixture
def killable() -> Iterator[int]:
    """A process to be killed in the place of a guardian that is given up."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
async def played(memory: FenceMemory, killable: int) -> AsyncIterator[tuple[Guardian, socket.socket]]:
    """A main process's side, and the socket of its guardian, which the test plays."""
    link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with link, far:
        yield Guardian(link, memory, killable), far
        asyncio.get_running_loop().remove_reader(link.fileno())


async def test_the_word_that_a_session_was_fenced_does_not_end_the_next_one(
    memory: FenceMemory, played: tuple[Guardian, socket.socket]
) -> None:
    guardian, far = played
    guardian.note_session(5, b"")
    memory.epoch = 1  # it has killed, and its word is on the way
    assert guardian.fenced
    assert await guardian.wait_fenced() == "deadline"
    guardian.note_session(6, b"")
    assert guardian.extend(time.monotonic() + 60)
    fenced = asyncio.create_task(guardian.wait_fenced())
    for epoch in (1, 2):
        assert not fenced.done()
        memory.epoch = epoch
        far.send(json.dumps({"event": "fenced", "epoch": epoch, "cause": "deadline"}).encode())
        for _ in range(5):
            await asyncio.sleep(0)
    assert await fenced == "deadline"


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_goes_while_a_child_starts_leaves_none_behind(played: tuple[Guardian, socket.socket], turns: int) -> None:
    guardian, far = played
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    start = asyncio.create_task(guardian.spawn(Launch(["sleep", "60"], {}, {})))
    key = json.loads(await loop.sock_recv(far, 1 << 16))["key"]
    channel, theirs = socket.socketpair()
    output, printed = socket.socketpair()
    with theirs, printed:
        with channel, output:
            event = json.dumps({"event": "spawned", "key": key, "pid": 7}).encode()
            socket.send_fds(far, [event], [channel.fileno(), output.fileno()])
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        try:
            spawned = await start
        except asyncio.CancelledError:
            assert json.loads(await loop.sock_recv(far, 1 << 16)) == {"order": "kill", "key": key}
        else:
            spawned.channel.close()
            spawned.output.close()
        theirs.setblocking(False)
        async with asyncio.timeout(20):
            assert await loop.sock_recv(theirs, 1) == b""

"""One child as the event loop sees it: a call at a time on its channel, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

from doctrain_worker.sandbox.main.link import Exit, Guardian, SpawnedChild
from doctrain_worker.sandbox.main.output import MOST_BYTES, ChildOutput
from doctrain_worker.sandbox.shared import frames
from doctrain_worker.sandbox.shared.ends import NO_ANSWER, Crashed, Failed, OutOfMemory, OutOfSpace, TooMuchOutput
from doctrain_worker.sandbox.shared.fenced import FencedError
from doctrain_worker.sandbox.shared.frames import HEADER_BYTES
from doctrain_worker.sandbox.shared.launch import MOST_PROCESSES, SCRATCH_BYTES
from doctrain_worker.sandbox.shared.messages import Cause

log = logging.getLogger(__name__)

EXIT_SECONDS = 10.0
LINGER_SECONDS = 1.0
"""On a busy machine one that aborts takes as long from its channel's end to its own; ended sooner, it could not say why it died."""

_MOST_OF_THE_MEMORY = 0.7
_WINDOW_BYTES = 1 << 16


class ChildBrokenError(Exception):
    """The child cannot answer any more; ``Child.why`` tells what that means for a call."""


class RefusedError(ChildBrokenError):
    """The child was ended for what it did.

    Args:
        end: what came of its call.
    """

    def __init__(self, end: Failed) -> None:
        super().__init__(str(end))
        self.end = end


class Child(asyncio.BufferedProtocol):
    """A running child and its channel.

    Args:
        guardian: its parent.
        spawned: the process.
        reply_bytes: the largest reply it may send.
        memory_bytes: its limit, to tell a lack of memory from a crash.
    """

    def __init__(self, guardian: Guardian, spawned: SpawnedChild, *, reply_bytes: int, memory_bytes: int) -> None:
        self._guardian = guardian
        self._spawned = spawned
        self._reply_bytes = reply_bytes
        self._memory_bytes = memory_bytes
        self._loop = asyncio.get_running_loop()
        self.output = ChildOutput(spawned.output, spawned.pid, self._on_flood)
        spawned.exited.add_done_callback(lambda _: self.output.close())
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        # Read into over and over: asyncio's own buffer, made anew for each read, costs more than the rest of a call.
        self._window = memoryview(bytearray(_WINDOW_BYTES))
        self._waiting: asyncio.Future[frames.Reply] | None = None
        self._broken: ChildBrokenError | None = None
        self.calls = 0

    async def connect(self, seconds: float) -> None:
        """Waits until the child is ready. Raises ChildBrokenError or TimeoutError."""
        channel: socket.socket = self._spawned.channel
        channel.setblocking(False)
        self._waiting = self._loop.create_future()
        await self._loop.create_connection(lambda: self, sock=channel)
        async with asyncio.timeout(seconds):
            await self._waiting

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._broken is None

    @property
    def pid(self) -> int:
        """The process that the guardian started; in a sandbox, the sandbox's."""
        return self._spawned.pid

    def call(self, frame: bytearray) -> asyncio.Future[frames.Reply]:
        """Sends one call; the future ends with the reply or ChildBrokenError. One at a time."""
        waiting = self._waiting = self._loop.create_future()
        self.calls += 1
        if self._broken is not None or self._transport is None:
            waiting.set_exception(self._broken or ChildBrokenError())
        else:
            self._transport.write(frame)
        return waiting

    def kill(self) -> None:
        """Ends the child and all below it."""
        self._break(ChildBrokenError())
        if not self._spawned.exited.done():
            self._guardian.kill(self._spawned.key)

    async def ended(self) -> Exit:
        """Waits until nothing of it is left. Raises FencedError when all children were killed, GuardianLostError."""
        self.kill_if_broken()
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                ended = await asyncio.shield(self._spawned.exited)
        except TimeoutError as error:
            raise self._guardian.give_up(f"A child is not dead {EXIT_SECONDS:g} s after its end was ordered.") from error
        if ended.cause is Cause.FENCED:
            raise FencedError("The children of this session were stopped.")
        return ended

    def kill_if_broken(self) -> None:
        """A child that closed its channel but lives on is ended."""
        if self._broken is not None and not self._spawned.exited.done():
            self._loop.call_later(LINGER_SECONDS, self._kill_lingering)

    def _kill_lingering(self) -> None:
        if not self._spawned.exited.done():
            self._guardian.kill(self._spawned.key)

    async def why(self) -> Failed:
        """What the end of this child, by itself, means for the call that ran in it."""
        broken = self._broken
        ended = await self.ended()
        if isinstance(broken, RefusedError):
            return broken.end
        if ended.cause is not Cause.OWN:
            return self._excess(ended.cause)
        number = ended.signal or (ended.code - 128 if ended.code is not None and 128 < ended.code < 128 + signal.NSIG else None)
        if self._ended_for_memory(ended, number):
            return OutOfMemory(self._memory_bytes)
        return Crashed(f"status {ended.code}" if number is None else signal.Signals(number).name)

    def _excess(self, cause: Cause) -> Failed:
        match cause:
            case Cause.MEMORY:
                return OutOfMemory(self._memory_bytes)
            case Cause.SPACE:
                return OutOfSpace(SCRATCH_BYTES)
            case Cause.PROCESSES:
                return Crashed(f"started more than {MOST_PROCESSES} processes")
        return OutOfMemory(self._memory_bytes) if self.output.tells_of_no_memory else Crashed("closed its channel")

    def _ended_for_memory(self, ended: Exit, number: int | None) -> bool:
        if number == signal.SIGKILL:
            return True  # nobody but the kernel's OOM killer sends it
        # Native code that gets no memory aborts: most says why, at the least it had much of what it may have.
        return self.output.tells_of_no_memory or (number is not None and ended.peak_rss_bytes > self._memory_bytes * _MOST_OF_THE_MEMORY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._window

    def buffer_updated(self, nbytes: int) -> None:
        self._buffer += self._window[:nbytes]
        if len(self._buffer) < HEADER_BYTES:
            return
        size = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        if size > self._reply_bytes:
            self.refuse(TooMuchOutput(self._reply_bytes), f"announced a reply of {size} bytes")
        elif len(self._buffer) >= HEADER_BYTES + size:
            self._take(size)

    def _take(self, size: int) -> None:
        waiting = self._waiting
        if waiting is None or len(self._buffer) > HEADER_BYTES + size:
            self.refuse(NO_ANSWER, f"sent {len(self._buffer)} bytes that nobody asked for")
            return
        try:
            reply = frames.read_reply(memoryview(self._buffer)[HEADER_BYTES:])
        except frames.NonsenseError:
            self.refuse(NO_ANSWER, f"sent {size} bytes that are no reply")
            return
        finally:
            self._buffer = bytearray()
        self._waiting = None
        if not waiting.done():
            waiting.set_result(reply)

    def _on_flood(self) -> None:
        self.refuse(Crashed("printed without end"), f"printed more than {MOST_BYTES} bytes")

    def refuse(self, end: Failed, what: str) -> None:
        """Ends it for what it did, told in the log as ``what``: its call, if there is one, ended so."""
        log.warning("child %d %s and is ended", self.pid, what)
        self._break(RefusedError(end))
        self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(ChildBrokenError())

    def _break(self, error: ChildBrokenError) -> None:
        if self._broken is None:
            self._broken = error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._broken)
            self._waiting.exception()  # seen: a call that was cancelled does not look
        self._waiting = None
        if self._transport is not None:
            self._transport.abort()

"""Children that call one function, each one call at a time; a crash, a hang or an excess costs one call.

Who waits for a child is served by the time that each owner had of them, and long work that keeps all of them is put back for who
waits (``core.fair_queue``).

A child is kept warm between calls and replaced after a number of them, or when it has grown. Children start when they
are needed, so none is started for lanes that wait.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.msgpack import Decoder

from doctrain_worker import metrics
from doctrain_worker.core.fair_queue import FairQueue, Turn
from doctrain_worker.sandbox.main.channel import Child, ChildBrokenError
from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian, GuardianLostError
from doctrain_worker.sandbox.shared import frames
from doctrain_worker.sandbox.shared.ends import NO_ANSWER, Failed, OutOfMemory, OutOfSpace, Refused, Result, TimedOut
from doctrain_worker.sandbox.shared.fenced import FencedError
from doctrain_worker.sandbox.shared.launch import SCRATCH_BYTES

T = TypeVar("T")

log = logging.getLogger(__name__)

START_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often the pool looks for a turn that is to be put back, while anyone waits."""
_MIB = 1 << 20


class ChildStartError(Exception):
    """A child could not be started: a fault of the installation or the machine, not of any document."""


class PutBackError(Exception):
    """The child was ended for others, who waited: nothing is wrong with the call, which is to be made again, as ``again``."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What the children of a pool do, and what they may.

    Args:
        function: ``package.module:attribute`` of a function from one msgpack value to another.
        prepare: the same of a function without arguments that a child runs once at its start; empty: none.
        memory_bytes: most memory that a child may allocate.
        reply_bytes: largest reply.
        recycle_calls: a child is replaced after this many calls.
        recycle_rss_bytes: and after a call that left it larger than this.
        environment: beside the clean one of ``isolation.environment``.
    """

    function: str
    prepare: str = ""
    memory_bytes: int = 2048 * _MIB
    reply_bytes: int = 64 * _MIB
    recycle_calls: int = 1000
    recycle_rss_bytes: int = 768 * _MIB
    environment: tuple[tuple[str, str], ...] = ()


class Calls:
    """Calls to one child; after one that it did not survive, the next goes to another. Made by ``ChildPool.calls``."""

    def __init__(self, pool: ChildPool, child: Child) -> None:
        self._pool = pool
        self._child: Child | None = child
        self._called: Child | None = None
        self._reply: frames.Reply | None = None
        self._is_put_back = False

    async def run(self, task: Any, seconds: float, answer: Decoder[T], traceparent: str = "") -> Result[T] | Failed:
        """Calls the function once, for at most ``seconds``; ``answer`` decodes what it returns, and ends a child that answers otherwise.

        Cancelling kills the child, and ends when it is dead. Raises PutBackError, then also for all later calls; FencedError when the
        children were all killed, GuardianLostError, ChildStartError; TypeError for a task that is no msgpack value, which costs no child.
        """
        frame = frames.pack(frames.Call(task))
        pool = self._pool
        child = self._child = self._child or await pool.take()
        if self._is_put_back:
            raise PutBackError
        self._child, self._called = None, child
        child.output.call(traceparent)
        pool.running.add(child)
        metrics.CHILDREN_BUSY.add(1, pool.spec.function)
        began = asyncio.get_running_loop().time()
        try:
            reply = await self._reply_to(child, frame, seconds)
            if not isinstance(reply, frames.Reply):
                return reply
            end = self._end(reply, answer, asyncio.get_running_loop().time() - began)
        except frames.NonsenseError as error:
            child.refuse(NO_ANSWER, f"answered what its function does not ({error})")
            return await child.why()
        finally:
            self._called = None
            pool.running.discard(child)
            metrics.CHILDREN_BUSY.add(-1, pool.spec.function)
        self._child, self._reply = child, reply
        return end

    def put_back(self) -> None:
        """Ends the call that runs, if one does, and makes no other."""
        self._is_put_back = True
        if self._called is not None:
            self._called.kill()

    async def end(self) -> None:
        """The child may serve others. One with which something of the calls was left is dead then."""
        child, reply = self._child, self._reply
        if child is None:
            return
        self._child = None
        if reply is not None and reply.left:
            log.info("child %d kept processes or files of its calls and is replaced", child.pid)
            child.kill()
            await _see_dead(child)
        else:
            self._pool.release(child, reply)

    def _end(self, reply: frames.Reply, answer: Decoder[T], seconds: float) -> Result[T] | Failed:
        match reply.end:
            case frames.Answered(value):
                return Result(frames.decoded(value, answer), seconds)
            case OutOfMemory():
                return OutOfMemory(self._pool.spec.memory_bytes)
            case OutOfSpace():
                return OutOfSpace(SCRATCH_BYTES)
            case frames.Ready():
                raise frames.NonsenseError("a second start")
            case end:
                return end

    async def _reply_to(self, child: Child, frame: bytearray, seconds: float) -> frames.Reply | Failed:
        overdue = False

        def cut() -> None:
            nonlocal overdue
            overdue = True
            child.kill()

        timer = asyncio.get_running_loop().call_later(seconds, cut)
        try:
            return await child.call(frame)
        except ChildBrokenError as error:
            if overdue:
                await child.ended()
                return TimedOut(seconds)
            if self._is_put_back:
                await child.ended()
                raise PutBackError from error
            return await child.why()
        except asyncio.CancelledError:
            child.kill()
            await _see_dead(child)
            raise
        finally:
            timer.cancel()


async def _see_dead(child: Child) -> None:
    """For one who says that nothing of a call is there: waits until that is so, also when all were killed."""
    try:
        await child.ended()
    except (FencedError, GuardianLostError) as error:
        log.debug("the child is dead: %s", error)


class ChildPool:
    """At most ``size`` children of one kind. Made by ``open``.

    Attributes:
        spec: what they do, and what they may.
        running: the children that work on a call now.
    """

    def __init__(self, guardian: Guardian, spec: ChildSpec, size: int, shut_in: Isolation) -> None:
        self._guardian = guardian
        self.spec = spec
        self._isolation = shut_in
        self._idle: list[Child] = []
        self._loop = asyncio.get_running_loop()
        self._line: FairQueue[asyncio.Future[Turn]] = FairQueue(size)
        self._calls: dict[Turn, Calls] = {}
        self._look: asyncio.TimerHandle | None = None
        self.running: set[Child] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, guardian: Guardian, spec: ChildSpec, size: int, shut_in: Isolation) -> AsyncIterator[ChildPool]:
        """The pool; at exit its children are ended. Raises ChildStartError when not even the first child starts."""
        pool = cls(guardian, spec, size, shut_in)
        try:
            pool._idle.append(await pool._start())
            yield pool
        finally:
            pool._end_all()

    async def run(
        self, task: Any, seconds: float, answer: Decoder[T], traceparent: str = "", *, owner: Hashable = None, patient: bool = False
    ) -> Result[T] | Failed:
        """Calls the function once in a child, and again where it was put back: see ``calls`` and ``Calls.run``."""
        again = False
        while True:
            try:
                async with self.calls(owner=owner, patient=patient, again=again) as calls:
                    return await calls.run(task, seconds, answer, traceparent)
            except PutBackError:
                again = True

    @asynccontextmanager
    async def calls(self, *, owner: Hashable = None, patient: bool = False, again: bool = False) -> AsyncIterator[Calls]:
        """A child for several calls; waits for a free one without limit, with ``patient`` until nobody waits who is not.

        Whose calls take long (``owner``: a tenant) keeps those of others waiting no longer than ``core.fair_queue`` says. ``again``: after
        a PutBackError. Raises FencedError, GuardianLostError, ChildStartError.
        """
        if self._line.is_full:
            turn = await self._turn(owner, patient=patient, again=again)
        else:
            turn = self._line.begin(owner, self._loop.time(), anew=again)
        try:
            calls = self._calls[turn] = Calls(self, await self.take())
            try:
                yield calls
            finally:
                await calls.end()
        finally:
            self._calls.pop(turn, None)
            self._pass_on(turn)

    def release(self, child: Child, reply: frames.Reply | None) -> None:
        """A child is free again after this reply, or unused; one that is worn is ended."""
        if reply is None:
            self._idle.append(child)
            return
        spec = self.spec
        grown = reply.peak_rss_kb * 1024 > spec.recycle_rss_bytes
        if grown or child.calls >= spec.recycle_calls or not isinstance(reply.end, frames.Answered | Refused):
            child.kill()
        else:
            self._idle.append(child)

    async def _turn(self, owner: Hashable, *, patient: bool, again: bool) -> Turn:
        given: asyncio.Future[Turn] = self._loop.create_future()
        self._line.join(owner, given, self._loop.time(), patient=patient, anew=again)
        self._look_soon()
        try:
            return await given
        except asyncio.CancelledError:
            self._line.leave(owner, given, self._loop.time())
            if given.done() and not given.cancelled():
                self._pass_on(given.result())
            raise

    def _pass_on(self, turn: Turn) -> None:
        """The turn is over; its place is for the next who waits."""
        now = self._loop.time()
        self._line.end(turn, now)
        while self._line and not self._line.is_full:
            given, turn = self._line.next(now)
            if given.done():
                self._line.end(turn, now)
            else:
                given.set_result(turn)

    def _look_soon(self) -> None:
        if self._look is None:
            self._look = self._loop.call_later(LOOK_SECONDS, self._look_for_long)

    def _look_for_long(self) -> None:
        self._look = None
        if not self._line:
            return
        self._look_soon()
        turn = self._line.to_put_back(self._loop.time())
        if turn is not None and turn in self._calls:
            turn.put_back = True
            log.info("A call of %s is put back for others who wait.", self.spec.function)
            self._calls[turn].put_back()

    async def take(self) -> Child:
        """A free child, or a new one. Raises FencedError, GuardianLostError, ChildStartError."""
        self._guardian.check()
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
        return await self._start()

    async def _start(self) -> Child:
        spec = self.spec
        argv = [sys.executable, "-P", "-m", "doctrain_worker.sandbox.child", spec.function, *([spec.prepare] if spec.prepare else [])]
        try:
            spawned = await self._guardian.spawn(self._isolation.launch(argv, dict(spec.environment), spec.memory_bytes))
        except OSError as error:
            raise ChildStartError(str(error)) from error
        child = Child(self._guardian, spawned, reply_bytes=spec.reply_bytes, memory_bytes=spec.memory_bytes)
        try:
            await child.connect(START_SECONDS)
        except TimeoutError as error:
            child.kill()
            raise ChildStartError(f"A child for {spec.function} was not ready within {START_SECONDS:g} s.") from error
        except ChildBrokenError as error:
            ended = await child.ended()
            raise ChildStartError(f"A child for {spec.function} ended before it was ready ({ended}).") from error
        except asyncio.CancelledError:
            child.kill()
            raise
        return child

    def _end_all(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for child in [*self._idle, *self.running]:
            try:
                child.kill()
            except GuardianLostError:
                log.debug("the guardian is gone, and its children with it")
        self._idle.clear()

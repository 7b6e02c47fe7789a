"""Lifetimes: named timeouts and supervised loops.

A background loop that ends is a fault of the process, so loops run in the
application's TaskGroup and return only when they are cancelled. Libraries were seen to raise ``CancelledError`` although
nobody cancelled (aio-pika on a stuck connection): ``guard_cancellation`` tells the two apart. The other way round, an error that comes
while a task is cancelled may take the cancellation's place (a TaskGroup one of whose tasks fails meanwhile forgets, until Python 3.13, that
it was cancelled): ``cancellation_first`` puts it back, so that whoever expects the error does not work on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, TypeVar

from doctrain_mesh.errors import OperationTimeoutError

T = TypeVar("T")

log = logging.getLogger(__name__)


@asynccontextmanager
async def deadline(operation: str, seconds: float) -> AsyncIterator[None]:
    """Bounds what runs inside; raises OperationTimeoutError that names the operation and the limit. A TimeoutError from within passes."""
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise OperationTimeoutError(f"{operation} did not finish within {seconds:g} s.") from error


@asynccontextmanager
async def guard_cancellation(operation: str) -> AsyncIterator[None]:
    """Turns a CancelledError that nobody asked for into an OperationTimeoutError; passes a real one on."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise OperationTimeoutError(f"{operation} was cut off by its connection.") from error


@asynccontextmanager
async def cancellation_first() -> AsyncIterator[None]:
    """Raises CancelledError in place of an error that comes when the task was cancelled within.

    Counts on it that groups within are ``Parts``: what a bare TaskGroup leaves behind looks like a cancellation.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except Exception as error:
        if task is None or task.cancelling() <= before:
            raise
        await asyncio.sleep(0)  # Python 3.13 cancels once more, which is taken here and not by the caller's clean-up
        raise asyncio.CancelledError from error


async def forever(
    name: str,
    step: Callable[[], Awaitable[None]],
    *,
    expected: type[Exception] | tuple[type[Exception], ...],
    retry_seconds: float = 1.0,
) -> None:
    """Repeats ``step`` until cancelled. ``expected`` errors are logged and retried after a pause; any other ends the loop.

    ``step`` waits by itself for its next occasion; this loop adds no pace. An error that comes when the loop was cancelled ends it, too.
    """
    while True:
        try:
            async with cancellation_first():
                await step()
        except expected as error:
            log.warning("%s failed and is tried again in %g s: %s", name, retry_seconds, error)
            await asyncio.sleep(retry_seconds)


class Parts(asyncio.TaskGroup):
    """A TaskGroup that is to be awaited within, by ``ended``.

    A task that fails while a group's own end waits for it leaves the group's parent counted as cancelled for ever (until Python 3.13).
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts: set[asyncio.Task[Any]] = set()

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """As of a TaskGroup."""
        task = super().create_task(coro, name=name, context=context)
        self._parts.add(task)
        task.add_done_callback(self._parts.discard)
        return task

    async def ended(self) -> None:
        """Returns once no task is left."""
        while self._parts:
            await asyncio.wait(self._parts)


@asynccontextmanager
async def unwrapped_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises its first error as it is: for work done in parts, whose caller asked for one thing and hears one reason."""
    async with cancellation_first():
        try:
            async with Parts() as group:
                yield group
                await group.ended()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def first_of(*works: Coroutine[Any, Any, T]) -> T:
    """Runs all of them until one returns, and answers what it returned; by then the others are cancelled and have ended.

    An end that is expected is a return, never an error: errors are raised as the group that they come in.
    """
    results: list[T] = []
    returned = asyncio.Event()

    async def part(work: Coroutine[Any, Any, T]) -> None:
        results.append(await work)
        returned.set()

    async with cancellation_first(), Parts() as group:
        parts = [group.create_task(part(work), name=getattr(work, "__qualname__", None)) for work in works]
        await returned.wait()
        for task in parts:
            task.cancel()
        await group.ended()
    return results[0]


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Does work that bounds itself in time to its end, whatever is cancelled meanwhile; a cancellation is passed on afterwards."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and task.exception() is not None:
        log.info("%s failed after it was cancelled: %s", getattr(work, "__qualname__", "Work"), task.exception())
    raise cancelled


def in_thread(name: str, work: Callable[[], None]) -> asyncio.Future[None]:
    """Runs it in a thread of its own, for which the process does not wait at its end; the future ends as the work does."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.cancelled():
            ended.set_result(None) if error is None else ended.set_exception(error)

    def run() -> None:
        fault: BaseException | None = None
        try:
            work()
        except BaseException as error:
            fault = error
        with suppress(RuntimeError):  # the loop is gone, and whoever waited
            loop.call_soon_threadsafe(end, fault)

    threading.Thread(target=run, name=name, daemon=True).start()
    return ended


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Does the work for each, so many at once; raises the first error, and does no more then."""
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await work(item)

    async with unwrapped_group() as group:
        for _ in range(at_once):
            group.create_task(some())

"""Lifetimes: named timeouts and supervised loops.

A background loop that ends is a fault of the process (HOUSE: "a dead loop ends the process"), so loops run in the
application's TaskGroup and return only when they are cancelled. Libraries were seen to raise ``CancelledError`` although
nobody cancelled (aio-pika on a stuck connection): ``guard_cancellation`` tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from doctrain_mesh.errors import DoctrainError, OperationTimeoutError

log = logging.getLogger(__name__)


@asynccontextmanager
async def deadline(operation: str, seconds: float) -> AsyncIterator[None]:
    """Bounds what runs inside; raises OperationTimeoutError that names the operation and the limit."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
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


async def forever(
    name: str,
    step: Callable[[], Awaitable[None]],
    *,
    retry_seconds: float = 1.0,
    expected: type[Exception] | tuple[type[Exception], ...] = DoctrainError,
) -> None:
    """Repeats ``step`` until cancelled. ``expected`` errors are logged and retried after a pause; any other ends the loop.

    ``step`` waits by itself for its next occasion; this loop adds no pace.
    """
    while True:
        try:
            await step()
        except expected as error:
            log.warning("%s failed and is tried again in %g s: %s", name, retry_seconds, error)
            await asyncio.sleep(retry_seconds)

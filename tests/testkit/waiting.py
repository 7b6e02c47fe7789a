"""Waiting until a question is answered with yes: one to another process, to a server, or to what in this process has no event to wait for.

Where there is an event, wait for that.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PACE_SECONDS = 0.02
SLOW_PACE_SECONDS = 0.05
"""Once ``SOON_SECONDS`` went by: many questions are calls or queries, and whoever is waited for has the same cores."""
SOON_SECONDS = 0.5


async def wait_until(predicate: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """Asks ``predicate`` (plain or async) until its answer is true and returns it; fails the test after ``timeout`` seconds."""
    last: Any = None
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            while True:
                answer = predicate()
                last = await answer if inspect.isawaitable(answer) else answer
                if last:
                    return last
                await asyncio.sleep(PACE_SECONDS if time.monotonic() - begun < SOON_SECONDS else SLOW_PACE_SECONDS)
    except TimeoutError:
        name = what or getattr(predicate, "__qualname__", repr(predicate))
        raise AssertionError(f"Not so within {timeout:g} s: {name} (last answer: {last!r})") from None


def wait_blocking(predicate: Callable[[], bool], timeout: float, what: str, pace: float = PACE_SECONDS) -> None:
    """The same for code outside an event loop; ``pace`` seconds are between two questions."""
    end = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"Not so within {timeout:g} s: {what}")
        time.sleep(pace)

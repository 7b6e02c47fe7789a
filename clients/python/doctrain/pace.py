"""Keeps to the calls a second that a tenant's plan allows, once the service has said that there were more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc.aio

from doctrain import errors

LEAST_PAUSE_SECONDS = 0.01

Response = TypeVar("Response")


class Pace:
    """The turns of calls to one address: of those that were refused, and of all others while such wait. Times are of one clock."""

    def __init__(self) -> None:
        self._next = float("-inf")
        self._between = 0.0

    def turn(self, now: float, end: float) -> float:
        """How many seconds a call is to wait before it is made; nothing for one whose turn comes after its ``end``."""
        if not now < self._next < end:
            return 0.0
        turn, self._next = self._next, self._next + self._between
        return turn - now

    def refused(self, details: errors.Details, now: float, end: float) -> float | None:
        """How many seconds to wait until a call is made again; None when it was not refused for its pace, or has no time to wait."""
        if details.reason != "QUOTA_EXCEEDED" or details.metadata.get("quota") != "requests_per_second":
            return None
        retry_after = max(LEAST_PAUSE_SECONDS, details.retry_after_seconds or 0.0)
        try:
            self._between = max(LEAST_PAUSE_SECONDS, 1 / float(details.metadata["limit"]))
        except (KeyError, ValueError, ZeroDivisionError):
            self._between = retry_after
        self._next = max(self._next, now + retry_after)
        return self.turn(now, end) or None


async def kept(pace: Pace, attempt: Callable[[float], Awaitable[Response]], *, seconds: float, again: bool) -> Response:
    """What ``attempt`` answers, which is given the seconds that are left; ``again``: it is made again in its turn when it came too soon."""
    now = asyncio.get_running_loop().time
    end = now() + seconds
    wait = pace.turn(now(), end)
    while True:
        await asyncio.sleep(wait)
        try:
            return await attempt(end - now())
        except grpc.aio.AioRpcError as error:
            later = pace.refused(errors.parse_details(error.trailing_metadata()), now(), end) if again else None
            if later is None:
                raise
            wait = later

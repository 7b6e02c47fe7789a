"""Whether the worker takes messages: as a coordinator said last, and not before one has said anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from doctrain_mesh.ports import Consumer


class Intake:
    """``opened`` is set while messages are taken."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._scope: asyncio.Timeout | None = None
        self._consumer: Consumer | None = None

    @property
    def unsubscribed(self) -> bool:
        """Whether messages are to be taken and none can come."""
        return self._consumer is not None and self._consumer.unsubscribed

    def told(self, *, cordoned: bool) -> bool:
        """A coordinator says whether the worker is kept from new shards; answers whether that is news."""
        if self.opened.is_set() is not cordoned:
            return False
        if not cordoned:
            self.opened.set()
            return True
        self.opened.clear()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())
        return True

    async def while_open(self, consumer: Consumer, work: Callable[[Consumer], Awaitable[None]]) -> None:
        """Does the work with what the consumer gets, in this task, until messages are taken no more."""
        if not self.opened.is_set():
            return
        self._consumer = consumer
        try:
            async with asyncio.timeout(None) as self._scope:
                await work(consumer)
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
        finally:
            self._scope = self._consumer = None

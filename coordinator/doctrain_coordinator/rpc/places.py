"""Places for calls whose requests are in memory or on their way: who gets the next one, and whose client keeps the others waiting.

A request that comes slowly costs others nothing while places are free. Once somebody waits for one, the client that kept its place
waiting for longest beyond its patience gives it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from doctrain_mesh.errors import UploadStalledError

SLOWEST_BYTES_A_SECOND = 1024.0
"""A client that sends as much keeps its place, whoever waits."""
Whose = int | str
"""A tenant's number, or the machine of a client without a key."""
_LOOKS = 5
"""How often who waits looks for a slow client, in the time of one patience."""


@dataclass(slots=True)
class Patience:
    """How long a client may still let others wait: waiting for it takes of this, what comes gives back, up to ``most`` seconds."""

    most: float
    left: float = field(init=False)
    since: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.left = self.most

    def waits(self, now: float) -> None:
        """The client is to send from now on."""
        self.since = now

    def came(self, now: float, size: int) -> None:
        """It has sent as many bytes."""
        self.left = min(self.most, self.at(now) + size / SLOWEST_BYTES_A_SECOND)
        self.since = None

    def at(self, now: float) -> float:
        """Seconds that are left; none or less when it is used up."""
        return self.left if self.since is None else self.left - (now - self.since)


class Place:
    """One call's, from when it asks for it until it ends, or until it leaves."""

    def __init__(self, tenant: Whose, patience_seconds: float, leave: Callable[[Place], None]) -> None:
        self.tenant, self._leave = tenant, leave
        self.to_read = False
        """Whether it is for the reading alone."""
        self.admitted = asyncio.Event()
        self._patience = Patience(patience_seconds)
        self._limit: asyncio.Timeout | None = None

    async def hear(self, coming: AsyncIterator[bytes]) -> bytes:
        """What the client sends next; raises UploadStalledError once the place is given to who waits, StopAsyncIteration at the end."""
        loop = asyncio.get_running_loop()
        data = b""
        self._patience.waits(loop.time())
        try:
            async with asyncio.timeout(None) as self._limit:
                data = await anext(coming)
        except TimeoutError as error:
            raise UploadStalledError(
                f"The request came too slowly while others waited: less than {SLOWEST_BYTES_A_SECOND:,.0f} bytes a second "
                f"over {self._patience.most:g} s. Send it again, over a faster connection or in smaller pieces."
            ) from error
        finally:
            self._limit = None
            self._patience.came(loop.time(), len(data))
        return data

    def was_read(self) -> None:
        """The call's request is read."""
        if self.to_read:
            self.leave()

    def leave(self) -> None:
        """Gives it back before the call ends; once is enough."""
        self._leave(self)

    def left(self, now: float) -> float:
        """Seconds of its client's patience; infinity when nothing is waited for."""
        return float("inf") if self._limit is None else self._patience.at(now)

    def give_up(self, now: float) -> None:
        """Ends the wait for its client."""
        if self._limit is not None:
            self._limit.reschedule(now)
            self._limit = None


class Heard:
    """A client's requests, heard on its place."""

    def __init__(self, place: Place, requests: AsyncIterator[bytes]) -> None:
        self._place, self._coming = place, aiter(requests)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._place.hear(self._coming)


class Places:
    """``count`` of them, given in the order of asking, ``of_one`` to a tenant at most; the last free one only to one that has none."""

    def __init__(self, count: int, patience_seconds: float, *, of_one: int | None = None) -> None:
        self._count, self._patience, self._of_one = count, patience_seconds, of_one or count
        self._held: set[Place] = set()
        self._waiting: dict[Place, None] = {}

    @asynccontextmanager
    async def one(self, tenant: Whose) -> AsyncIterator[Place]:
        """A place for as long as this is open, once there is one."""
        loop = asyncio.get_running_loop()
        place = Place(tenant, self._patience, self._free)
        self._waiting[place] = None
        self._admit()
        try:
            while not place.admitted.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience / _LOOKS):
                        await place.admitted.wait()
                        break
                self._displace(place, loop.time())
            yield place
        finally:
            self._free(place)

    def _free(self, place: Place) -> None:
        self._waiting.pop(place, None)
        self._held.discard(place)
        self._admit()

    def _admit(self) -> None:
        for place in tuple(self._waiting):
            free = self._count - len(self._held)
            if not free:
                return
            its = self._held_by(place.tenant)
            if not its or (free > 1 and its < self._of_one):
                del self._waiting[place]
                self._held.add(place)
                place.admitted.set()

    def _held_by(self, tenant: Whose) -> int:
        return sum(held.tenant == tenant for held in self._held)

    def _displace(self, waiting: Place, now: float) -> None:
        own_only = self._held_by(waiting.tenant) >= self._of_one
        in_its_way = (held for held in self._held if not own_only or held.tenant == waiting.tenant)
        slowest = min(in_its_way, key=lambda held: held.left(now), default=None)
        if slowest is not None and slowest.left(now) <= 0:
            slowest.give_up(now)

"""Memory for what documents have fetched, shared by all tenants of a worker.

Only bytes take room, waiting takes none. A tenant may hold at most what it leaves free for others: half when it is alone, a
third each when there are two, and always some for one more, however slow the servers are that the others' documents come from.

Documents that hold part of their bytes and wait for room could wait for each other for ever. So one at a time, of the
tenant that holds least, may go beyond the room: more than the room is held only by that one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Share:
    """What one document holds. Made by ``Room.share``."""

    def __init__(self, room: Room, tenant: int) -> None:
        self._room = room
        self.tenant = tenant
        self.held = 0

    def take(self, count: int) -> bool:
        """Takes room for so many more bytes, if there is any."""
        return self._room.take(self, count)

    async def wait(self, count: int) -> None:
        """Takes it when there is."""
        await self._room.wait(self, count)


class Room:
    """Room for ``total`` bytes, and for one document beyond."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._held: Counter[int] = Counter()
        self._waiting: list[tuple[Share, int, asyncio.Future[None]]] = []
        self._beyond: Share | None = None

    @contextmanager
    def share(self, tenant: int) -> Iterator[Share]:
        """One document's share, given back at the end."""
        share = Share(self, tenant)
        try:
            yield share
        finally:
            if share is self._beyond:
                self._beyond = None
            self._give_back(share)
            self._admit()

    def take(self, share: Share, count: int) -> bool:
        """See ``Share``."""
        if share is self._beyond:
            return True
        if self._held[share.tenant] + count > self._free - count:
            return False
        self._free -= count
        self._held[share.tenant] += count
        share.held += count
        return True

    async def wait(self, share: Share, count: int) -> None:
        """See ``Share``."""
        turn = share, count, asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn[2]
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _give_back(self, share: Share) -> None:
        self._free += share.held
        self._held[share.tenant] -= share.held
        if not self._held[share.tenant]:
            del self._held[share.tenant]
        share.held = 0

    def _admit(self) -> None:
        """Lets in all for whom there is room, then one who goes beyond it, whose bytes no longer count."""
        self._admit_fitting()
        if self._waiting and self._beyond is None:
            self._beyond = min(self._waiting, key=lambda turn: self._held[turn[0].tenant])[0]
            self._give_back(self._beyond)
            self._admit_fitting()

    def _admit_fitting(self) -> None:
        for turn in list(self._waiting):
            share, count, ready = turn
            if self.take(share, count):
                self._waiting.remove(turn)
                if not ready.done():
                    ready.set_result(None)

"""Row locks as Postgres has them: four modes, waits in the order asked, a deadlock told to whoever closes the circle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterator
from enum import IntEnum

import asyncpg

from simulation.virtual_loop import virtual_loop


class Mode(IntEnum):
    """From weak to strong; an UPDATE that leaves keys alone takes NO_KEY_UPDATE."""

    KEY_SHARE = 1
    SHARE = 2
    NO_KEY_UPDATE = 3
    UPDATE = 4


_CONFLICTS = {
    Mode.KEY_SHARE: {Mode.UPDATE},
    Mode.SHARE: {Mode.NO_KEY_UPDATE, Mode.UPDATE},
    Mode.NO_KEY_UPDATE: {Mode.SHARE, Mode.NO_KEY_UPDATE, Mode.UPDATE},
    Mode.UPDATE: {Mode.KEY_SHARE, Mode.SHARE, Mode.NO_KEY_UPDATE, Mode.UPDATE},
}


class Owner:
    """Whoever holds locks: a transaction, or a session for advisory ones."""

    def __init__(self) -> None:
        self.held: dict[Hashable, Mode] = {}
        self.waits: _Wait | None = None
        self.lock_timeout: float | None = None


class _Wait:
    def __init__(self, owner: Owner, key: Hashable, mode: Mode, told: asyncio.Future[None]) -> None:
        self.owner, self.key, self.mode, self.told = owner, key, mode, told


class Locks:
    """All locks of one database; ``deadlocks`` tells which lock closed a circle."""

    def __init__(self) -> None:
        self.deadlocks: list[str] = []
        self._holders: dict[Hashable, dict[int, Owner]] = {}
        self._queues: dict[Hashable, deque[_Wait]] = {}

    async def take(self, owner: Owner, key: Hashable, mode: Mode) -> None:
        """Returns with the lock; raises DeadlockDetectedError, LockNotAvailableError."""
        if self.try_take(owner, key, mode):
            return
        wait = owner.waits = _Wait(owner, key, mode, virtual_loop().create_future())
        self._queues.setdefault(key, deque()).append(wait)
        try:
            if self._closes_a_circle(owner):
                self.deadlocks.append(f"for {key}")
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            async with asyncio.timeout(owner.lock_timeout):
                await wait.told
        except BaseException as error:
            if wait in self._queues[key]:
                self._queues[key].remove(wait)
                self._wake(key)
            if isinstance(error, TimeoutError):
                raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout") from error
            raise
        finally:
            owner.waits = None

    def try_take(self, owner: Owner, key: Hashable, mode: Mode) -> bool:
        """Takes the lock if nobody is in the way. Whoever waits for it is passed by, as Postgres does."""
        if owner.held.get(key, 0) >= mode:
            return True
        if any(True for _ in self._in_the_way(owner, key, mode)):
            return False
        owner.held[key] = mode
        self._holders.setdefault(key, {})[id(owner)] = owner
        return True

    def release(self, owner: Owner) -> None:
        """All of the owner's locks, at its end."""
        held, owner.held = owner.held, {}
        for key in held:
            del self._holders[key][id(owner)]
        for key in held:
            self._wake(key)
            if not self._holders[key]:
                del self._holders[key]

    def _in_the_way(self, owner: Owner, key: Hashable, mode: Mode) -> Iterator[Owner]:
        conflicts = _CONFLICTS[mode]
        return (other for other in self._holders.get(key, {}).values() if other is not owner and other.held[key] in conflicts)

    def _wake(self, key: Hashable) -> None:
        queue = self._queues.get(key)
        while queue:
            wait = queue[0]
            if wait.told.done():  # its owner gave up
                queue.popleft()
                continue
            if not self.try_take(wait.owner, key, wait.mode):
                return
            queue.popleft()
            wait.owner.waits = None  # it has the lock, though it goes on later: it is in nobody's circle
            wait.told.set_result(None)

    def _closes_a_circle(self, start: Owner) -> bool:
        seen: dict[int, None] = {}
        front = [start]
        while front:
            wait = front.pop().waits
            if wait is None:
                continue
            ahead = [other.owner for other in self._queues[wait.key] if other.owner is not wait.owner]
            ahead = ahead[: next((n for n, other in enumerate(self._queues[wait.key]) if other is wait), len(ahead))]
            for other in (*self._in_the_way(wait.owner, wait.key, wait.mode), *ahead):
                if other is start:
                    return True
                if id(other) not in seen:
                    seen[id(other)] = None
                    front.append(other)
        return False

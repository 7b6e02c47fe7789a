"""Who waits for something that there are few of: each owner in turn, and of an owner's, the one that came first."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A line of lines (deficit round robin with one call a turn). False while nobody waits."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def join(self, owner: Hashable, item: T) -> None:
        """Behind all others of the same owner."""
        self._waiting.setdefault(owner, deque()).append(item)

    def next(self) -> T:
        """Takes the next one out; its owner is the last then. Raises StopIteration while nobody waits."""
        owner = next(iter(self._waiting))
        own = self._waiting.pop(owner)
        item = own.popleft()
        if own:
            self._waiting[owner] = own
        return item

"""Which ended documents still hold their slot: those unanswered, but for one report batch.

A batch is what ended in the last 25 ms, at most 512 of a shard: to wait for every answer would cap a lane near 1,000 documents a
second, to wait for none would repeat more than a batch after a crash. Times are seconds of the ``now`` that is passed in.
"""

from __future__ import annotations

from collections import deque

BATCH_SECONDS = 0.025
MOST = 512


class Unanswered:
    """The results of one shard from their document's end to the tracker's answer."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()
        self._sent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def ended(self, now: float) -> None:
        """A document ended."""
        self._ends.append(now)

    def sent(self, sequence: int, count: int) -> None:
        """So many results, the oldest unsent ones, went out in that block."""
        self._sent[sequence] = count

    def answered(self, sequence: int) -> None:
        """That block was answered; said twice, it counts once."""
        for _ in range(self._sent.pop(sequence, 0)):
            self._ends.popleft()

    @property
    def room(self) -> int:
        """Documents that may end before the batch is full."""
        return MOST - len(self._ends)

    def leaves_slot(self, now: float, free: int) -> bool:
        """Whether one of ``free`` slots, in which nothing runs, is not held by a result either."""
        if len(self._ends) >= MOST:
            return False
        for end in self._ends:
            if free <= 0 or now - end <= BATCH_SECONDS:
                break
            free -= 1
        return free > 0

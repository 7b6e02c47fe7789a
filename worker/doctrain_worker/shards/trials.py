"""The suspects of a shard, tried one by one while nothing else of the worker runs (docs/protocol.md, "Trial").

A shard whose sessions were lost has them: one of these documents may kill whoever runs it. Each try is announced and the
answer waited for, which is also the proof that the shard is still ours; the next one starts when the last is recorded.

What waits meanwhile runs between two trials, for as long as the one before took: else a shard of many suspects, or one on each worker,
would keep all others from starting for as long as its documents take together. A document that is to be tried again later is not waited
for here, nor may anything start before another is on trial: Postgres would go on naming it as the one on trial, and it would be
charged for what others do. Its shard goes back for that time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from doctrain_worker.core.retry import TryAgain, after_trial
from doctrain_worker.tracking.exchange import Key
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Trials:
    """``process`` runs a document and answers whether it is to run again; ``settle`` waits until its result is recorded.

    ``changed`` waits so many seconds at most, until it may be ``given_up``.
    """

    key: Key
    suspects: Sequence[int]
    cool_downs: int
    tracker: Tracker
    gate: Gate
    process: Callable[[int], Awaitable[TryAgain | None]]
    settle: Callable[[], Awaitable[None]]
    given_up: Callable[[], bool]
    changed: Callable[[float], Awaitable[None]]
    clock: Callable[[], float]

    async def run(self) -> float:
        """Tries them all, unless it is given up; answers the seconds for which the shard is then to go back, 0 for none.

        Raises TrialRefusedError and SessionLostError.
        """
        longest, left = 0.0, deque(self.suspects)
        while left and not self.given_up():
            async with self.gate.alone(self.given_up):
                began, others = self.clock(), False
                while left and not others:
                    seconds = await self._try(left.popleft())
                    longest, others = max(longest, seconds), seconds == 0.0 and self.gate.is_waited_at
            if left and others:
                await self._let_others_run(self.clock() - began)
        return longest

    async def _let_others_run(self, seconds: float) -> None:
        until = self.clock() + seconds
        while not self.given_up() and (rest := until - self.clock()) > 0:
            await self.changed(rest)

    async def _try(self, ordinal: int) -> float:
        while not self.given_up():
            await self.tracker.trial(self.key, ordinal)
            again = await self.process(ordinal)
            await self.settle()
            if again is None:
                return 0.0
            if (seconds := after_trial(self.cool_downs, again.seconds)) > 0:
                return seconds
        return 0.0

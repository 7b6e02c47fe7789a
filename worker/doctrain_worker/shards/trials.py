"""The suspects of a shard, tried one by one while nothing else of the worker runs (docs/protocol.md, "Trial").

A shard whose sessions were lost has them: one of these documents may kill whoever runs it. Each try is announced and the
answer waited for, which is also the proof that the shard is still ours; the next one starts when the last is recorded.

A document that is to be tried again later is not waited for here, where the whole worker stands still, nor between trials:
Postgres would go on naming it as the one on trial, and it would be charged for what others do. Its shard goes back for that time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from doctrain_worker.core.retry import TryAgain, after_trial
from doctrain_worker.tracking.exchange import Key
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Trials:
    """``process`` runs a document and answers whether it is to run again; ``settle`` waits until its result is recorded."""

    key: Key
    suspects: Sequence[int]
    cool_downs: int
    tracker: Tracker
    gate: Gate
    process: Callable[[int], Awaitable[TryAgain | None]]
    settle: Callable[[], Awaitable[None]]
    given_up: Callable[[], bool]

    async def run(self) -> float:
        """Tries them all, unless it is given up; answers the seconds for which the shard is then to go back, 0 for none.

        Raises TrialRefusedError and SessionLostError.
        """
        longest = 0.0
        async with self.gate.alone(self.given_up):
            for ordinal in self.suspects:
                longest = max(longest, await self._try(ordinal))
        return longest

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

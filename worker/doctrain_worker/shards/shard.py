"""Runs one shard in a lane: its suspects one by one, then the others in its slots, until all is recorded or goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import filterfalse

from doctrain_worker.core.retry import TryAgain
from doctrain_worker.core.width import Width
from doctrain_worker.core.window import Window
from doctrain_worker.pipeline.processor import ShardContext, StageTiming, Tell
from doctrain_worker.shards.attempts import COOL_DOWN_REASON, Attempts
from doctrain_worker.shards.orders import End, Orders
from doctrain_worker.shards.reports import Reports
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.shards.slots import Slots
from doctrain_worker.shards.spans import DocumentSpans
from doctrain_worker.shards.trials import Trials
from doctrain_worker.tracking.exchange import Begun, BlockAnswer, BlockOutcome, Key, Resize
from doctrain_worker.tracking.tracker import TrialRefusedError

CUT_REASON = "its worker is taken out of work"
HOLD_REASON = "the shard was held as long as one may be"
INVALID_REASON = "its worker reported documents that are not of it"
INVALID_PAUSE_SECONDS = 60.0
UNFINISHED_REASON = "documents of it are open that its worker does not know of"
INSIST_SECONDS = 1.0


class ShardRun:
    """One hold of one shard, from its begin to its last answer. ``run`` once; ``all_started`` is as in ``Slots`` and ``Orders``."""

    def __init__(self, setup: ShardSetup, begun: Begun, spans: DocumentSpans, session: int, all_started: Callable[[], None]) -> None:
        self._setup = setup
        self.key: Key = begun.key
        self._began = setup.clock()
        self._orders = Orders(setup.gate, all_started)
        self._reports = Reports(self.key, setup.tracker, self._began, self._on_answer)
        self._width = Width(begun.width, begun.resize)
        self._suspects = begun.suspects
        self._cool_downs = begun.cool_downs
        self._attempts = Attempts(
            setup,
            context=_context(begun, session, spans.traceparent, self._tell),
            cool_downs=begun.cool_downs,
            documents=begun.documents,
            spans=spans,
            reports=self._reports,
            orders=self._orders,
        )
        self._slots = Slots(
            setup,
            window=Window(filterfalse(set(self._suspects).__contains__, begun.documents)),
            attempts=self._attempts,
            reports=self._reports,
            orders=self._orders,
            width=self._width,
            all_started=all_started,
        )

    @property
    def width(self) -> int:
        """Documents at once."""
        return self._width.now

    def resize(self, resize: Resize) -> None:
        """Runs so many at once from now on; those that run end where they are."""
        if self._width.change(resize.width, resize.resize):
            self._orders.wake()

    def resize_in_force(self) -> int:
        """The last resize within which all is that runs or holds a slot for want of an answer; 0: there was none."""
        if self._reports.within(self._setup.clock(), self._width.now):
            self._width.settled()
        return self._width.in_force

    @property
    def ended(self) -> asyncio.Event:
        """Set when nothing of it runs in this process."""
        return self._orders.ended

    async def run(self) -> End:
        """Runs to the end; raises SessionLostError. Cancelling it kills what runs."""
        try:
            end = await self._orders.run(self._to_the_end())
        finally:
            self._setup.tracker.forget(self.key)
        if end in (End.STOPPED, End.STALE):
            # Also what is not ours any more: should it be, as a cancelled shard is, its slots are free now, before the ack.
            await self._setup.tracker.stopped(self.key)
        elif end is End.CUT:
            await self._setup.tracker.hand_back(self.key, 0.0, CUT_REASON)
        return end

    def interrupt(self, end: End) -> None:
        """Kills what runs and ends the hold: STOPPED or CUT as ordered, STALE when the shard is not ours, LOST with the session."""
        self._orders.interrupt(end)

    def hand_back(self, reason: str) -> None:
        """Starts nothing more; the rest goes back once what runs has ended and is recorded."""
        self._orders.hand_back(reason)

    def beat(self) -> None:
        """Once a heartbeat: reports what runs when that changed, and hands back what was held too long."""
        now = self._setup.clock()
        self._reports.tell_running(now)
        if now - self._began > self._setup.hold_seconds:
            self.hand_back(HOLD_REASON)

    def _tell(self, ordinal: int, stages: Sequence[StageTiming]) -> None:
        if (one := self._reports.running.get(ordinal)) is not None:
            one.stages = stages

    def _on_answer(self, answer: BlockAnswer) -> None:
        if answer.outcome is BlockOutcome.STALE:
            self._orders.interrupt(End.STALE)
        elif answer.outcome is BlockOutcome.INVALID:
            self._orders.hand_back(INVALID_REASON, INVALID_PAUSE_SECONDS)
        self._orders.wake()

    async def _to_the_end(self) -> End:
        if self._suspects:
            try:
                await self._try_suspects()
            except TrialRefusedError:
                return End.STALE
        await self._slots.run()
        await self._settle()
        if self._reports.shard_done:
            return End.DONE
        delay, reason = self._orders.yielded or (0.0, UNFINISHED_REASON)
        await self._setup.tracker.hand_back(self.key, delay, reason)
        return End.HANDED_BACK

    async def _try_suspects(self) -> None:
        trials = Trials(
            self.key,
            self._suspects,
            self._cool_downs,
            self._setup.tracker,
            self._setup.gate,
            self._try_alone,
            self._settle,
            lambda: self._orders.starts_no_more,
            self._orders.changed,
            self._setup.clock,
        )
        if (seconds := await trials.run()) > 0:
            self._orders.hand_back(COOL_DOWN_REASON, seconds)

    async def _try_alone(self, ordinal: int) -> TryAgain | None:
        while not self._setup.gate.admits_trial(self._setup.clock()):
            await self._setup.gate.changed()
        if self._orders.starts_no_more:  # since the trial was answered
            return None
        return await self._attempts.one(ordinal, self._setup.clock())

    async def _settle(self) -> None:
        """Waits until everything that ended is answered."""
        while not self._reports.settled:
            self._reports.insist()
            await self._orders.changed(INSIST_SECONDS)


def _context(begun: Begun, session: int, traceparent: str, tell: Tell) -> ShardContext:
    return ShardContext(
        begun.tenant,
        begun.tenant_id,
        begun.training,
        begun.training_task_id,
        begun.index_order,
        *begun.key,
        session,
        traceparent,
        begun.retrain,
        tell,
    )

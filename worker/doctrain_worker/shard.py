"""Runs one shard in a lane: permanent slots that pull documents from its window, and its reports.

The fast path costs no task, message or span a document. A document holds its slot until its result is answered, but for
one report batch: what ended in the last 25 ms, at most 512 (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.results import FailedResult, Results
from doctrain_worker.core.retry import RetryPolicy, Weather, storm_pause
from doctrain_worker.core.unanswered import Unanswered
from doctrain_worker.core.window import Window
from doctrain_worker.documents import Documents
from doctrain_worker.executions import Write
from doctrain_worker.gate import Gate
from doctrain_worker.pipeline.processor import Done, ErrorClass, Failure, FencedError, Outcome, Processor, ShardContext
from doctrain_worker.spans import DocumentSpans
from doctrain_worker.tracker import Key, Tracker

log = logging.getLogger(__name__)
TURN = 128
TURN_SECONDS = 0.005
"""A turn of the event loop ends after so many documents or so long: heartbeats wait for it."""
STORM_REASON = "most documents failed for a reason outside them, as when a service that they need is down"
HOLD_REASON = "the shard was held as long as one may be"


class End(Enum):
    """How a hold of a shard ended."""

    DONE = 1
    HANDED_BACK = 2
    STOPPED = 3
    STALE = 4
    LOST = 5


@dataclass(frozen=True, slots=True)
class Lane:
    """What every shard of a worker runs with.

    ``instant``: the processor's ``process`` is a plain function. It keeps the worker's ``thread`` to itself, so one shard
    at a time runs until it has to wait: heartbeats wait for one turn, and reports hold one shard's results.
    """

    tracker: Tracker
    gate: Gate
    processor: Processor
    retries: RetryPolicy
    hold_seconds: float
    instant: bool = False
    log_execution: Write | None = None
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    thread: asyncio.Lock = field(default_factory=asyncio.Lock)


class ShardRun:
    """One hold of one shard, from its begin to its last answer. ``run`` once."""

    def __init__(self, lane: Lane, answer: pb.BeginAnswer, spans: DocumentSpans, session: int, all_started: Callable[[], None]) -> None:
        # ``all_started`` is called, maybe more than once, when no document is left to start.
        self._lane, self._all_started = lane, all_started
        self.key: Key = (answer.shard.shard, answer.shard.number)
        self._context = ShardContext(
            answer.tenant,
            answer.tenant_id,
            answer.training,
            answer.training_task_id,
            answer.shard.shard,
            answer.shard.number,
            session,
            spans.traceparent,
        )
        self._spans = spans
        self._documents = Documents(answer.documents)
        self._suspects = list(answer.suspects)
        suspected = set(self._suspects)
        self._window = Window(o for o in self._documents.ordinals() if o not in suspected)
        self._weather = Weather()
        self._width = answer.width
        self._slots: asyncio.TaskGroup | None = None
        self._open_slots = 0
        self._results = Results()
        self._running: set[int] = set()
        self._told_running: list[int] = []
        self._began = lane.clock()
        self._base_ms = int(time.time() * 1000)
        self._unanswered = Unanswered()
        self._moved = asyncio.Event()
        self.ended = asyncio.Event()
        self._stop_starting = False
        self._yield: tuple[float, str] | None = None
        self._interrupt: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    @property
    def width(self) -> int:
        """Documents at once."""
        return self._width

    @property
    def _slot_count(self) -> int:
        """Slots that run documents: a processor that answers at once has no use for more than one."""
        return 1 if self._lane.instant else self._width

    async def run(self) -> End:
        """Runs to the end; raises SessionLostError. Cancelling it kills what runs."""
        work = asyncio.create_task(self._work(), name=f"shard {self.key}")
        try:
            await asyncio.wait({work, self._interrupt}, return_when=asyncio.FIRST_COMPLETED)
            if not self._interrupt.done():
                return work.result()
        finally:
            work.cancel()
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # seen: an interrupt takes its place
            self._lane.tracker.forget(self.key)
            self.ended.set()
        end = self._interrupt.result()
        if end is End.STOPPED:
            await self._lane.tracker.stopped(self.key)
        return end

    # Orders from outside

    def interrupt(self, end: End) -> None:
        """Kills what runs and ends the hold: STOPPED as ordered, STALE when the shard is not ours, LOST with the session."""
        self._stop_starting = True  # before the task that kills what runs has its turn
        if not self._interrupt.done():
            self._interrupt.set_result(end)

    def hand_back(self, reason: str, delay_seconds: float = 0.0) -> None:
        """Starts nothing more; the rest goes back once what runs has ended and is recorded."""
        if self._yield is None:
            self._yield = delay_seconds, reason
            self._stop_starting = True
            self._moved.set()

    def set_width(self, width: int) -> None:
        """From now on so many documents at once."""
        self._width = max(1, width)
        while self._slots is not None and self._open_slots < self._slot_count and not self._stop_starting:
            self._open_slot(self._slots)

    def beat(self) -> None:
        """Once a heartbeat: reports what runs when that changed, and hands back what was held too long."""
        if sorted(self._running) != self._told_running:
            self._lane.tracker.report(self.key, self, results=0)
        if self._lane.clock() - self._began > self._lane.hold_seconds:
            self.hand_back(HOLD_REASON)

    # Reports

    def block(self, sequence: int) -> pb.Block | None:
        """What gathered since the block before."""
        running = sorted(self._running)
        if not self._results and running == self._told_running:
            return None
        columns = self._results.take()
        self._told_running = running
        if columns.count:
            self._unanswered.sent(sequence, columns.count)
        return pb.Block(
            sequence=sequence,
            shard=pb.ShardRef(shard=self.key[0], number=self.key[1]),
            first=columns.first,
            base_ms=self._base_ms,
            started=columns.started,
            took=columns.took,
            failed=[
                pb.FailedDocument(ordinal=f.ordinal, error_class=f.error_class, code=f.code, message=f.message) for f in columns.failed
            ],
            running=running,
            retried=[ordinal for ordinal, _ in columns.tries],
            tries=[tries for _, tries in columns.tries],
        )

    def answered(self, answer: pb.BlockAnswer) -> None:
        """A block is recorded, or the shard is not ours."""
        if answer.outcome == pb.BLOCK_OUTCOME_STALE:
            self.interrupt(End.STALE)
        self._unanswered.answered(answer.sequence)
        self._moved.set()

    # The work

    async def _work(self) -> End:
        if self._suspects:
            await self._try_suspects()
        async with asyncio.TaskGroup() as slots:
            self._slots = slots
            while self._open_slots < self._slot_count:
                self._open_slot(slots)
        self._slots = None
        await self._all_answered()
        if self._yield is None:
            return End.DONE
        delay, reason = self._yield
        await self._lane.tracker.hand_back(self.key, delay, reason)
        return End.HANDED_BACK

    def _open_slot(self, slots: asyncio.TaskGroup) -> None:
        slots.create_task(self._slot(self._open_slots))
        self._open_slots += 1

    async def _slot(self, index: int) -> None:
        lane, window = self._lane, self._window
        try:
            while index < self._slot_count and not self._stop_starting:
                now = lane.clock()
                if not lane.gate.admits(now):
                    await lane.gate.wait_open()
                elif not self._leaves_slot(now):
                    await self._wait_moved(None)
                elif not window.ready(now):
                    if window.empty and not self._running:
                        break
                    due = window.next_due
                    await self._wait_moved(None if due is None else max(0.0, due - now))
                elif lane.instant:
                    async with lane.thread:
                        await self._turns()
                elif (ordinal := window.take(now)) is not None:
                    if window.empty:
                        self._all_started()
                    await self._process(ordinal, now)
        finally:
            self._open_slots -= 1
            self._moved.set()

    def _leaves_slot(self, now: float) -> bool:
        return self._unanswered.leaves_slot(now, self._width - len(self._running))

    async def _wait_moved(self, seconds: float | None) -> None:
        self._moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _turns(self) -> None:
        """Runs documents with a processor that answers at once, turn by turn of the event loop, until it has to wait."""
        while not self._stop_starting:
            now = self._lane.clock()
            if not (self._lane.gate.admits(now) and self._leaves_slot(now) and self._window.ready(now)):
                return
            self._turn(now)
            await asyncio.sleep(0)

    def _turn(self, started: float) -> None:
        lane, window, context = self._lane, self._window, self._context
        process, task, clock, log_execution = lane.processor.process, self._documents.task, lane.clock, lane.log_execution
        left, until = min(TURN, self._unanswered.room), started + TURN_SECONDS
        while left and started <= until and not self._stop_starting and (ordinal := window.take(started)) is not None:
            document = task(ordinal)
            if log_execution is not None:
                log_execution("start", document, context)
            try:
                outcome = process(document, context)
            except Exception as error:
                outcome = self._fault(ordinal, error)
            if outcome.__class__ is not Done and not isinstance(outcome, Done | Failure):
                if inspect.iscoroutine(outcome):
                    outcome.close()
                outcome = self._fault(ordinal, TypeError("process must be `async def`, or answer with Done or Failure"))
            if log_execution is not None:
                log_execution("end", document, context)
            now = clock()
            self._ended(ordinal, started, now, outcome)
            started = now
            left -= 1
        if window.empty:
            self._all_started()
        self._report()

    async def _process(self, ordinal: int, started: float) -> None:
        lane = self._lane
        document = self._documents.task(ordinal)
        self._running.add(ordinal)
        lane.gate.running += 1
        if lane.log_execution is not None:
            lane.log_execution("start", document, self._context)
        try:
            answer = lane.processor.process(document, self._context)
            outcome = answer if isinstance(answer, Done | Failure) else await answer
        except FencedError:  # whose the shard is now, the tracker says when it is asked for again; the message is kept until then
            self.interrupt(End.LOST)
            return
        except Exception as error:
            outcome = self._fault(ordinal, error)
        finally:
            self._running.discard(ordinal)
            lane.gate.left()
            if lane.log_execution is not None:
                lane.log_execution("end", document, self._context)
        self._ended(ordinal, started, lane.clock(), outcome)
        self._report()

    def _fault(self, ordinal: int, error: Exception) -> Failure:
        log.error("The processor failed at document %d of training %d.", ordinal, self._context.training, exc_info=error)
        return Failure(ErrorClass.TRANSIENT, "PROCESSOR_FAULT", f"The processor failed ({type(error).__name__}).")

    def _ended(self, ordinal: int, started: float, now: float, outcome: Outcome) -> None:
        """Takes a result in, or leaves the document for another try."""
        failure = None if outcome.__class__ is Done else outcome
        tries = self._window.tries(ordinal)
        if self._spans.recording:
            self._spans.document(self._documents.task(ordinal), tries, now - started, outcome)
        if isinstance(failure, Failure):
            transient = failure.error_class == ErrorClass.TRANSIENT
            self._weather.note(transient=transient)
            if transient and self._try_later(ordinal, tries, now, failure.retry_after_seconds):
                return
            self._results.fail(FailedResult(ordinal, failure.error_class, failure.code, failure.sentence))
        elif self._weather.noted:
            self._weather.note(transient=False)
        at = int((started - self._began) * 1000)
        self._results.add(ordinal, at, int((now - self._began) * 1000) - at)
        self._unanswered.ended(now)
        if tries > 1:
            self._results.tried(ordinal, tries)

    def _report(self) -> None:
        """Tells the tracker that there are results, and the other slots when these were the last."""
        gathered = len(self._results)
        last = self._window.empty and not self._running
        if gathered:
            self._lane.tracker.report(self.key, self, results=gathered, urgent=last)
        if last:
            self._moved.set()

    def _try_later(self, ordinal: int, tries: int, now: float, retry_after: float) -> bool:
        """Whether a transient failure is left open: for another try here, or with the whole shard for later."""
        if self._weather.stormy and (calm := storm_pause(self.key[1])) is not None:
            self.hand_back(STORM_REASON, calm)
            return True
        pause = self._lane.retries.pause(tries, retry_after, self._lane.draw())
        if pause is None:
            return False
        self._window.retry(ordinal, now + pause)
        self._moved.set()
        return True

    async def _try_suspects(self) -> None:
        async with self._lane.gate.alone():
            for ordinal in self._suspects:
                if self._stop_starting:
                    return
                await self._try_alone(ordinal)
                await self._all_answered()

    async def _try_alone(self, ordinal: int) -> None:
        """Each try is announced: the answer is also the proof that the shard is still ours."""
        while not self._stop_starting:
            await self._lane.tracker.trial(self.key, ordinal)
            await self._process(ordinal, self._lane.clock())
            due = self._window.withdraw(ordinal)
            if due is None:
                return
            await asyncio.sleep(max(0.0, due - self._lane.clock()))

    async def _all_answered(self) -> None:
        while self._results or self._unanswered:
            self._lane.tracker.report(self.key, self, results=0, urgent=True)
            await self._wait_moved(1.0)

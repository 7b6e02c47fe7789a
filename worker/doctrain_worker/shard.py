"""Runs one shard in a lane: permanent slots that pull documents from its window.

The fast path costs no task, message or span a document. A document holds its slot until its result is answered, but for
one report batch: what ended in the last 25 ms, at most 512 (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from enum import Enum

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.results import FailedResult
from doctrain_worker.core.retry import Failures, HandBack, TryAgain
from doctrain_worker.core.window import Window
from doctrain_worker.documents import Documents
from doctrain_worker.interruptible import Interruptible
from doctrain_worker.pipeline.processor import Done, ErrorClass, Failure, FencedError, NotHeldError, Outcome, ShardContext, answers_at_once
from doctrain_worker.reports import Reports
from doctrain_worker.sandbox.link import GuardianLostError
from doctrain_worker.shard_setup import ShardSetup
from doctrain_worker.spans import DocumentSpans
from doctrain_worker.tracker import Key, TrialRefusedError
from doctrain_worker.trials import Trials

log = logging.getLogger(__name__)
TURN = 128
TURN_SECONDS = 0.005
"""A turn of the event loop ends after so many documents or so long: heartbeats wait for it."""
COOL_DOWN_REASON = "its documents failed for a reason outside them, as when a service that they need is down"
HOLD_REASON = "the shard was held as long as one may be"
INVALID_REASON = "its worker reported documents that are not of it"
INVALID_PAUSE_SECONDS = 60.0
UNFINISHED_REASON = "documents of it are open that its worker does not know of"


class End(Enum):
    """How a hold of a shard ended. LOST: with the session, so the next one asks for the shard again."""

    DONE = 1
    HANDED_BACK = 2
    STOPPED = 3
    STALE = 4
    LOST = 5


class ShardRun:
    """One hold of one shard, from its begin to its last answer. ``run`` once."""

    def __init__(
        self, setup: ShardSetup, answer: pb.BeginAnswer, spans: DocumentSpans, session: int, all_started: Callable[[], None]
    ) -> None:
        # ``all_started`` is called, maybe more than once, when no document is left to start.
        self._setup, self._all_started = setup, all_started
        self._instant = answers_at_once(setup.processor)
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
        self._failures = Failures(setup.retries, answer.shard.number)
        self._began = setup.clock()
        self._reports = Reports(self.key, setup.tracker, self._began, self._on_answer)
        self._width = answer.width
        self._slots: asyncio.TaskGroup | None = None
        self._open_slots = 0
        self._moved = asyncio.Event()
        self._yield: tuple[float, str] | None = None
        self._work = Interruptible[End]()

    @property
    def width(self) -> int:
        """Documents at once."""
        return self._width

    @property
    def _slot_count(self) -> int:
        """Slots that run documents: a processor that answers at once has no use for more than one."""
        return 1 if self._instant else self._width

    @property
    def _starts_no_more(self) -> bool:
        return self._yield is not None or self._work.interrupted is not None

    @property
    def ended(self) -> asyncio.Event:
        """Set when nothing of it runs in this process."""
        return self._work.ended

    async def run(self) -> End:
        """Runs to the end; raises SessionLostError. Cancelling it kills what runs."""
        try:
            end = await self._work.run(self._to_the_end())
        finally:
            self._setup.tracker.forget(self.key)
        if end in (End.STOPPED, End.STALE):
            # Also what is not ours any more: should it be, as a cancelled shard is, its slots are free now, before the ack.
            await self._setup.tracker.stopped(self.key)
        return end

    # Orders from outside

    def interrupt(self, end: End) -> None:
        """Kills what runs and ends the hold: STOPPED as ordered, STALE when the shard is not ours, LOST with the session."""
        self._work.interrupt(end)

    def hand_back(self, reason: str, delay_seconds: float = 0.0) -> None:
        """Starts nothing more; the rest goes back once what runs has ended and is recorded."""
        if self._yield is None:
            self._yield = delay_seconds, reason
            self._moved.set()
            self._setup.gate.wake()

    def set_width(self, width: int) -> None:
        """From now on so many documents at once."""
        self._width = max(1, width)
        while self._slots is not None and self._open_slots < self._slot_count and not self._starts_no_more:
            self._open_slot(self._slots)

    def beat(self) -> None:
        """Once a heartbeat: reports what runs when that changed, and hands back what was held too long."""
        self._reports.tell_running()
        if self._setup.clock() - self._began > self._setup.hold_seconds:
            self.hand_back(HOLD_REASON)

    def _on_answer(self, answer: pb.BlockAnswer) -> None:
        if answer.outcome == pb.BLOCK_OUTCOME_STALE:
            self.interrupt(End.STALE)
        elif answer.outcome == pb.BLOCK_OUTCOME_INVALID:
            self.hand_back(INVALID_REASON, INVALID_PAUSE_SECONDS)
        self._moved.set()

    # The work

    async def _to_the_end(self) -> End:
        if self._suspects:
            try:
                await self._try_suspects()
            except TrialRefusedError:
                return End.STALE
        async with asyncio.TaskGroup() as slots:
            self._slots = slots
            while self._open_slots < self._slot_count:
                self._open_slot(slots)
        self._slots = None
        await self._settle()
        if self._reports.shard_done:
            return End.DONE
        delay, reason = self._yield or (0.0, UNFINISHED_REASON)
        await self._setup.tracker.hand_back(self.key, delay, reason)
        return End.HANDED_BACK

    async def _try_suspects(self) -> None:
        trials = Trials(
            self.key,
            self._suspects,
            self._setup.tracker,
            self._setup.gate,
            self._try_alone,
            self._settle,
            lambda: self._starts_no_more,
        )
        if (seconds := await trials.run()) > 0:
            self.hand_back(COOL_DOWN_REASON, seconds)

    async def _try_alone(self, ordinal: int) -> TryAgain | None:
        while not self._setup.gate.admits_trial(self._setup.clock()):
            await self._setup.gate.changed()
        if self._starts_no_more:  # since the trial was answered
            return None
        return await self._process(ordinal, self._setup.clock())

    async def _settle(self) -> None:
        """Waits until everything that ended is answered."""
        while not self._reports.settled:
            self._reports.insist()
            await self._wait_moved(1.0)

    def _open_slot(self, slots: asyncio.TaskGroup) -> None:
        slots.create_task(self._slot())
        self._open_slots += 1

    async def _slot(self) -> None:
        setup, window = self._setup, self._window
        try:
            while self._open_slots <= self._slot_count and not self._starts_no_more:
                now = setup.clock()
                if not setup.gate.admits(now):
                    await setup.gate.changed()
                elif not self._reports.leaves_slot(now, self._width):
                    await self._wait_moved(None)
                elif not window.ready(now):
                    if window.empty and not self._reports.running:
                        break
                    due = window.next_due
                    await self._wait_moved(None if due is None else max(0.0, due - now))
                elif self._instant:
                    async with setup.thread:
                        await self._turns()
                elif (ordinal := window.take(now)) is not None:
                    if window.empty:
                        self._all_started()
                    again = await self._process(ordinal, now)
                    if again is not None:
                        self._later(ordinal, again)
        finally:
            self._open_slots -= 1
            self._moved.set()

    async def _wait_moved(self, seconds: float | None) -> None:
        self._moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _turns(self) -> None:
        """Runs documents with a processor that answers at once, turn by turn of the event loop, until it has to wait."""
        while not self._starts_no_more:
            now = self._setup.clock()
            if not (self._setup.gate.admits(now) and self._reports.leaves_slot(now, self._width) and self._window.ready(now)):
                return
            self._turn(now)
            await asyncio.sleep(0)

    def _turn(self, started: float) -> None:
        setup, window, context = self._setup, self._window, self._context
        process, task, clock = setup.processor.process, self._documents.task, setup.clock
        left, until = min(TURN, self._reports.room), started + TURN_SECONDS
        while left and started <= until and self._yield is None and (ordinal := window.take(started)) is not None:
            document = task(ordinal)
            try:
                outcome = _checked(process(document, context))
            except (FencedError, GuardianLostError) as error:
                self._fenced(error)
                return
            except Exception as error:
                outcome = self._fault(ordinal, error)
            now = clock()
            again = self._ended(ordinal, started, now, outcome)
            if again is not None:
                self._later(ordinal, again)
            started = now
            left -= 1
        if window.empty:
            self._all_started()
        self._report()

    async def _process(self, ordinal: int, started: float) -> TryAgain | None:
        setup, running = self._setup, self._reports.running
        document = self._documents.task(ordinal)
        running.add(ordinal)
        setup.gate.entered()
        try:
            answer = setup.processor.process(document, self._context)
            outcome = _checked(answer if isinstance(answer, Done | Failure) else await answer)
        except (FencedError, GuardianLostError) as error:  # it says nothing of the document
            self._fenced(error)
            return None
        except Exception as error:
            outcome = self._fault(ordinal, error)
        finally:
            running.discard(ordinal)
            setup.gate.left()
        again = self._ended(ordinal, started, setup.clock(), outcome)
        self._report()
        return again

    def _fenced(self, error: FencedError | GuardianLostError) -> None:
        self.interrupt(End.STALE if isinstance(error, NotHeldError) else End.LOST)

    def _fault(self, ordinal: int, error: Exception) -> Failure:
        log.error("The processor failed at document %d of training %d.", ordinal, self._context.training, exc_info=error)
        return Failure(ErrorClass.TRANSIENT, "PROCESSOR_FAULT", f"The processor failed ({type(error).__name__}).")

    def _ended(self, ordinal: int, started: float, now: float, outcome: Outcome) -> TryAgain | None:
        """Takes a result in; answers when the document is to be tried again, None also when its shard is to go back first."""
        tries = self._failures.tries(ordinal)
        if self._spans.recording:
            self._spans.document(self._documents.task(ordinal), tries, now - started, outcome)
        failed = None
        if isinstance(outcome, Failure):
            becomes = (
                None
                if outcome.final
                else self._failures.failed(
                    ordinal,
                    outcome.error_class,
                    transient=outcome.error_class == ErrorClass.TRANSIENT,
                    retry_after=outcome.retry_after_seconds,
                    random=self._setup.draw(),
                )
            )
            if isinstance(becomes, HandBack):
                self.hand_back(f"{COOL_DOWN_REASON}. The last of them: {outcome.sentence}", becomes.seconds)
                return None
            if becomes is not None:
                return becomes
            failed = FailedResult(ordinal, outcome.error_class, outcome.code, outcome.sentence)
        elif self._failures.attentive:
            self._failures.succeeded()
        self._reports.ended(ordinal, started, now, tries, failed)
        return None

    def _later(self, ordinal: int, again: TryAgain) -> None:
        self._window.retry(ordinal, self._setup.clock() + again.seconds)
        self._moved.set()

    def _report(self) -> None:
        """Tells the tracker that there are results, and the other slots when these were the last."""
        last = self._window.empty and not self._reports.running
        self._reports.send(urgent=last)
        if last:
            self._moved.set()


def _checked(outcome: object) -> Outcome:
    """What a processor answered; raises TypeError when that says nothing of the document."""
    if isinstance(outcome, Done | Failure):
        return outcome
    if inspect.iscoroutine(outcome):
        outcome.close()
    raise TypeError("`process` must be `async def`, or answer with Done or Failure")

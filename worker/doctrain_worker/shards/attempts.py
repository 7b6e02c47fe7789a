"""The documents of one hold of a shard, tried one by one; what comes of a try is judged, counted and traced in one way.

The fast path, a document that succeeds where nothing failed yet, costs no task, message or span.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Mapping
from typing import cast

from doctrain_worker.core.results import FailedResult
from doctrain_worker.core.retry import Failures, HandBack, TryAgain
from doctrain_worker.core.window import Window
from doctrain_worker.pipeline.processor import (
    DocumentTask,
    Done,
    ErrorClass,
    Failure,
    FencedError,
    NotHeldError,
    Outcome,
    ShardContext,
    answers_at_once,
)
from doctrain_worker.sandbox.main.link import GuardianLostError
from doctrain_worker.shards.orders import End, Orders
from doctrain_worker.shards.reports import Reports, Try, passed
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.shards.spans import DocumentSpans

TURN = 128
TURN_SECONDS = 0.005
"""A turn of the event loop ends after so many documents or so long: heartbeats wait for it."""
COOL_DOWN_REASON = "its documents failed for a reason outside them, as when a service that they need is down"


class Attempts:
    """The attempts of one hold."""

    def __init__(
        self,
        setup: ShardSetup,
        *,
        context: ShardContext,
        cool_downs: int,
        documents: Mapping[int, DocumentTask],
        spans: DocumentSpans,
        reports: Reports,
        orders: Orders,
    ) -> None:
        self._setup, self._context, self._documents = setup, context, documents
        self._spans, self._running, self._results, self._orders = spans, reports.running, reports.results, orders
        self._failures = Failures(setup.retries, cool_downs)
        self._tally = setup.tally
        self.at_once = answers_at_once(setup.processor)

    async def one(self, ordinal: int, started: float) -> TryAgain | None:
        """Tries a document, which counts as running meanwhile; answers when it is to be tried again."""
        setup, running = self._setup, self._running
        running[ordinal] = Try(started)
        setup.gate.entered()
        try:
            answer = setup.processor.process(self._documents[ordinal], self._context)
            came: object = answer if self.at_once else await cast("Awaitable[Outcome]", answer)
        except Exception as error:
            came = error
        finally:
            running.pop(ordinal, None)
            setup.gate.left()
        return self._ended(ordinal, started, setup.clock(), came)

    def turn(self, window: Window, started: float) -> None:
        """Tries documents whose processor answers at once, one after the other, for one turn of the event loop."""
        process, clock = self._setup.processor.process, self._setup.clock
        documents, context, orders = self._documents, self._context, self._orders
        until = started + TURN_SECONDS
        for _ in range(min(TURN, self._results.room)):
            if started > until or orders.starts_no_more or (ordinal := window.take(started)) is None:
                return
            try:
                came: object = process(documents[ordinal], context)
            except Exception as error:
                came = error
            ended = clock()
            again = self._ended(ordinal, started, ended, came)
            if again is not None:
                window.retry(ordinal, ended + again.seconds)
            started = ended

    def _ended(self, ordinal: int, started: float, ended: float, came: object) -> TryAgain | None:
        """Takes in what came of a try; answers when there is to be another, None also when the hold is over or goes back first."""
        if isinstance(came, Done) and not (came.stages or came.unchanged or self._failures.attentive or self._spans.recording):
            self._results.add(ordinal, started, ended)
            self._tally.done += 1
            return None
        outcome = self._outcome(ordinal, came)
        if outcome is None:
            return None
        tries = self._failures.tries(ordinal)
        if self._spans.recording:
            self._spans.document(self._documents[ordinal], tries, ended - started, outcome)
        stages = passed(outcome.stages, time.time() - (ended - started)) if outcome.stages else ()
        if isinstance(outcome, Done):
            self._failures.succeeded()
            self._tally.done += 1
            self._results.add(ordinal, started, ended, tries, passed=stages, unchanged=outcome.unchanged)
            return None
        self._tally.missed += 1
        self._tally.broken += outcome.error_class in (ErrorClass.RESOURCE, ErrorClass.CRASH)
        becomes = self._becomes(ordinal, outcome)
        if isinstance(becomes, TryAgain):
            return becomes
        if isinstance(becomes, HandBack):
            self._orders.hand_back(f"{COOL_DOWN_REASON}. The last of them: {outcome.sentence}", becomes.seconds)
            return None
        self._tally.failed += 1
        failed = FailedResult(ordinal, outcome.error_class, outcome.code, outcome.sentence)
        self._results.add(ordinal, started, ended, tries, failed, passed=stages)
        return None

    def _outcome(self, ordinal: int, came: object) -> Outcome | None:
        """What a processor's answer or exception says of the document; None when it says nothing: the hold is over."""
        if isinstance(came, Done | Failure):
            return came
        if isinstance(came, FencedError | GuardianLostError):
            self._orders.interrupt(End.STALE if isinstance(came, NotHeldError) else End.LOST)
            return None
        if inspect.iscoroutine(came):
            came.close()
        error = came if isinstance(came, Exception) else TypeError("`process` must be `async def`, or answer with Done or Failure")
        self._setup.faults.tell(error, f"The processor failed at document {ordinal} of training {self._context.training}.")
        return Failure(ErrorClass.TRANSIENT, "PROCESSOR_FAULT", f"The processor failed ({type(error).__name__}).")

    def _becomes(self, ordinal: int, failure: Failure) -> TryAgain | HandBack | None:
        if failure.final:
            return None
        return self._failures.failed(
            ordinal,
            failure.error_class,
            transient=failure.error_class == ErrorClass.TRANSIENT,
            retry_after=failure.retry_after_seconds,
            random=self._setup.draw(),
        )

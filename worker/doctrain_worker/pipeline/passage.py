"""One document on its way through the stages: what ran so far, and how much of its time it was worked on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from doctrain_worker.pipeline.processor import DocumentTask, Failure, ShardContext, StageTiming
from doctrain_worker.sandbox.shared.ends import Failed, Result, TimedOut

Facts = dict[str, str | int | float]


class DocumentFailedError(Exception):
    """Ends the document, from within a stage."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure


@dataclass
class Passage:
    """``content_hash``: SHA-256 of its bytes, once they are there, by us: a child that a document took over would say what it likes.

    ``worked_seconds``: in children, waiting for a free one left out, all together where several work at once.
    """

    document: DocumentTask
    shard: ShardContext
    stages: list[StageTiming] = field(default_factory=list)
    worked_seconds: float = 0.0
    content_hash: bytes = b""
    _running: Callable[[], StageTiming] | None = None

    @property
    def named(self) -> tuple[int, str]:
        """Its ordinal and its training, for the log."""
        return self.document.ordinal, self.shard.training_task_id

    @contextlib.contextmanager
    def timed(self, name: str, facts: Facts) -> Iterator[None]:
        """Adds the stage, also when it fails. While it runs, ``facts`` are told as they are at its begin and at each ``tell``."""
        started, clock = time.time(), time.perf_counter()
        self._running = lambda: StageTiming(name, started, time.perf_counter() - clock, dict(facts))
        self.tell()
        try:
            yield
        finally:
            self._running = None
            self.stages.append(StageTiming(name, started, time.perf_counter() - clock, facts))

    def tell(self, under_way: Sequence[StageTiming] = ()) -> None:
        """Tells of the stages so far: those that ended, and those that are under way, in children or here."""
        running = [self._running()] if self._running is not None else []
        self.shard.tell(self.document.ordinal, [*self.stages, *running, *under_way])

    @contextlib.contextmanager
    def timed_if_it_fails(self, name: str) -> Iterator[None]:
        """Adds the stage when it fails; where all goes well, whoever did it tells its parts."""
        started, clock = time.time(), time.perf_counter()
        try:
            yield
        except DocumentFailedError:
            self.stages.append(StageTiming(name, started, time.perf_counter() - clock, {}))
            raise

    def note(self, end: Result[Any] | Failed) -> None:
        """A call in a child ended."""
        if isinstance(end, Result | TimedOut):
            self.worked_seconds += end.seconds

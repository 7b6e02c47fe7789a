"""One document on its way through the stages: what ran so far, and how much of its time it was worked on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from doctrain_mesh.stages import WAIT
from doctrain_worker.pipeline.processor import DocumentTask, Failure, ShardContext, StageTiming
from doctrain_worker.pipeline.stage_clock import StageClock
from doctrain_worker.sandbox.shared.ends import Failed, Result, TimedOut

LEAST_WAIT_SECONDS = 0.01
"""A shorter one is not told."""
Facts = dict[str, str | int | float]


class DocumentFailedError(Exception):
    """Ends the document, from within a stage."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure


@dataclass
class _Stage:
    """A stage that runs."""

    name: str
    facts: Facts
    started: float = field(default_factory=time.time)
    clock: StageClock = field(default_factory=StageClock)

    def timings(self) -> list[StageTiming]:
        """Its timings as they stand: how long it waited, where that is worth telling, and the rest."""
        waited, worked = self.clock.read()
        told = [StageTiming(WAIT, self.started, waited, {}), StageTiming(self.name, self.started + waited, worked, dict(self.facts))]
        return [one for one in told if one.name != WAIT or one.seconds >= LEAST_WAIT_SECONDS]

    def under_way(self) -> list[StageTiming]:
        """The timings as they stand, with what it does now last."""
        waited, worked = self.clock.read()
        stage = StageTiming(self.name, self.started, worked, dict(self.facts))
        return [stage, StageTiming(WAIT, self.started, waited, {})] if self.clock.only_waits else [stage]


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
    _stage: _Stage | None = None

    @property
    def named(self) -> tuple[int, str]:
        """Its ordinal and its training, for the log."""
        return self.document.ordinal, self.shard.training_task_id

    @contextlib.contextmanager
    def timed(self, name: str, facts: Facts) -> Iterator[None]:
        """Adds the stage, also when it fails, and before it how long it waited. While it runs, ``facts`` are told as they are then."""
        with self._running(_Stage(name, facts)):
            yield

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Only waits within, for a free child or for room: that is no time of the stage that runs, but of a stage ``wait``."""
        if self._stage is None:
            with self._running(_Stage(WAIT, {})):
                yield
            return
        with self._stage.clock.waiting():
            self.tell()
            yield
        self.tell()

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """One of several parts of the stage goes on within: the stage waits when all of them do."""
        assert self._stage is not None, "parts are of a stage"
        with self._stage.clock.part():
            yield

    @contextlib.contextmanager
    def _running(self, stage: _Stage) -> Iterator[None]:
        self._stage = stage
        self.tell()
        try:
            yield
        finally:
            self._stage = None
            self.stages += stage.timings()

    def tell(self, under_way: Sequence[StageTiming] = ()) -> None:
        """Tells of the stages so far: those that ended, and those that are under way, in children or here."""
        running = self._stage.under_way() if self._stage is not None else []
        self.shard.tell(self.document.ordinal, [*self.stages, *running, *under_way])

    @contextlib.contextmanager
    def timed_if_it_fails(self, name: str, *, but: type[Exception]) -> Iterator[None]:
        """Adds the stage when it fails; where all goes well, whoever does it tells its parts, of which nothing is known yet.

        What ends with ``but`` is done again and was nobody's work.
        """
        started, clock, worked = time.time(), time.perf_counter(), self.worked_seconds
        self.tell([StageTiming(name, started, 0.0, {})])
        try:
            yield
        except but:
            self.worked_seconds = worked
            raise
        except Exception:
            self.stages.append(StageTiming(name, started, time.perf_counter() - clock, {}))
            raise

    def note(self, end: Result[Any] | Failed) -> None:
        """A call in a child ended."""
        if isinstance(end, Result | TimedOut):
            self.worked_seconds += end.seconds

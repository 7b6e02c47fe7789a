"""What one hold of a shard tells the tracker: its results as columns, what runs, and what of it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.results import Results
from doctrain_worker.tracking.tracker import Key, Tracker


class Reports:
    """``results`` are to be told, and ``running``, the ordinals that run now. ``on_answer`` is called with each answer."""

    def __init__(self, key: Key, tracker: Tracker, began: float, on_answer: Callable[[pb.BlockAnswer], None]) -> None:
        self._key, self._tracker, self._on_answer = key, tracker, on_answer
        self._base_ms = int(time.time() * 1000)
        self._told_running: list[int] = []
        self.results = Results(began)
        self.running: set[int] = set()
        self.shard_done = False

    def leaves_slot(self, now: float, width: int) -> bool:
        """Whether one of ``width`` slots is held neither by what runs nor by a result that is not answered."""
        return self.results.leaves_slot(now, width - len(self.running))

    @property
    def settled(self) -> bool:
        """Whether every result is answered."""
        return not self.results

    def send(self, *, urgent: bool) -> None:
        """What gathered is sent soon, or at once; nothing is sent when nothing did."""
        gathered = self.results.gathered
        if gathered:
            self._tracker.report(self._key, self, results=gathered, urgent=urgent)

    def insist(self) -> None:
        """What is not answered is asked for at once."""
        self._tracker.report(self._key, self, results=0, urgent=True)

    def tell_running(self) -> None:
        """What runs is sent, if that changed since it was told."""
        if sorted(self.running) != self._told_running:
            self._tracker.report(self._key, self, results=0)

    def block(self, sequence: int) -> pb.Block | None:
        """What gathered since the block before."""
        running = sorted(self.running)
        if not self.results.gathered and running == self._told_running:
            return None
        self._told_running = running
        columns = self.results.take(sequence)
        return pb.Block(
            sequence=sequence,
            shard=pb.ShardRef(shard=self._key[0], number=self._key[1]),
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
            passed=[
                pb.DocumentStages(
                    ordinal=ordinal,
                    stages=[pb.Stage(name=s.name, start_ms=s.start_ms, took_ms=s.took_ms, counts=s.counts) for s in stages],
                )
                for ordinal, stages in columns.passed
            ],
            unchanged=columns.unchanged,
        )

    def answered(self, answer: pb.BlockAnswer) -> None:
        """A block is recorded, or the shard is not ours."""
        self.shard_done = self.shard_done or answer.shard_done
        self.results.answered(answer.sequence)
        self._on_answer(answer)

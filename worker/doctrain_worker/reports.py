"""What one hold of a shard tells the tracker: its results as columns, what runs, and what of it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.results import FailedResult, Results
from doctrain_worker.core.unanswered import Unanswered
from doctrain_worker.tracker import Key, Tracker


class Reports:
    """``running`` are the ordinals that run now. ``on_answer`` is called with each answer."""

    def __init__(self, key: Key, tracker: Tracker, began: float, on_answer: Callable[[pb.BlockAnswer], None]) -> None:
        self._key, self._tracker, self._began, self._on_answer = key, tracker, began, on_answer
        self._base_ms = int(time.time() * 1000)
        self._results = Results()
        self._unanswered = Unanswered()
        self._told_running: list[int] = []
        self.running: set[int] = set()
        self.shard_done = False

    def ended(self, ordinal: int, started: float, now: float, tries: int, failed: FailedResult | None) -> None:
        """A document ended for good."""
        at = int((started - self._began) * 1000)
        self._results.add(ordinal, at, int((now - self._began) * 1000) - at)
        self._unanswered.ended(now)
        if failed is not None:
            self._results.fail(failed)
        if tries > 1:
            self._results.tried(ordinal, tries)

    @property
    def room(self) -> int:
        """Documents that may end before as many are unanswered as may be."""
        return self._unanswered.room

    def leaves_slot(self, now: float, width: int) -> bool:
        """Whether one of ``width`` slots is held neither by what runs nor by a result that is not answered."""
        return self._unanswered.leaves_slot(now, width - len(self.running))

    @property
    def settled(self) -> bool:
        """Whether every result is answered."""
        return not (self._results or self._unanswered)

    def send(self, *, urgent: bool) -> None:
        """What gathered is sent soon, or at once; nothing is sent when nothing did."""
        gathered = len(self._results)
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
        if not self._results and running == self._told_running:
            return None
        columns = self._results.take()
        self._told_running = running
        if columns.count:
            self._unanswered.sent(sequence, columns.count)
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
        )

    def answered(self, answer: pb.BlockAnswer) -> None:
        """A block is recorded, or the shard is not ours."""
        self.shard_done = self.shard_done or answer.shard_done
        self._unanswered.answered(answer.sequence)
        self._on_answer(answer)

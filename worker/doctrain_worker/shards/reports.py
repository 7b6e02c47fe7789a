"""What one hold of a shard tells the tracker: its results as columns, what runs, and what of it is answered.

Of a document that runs for long the stages are told, too: with a heartbeat, when they changed since the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from doctrain_mesh.stages import MOST_UNREAD_LETTERS, UNREAD
from doctrain_worker.core.results import Results, Stage
from doctrain_worker.pipeline.processor import StageTiming
from doctrain_worker.shards import measures
from doctrain_worker.tracking.exchange import Block, BlockAnswer, Key, UnderWay
from doctrain_worker.tracking.tracker import Tracker

LONG_SECONDS = 2.0
MOST_LONG = 32
MOST_COUNTED = 2**63 - 1


@dataclass(slots=True)
class Try:
    """A try of a document that runs: since when, by the clock of the hold and in seconds since the Unix epoch, and its stages so far."""

    started: float
    began: float = field(default_factory=time.time)
    stages: Sequence[StageTiming] = ()


class Reports:
    """``results`` are to be told, and what is ``running`` now, by ordinal. ``on_answer`` is called with each answer."""

    def __init__(self, key: Key, tracker: Tracker, began: float, on_answer: Callable[[BlockAnswer], None]) -> None:
        self._key, self._tracker, self._on_answer = key, tracker, on_answer
        self._base_ms = int(time.time() * 1000)
        self._told_running: list[int] = []
        self._began = began
        self._told_long: list[tuple[int, Sequence[StageTiming]]] = []
        self._tells_long = self._is_urgent = False
        self.results = Results(began)
        self.running: dict[int, Try] = {}
        self.shard_done = False

    def leaves_slot(self, now: float, width: int) -> bool:
        """Whether one of ``width`` slots is held neither by what runs nor by a result that is not answered."""
        return self.results.leaves_slot(now, width - len(self.running))

    def within(self, now: float, width: int) -> bool:
        """Whether no more than ``width`` slots are held."""
        return self.leaves_slot(now, width + 1)

    @property
    def settled(self) -> bool:
        """Whether every result is answered."""
        return not self.results

    def send(self, *, urgent: bool) -> None:
        """What gathered is sent soon, or at once; nothing is sent when nothing did."""
        gathered = self.results.gathered
        if gathered:
            self._is_urgent = self._is_urgent or urgent
            self._tracker.report(self._key, self, results=gathered, urgent=urgent)

    def insist(self) -> None:
        """What is not answered is asked for at once."""
        self._is_urgent = True
        self._tracker.report(self._key, self, results=0, urgent=True)

    def tell_running(self, now: float) -> None:
        """What runs is sent, if that changed since it was told, and how far those are that run for long."""
        by_start = sorted(self.running.items(), key=lambda item: item[1].started)
        long = [(ordinal, one.stages) for ordinal, one in by_start if one.stages and now - one.started >= LONG_SECONDS][:MOST_LONG]
        if long != self._told_long:
            self._told_long, self._tells_long = long, True
        if self._tells_long or sorted(self.running) != self._told_running:
            self._tracker.report(self._key, self, results=0)

    def block(self, sequence: int) -> Block | None:
        """What gathered since the block before."""
        running = sorted(self.running)
        if not (self.results.gathered or self._tells_long) and running == self._told_running:
            return None
        under_way, self._tells_long = self._under_way() if self._tells_long else None, False
        urgent, self._is_urgent = self._is_urgent, False
        self._told_running = running
        ended, results = self.results.gathered, self.results.take(sequence)
        measures.reported(ended, results)
        return Block(sequence, self._key, self._base_ms, results, running, under_way, urgent)

    def _under_way(self) -> list[UnderWay]:
        """The documents that run for long; one that has ended since has told its stages with its result."""
        return [
            UnderWay(ordinal, int((one.started - self._began) * 1000), passed(stages, one.began))
            for ordinal, stages in self._told_long
            if (one := self.running.get(ordinal)) is not None
        ]

    def answered(self, answer: BlockAnswer) -> None:
        """A block is recorded, or the shard is not ours."""
        self.shard_done = self.shard_done or answer.shard_done
        self.results.answered(answer.sequence)
        self._on_answer(answer)


def passed(stages: Sequence[StageTiming], began: float) -> list[Stage]:
    """The stages as they are reported, of a try that began then (seconds since the Unix epoch)."""
    return [
        Stage(
            stage.name,
            _milliseconds(stage.start - began),
            _milliseconds(stage.seconds),
            {name: fact for name, fact in stage.attributes.items() if isinstance(fact, int) and 0 <= fact <= MOST_COUNTED},
            str(stage.attributes.get(UNREAD, ""))[:MOST_UNREAD_LETTERS],
        )
        for stage in stages
    ]


def _milliseconds(seconds: float) -> int:
    """Milliseconds as a report holds them: none below 0, 24 days at most."""
    return min(max(0, int(seconds * 1000)), 2**31 - 1)

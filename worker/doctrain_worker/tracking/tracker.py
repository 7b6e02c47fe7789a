"""What the worker has to say to the tracker and waits to be answered; outlives the streams that carry it.

Whatever is unanswered when a stream ends, or for a while on a stream, is said again: every message is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from doctrain_mesh.pacing import Pace, Pacer
from doctrain_worker.tracking.exchange import (
    Begin,
    Begun,
    Block,
    BlockAnswer,
    Heard,
    Key,
    NotBegun,
    Question,
    Said,
    Stopped,
    Trial,
    TrialAnswer,
    Yield,
)

log = logging.getLogger(__name__)
REPEAT_SECONDS = 5.0
ENOUGH = 15
NEVER = float("-inf")

_Answer: TypeAlias = Begun | NotBegun | TrialAnswer | None


class Reporting(Protocol):
    """A shard that runs, as far as its reports go."""

    def block(self, sequence: int) -> Block | None:
        """What there is to report now; None for nothing."""

    def answered(self, answer: BlockAnswer) -> None:
        """One of its blocks was answered."""


class SessionLostError(Exception):
    """The session ended while an answer was waited for."""


class TrialRefusedError(Exception):
    """The shard is not ours, or does not suspect the document."""


@dataclass(slots=True)
class _Asked:
    question: Question
    answer: asyncio.Future[_Answer]
    sent: float = NEVER


@dataclass(slots=True)
class _Reported:
    block: Block
    owner: Reporting
    sent: float


class Tracker:
    """One a worker. ``gather`` makes what is said next; ``answer`` takes a response in."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[tuple[type[Question], Key], _Asked] = {}
        self._reported: dict[int, _Reported] = {}
        self._dirty: dict[Key, Reporting] = {}
        self._dirty_since = 0.0
        self._gathered: dict[Key, int] = {}
        self._results = 0
        self._sequence = 0
        self._urgent = False
        self._pacer = Pacer(Pace(gap=0.005, patience=0.010, enough=ENOUGH, credit=4))
        self.wakeup = asyncio.Event()

    @property
    def unanswered(self) -> int:
        """Blocks that were said and not answered yet."""
        return len(self._reported)

    # What the worker says

    async def begin(self, key: Key) -> Begun | NotBegun:
        """Asks for a shard; raises SessionLostError."""
        answer = await self._ask(Begin(key))
        assert isinstance(answer, Begun | NotBegun)
        return answer

    async def trial(self, key: Key, ordinal: int) -> None:
        """Returns once the trial is committed; raises TrialRefusedError, SessionLostError."""
        answer = await self._ask(Trial(key, ordinal))
        if isinstance(answer, TrialAnswer) and not answer.committed:
            raise TrialRefusedError

    async def hand_back(self, key: Key, delay_seconds: float, reason: str) -> None:
        """Returns once the shard is pending again; raises SessionLostError."""
        await self._ask(Yield(key, delay_seconds, reason))

    async def stopped(self, key: Key) -> None:
        """Returns once the tracker knows that nothing of the shard runs; raises SessionLostError."""
        await self._ask(Stopped(key))

    def report(self, key: Key, owner: Reporting, *, results: int, urgent: bool = False) -> None:
        """The shard has something to report: ``results`` of its documents ended since its last block."""
        first = not self._dirty
        if first:
            self._dirty_since = self._clock()
        self._dirty[key] = owner
        self._results += results - self._gathered.get(key, 0)
        self._gathered[key] = results
        self._urgent = self._urgent or urgent
        if first or urgent or self._results >= ENOUGH:
            self.wakeup.set()

    def forget(self, key: Key) -> None:
        """This hold of the shard reports nothing more and waits for no answer; a later one of the same shard may."""
        self._dirty.pop(key, None)
        self._results -= self._gathered.pop(key, 0)
        for sequence in [s for s, reported in self._reported.items() if reported.block.key == key]:
            del self._reported[sequence]

    # What the stream carries

    def pause(self) -> float | None:
        """Seconds until there is something to send; None: nothing is."""
        if self._urgent or self._overdue():
            return self._pacer.wait(self._clock(), waiting=self._results, oldest=self._dirty_since, urgent=True)
        if self._dirty:
            return self._pacer.wait(self._clock(), waiting=self._results, oldest=self._dirty_since, urgent=False)
        return None

    def gather(self) -> Said:
        """What is to be sent now."""
        said, now = Said(), self._clock()
        for asked in self._asked.values():
            if now - asked.sent >= REPEAT_SECONDS:
                _tell_repeated(asked.sent, asked.question)
                asked.sent = now
                said.questions.append(asked.question)
        for reported in self._reported.values():
            if now - reported.sent >= REPEAT_SECONDS:
                _tell_repeated(reported.sent, reported.block)
                reported.sent = now
                said.blocks.append(reported.block)
        dirty, self._dirty = self._dirty, {}
        self._gathered.clear()
        self._results, self._urgent = 0, False
        for owner in dirty.values():
            block = owner.block(self._sequence + 1)
            if block is not None:
                self._sequence += 1
                self._reported[self._sequence] = _Reported(block, owner, now)
                said.blocks.append(block)
        if said:
            self._pacer.started(now)
        return said

    def stream_opened(self) -> None:
        """Everything unanswered is to be sent on the new stream."""
        for asked in self._asked.values():
            asked.sent = NEVER
        for reported in self._reported.values():
            reported.sent = NEVER
        self.wakeup.set()

    def answer(self, heard: Heard) -> None:
        """Hands answers to whoever waits for them; those that nobody waits for are dropped."""
        for key, begun in heard.begins:
            self._resolve(Begin, key, begun)
        for key in heard.yields:
            self._resolve(Yield, key, None)
        for key in heard.stopped:
            self._resolve(Stopped, key, None)
        for trial in heard.trials:
            asked = self._asked.get((Trial, trial.key))
            if asked is not None and asked.question == Trial(trial.key, trial.ordinal):  # else: a late answer to the document before
                self._resolve(Trial, trial.key, trial)
        for answer in heard.blocks:
            reported = self._reported.pop(answer.sequence, None)
            if reported is not None:
                reported.owner.answered(answer)

    def session_lost(self) -> None:
        """Nobody waits any more; reports of the session are worth nothing."""
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(SessionLostError())
        self._asked.clear()
        self._reported.clear()
        self._dirty.clear()

    async def _ask(self, question: Question) -> _Answer:
        place = type(question), question.key
        asked = self._asked[place] = _Asked(question, asyncio.get_running_loop().create_future())
        self.wakeup.set()
        try:
            return await asked.answer
        finally:
            if self._asked.get(place) is asked:
                del self._asked[place]

    def _resolve(self, kind: type[Question], key: Key, answer: _Answer) -> None:
        asked = self._asked.get((kind, key))
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(answer)

    def _overdue(self) -> bool:
        now = self._clock()
        overdue = any(now - asked.sent >= REPEAT_SECONDS for asked in self._asked.values())
        return overdue or any(now - reported.sent >= REPEAT_SECONDS for reported in self._reported.values())


def _tell_repeated(sent: float, said: Question | Block) -> None:
    if sent != NEVER:
        kind = type(said).__name__
        log.warning("%s of shard %d (%d) stayed unanswered for %g s and is said again.", kind, *said.key, REPEAT_SECONDS)

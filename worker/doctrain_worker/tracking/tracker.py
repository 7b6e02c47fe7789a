"""What the worker has to say to the tracker and waits to be answered; outlives the streams that carry it.

Whatever is unanswered when a stream ends, or for a while on a stream, is said again: every message is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from doctrain_mesh.pacing import Pace, Pacer
from doctrain_mesh.v1 import tracker_pb2 as pb

log = logging.getLogger(__name__)
REPEAT_SECONDS = 5.0
ENOUGH = 15

Key = tuple[int, int]
"""(shard, dispatch number)."""


class Reporting(Protocol):
    """A shard that runs, as far as its reports go."""

    def block(self, sequence: int) -> pb.Block | None:
        """What there is to report now; None for nothing."""

    def answered(self, answer: pb.BlockAnswer) -> None:
        """One of its blocks was answered."""


class SessionLostError(Exception):
    """The session ended while an answer was waited for."""


class TrialRefusedError(Exception):
    """The shard is not ours, or does not suspect the document."""


@dataclass(slots=True)
class _Asked:
    message: Any
    future: asyncio.Future[object]
    sent: float = 0.0


@dataclass(slots=True)
class _Block:
    message: pb.Block
    owner: Reporting
    sent: float


@dataclass(slots=True)
class _Waiting:
    begins: dict[Key, _Asked] = field(default_factory=dict)
    trials: dict[Key, _Asked] = field(default_factory=dict)
    yields: dict[Key, _Asked] = field(default_factory=dict)
    stopped: dict[Key, _Asked] = field(default_factory=dict)

    def kinds(self) -> Iterable[dict[Key, _Asked]]:
        return self.begins, self.trials, self.yields, self.stopped


class Tracker:
    """One a worker. ``gather`` makes the next request; ``answer`` takes a response in."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting = _Waiting()
        self._blocks: dict[int, _Block] = {}
        self._dirty: dict[Key, Reporting] = {}
        self._dirty_since = 0.0
        self._gathered: dict[Key, int] = {}
        self._results = 0
        self._sequence = 0
        self._urgent = False
        self._pacer = Pacer(Pace(gap=0.005, patience=0.010, enough=ENOUGH, credit=4))
        self.wakeup = asyncio.Event()

    # What the worker says

    async def begin(self, key: Key) -> pb.BeginAnswer:
        """Asks for a shard; raises SessionLostError."""
        answer = await self._ask(self._waiting.begins, key, pb.Begin(shard=_ref(key)))
        assert isinstance(answer, pb.BeginAnswer)
        return answer

    async def trial(self, key: Key, ordinal: int) -> None:
        """Returns once the trial is committed; raises TrialRefusedError, SessionLostError."""
        answer = await self._ask(self._waiting.trials, key, pb.Trial(shard=_ref(key), ordinal=ordinal))
        if isinstance(answer, pb.TrialAnswer) and answer.outcome == pb.TRIAL_OUTCOME_REFUSED:
            raise TrialRefusedError

    async def hand_back(self, key: Key, delay_seconds: float, reason: str) -> None:
        """Returns once the shard is pending again; raises SessionLostError."""
        message = pb.Yield(shard=_ref(key), delay_ms=int(delay_seconds * 1000), reason=reason)
        await self._ask(self._waiting.yields, key, message)

    async def stopped(self, key: Key) -> None:
        """Returns once the tracker knows that nothing of the shard runs; raises SessionLostError."""
        await self._ask(self._waiting.stopped, key, pb.Stopped(shard=_ref(key)))

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
        for sequence in [s for s, block in self._blocks.items() if (block.message.shard.shard, block.message.shard.number) == key]:
            del self._blocks[sequence]

    # What the stream carries

    def pause(self) -> float | None:
        """Seconds until there is something to send; None: nothing is."""
        if self._urgent or self._asks_waiting():
            return self._pacer.wait(self._clock(), waiting=self._results, oldest=self._dirty_since, urgent=True)
        if self._dirty:
            return self._pacer.wait(self._clock(), waiting=self._results, oldest=self._dirty_since, urgent=False)
        return None

    def gather(self, request: pb.TrackRequest) -> None:
        """Adds what is to be sent now."""
        now = self._clock()
        targets: tuple[Any, ...] = (request.begins, request.trials, request.yields, request.stopped)
        for target, kind in zip(targets, self._waiting.kinds(), strict=True):
            for asked in kind.values():
                if now - asked.sent >= REPEAT_SECONDS:
                    _tell_repeated(asked.sent, asked.message)
                    asked.sent = now
                    target.append(asked.message)
        for block in self._blocks.values():
            if now - block.sent >= REPEAT_SECONDS:
                _tell_repeated(block.sent, block.message)
                block.sent = now
                request.blocks.append(block.message)
        dirty, self._dirty = self._dirty, {}
        self._gathered.clear()
        self._results, self._urgent = 0, False
        for owner in dirty.values():
            message = owner.block(self._sequence + 1)
            if message is not None:
                self._sequence += 1
                self._blocks[self._sequence] = _Block(message, owner, now)
                request.blocks.append(message)
        if request.begins or request.trials or request.yields or request.stopped or request.blocks:
            self._pacer.started(now)

    def stream_opened(self) -> None:
        """Everything unanswered is to be sent on the new stream."""
        for kind in self._waiting.kinds():
            for asked in kind.values():
                asked.sent = float("-inf")
        for block in self._blocks.values():
            block.sent = float("-inf")
        self.wakeup.set()

    def answer(self, response: pb.TrackResponse) -> None:
        """Hands answers to whoever waits for them; those that nobody waits for are dropped."""
        for begun in response.begins:
            _resolve(self._waiting.begins, begun.shard, begun)
        for kind, refs in ((self._waiting.yields, response.yields), (self._waiting.stopped, response.stopped)):
            for ref in refs:
                _resolve(kind, ref, ref)
        for trial in response.trial_answers:
            asked = self._waiting.trials.get((trial.shard.shard, trial.shard.number))
            if asked is not None and asked.message.ordinal == trial.ordinal:  # else: a late answer to the document before
                _resolve(self._waiting.trials, trial.shard, trial)
        for answer in response.blocks:
            block = self._blocks.pop(answer.sequence, None)
            if block is not None:
                block.owner.answered(answer)

    def session_lost(self) -> None:
        """Nobody waits any more; reports of the session are worth nothing."""
        for kind in self._waiting.kinds():
            for asked in kind.values():
                if not asked.future.done():
                    asked.future.set_exception(SessionLostError())
            kind.clear()
        self._blocks.clear()
        self._dirty.clear()

    async def _ask(self, kind: dict[Key, _Asked], key: Key, message: object) -> object:
        asked = kind[key] = _Asked(message, asyncio.get_running_loop().create_future(), float("-inf"))
        self.wakeup.set()
        try:
            return await asked.future
        finally:
            if kind.get(key) is asked:
                del kind[key]

    def _asks_waiting(self) -> bool:
        now = self._clock()
        overdue = any(now - asked.sent >= REPEAT_SECONDS for kind in self._waiting.kinds() for asked in kind.values())
        return overdue or any(now - block.sent >= REPEAT_SECONDS for block in self._blocks.values())


def _tell_repeated(sent: float, message: Any) -> None:
    if sent != float("-inf"):
        kind, ref = type(message).__name__, message.shard
        log.warning("%s of shard %d (%d) stayed unanswered for %g s and is said again.", kind, ref.shard, ref.number, REPEAT_SECONDS)


def _ref(key: Key) -> pb.ShardRef:
    return pb.ShardRef(shard=key[0], number=key[1])


def _resolve(kind: dict[Key, _Asked], ref: pb.ShardRef, answer: object) -> None:
    asked = kind.get((ref.shard, ref.number))
    if asked is not None and not asked.future.done():
        asked.future.set_result(answer)

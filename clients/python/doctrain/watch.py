"""Following a training over broken streams: what is shown, from where it goes on, when it is given up.

Pure: no clock, no network, no randomness of its own; ``doctrain.following`` reads the streams. What holds, whatever
coordinators come and go:

- versions shown never fall, and so neither do counts, unless Postgres was restored to an earlier state: no coordinator is ever
  behind another one, so an earlier state is the truth;
- the last state is always shown, or an error raised;
- each document, when asked for, is told once: a stream that goes on after a break tells some again, and those are recognised
  by their id. The last ``REMEMBERED_DOCUMENTS`` that were told are remembered, which bounds the memory; what a stream repeats
  are documents of shards that were at work when the one before broke, far fewer than that. After a restore all are told anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import grpc

from doctrain import requests, retry
from doctrain.errors import DoctrainError, UnavailableError
from doctrain.v1 import training_pb2

SILENCE_SECONDS = 25.0
"""A stream without any message for this long is broken; the service sends a heartbeat every 10 s."""
CONNECT_PATIENCE_SECONDS = 10.0
"""How long the first message may take, over all tries, before the watch is given up."""
PATIENCE_SECONDS = 300.0
"""How long a watch that has seen messages tries to go on without another one."""

REMEMBERED_DOCUMENTS = 100_000

ENDED_STATES = frozenset(
    {
        training_pb2.TRAINING_STATE_COMPLETED,
        training_pb2.TRAINING_STATE_COMPLETED_WITH_FAILURES,
        training_pb2.TRAINING_STATE_FAILED,
        training_pb2.TRAINING_STATE_CANCELLED,
    }
)

# How a dying or restarting service, or something between, ends a stream without the service's own word.
_BROKEN_ON_THE_WAY = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Update:
    """A state of the training, later than every one shown before, or the same one with more documents or another reason to wait.

    It is an earlier one once, when the service's database was restored to an earlier state.
    """

    training: training_pb2.Training
    documents: tuple[training_pb2.Document, ...] = ()
    """Documents that have ended and were not shown before, when they were asked for."""
    under_way: tuple[training_pb2.Document, ...] = ()
    """Documents that have run for some seconds, with their stages so far and without their metadata; at most 10."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """A watch that has lost its stream and tries again by itself."""

    error: DoctrainError
    """How the last try ended."""
    silent_seconds: float
    """Since the last message, or since the watch began."""
    left_seconds: float
    """Until it is given up, unless the service answers before."""


def has_ended(training: training_pb2.Training) -> bool:
    """Whether the training's state is final."""
    return training.state in ENDED_STATES


class Watching:
    """One watch of one training. Times are seconds of any clock that does not go back."""

    def __init__(
        self,
        training_task_id: str,
        *,
        include_documents: bool,
        addresses: int,
        now: float,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._training_task_id = training_task_id
        self._include_documents = include_documents
        self._addresses = addresses
        self._patience_seconds = patience_seconds
        self._position = ""
        self._last: training_pb2.Training | None = None
        self._heard: float | None = None
        self._began = now
        self._failures = 0
        self._told: dict[str, None] = {}
        self._early: list[training_pb2.Document] = []
        self.finished = False

    def request(self) -> training_pb2.WatchStatusRequest:
        """What to open the next stream with."""
        return requests.made(
            training_pb2.WatchStatusRequest,
            training_task_id=self._training_task_id,
            resume_position=self._position,
            include_documents=self._include_documents,
        )

    def received(self, message: training_pb2.WatchStatusResponse, now: float) -> Update | None:
        """Takes one message; returns what to show, if it says anything new."""
        self._heard = now
        self._failures = 0
        self._position = message.resume_position or self._position
        news = message.HasField("training") and self._is_news(message.training)
        if news:
            if self._is_restored(message.training):
                self._told.clear()  # what was told may be trained again
            self._last = message.training
        # The end may be told before the last documents are; then the stream's own end is waited for.
        if self._last is not None and has_ended(self._last) and not self._include_documents:
            self.finished = True
        documents = self._untold(message.documents)
        if self._last is None:  # an update has a training, so what comes before the first one waits for it
            self._early += documents
            return None
        documents, self._early = [*self._early, *documents], []
        return Update(self._last, tuple(documents), tuple(message.under_way) if news else ()) if news or documents else None

    def _is_news(self, training: training_pb2.Training) -> bool:
        """Whether it is not the state shown last; why it waits changes without a version."""
        return self._last is None or _told_of(training) != _told_of(self._last)

    def _is_restored(self, training: training_pb2.Training) -> bool:
        """Whether it is from before the state shown last; after a restore another one may have the same version."""
        last = self._last
        return last is not None and (training.version < last.version or (training.version == last.version and training.state != last.state))

    def _untold(self, documents: Iterable[training_pb2.Document]) -> list[training_pb2.Document]:
        """The documents that were not told before."""
        fresh = []
        for document in documents:
            if document.document_id not in self._told:
                fresh.append(document)
            self._told.pop(document.document_id, None)  # told again, it counts as told now
            self._told[document.document_id] = None
        for oldest in list(islice(self._told, max(0, len(self._told) - REMEMBERED_DOCUMENTS))):
            del self._told[oldest]
        return fresh

    def stream_ended(self) -> DoctrainError | None:
        """The service closed the stream in order. Returns the failure to go on from, unless the watch is finished."""
        if self._last is not None and has_ended(self._last):
            self.finished = True
            return None
        return UnavailableError(f"The service closed the watch of {self._training_task_id} before the training ended.")

    @property
    def interrupted(self) -> bool:
        """Whether the last stream failed and nothing has come since."""
        return self._failures > 0

    def interruption(self, failure: DoctrainError, now: float) -> Interruption:
        """What to say of a failure that is not the end."""
        since, patience = self._patience()
        return Interruption(failure, now - since, patience - (now - since))

    def pause_after(self, failure: DoctrainError, now: float, chance: float) -> float:
        """Seconds to wait before the next stream; raises ``failure`` when another stream cannot help or came too often.

        ``chance`` is random in [0, 1).
        """
        since, patience = self._patience()
        if not _is_passing(failure) or now - since >= patience:
            raise failure
        self._failures += 1
        return retry.pause_seconds(self._failures, self._addresses, chance, failure.retry_after_seconds)

    def _patience(self) -> tuple[float, float]:
        """Since when nothing was heard, and how long that may last."""
        if self._heard is None:
            return self._began, min(CONNECT_PATIENCE_SECONDS, self._patience_seconds)
        return self._heard, self._patience_seconds


def _told_of(training: training_pb2.Training) -> tuple[int, int, str]:
    return training.version, training.state, training.waiting_reason


def _is_passing(failure: DoctrainError) -> bool:
    if isinstance(failure, UnavailableError):
        return True
    return not failure.reason and failure.status in _BROKEN_ON_THE_WAY

"""A session from its worker's side: until when it may run, over which stream, when to move and when to fence.

Decisions only; ``tracking`` acts on them. Times are seconds of one monotonic clock, passed in as ``now``.

**The deadline.** Children may run until ``lease - margin`` after the last *answered* heartbeat was *sent*.

**A stream that ended** is replaced within REATTACH_SECONDS, over however many coordinators that takes, or the session is fenced:
the coordinator that saw it end takes the session back after a second.

**A stream that is left for another** works on until the other coordinator welcomes the session. From the moment that one is asked,
the answer "lost" to a heartbeat may mean no more than that the session is its already, so it only bounds the wait for its
welcome. If the welcome does not come although the coordinator may have been told, the session may be attached there, to a
stream that is over: this stream's heartbeats count for nothing, and a take-back may be on its way. Then this stream is left
like one that ended: a new one raises ``attached`` again, past what the take-back is guarded by, or the session is fenced.
"""

from __future__ import annotations

from enum import Enum

REATTACH_SECONDS = 0.4
WELCOME_SECONDS = 5.0
SHORTEST_ATTEMPT_SECONDS = 0.05
STALL_BEATS = 2.5
STALL_SHARE = 0.3
"""A stream whose heartbeats stay unanswered for this share of the lease is left for another coordinator's."""


class Step(Enum):
    """What to do now.

    MOVE: ask other coordinators, working on over this stream. HURRY: the one that is asked has REATTACH_SECONDS from now.
    REATTACH: leave this stream as if it had ended. FENCE: end the session.
    """

    STAY = 1
    MOVE = 2
    HURRY = 3
    REATTACH = 4
    FENCE = 5


class Tenure:
    """One worker's sessions, one after the other; ``session`` 0: there is none."""

    def __init__(self, margin_seconds: float) -> None:
        self._margin = margin_seconds
        self.session = 0
        self.deadline = 0.0
        self._lease = 0.0
        self._pause = 0.0
        self._beats = 0
        self._sent: dict[int, float] = {}
        self._heard = 0.0
        self._asking = False
        self._doubted = False
        self._detached = 0.0

    def fits(self, lease_seconds: float, beat_seconds: float) -> bool:
        """Whether the margin leaves a session that time in which nothing but a fault ends it."""
        return self._margin <= lease_seconds / 2 and self._margin + 2 * beat_seconds < lease_seconds

    # Streams

    def welcomed(self, session: int, lease_seconds: float, beat_seconds: float, asked: float) -> None:
        """A coordinator took the session on that it was asked for at that time, or opened this one."""
        if not self.session:
            self.session, self.deadline = session, 0.0
        self._lease, self._pause = lease_seconds, beat_seconds
        self._extend(asked)

    def carried(self, asked: float) -> None:
        """The stream that was asked for then is the one in use from now on."""
        self._sent = {}
        self._heard = asked
        self._asking = self._doubted = False

    def detached(self, now: float) -> None:
        """There is no stream in use."""
        self._detached = now

    def attempt_seconds(self, now: float, candidates: int) -> float | None:
        """How long the first of so many coordinators may take to welcome the session; None when it is too late to ask."""
        if not self.session:
            return WELCOME_SECONDS
        left = self._detached + REATTACH_SECONDS - now
        return min(left, max(SHORTEST_ATTEMPT_SECONDS, left / max(1, candidates))) if left > 0 else None

    def asking(self) -> None:
        """Another coordinator is asked to take the session on, while a stream is in use."""
        self._asking = True

    def missed(self, *, told: bool) -> Step:
        """Notes that the coordinator did not welcome it; ``told``: it may have been asked all the same."""
        if told or self._doubted:
            return Step.REATTACH
        self._asking = False
        return Step.STAY

    # Heartbeats

    def beat(self, now: float) -> tuple[int, Step]:
        """A heartbeat is due: its number, and what is to be done for want of answers to those before."""
        if now > self.deadline:
            return self._beats, Step.FENCE
        self._beats += 1
        self._sent = {number: at for number, at in self._sent.items() if now - at < 2 * self._lease} | {self._beats: now}
        silent = now - self._heard > max(STALL_BEATS * self._pause, STALL_SHARE * self._lease)
        return self._beats, Step.MOVE if silent else Step.STAY

    def answered(self, number: int, now: float, *, lost: bool) -> Step:
        """A heartbeat was answered."""
        if lost:
            self._doubted = self._doubted or self._asking
            return Step.HURRY if self._asking else Step.FENCE
        self._heard = now
        sent = self._sent.pop(number, None)
        if sent is not None:
            self._extend(sent)
        return Step.STAY

    def silence(self, now: float) -> float:
        """How long no heartbeat has been answered."""
        return now - self._heard

    def _extend(self, sent: float) -> None:
        self.deadline = max(self.deadline, sent + self._lease - self._margin)

    def ended(self) -> int:
        """The session is over and nothing of it runs; answers which it was."""
        session, self.session = self.session, 0
        return session

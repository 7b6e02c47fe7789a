"""How many documents at once the tenants of a plan may have, between what it guarantees and what it may burst to.

More, step by step, while their work waits at the limit and the machines bear it; half of what is above the guarantee when the machines do
not, or when others miss what is guaranteed to them; less, step by step, when nobody needs it. What is not known is a reason for neither.

A signal is over its mark, or low, or in between, where nothing is raised and nothing lowered: so limits do not swing. Processors are
looked at as a whole, since a busy one is only slow; memory and loops at the worker that is worst, since there it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LOW = 0.8
"""Below this share of its mark a signal is low."""
STEP_SHARE = 4
"""A step is the guarantee divided by that, rounded up, and no less than what a lane runs: a shard that gets less takes a lane as well."""
RAISE_SECONDS = 6.0
"""Between one step and the next: what a step does to the machines is told within a record (5 s) and a look."""
STRAIN_SECONDS = 5.0
"""How long it must be too much before half of it goes, and until half of the rest does."""
IDLE_SECONDS = 10.0
"""How long more must be allowed than anybody uses before a step of it goes."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Beyond which the machines bear no more, and how long work waits before more is allowed.

    Args:
        cpu_share: of all processors of the workers.
        memory_share: of the memory that a worker may have.
        loop_lag_seconds: by which a worker's main process is late.
        latency_seconds: that a commit of results, or the broker's confirmation, takes.
        wait_seconds: age of a training with work that waits at the limit.
    """

    cpu_share: float
    memory_share: float
    loop_lag_seconds: float
    latency_seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers that take work, and what they depend on; None is what is not known.

    Args:
        lanes: theirs, of which ``busy`` are taken or about to be.
        told: whether each of them says how it is; the next three are of those that do.
        cpu: share in use of their processors, each counted by its worker's lanes.
        memory: the largest share in use; ``loop_lag``: the longest, in seconds.
        commit, confirmation: seconds that they take; None: there were none, which says nothing against more.
        deprived: tenants whose work waits although they have fewer than their plan guarantees.
    """

    lanes: int
    busy: int
    told: bool
    cpu: float | None
    memory: float | None
    loop_lag: float | None
    commit: float | None
    confirmation: float | None
    deprived: int

    @property
    def full(self) -> bool:
        """Whether every lane is taken."""
        return self.busy >= self.lanes


@dataclass(frozen=True, slots=True)
class BurstPlan:
    """A plan that may burst, and its tenants that no order of their own stands for.

    Args:
        cap: an operator's, for each of its tenants; ``pinned``: an operator says the number, and it is left alone.
        held_back: those that have as many documents at once as allowed, and work that waits.
        backlog: their shards that wait, as far as they are counted.
        wait: age in seconds of the oldest training of these shards; 0 without any.
        most_used: what the one that uses most uses.
    """

    name: str
    guaranteed: int
    burst: int
    allowed: int
    pinned: bool = False
    cap: int | None = None
    held_back: int = 0
    backlog: int = 0
    wait: float = 0.0
    most_used: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What a plan allows from now on, and why in a sentence."""

    plan: str
    before: int
    after: int
    reason: str


@dataclass(slots=True)
class _Course:
    """How it goes with one plan: since when it is as it is, since when too much is allowed, and the backlog to compare with."""

    changed: float
    idle_since: float | None = None
    backlog: int | None = None


class ConcurrencyPolicy:
    """What plans allow, as one leader decides it, which looks every few seconds.

    ``now`` is on one monotonic clock, ``lane_slots`` is what a lane runs at once.
    """

    def __init__(self, marks: Marks, lane_slots: int) -> None:
        self._marks, self._lane_slots = marks, lane_slots
        self._courses: dict[str, _Course] = {}
        self._strained_since: float | None = None
        self._deprived_since: float | None = None
        self._low_since: float | None = None

    def decide(self, now: float, fleet: Fleet, plans: Sequence[BurstPlan]) -> list[Decision]:
        """What to change; what is not changed after all is decided again."""
        self._courses = {plan.name: self._courses.get(plan.name) or _Course(now) for plan in plans if not plan.pinned}
        too_much = self._too_much(now, fleet)
        bears = self._bears(now, fleet)
        decided = [self._one(now, plan, fleet, too_much, bears=bears) for plan in plans if not plan.pinned]
        return [decision for decision in decided if decision is not None]

    def _one(self, now: float, plan: BurstPlan, fleet: Fleet, too_much: str | None, *, bears: bool) -> Decision | None:
        course = self._courses[plan.name]
        ceiling = plan.burst if plan.cap is None else max(plan.guaranteed, min(plan.burst, plan.cap))
        demand, idle = _demand(course, plan, self._marks.wait_seconds), _idle_for(now, course, plan)
        above = plan.allowed - plan.guaranteed
        step = max(self._lane_slots, -(-plan.guaranteed // STEP_SHARE))
        since_change = now - course.changed
        if plan.allowed > ceiling:
            return self._change(now, plan, ceiling, f"An operator allows at most {plan.cap:,}.")
        if above and too_much is not None and since_change >= STRAIN_SECONDS:
            return self._change(now, plan, plan.guaranteed + above // 2, too_much)
        if above and idle >= IDLE_SECONDS and since_change >= RAISE_SECONDS:
            after = max(plan.guaranteed, plan.most_used, plan.allowed - step)
            return self._change(
                now, plan, after, f"No tenant of the plan uses more than {plan.most_used:,}, and none of their work waits for it."
            )
        if demand and bears and plan.allowed < ceiling and since_change >= RAISE_SECONDS:
            return self._change(now, plan, min(ceiling, plan.allowed + step), _wanted(plan, fleet))
        return None

    def _change(self, now: float, plan: BurstPlan, after: int, reason: str) -> Decision:
        self._courses[plan.name] = _Course(now, backlog=plan.backlog)
        return Decision(plan.name, plan.allowed, after, reason)

    def _too_much(self, now: float, fleet: Fleet) -> str | None:
        """Why the machines have borne too much for long enough, or others missed what is guaranteed to them."""
        over = next((sentence for ratio, sentence in self._signals(fleet) if ratio > 1), None)
        self._strained_since = _since(self._strained_since, now, over is not None)
        self._deprived_since = _since(self._deprived_since, now, fleet.full and fleet.deprived > 0)
        if over is not None and _lasts(self._strained_since, now, STRAIN_SECONDS):
            return over
        if _lasts(self._deprived_since, now, STRAIN_SECONDS):
            whose = "1 tenant waits" if fleet.deprived == 1 else f"{fleet.deprived:,} tenants wait"
            return f"All {fleet.lanes:,} lanes are taken, and {whose} for what is guaranteed to them."
        return None

    def _bears(self, now: float, fleet: Fleet) -> bool:
        """Whether the machines have had room for long enough."""
        low = fleet.told and not fleet.full and all(ratio < LOW for ratio, _ in self._signals(fleet))
        self._low_since = _since(self._low_since, now, low)
        return _lasts(self._low_since, now, RAISE_SECONDS)

    def _signals(self, fleet: Fleet) -> Iterator[tuple[float, str]]:
        """What is known, as a share of its mark, with the sentence for where that is above 1."""
        marks = self._marks
        if fleet.memory is not None:
            sentence = f"A worker has {fleet.memory:.0%} of its memory in use; more than {marks.memory_share:.0%} is too much."
            yield fleet.memory / marks.memory_share, sentence
        if fleet.loop_lag is not None:
            sentence = f"A worker's main process was {fleet.loop_lag:.1f} s late; more than {marks.loop_lag_seconds:g} s is too much."
            yield fleet.loop_lag / marks.loop_lag_seconds, sentence
        if fleet.cpu is not None:
            sentence = f"The workers' processors are {fleet.cpu:.0%} in use; more than {marks.cpu_share:.0%} is too much."
            yield fleet.cpu / marks.cpu_share, sentence
        for seconds, what in ((fleet.commit, "A commit of results"), (fleet.confirmation, "The broker's confirmation")):
            if seconds is not None:
                sentence = f"{what} takes {seconds:.2f} s; more than {marks.latency_seconds:g} s is too much."
                yield seconds / marks.latency_seconds, sentence


def _demand(course: _Course, plan: BurstPlan, wait_seconds: float) -> bool:
    """Whether work waits at the limit for long, or more and more of it."""
    if not plan.held_back:
        course.backlog = None
        return False
    if course.backlog is None:
        course.backlog = plan.backlog
    return plan.wait >= wait_seconds or plan.backlog > course.backlog


def _idle_for(now: float, course: _Course, plan: BurstPlan) -> float:
    """For how many seconds more has been allowed than anybody uses or waits for."""
    course.idle_since = _since(course.idle_since, now, not plan.held_back and plan.allowed > max(plan.guaranteed, plan.most_used))
    return -1.0 if course.idle_since is None else now - course.idle_since


def _wanted(plan: BurstPlan, fleet: Fleet) -> str:
    who = "1 tenant has" if plan.held_back == 1 else f"{plan.held_back:,} tenants have"
    lanes = f"{fleet.lanes - fleet.busy:,} of {fleet.lanes:,} lanes"
    return f"{who} work that waits at the limit, of trainings up to {plan.wait:.0f} s old, and the workers bear more: free are {lanes}."


def _since(since: float | None, now: float, so: bool) -> float | None:
    return None if not so else now if since is None else since


def _lasts(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds

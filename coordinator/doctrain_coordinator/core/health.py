"""Which workers are well enough for new work, judged by what they say of their load and by whether anything ends there.

A worker becomes unfit when it is ill for a while, and fit again when it is clearly well for a while, which doubles with each relapse.
What is not known is no reason for either: a worker that says nothing stays as it is.

The fleet is never emptied: at most a share of it is out at once, those that operators took out or that are cut off from RabbitMQ
included, and one worker at least stays. Whoever is ill beyond that is spared: it works all the same, and an alarm tells of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.load import Load

LONGEST_WELL_SECONDS = 3600.0
FORGIVEN_AFTER = 10.0
"""A worker that stayed fit for so many times what it last had to stay well has no relapse any more."""
FEWEST_TRIES = 20
"""Of fewer in a minute the failures say nothing."""
EASED = 0.9
"""How far below a limit an unfit worker must be to count as well."""


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Beyond which a worker is ill.

    Args:
        memory_share: most of the memory that its machine or cgroup allows.
        disk_free_share: least of its disk that is free.
        loop_lag_seconds: longest that its event loop may be late.
        failure_share: most tries that may crash or reach a limit.
        stuck_seconds: longest without any document's end, while some run.
        ill_seconds: how long it must be ill before it is unfit; what is stuck has been for long.
        well_seconds: how long it must be well before it is fit again, the first time.
        out_share: most of the fleet that may be out at once.
    """

    memory_share: float
    disk_free_share: float
    loop_lag_seconds: float
    failure_share: float
    stuck_seconds: float
    ill_seconds: float
    well_seconds: float
    out_share: float


@dataclass(frozen=True, slots=True)
class Fitness:
    """Why a worker is ``unfit``, None where it is fit; one that is ``spared`` works all the same."""

    unfit: str | None = None
    spared: bool = False


FIT = Fitness()


@dataclass(frozen=True, slots=True)
class Sight:
    """A worker in session: the verdict that stands, whether it is kept out by anything else, and what it says; None: nothing."""

    worker_id: str
    session: int
    standing: Fitness
    kept_out: bool
    load: Load | None


@dataclass(slots=True)
class _Course:
    """How one worker has been. Times are seconds of the policy's clock."""

    session: int
    seen: float
    unfit: str | None = None
    unfit_since: float = 0.0
    ill_since: float | None = None
    well_since: float | None = None
    relapses: int = 0
    fit_since: float | None = None
    ended: int | None = None
    ended_at: float = 0.0


class HealthPolicy:
    """Judges workers for one leader, which looks at the fleet every few seconds; ``now`` is on one monotonic clock."""

    def __init__(self, limits: HealthLimits) -> None:
        self._limits = limits
        self._courses: dict[str, _Course] = {}

    def judge(self, now: float, fleet: Sequence[Sight]) -> dict[int, Fitness]:
        """The verdict of each session of ``fleet``, which has each worker once."""
        courses = {sight.session: self._follow(now, sight) for sight in fleet}
        self._forget(now)
        out = self._out(fleet, courses)
        return {
            session: FIT if course.unfit is None else Fitness(course.unfit, spared=session not in out)
            for session, course in courses.items()
        }

    def _follow(self, now: float, sight: Sight) -> _Course:
        course = self._courses.get(sight.worker_id)
        if course is None:
            course = self._courses[sight.worker_id] = _Course(sight.session, now, sight.standing.unfit, now)
        elif course.session != sight.session:  # another boot or session begins fit; its relapses are remembered
            if course.unfit is not None:
                course.unfit, course.fit_since = None, now
            course.session, course.ill_since, course.well_since, course.ended = sight.session, None, None, None
        course.seen = now
        if sight.load is None:
            course.ill_since = course.well_since = None
            return course
        stuck_for = _stuck_for(course, now, sight.load)
        if course.unfit is None:
            self._may_fall_ill(course, now, sight.load, stuck_for)
        else:
            self._may_recover(course, now, sight.load, stuck_for)
        return course

    def _may_fall_ill(self, course: _Course, now: float, load: Load, stuck_for: float) -> None:
        stuck = _stuck(stuck_for, self._limits)
        ill = stuck or next(_ills(load, self._limits, 1.0), None)
        if ill is None:
            course.ill_since = None
            return
        if course.ill_since is None:
            course.ill_since = now
        if stuck or now - course.ill_since >= self._limits.ill_seconds:
            forgiven = course.fit_since is None or now - course.fit_since > FORGIVEN_AFTER * self._needed(course)
            course.relapses = 0 if forgiven else course.relapses + 1
            course.unfit, course.unfit_since, course.well_since = ill, now, None

    def _may_recover(self, course: _Course, now: float, load: Load, stuck_for: float) -> None:
        if _stuck(stuck_for, self._limits) or next(_ills(load, self._limits, EASED), None):
            course.well_since = None
            return
        if course.well_since is None:
            course.well_since = now
        if now - course.well_since >= self._needed(course):
            course.unfit, course.fit_since, course.ill_since = None, now, None

    def _needed(self, course: _Course) -> float:
        """Seconds for which it must be well to be fit."""
        longest = max(LONGEST_WELL_SECONDS, self._limits.well_seconds)
        return min(longest, self._limits.well_seconds * 2.0 ** min(course.relapses, 30))

    def _out(self, fleet: Sequence[Sight], courses: dict[int, _Course]) -> set[int]:
        """The sessions of unfit workers that are kept from work: those that are so already first, then those that are ill for longest."""
        kept_out = {sight.session for sight in fleet if sight.kept_out}
        most = min(math.floor(self._limits.out_share * len(fleet)), len(fleet) - 1) - len(kept_out)
        unfit = [sight for sight in fleet if courses[sight.session].unfit is not None and not sight.kept_out]
        unfit.sort(key=lambda sight: (sight.standing.unfit is None or sight.standing.spared, courses[sight.session].unfit_since))
        return kept_out | {sight.session for sight in unfit[: max(0, most)]}

    def _forget(self, now: float) -> None:
        longest = FORGIVEN_AFTER * max(LONGEST_WELL_SECONDS, self._limits.well_seconds)
        self._courses = {name: course for name, course in self._courses.items() if now - course.seen <= longest}


def _stuck_for(course: _Course, now: float, load: Load) -> float:
    """Seconds for which documents ran and none ended."""
    if load.documents_ended is None or not load.documents_running or load.documents_ended != course.ended:
        course.ended, course.ended_at = load.documents_ended, now
    return now - course.ended_at


def _stuck(seconds: float, limits: HealthLimits) -> str | None:
    return f"It runs documents, and none has ended for {seconds:.0f} s." if seconds > limits.stuck_seconds else None


def _ills(load: Load, limits: HealthLimits, eased: float) -> Iterator[str]:
    """Each limit that is passed, in a sentence; with ``eased`` below 1, each that nearly is."""
    if load.memory_share is not None and load.memory_share > limits.memory_share * eased:
        yield f"{load.memory_share:.0%} of its memory is in use; more than {limits.memory_share:.0%} is too much."
    if load.disk_free_share is not None and load.disk_free_share < limits.disk_free_share / eased:
        yield f"{load.disk_free_share:.1%} of its disk is free; less than {limits.disk_free_share:.1%} is too little."
    if load.loop_lag_seconds is not None and load.loop_lag_seconds > limits.loop_lag_seconds * eased:
        yield f"Its main process was {load.loop_lag_seconds:.1f} s late; more than {limits.loop_lag_seconds:g} s is too much."
    if (share := _failing(load)) > limits.failure_share * eased:
        yield f"{share:.0%} of its tries of a minute crashed or reached a limit; more than {limits.failure_share:.0%} is too much."


def _failing(load: Load) -> float:
    return load.failure_share if load.failure_share is not None and (load.tries_in_last_minute or 0) >= FEWEST_TRIES else -1.0

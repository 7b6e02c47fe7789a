"""Steps of the removal that fail alone: each is tried again by itself, later and later, while the others go on."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from doctrain_mesh.errors import InvalidRequestError, UnavailableError
from doctrain_mesh.observability.metrics import Reading
from doctrain_mesh.supervise import cancellation_first

FIRST_SECONDS, MOST_SECONDS = 10.0, 600.0
"""How long what failed is left alone: twice as long each time."""

log = logging.getLogger(__name__)


class Step(StrEnum):
    """What is removed, as the metric names it."""

    REMOVED_TRAININGS = "removed_trainings"
    """What is left of trainings that nobody finds any more."""
    TENANTS = "tenants"
    TRAININGS = "trainings"
    UPLOADS = "uploads"
    BROKEN_UPLOADS = "broken_uploads"
    LATE_ARTIFACTS = "late_artifacts"
    OLD_ARTIFACTS = "old_artifacts"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class _Failing:
    pause: float
    until: float


class Tries:
    """What failed, and when it is tried again; of a step with several parts each by itself."""

    def __init__(self) -> None:
        self._failing: dict[tuple[Step, int], _Failing] = {}

    async def one(self, step: Step, work: Callable[[], Awaitable[None]], *, part: int = 0, name: str = "") -> bool:
        """Does the work, unless it failed a short while ago; whether it is done."""
        failing = self._failing.get((step, part))
        if failing is not None and time.monotonic() < failing.until:
            return False
        try:
            async with cancellation_first():
                await work()
        except (UnavailableError, InvalidRequestError) as error:
            pause = min(2 * failing.pause, MOST_SECONDS) if failing is not None else FIRST_SECONDS
            self._failing[step, part] = _Failing(pause, time.monotonic() + pause)
            what = name or step.replace("_", " ")
            log.warning("Removing %s failed and is tried again in %g s; the rest goes on: %s", what, pause, error)
            return False
        self._failing.pop((step, part), None)
        return True

    def keep(self, step: Step, parts: Collection[int]) -> None:
        """Forgets the parts of a step that are no more."""
        self._failing = {of: failing for of, failing in self._failing.items() if of[0] is not step or of[1] in parts}

    def forget(self) -> None:
        """Another coordinator removes."""
        self._failing.clear()

    def reading(self) -> list[Reading]:
        """How many parts of each step fail."""
        counts = Counter(step for step, _ in self._failing)
        return [(counts[step], (step,)) for step in Step]

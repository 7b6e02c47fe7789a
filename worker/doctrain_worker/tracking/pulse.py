"""Whether the event loop keeps up, and what it said last of the worker: a thread may ask while the loop is stuck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

TICK_SECONDS = 0.25


class Pulse:
    """``facts`` is called in the loop, and is the worker's word on itself as of the last tick."""

    def __init__(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._ask = facts
        self.facts = facts()
        self._ticked = time.monotonic()
        self._late = 0.0

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self._late = max(self._late, now - self._ticked - TICK_SECONDS)
            self._ticked, self.facts = now, self._ask()

    def lag(self) -> float:
        """Seconds by which a tick was late since the question before, the longest; one that is still to come counts. For one thread."""
        late, self._late = self._late, 0.0
        return max(0.0, late, time.monotonic() - self._ticked - TICK_SECONDS)

"""What tenants used today and yesterday, for metrics: read by the leader alone, as the fleet is, and with as few names.

A day's last documents are counted after it has ended, so that yesterday's numbers are the ones to keep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from doctrain_coordinator import metrics
from doctrain_coordinator.core.named_tenants import MOST_NAMED, OTHERS
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.observability.metrics import Gauge, Reading
from doctrain_mesh.postgres import Pool, Record, statements
from doctrain_mesh.stages import STAGES

log = logging.getLogger(__name__)
SQL = statements.of(__name__)
EVERY_SECONDS = 60.0
"""As it is counted, after shards have ended."""
LOOK_SECONDS = 1.0
READ_SECONDS = 10.0
OUTCOMES = ("trained", "unchanged", "failed")


@dataclass(frozen=True, slots=True)
class _Used:
    """By tenant and day, and by stage as well."""

    days: Sequence[Record]
    stages: Sequence[Record]


class UsageMeasures:
    """Measures usage for the metrics; each coordinator has one.

    ``run`` is supervised by the application.
    """

    def __init__(self, pool: Pool, leads: Callable[[], bool]) -> None:
        self._pool, self._leads = pool, leads
        self._used: _Used | None = None

    async def run(self) -> None:
        """Reads while this coordinator leads, until cancelled."""
        while True:
            self._used = await self._read() if self._leads() else None
            await asyncio.sleep(LOOK_SECONDS if self._used is None else EVERY_SECONDS)

    @contextmanager
    def told(self) -> Iterator[None]:
        """The gauges tell what was read, while open."""
        read: dict[Gauge, Callable[[_Used], Iterable[Reading]]] = {
            metrics.USED_DOCUMENTS: lambda used: ((row[name], (*_whose(row), name)) for row in used.days for name in OUTCOMES),
            metrics.USED_PAGES: lambda used: ((row["pages"], _whose(row)) for row in used.days),
            metrics.USED_BYTES: lambda used: ((row["bytes"], _whose(row)) for row in used.days),
            metrics.USED_SECONDS: lambda used: ((row["seconds"], (*_whose(row), row["stage"])) for row in used.stages),
        }
        with ExitStack() as stack:
            for gauge, tell in read.items():
                stack.enter_context(gauge.reading(partial(self._told_of, tell)))
            yield

    def _told_of(self, tell: Callable[[_Used], Iterable[Reading]]) -> Iterable[Reading]:
        return tell(self._used) if self._used is not None and self._leads() else ()

    async def _read(self) -> _Used | None:
        try:
            async with postgres.acquired(self._pool, "measuring usage", seconds=READ_SECONDS) as c:
                days = await c.fetch(SQL["days"], MOST_NAMED)
                named = [row["id"] for row in days if row["id"] is not None]
                return _Used(days, await c.fetch(SQL["stages"], named, STAGES))
        except UnavailableError as error:
            log.warning("Usage is not measured: %s", error)
            return None


def _whose(row: Record) -> tuple[str, str]:
    return row["name"] or OTHERS, "today" if row["today"] else "yesterday"

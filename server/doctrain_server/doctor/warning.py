"""What the doctor has to say against the settings of a service that starts, in its log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh.settings import Settings
from doctrain_server.doctor.finding import Verdict

log = logging.getLogger(__name__)


@asynccontextmanager
async def warning(settings: Settings, *, documents: bool) -> AsyncIterator[None]:
    """Logs what the doctor finds unsafe, beside a service that starts: nothing of the look keeps it waiting, or ends it."""

    async def warn() -> None:
        try:
            from doctrain_server.doctor.examination import examine  # what it knows of a coordinator, a worker needs for nothing else

            findings = await examine(settings, documents=documents)
        except Exception:
            log.exception("The settings could not be looked at.")
            return
        for finding in findings:
            if finding.verdict is Verdict.BAD:
                log.warning("%s: %s", finding.subject, finding.sentence)

    async with asyncio.TaskGroup() as group:
        look = group.create_task(warn(), name="look at the settings")
        try:
            yield
        finally:
            look.cancel()

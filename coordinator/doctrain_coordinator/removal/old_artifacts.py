"""Removes artifacts that are older than they are kept for: the next reading of their documents would seldom be soon.

Every coordinator looks, since two that do remove the same and no more.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from doctrain_mesh.documents.artifacts import Artifacts
from doctrain_mesh.documents.errors import BlobForbiddenError
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.supervise import forever

LOOK_SECONDS = 6 * 3600.0
RETRY_SECONDS = 600.0

log = logging.getLogger(__name__)


class OldArtifacts:
    """Removes artifacts that were made more than ``days`` ago."""

    def __init__(self, artifacts: Artifacts, days: float) -> None:
        self._artifacts, self._age = artifacts, timedelta(days=days)

    async def run(self) -> None:
        """Until cancelled."""
        await forever("removing old artifacts", self._look, expected=(UnavailableError, BlobForbiddenError), retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        count = await self._artifacts.remove_older(datetime.now(UTC) - self._age)
        if count:
            log.info("%d old artifacts were removed.", count)
        await asyncio.sleep(LOOK_SECONDS)

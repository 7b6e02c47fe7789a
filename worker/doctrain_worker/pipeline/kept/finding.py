"""Takes what an earlier reading of the same bytes left from its shelf."""

from __future__ import annotations

import logging

from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.supervise import deadline, for_each
from doctrain_worker.pipeline.kept.budget import MOST_SLICE_BYTES, Budget
from doctrain_worker.pipeline.kept.shelf import Shelf
from doctrain_worker.pipeline.room import Share
from doctrain_worker.pipeline.wire import ReadSlice

AT_ONCE = 8
READ_SECONDS = 30.0

log = logging.getLogger(__name__)


async def found(shelf: Shelf, budget: Budget, share: Share) -> list[ReadSlice]:
    """What there is, as far as there is time and room for it; a store that fails costs the rest."""
    slices: list[ReadSlice] = []
    try:
        async with deadline("Reading kept slices", READ_SECONDS):
            await _find(shelf, budget, share, slices)
    except DoctrainError as error:
        log.warning("Not all that was kept of document %d of training %s is used: %s", *shelf.passage.named, error)
    return slices


async def _find(shelf: Shelf, budget: Budget, share: Share, slices: list[ReadSlice]) -> None:
    async def find(name: str, size: int) -> None:
        if not share.take(size):
            await share.wait(size)
        one = await shelf.get(name)
        if one is not None:
            slices.append(one)

    wanted = []
    for name, size in (await shelf.sizes()).items():
        if size <= 2 * MOST_SLICE_BYTES and budget.allows(size):
            budget.spend(size)
            wanted.append((name, size))
    await for_each(wanted, lambda one: find(*one), at_once=AT_ONCE)

"""The documents of a training that failed, to be loaded into another one, chunk by chunk: there may be millions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.states import DocumentState, TrainingState
from doctrain_coordinator.trainings import chunks
from doctrain_coordinator.trainings.chunks import Chunk, Copied
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, OwnConnection, statements

SQL = statements.of(__name__, DocumentState, TrainingState)
WINDOW = chunks.MOST
"""Documents that one statement looks through."""
MOST_BYTES = 16 * 2**20
"""Of metadata that one transaction copies."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The documents of a training that failed in one of some ways; without ``classes`` all that failed or were open when it ended early."""

    training: int
    classes: Sequence[int]


async def next_chunk(c: Connection, failed: Failed, offset: int, *, loaded: int, most: int) -> Chunk:
    """At most ``most`` of those of the window from the ordinal ``offset`` on, maybe none; ``loaded``: documents that the training has."""
    rows = await c.fetch(SQL["failed_documents"], failed.training, offset, offset + WINDOW, failed.classes, most, MOST_BYTES)
    ordinals = [row["ordinal"] for row in rows]
    after = ordinals[-1] + 1 if ordinals else offset + WINDOW
    return _chunk(failed, ordinals, after, last=after >= loaded)


async def remaining(c: OwnConnection, failed: Failed, offset: int) -> AsyncIterator[Chunk]:
    """All from the ordinal ``offset`` on."""
    last = False
    while not last:
        async with postgres.available("reading what failed", c):
            loaded = await c.fetchval(SQL["loaded"], failed.training)
            chunk = await next_chunk(c, failed, offset, loaded=loaded, most=WINDOW)
        offset, last = chunk.offset, chunk.last
        yield chunk


async def named_chunk(c: Connection, failed: Failed, ids: Sequence[str], number_offset: int | None) -> Chunk:
    """The documents with one of the ids; ``number_offset`` is that of a training whose documents differ by number only."""
    ordinals = [] if number_offset is None else list(_ordinals(ids, number_offset))
    rows = await c.fetch(SQL["failed_by_id"], failed.training, ids if number_offset is None else [], ordinals, failed.classes)
    return _chunk(failed, [row["ordinal"] for row in rows], 0, last=True)


async def unknown_ids(c: Connection, training: int, ids: Sequence[str], number_offset: int | None, *, loaded: int) -> list[str]:
    """Those of the ids that no document of the training has; the rest as in ``named_chunk`` and ``next_chunk``."""
    if number_offset is None:
        return [row["name"] for row in await c.fetch(SQL["unknown_ids"], training, ids)]
    return [name for name in ids if not any(ordinal < loaded for ordinal in _ordinals([name], number_offset))]


async def any_failed(c: Connection, failed: Failed) -> bool:
    """Whether a document failed in one of the ways, whatever came of it since."""
    return bool(await c.fetchval(SQL["any_failed"], failed.training, failed.classes))


def _ordinals(ids: Iterable[str], number_offset: int) -> Iterable[int]:
    for name in ids:
        if name.isascii() and name.isdecimal() and len(name) <= 10 and name == str(int(name)):
            ordinal = int(name) - number_offset
            if 0 <= ordinal < 2**31:
                yield ordinal


def _chunk(failed: Failed, ordinals: Sequence[int], after: int, *, last: bool) -> Chunk:
    return Chunk(len(ordinals), after, last, copied=Copied(failed.training, ordinals))

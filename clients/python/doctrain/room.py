"""Whether what is to be stored has room in the plan, as far as that is known before a byte is sent.

What is kept already counts once, but which files that are the service does not tell. So a refusal here is certain whatever is kept, and a
start may still be refused in its middle: where files seem to be kept that are not, and where others store meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path

from doctrain.errors import Details, PermissionDeniedError, QuotaExceededError
from doctrain.storing import named, size_of
from doctrain.v1 import training_pb2

Limits = training_pb2.GetLimitsResponse


async def limits(asked: Awaitable[Limits]) -> Limits:
    """What the plan allows; nothing is set where the service does not tell it to this caller, who hears why at the start."""
    try:
        return await asked
    except PermissionDeniedError:
        return Limits()


async def check_files(found: Limits, files: Sequence[Path], *, manifest_bytes: int = 0) -> None:
    """Raises QuotaExceededError when there cannot be room for the files and their manifest (0 bytes: it takes none).

    Files of the same content count once.
    """
    sizes = await asyncio.to_thread(lambda: [size_of(path) for path in files])
    others = [manifest_bytes] if manifest_bytes else []
    if _too_many(found, [*sizes, *others]):
        what = "these files and their manifest have together" if others else "these files have together" if len(files) > 1 else "this has"
        check_sizes(found, [*await _sizes_of_contents(files, sizes), *others], what)


def check_sizes(found: Limits, sizes: Sequence[int], what: str = "this has") -> None:
    """The same of contents that differ, by how many bytes each has; ``what`` begins what the error says of them."""
    if not (new := _too_many(found, sizes)):
        return
    kept = found.upload_bytes
    sentence = (
        f"The plan {found.plan} allows {kept.limit:,} bytes of uploads, and {kept.used:,} are kept; {what} {new:,} or more that are not, "
        "so nothing was sent. Delete documents, whose bytes are then removed, drop what no training names (doctrain uploads --drop), or "
        "ask the operator of the mesh."
    )
    facts = {"quota": "upload_bytes", "limit": str(kept.limit), "unit": "bytes"}
    raise QuotaExceededError(sentence, details=Details("QUOTA_EXCEEDED", facts, quotas=(sentence,)))


def stays(error: QuotaExceededError) -> QuotaExceededError:
    """The refusal of a training some of whose files may be stored: also of those whose answer nobody waited for."""
    sentence = f"{error.sentence} What was stored for it already stays, and counts, until it is dropped (doctrain uploads --drop)."
    return QuotaExceededError(sentence, status=error.status, details=error.details)


def _too_many(found: Limits, sizes: Sequence[int]) -> int:
    """How many bytes are new at least, when that is more than is left; else 0."""
    kept = found.upload_bytes
    new = _least_new(sizes, kept.used)
    return new if kept.limit and kept.used + new > kept.limit else 0


def _least_new(sizes: Sequence[int], kept: int) -> int:
    """What is larger than all that is kept is not among it, and of the others not more is than that."""
    return max(sum(size for size in sizes if size > kept), sum(sizes) - kept)


async def _sizes_of_contents(files: Sequence[Path], sizes: Iterable[int]) -> list[int]:
    """Without a file's size where another has the same bytes; only those of the same size are read."""
    by_path = dict(zip(files, sizes, strict=True))
    often = Counter(by_path.values())
    contents: dict[str, int] = {}
    for path, size in by_path.items():
        try:
            contents[(await named(path))[0] if often[size] > 1 else str(path)] = size
        except OSError:
            continue  # it is left out, and told, when its turn comes
    return [*contents.values()]

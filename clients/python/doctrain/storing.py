"""The files of a folder as documents of a training: stored, or only named.

What is stored is named by its content, so the same file has the same URI wherever it is looked at: what a training of a
folder would be can be known, and compared with one that is there, before a byte is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doctrain.errors import DoctrainError, InvalidRequestError, RequestTooLargeError, UsageError
from doctrain.files import opened
from doctrain.folder import Labels, Scan, Skipped, describe, refuse, scan, shown
from doctrain.v1 import training_pb2


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was stored just now."""

    path: Path
    size: int
    """Its bytes."""
    files: int
    """How many files are stored, this one included."""
    of: int
    """How many there are to store."""


Blob = tuple[str, int]
"""A URI and how many bytes are there."""


async def scanned(folder: str | Path | Scan, pattern: str, labels: Labels, *, strict: bool, most_bytes: int = 0) -> Scan:
    """What the folder holds; a Scan is taken as it is, but for files of more than ``most_bytes`` (0: any), which are left out.

    Raises UsageError, with ``strict`` for what cannot be trained, too.
    """
    found = folder if isinstance(folder, Scan) else await _scanned(folder, pattern, labels)
    if most_bytes:
        found = await asyncio.to_thread(_within, found, most_bytes)
    if strict and found.skipped:
        raise refuse(found.skipped)
    return found


async def _scanned(folder: str | Path, pattern: str, labels: Labels) -> Scan:
    """Scans in a thread, which ends when nobody waits for it any more: a program cannot end before its threads."""
    unwanted = threading.Event()

    def check() -> None:
        if unwanted.is_set():
            raise InterruptedError("Nobody waits for it.")

    try:
        return await asyncio.to_thread(scan, folder, pattern, labels, check=check)
    finally:
        unwanted.set()


async def documents_of(
    found: Scan,
    blob_of: Callable[[Path], Awaitable[Blob]],
    *,
    concurrency: int,
    strict: bool,
    on_skipped: Callable[[Skipped], None],
    on_stored: Callable[[Stored], None] = lambda stored: None,
) -> list[training_pb2.DocumentInput]:
    """The documents of the files that were found, in their order; ``blob_of`` stores or names each, ``concurrency`` at once.

    Raises UsageError when all are left out, or with ``strict`` one; any other failure of ``blob_of`` ends it.
    """
    for skipped in found.skipped:
        on_skipped(skipped)
    waiting = iter(found.files)
    documents: dict[Path, training_pb2.DocumentInput] = {}

    async def take_next() -> None:
        for path in waiting:
            try:
                uri, size = await blob_of(path)
            except (OSError, InvalidRequestError, RequestTooLargeError) as error:
                late = Skipped(path, _reason(path, error))  # it has changed since it was looked at, or is too large
                if strict:
                    raise refuse([late]) from error
                on_skipped(late)
                continue
            documents[path] = describe(found, path, uri)
            on_stored(Stored(path, size, len(documents), len(found.files)))

    await _together([take_next() for _ in range(concurrency)])
    if not documents:
        raise UsageError(f"Nothing in {shown(found.root)} can be trained: every file was left out.")
    return [documents[path] for path in found.files if path in documents]


async def named(path: Path) -> Blob:
    """What a file's blob would be called. Raises OSError."""
    return await asyncio.to_thread(_named, path)


def size_of(path: Path) -> int:
    """Its bytes; 0 for what cannot be looked at, which is told when it is to be stored."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def _together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Does all at once; the first failure ends the others and is raised, since those that fail together do so for one cause.

    No TaskGroup: until Python 3.13 one of whose tasks fails while it is cancelled forgets that it was.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure


def _within(found: Scan, most_bytes: int) -> Scan:
    large = {path for path in found.files if size_of(path) > most_bytes}
    skipped = [Skipped(path, f"It has more than {most_bytes:,} bytes, the most that the service takes.") for path in sorted(large)]
    return replace(found, files=tuple(path for path in found.files if path not in large), skipped=(*found.skipped, *skipped))


def _named(path: Path) -> Blob:
    with opened(path) as file:
        return f"blob://{hashlib.file_digest(file, 'sha256').hexdigest()}", file.tell()


def _reason(path: Path, error: OSError | DoctrainError) -> str:
    if isinstance(error, DoctrainError):
        return error.sentence.removeprefix(f"{shown(path)}: ")
    return f"It cannot be read: {error.strerror or error}."

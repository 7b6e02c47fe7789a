"""Object stores as all of doctrain asks them: with bounded waits, with our errors, and with a folder for each tenant."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions as obstore_errors
from obstore.store import LocalStore, ObjectStore, from_url

from doctrain_mesh.documents import causes
from doctrain_mesh.documents.errors import BlobChangedError, BlobCredentialsError, BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.errors import BlobUnavailableError, ConfigurationError, OperationTimeoutError
from doctrain_mesh.network import uris
from doctrain_mesh.observability.outage import cause
from doctrain_mesh.supervise import deadline, for_each

if TYPE_CHECKING:
    from obstore import ObjectMeta

OPEN_SECONDS = 20.0
READ_SECONDS = 60.0
"""Longest wait for the next piece of an object."""
TRANSFER_SECONDS = 3600.0
"""Longest time that one request to an object store may take, with all its pieces."""
DISCARD_SECONDS = 10.0
LISTED_AT_ONCE = 100
REMOVED_AT_ONCE = 16

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")

log = logging.getLogger(__name__)


def open_store(url: str, **options: Any) -> ObjectStore:
    """An object store with bounded waits; a missing folder is made, for the user of the process alone. Raises ConfigurationError."""
    fault = uris.store_fault(url)
    if fault is not None:
        raise ConfigurationError(f"Documents cannot be kept at {url}. {fault}")
    path = uris.file_path(url) if url.startswith("file://") else None
    if path is not None:
        return LocalStore(_made(Path(path)))
    if url.startswith("memory:"):
        return from_url("memory:///")
    return from_url(
        url,
        # What bounds a transfer is the wait for each of its pieces; `timeout` is for all of them.
        client_options={
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=TRANSFER_SECONDS),
            "allow_http": True,
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=15)},
        **options,
    )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"Documents cannot be kept in {folder}, which cannot be made ({cause(error)}); make it, or change DOCTRAIN_BLOB_URL."
        ) from error
    return folder


@asynccontextmanager
async def reached(operation: str, seconds: float, *, deed: str = "read", place: str = "object store") -> AsyncIterator[None]:
    """Bounds what is asked of a place, and puts our errors in the place of its own; ``deed`` is what it may forbid."""
    try:
        async with deadline(operation, seconds):
            yield
    except (obstore_errors.NotFoundError, FileNotFoundError) as error:
        raise BlobNotFoundError("There is nothing at this URI.") from error
    except (obstore_errors.PermissionDeniedError, obstore_errors.UnauthenticatedError, PermissionError) as error:
        raise BlobForbiddenError(f"The {place} does not let doctrain {deed} this.") from error
    except obstore_errors.PreconditionError as error:
        raise BlobChangedError("It was changed while it was being read.") from error
    except (obstore_errors.BaseError, OSError, OperationTimeoutError) as error:
        log.info("The %s did not answer (%s): %s", place, operation, causes.for_the_log(error))
        why = causes.in_words(error)
        if why == causes.NO_CREDENTIALS:
            raise BlobCredentialsError(f"The object store cannot be asked: {why}. Ask the operator of the mesh.") from error
        raise BlobUnavailableError(
            f"The {place} did not answer ({operation}){f': {why}' if why else ''}.", retry_after_seconds=2.0
        ) from error


async def listed(store: ObjectStore, folder: str, operation: str) -> AsyncIterator[ObjectMeta]:
    """What lies below a folder. Raises what ``reached`` does."""
    async for page in _pages(store, folder, operation):
        for meta in page:
            yield meta


async def _pages(store: ObjectStore, folder: str, operation: str) -> AsyncIterator[Sequence[ObjectMeta]]:
    pages = obstore.list(store, folder, chunk_size=LISTED_AT_ONCE).__aiter__()
    while True:
        async with reached(operation, OPEN_SECONDS):
            page = await anext(pages, None)
        if page is None:
            return
        yield page


async def remove(store: ObjectStore, path: str, operation: str) -> None:
    """Removes an object; one that is not there is as good. Raises what ``reached`` does."""
    with suppress(BlobNotFoundError):
        async with reached(operation, DISCARD_SECONDS, deed="remove"):
            await obstore.delete_async(store, path)


class Refusals:
    """What an object store refuses to remove while the work on the rest goes on: the first of it is raised when that is done."""

    def __init__(self) -> None:
        self._first: BlobForbiddenError | BlobUnavailableError | None = None

    @contextmanager
    def passed_over(self, path: str = "") -> Iterator[None]:
        """What is refused within is remembered, and the first path told to operators."""
        try:
            yield
        except (BlobForbiddenError, BlobUnavailableError) as error:
            if self._first is None and path:
                log.warning("%s, and maybe more, is not removed: %s", path, error)
            self._first = self._first or error

    def check(self) -> None:
        """Raises the first."""
        if self._first is not None:
            raise self._first

    def check_store(self, *, removed: int) -> None:
        """Raises it where nothing was removed, and a store that is away may be why."""
        if not removed and isinstance(self._first, BlobUnavailableError):
            raise self._first


async def remove_below(store: ObjectStore, folder: str, operation: str, *, before: datetime | None = None) -> AsyncIterator[int]:
    """Removes what lies below a folder, or came last before a moment, page by page; tells after each how many of it.

    What cannot be removed keeps nothing else from it: at the end the first reason is raised, as ``reached`` does.
    """
    refusals = Refusals()
    async for page in _pages(store, folder, operation):
        removed = 0

        async def remove_one(path: str) -> None:
            nonlocal removed
            with refusals.passed_over(path):
                await remove(store, path, operation)
                removed += 1

        old = [meta["path"] for meta in page if before is None or meta["last_modified"] < before]
        await for_each(old, remove_one, at_once=REMOVED_AT_ONCE)
        if old:
            refusals.check_store(removed=removed)
        yield removed
    refusals.check()


def tenant_folder(tenant_id: str) -> str:
    """A folder for a tenant, whatever its name holds; two tenants never share one."""
    if _PLAIN_NAME.fullmatch(tenant_id):
        return tenant_id
    return f".{hashlib.sha256(tenant_id.encode()).hexdigest()}"


def remove_empty_folders(store: ObjectStore, folder: str) -> None:
    """Removes a folder with those below it, as far as they are empty; only a disk has such. Blocks."""
    if not isinstance(store, LocalStore) or store.prefix is None:
        return
    top = Path(store.prefix) / folder
    for path in (*sorted(top.rglob("*"), reverse=True), top):
        with suppress(OSError):
            path.rmdir()

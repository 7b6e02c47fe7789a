"""Keeps the uploads that a new training names while it is stored: whoever removes uploads then finds that it names them.

Uploads that are just being removed are waited for: the training is accepted when they are gone, as one of uploads that never were.
"""

from __future__ import annotations

from collections.abc import Iterable

from doctrain_coordinator.tenants import uploads
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_mesh.postgres import Connection, statements
from doctrain_mesh.supervise import deadline

SQL = statements.of(__name__)
SECONDS = 15.0
_SCHEME = "blob://"
_KEY = slice(len(_SCHEME), len(_SCHEME) + 64)


async def keep(c: Connection, tenant: int, training: int, first: Chunk, uri_template: str | None, *, further_lines: bool) -> None:
    """Until the end of the transaction, those of the training that is stored in it; with ``further_lines`` all, as a manifest may name any.

    Raises OperationTimeoutError.
    """
    async with deadline("Waiting until uploads are removed", SECONDS):
        if further_lines:
            await uploads.keep_all(c, tenant)
        elif first.copied is not None:
            await c.execute(SQL["keep_of_documents"], tenant, training)
        elif sha256s := _named(row[1] for row in first.rows) or _named([uri_template or ""]):
            await c.execute(SQL["keep"], tenant, list(sha256s))


def _named(uris: Iterable[str]) -> set[str]:
    return {uri[_KEY] for uri in uris if uri.startswith(_SCHEME)}

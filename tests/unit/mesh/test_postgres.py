"""What a lost Postgres looks like, whatever asyncpg calls it."""

from __future__ import annotations

import asyncpg
import pytest

from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 13; another operation (2) is in progress"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_server_is_told_as_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailableError, match="reading"):
        async with postgres.available("reading"):
            raise error

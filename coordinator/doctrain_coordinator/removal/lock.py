"""The lock of who removes is its connection's, which Postgres ends when it hears nothing on it for long."""

from __future__ import annotations

from doctrain_mesh.postgres import Connections


async def ping(connections: Connections) -> None:
    """Shows Postgres that the holder of the lock lives, now and then while it works elsewhere. Raises StoreUnavailableError."""
    async with connections() as c:
        await c.execute("select 1")

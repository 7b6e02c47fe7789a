"""The first keys of a new deployment, made straight in the database: before them, nobody could ask for any."""

from __future__ import annotations

from doctrain_coordinator.keys import ROLE_OPERATOR, ROLE_WORKER, Keys
from doctrain_coordinator.store.migrate import migrate
from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings


async def first_keys(settings: Settings) -> dict[str, str]:
    """Makes an operator key and a worker key. Whoever can reach the database may; run it again for further ones."""
    if not settings.database_url:
        raise ConfigurationError("DOCTRAIN_DATABASE_URL is not set.")
    await migrate(settings.database_url)
    pool = await postgres.create_pool(settings.database_url, size=2, name="doctrain bootstrap")
    try:
        keys = Keys(pool)
        return {
            "operator_key": (await keys.create(ROLE_OPERATOR, "", "bootstrap")).key,
            "worker_key": (await keys.create(ROLE_WORKER, "", "bootstrap")).key,
        }
    finally:
        await postgres.close_pool(pool)

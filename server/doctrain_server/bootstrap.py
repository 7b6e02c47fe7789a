"""The first keys of a new deployment, made straight in the database: before them, nobody could ask for any."""

from __future__ import annotations

from doctrain_coordinator.store.migrate import migrate
from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, ROLE_WORKER
from doctrain_coordinator.tenants.keys import Keys, has_operator
from doctrain_mesh import postgres
from doctrain_mesh.errors import AlreadyExistsError
from doctrain_mesh.postgres import sizes
from doctrain_mesh.settings import Settings


async def first_keys(settings: Settings, *, again: bool = False) -> dict[str, str | int]:
    """Makes an operator's key and a worker's, with the ids by which they are revoked. Whoever can reach the database may.

    Raises AlreadyExistsError when there is an operator's key already, unless it is to be made ``again``.
    """
    await migrate(settings.database_url)
    pool = await postgres.create_pool(settings.database_url, size=sizes.COMMAND, name="doctrain bootstrap")
    try:
        async with postgres.acquired(pool, "looking for an operator's key") as connection:
            if await has_operator(connection) and not again:
                raise AlreadyExistsError(
                    "There is an operator's key already; with it, `doctrain keys create` makes further ones. "
                    "If it is lost: doctrain-server bootstrap --again."
                )
        keys = Keys(pool, pool)
        operator, worker = await keys.create(ROLE_OPERATOR, "", "bootstrap"), await keys.create(ROLE_WORKER, "", "bootstrap")
    finally:
        await postgres.close_pool(pool)
    return {
        "operator_key": operator.key,
        "operator_key_id": operator.key_id,
        "worker_key": worker.key,
        "worker_key_id": worker.key_id,
    }

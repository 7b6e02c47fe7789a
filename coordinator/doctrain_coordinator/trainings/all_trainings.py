"""The trainings of all tenants, for operators: a list that asks for no tenant."""

from __future__ import annotations

from collections.abc import Collection

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.trainings.reading import READ_SECONDS, Seen, Trainings
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, TrainingState)


class AllTrainings:
    """Lists them, each as its tenant sees it."""

    def __init__(self, pool: Pool, trainings: Trainings) -> None:
        self._pool, self._trainings = pool, trainings

    async def page(self, before: int, states: Collection[int], size: int) -> tuple[list[tuple[str, Seen]], int | None]:
        """Trainings with keys below ``before`` in some states (none: in any), newest first, with their tenants' names.

        Also answers before which to go on; None after the last.
        """
        statement = SQL["open" if states and set(states) <= {*TrainingState.OPEN} else "all"]
        async with postgres.acquired(self._pool, "listing all trainings", seconds=READ_SECONDS) as c:
            tenants: dict[int, str] = {row["id"]: row["tenant_id"] for row in await c.fetch(statement, before, list(states), size)}
        found = {seen.training.id: seen for seen in (await self._trainings.of_any_tenant(tenants) if tenants else ())}
        trainings = [(tenant_id, found[training]) for training, tenant_id in tenants.items() if training in found]
        return trainings, min(tenants) if len(tenants) == size else None  # of those some may be removed by now

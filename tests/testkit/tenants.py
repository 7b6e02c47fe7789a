"""A mesh of two coordinators and some workers, and tenants that use it."""

from __future__ import annotations

from collections.abc import Mapping

import doctrain
from doctrain.v1 import fleet_pb2
from testkit.mesh import Mesh

PROCESSOR = {"DOCTRAIN_PROCESSOR": "slow_processor:slow"}


async def start(real_mesh: Mesh, *, workers: int = 3, settings: Mapping[str, str] | None = None) -> None:
    """Two coordinators and some workers."""
    chosen = {**PROCESSOR, **(settings or {})}
    for number in (1, 2):
        await real_mesh.coordinator(f"coordinator-{number}", **chosen)
    for number in range(workers):
        await real_mesh.worker(f"worker-{number + 1}", **chosen)


async def tenant(real_mesh: Mesh, name: str, plan: str, *, ca: str | None = None) -> doctrain.AsyncClient:
    """A client of a new tenant; ``ca`` where coordinators speak TLS."""
    return doctrain.AsyncClient(real_mesh.addresses, api_key=await tenant_key(real_mesh, name, plan, ca=ca), ca=ca)


async def tenant_key(real_mesh: Mesh, name: str, plan: str, *, ca: str | None = None) -> str:
    """The API key of a new tenant."""
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key, ca=ca) as operator:
        await operator.fleet.create_tenant(name, plan=plan)
        made = await operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id=name)
    return made.key

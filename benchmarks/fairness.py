"""How a full fleet is shared: documents that sleep for a second, on a fleet with fewer slots than the tenants' plans together.

    python -m benchmarks.fairness [CASE ...]      CASE: flood weights; default: both

``flood``: one tenant has 100,000 documents queued and a plan larger than the fleet; a small tenant sends a document now and then. Printed
is the time to its first result beside that of an idle fleet. ``weights``: tenants of different weights with more work than the fleet can
do; printed is Jain's index over what each was given for its weight (R. Jain et al., DEC-TR-301, 1984): 1 is fair, 1/n is one has all.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import doctrain
from benchmarks.servers import Servers, servers
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh, mesh

LANES = 4
PLAN_SLOTS = 1_000
FLOOD = 100_000
IDLE_ROUNDS, FLOOD_ROUNDS = 5, 20
APART_SECONDS = 0.37
"""No part of a second, so that rounds meet heartbeats and documents at other moments."""
SETTLE_SECONDS, MEASURED_SECONDS = 10.0, 40.0
WEIGHTS = (1.0, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running mesh and who operates it."""

    mesh: Mesh
    operator: doctrain.AsyncClient
    stack: AsyncExitStack

    async def tenant(self, name: str, weight: float = 1.0) -> doctrain.AsyncClient:
        """A new tenant's client."""
        await self.operator.fleet.create_tenant(name, plan="large", weight=weight)
        key = (await self.operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id=name)).key
        return await self.stack.enter_async_context(doctrain.AsyncClient(self.mesh.addresses, api_key=key))


@asynccontextmanager
async def fleet(real: Servers) -> AsyncIterator[Fleet]:
    """A fresh mesh of two workers with few lanes."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctrain-bench-")))
        environment = await stack.enter_async_context(real.environment(folder))
        running = await stack.enter_async_context(mesh(folder, environment))
        await running.coordinator("coordinator-1")
        for name in ("worker-1", "worker-2"):
            await running.worker(
                name,
                DOCTRAIN_PROCESSOR="benchmarks.processors:sleep_long",
                DOCTRAIN_COORDINATORS=",".join(running.addresses),
                DOCTRAIN_EXECUTION_LOG="",
                DOCTRAIN_LANES=str(LANES),
            )
        operator = await stack.enter_async_context(doctrain.AsyncClient(running.addresses, api_key=running.operator_key))
        await operator.fleet.put_plan("large", slots=PLAN_SLOTS)
        yield Fleet(running, operator, stack)


def _numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://benchmark/{n}", first=0, count=count)


async def _first_result(client: doctrain.AsyncClient) -> float:
    start = time.perf_counter()
    training = (await client.start_training(numbered=_numbered(1))).training
    async for update in client.watch(training.training_task_id):
        if update.training.completed:
            break
    return time.perf_counter() - start


async def flood(real: Servers) -> None:
    """Prints how long a small tenant waits while another has all it can take."""
    async with fleet(real) as running:
        small, large = await running.tenant("small"), await running.tenant("large")
        idle = [await _first_result(small) for _ in range(IDLE_ROUNDS)]
        await large.start_training(numbered=_numbered(FLOOD))
        await asyncio.sleep(SETTLE_SECONDS)
        flooded = []
        for _ in range(FLOOD_ROUNDS):
            flooded.append(await _first_result(small))
            await asyncio.sleep(APART_SECONDS)
        before = statistics.median(idle)
        print(
            f"first result of a small tenant: idle {before:.2f} s; under a flood p50 {statistics.median(flooded):.2f} s, worst "
            f"{max(flooded):.2f} s: {statistics.median(flooded) / before:.2f} times idle, worst {max(flooded) / before:.2f}",
            flush=True,
        )


async def weights(real: Servers) -> None:
    """Prints Jain's index over the documents that each of several flooding tenants got for its weight."""
    async with fleet(real) as running:
        clients = [await running.tenant(f"tenant-{place}", weight) for place, weight in enumerate(WEIGHTS)]
        ids = [(await client.start_training(numbered=_numbered(FLOOD))).training.training_task_id for client in clients]
        await asyncio.sleep(SETTLE_SECONDS)

        async def done() -> list[int]:
            return [(await client.get_training(name)).completed for client, name in zip(clients, ids, strict=True)]

        before = await done()
        await asyncio.sleep(MEASURED_SECONDS)
        given = [after - earlier for after, earlier in zip(await done(), before, strict=True)]
        shares = [documents / weight for documents, weight in zip(given, WEIGHTS, strict=True)]
        jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
        print(f"weights {WEIGHTS}: documents {given} in {MEASURED_SECONDS:.0f} s; Jain's index {jain:.3f}", flush=True)


async def main(cases: list[str]) -> None:
    """Runs the cases."""
    known = {"flood": flood, "weights": weights}
    with servers() as real:
        for case in cases or list(known):
            await known[case](real)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

"""Documents a second through the whole mesh on real servers: one coordinator, two workers, a plan of 120 slots.

    python -m benchmarks.throughput [CASE ...]      CASE: noop sleep cpu children latency manifest million; default: all

Every figure comes from one run on one machine, servers included. ``documents/s`` is N / (end seen by a watching client
- start of StartTraining). ``durable`` is the time from a document's end in the worker to the commit that recorded it, from
Postgres's own commit timestamps.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

import doctrain
from benchmarks.servers import Servers, servers
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh, mesh

SLOTS = 120
TENANT = "benchmark"
DURABLE = """
    select percentile_cont(array[0.5, 0.99]) within group (
        order by extract(epoch from pg_xact_commit_timestamp(d.xmin) - d.started_at) * 1000 - d.took_ms)
    from document d join training t on t.id = d.training
    where t.task_id = $1 and d.state = 1 and d.ordinal % greatest(1, t.total / 10000) = 0
"""
FIRST = "select extract(epoch from min(d.started_at))::float8 from document d join training t on t.id = d.training where t.task_id = $1"


@dataclass
class Bench:
    """A mesh that runs one processor, and what is measured about it."""

    mesh: Mesh
    servers: Servers
    client: doctrain.AsyncClient
    database: asyncpg.Connection[asyncpg.Record]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by part, ended children included."""
        spent = {"workers": 0.0, "coordinator": 0.0}
        for name, part in self.mesh.parts.items():
            key = "workers" if name.startswith("worker") else "coordinator"
            spent[key] += _tree_seconds(part.process.pid)
        spent["postgres"] = _tree_seconds(self.servers.postgres.pid)
        spent["rabbitmq"] = _tree_seconds(self.servers.rabbitmq.pid)
        return spent

    def memory(self) -> dict[str, int]:
        """Resident MiB of each process of ours, the largest of a part's tree."""
        return {name: max(p.memory_info().rss for p in _tree(part.process.pid)) // 2**20 for name, part in self.mesh.parts.items()}


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _tree_seconds(pid: int) -> float:
    seconds = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


@asynccontextmanager
async def bench(real: Servers, processor: str, **worker_settings: str) -> AsyncIterator[Bench]:
    """A fresh database and queue, one coordinator, two workers that run ``processor``."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctrain-bench-")))
        environment = await stack.enter_async_context(real.environment(folder))
        running = await stack.enter_async_context(mesh(folder, environment))
        await running.coordinator("coordinator-1", DOCTRAIN_FILE_ROOT=str(folder))
        for name in ("worker-1", "worker-2"):
            await running.worker(
                name,
                DOCTRAIN_PROCESSOR=processor,
                DOCTRAIN_COORDINATORS=",".join(running.addresses),
                DOCTRAIN_EXECUTION_LOG="",
                DOCTRAIN_FILE_ROOT=str(folder),
                **worker_settings,
            )
        operator = await stack.enter_async_context(doctrain.AsyncClient(running.addresses, api_key=running.operator_key))
        await operator.fleet.put_plan("benchmark", slots=SLOTS)
        await operator.fleet.create_tenant(TENANT, plan="benchmark")
        key = (await operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id=TENANT)).key
        client = await stack.enter_async_context(doctrain.AsyncClient(running.addresses, api_key=key))
        database = await asyncpg.connect(environment["DOCTRAIN_DATABASE_URL"])
        stack.push_async_callback(database.close)
        b = Bench(running, real, client, database)
        await latency(b, rounds=10, label="")
        yield b


async def run(b: Bench, label: str, count: int, *, manifest: str = "") -> None:
    """One training, timed; prints a line."""
    before, start, wall = b.cpu(), time.perf_counter(), time.time()
    if manifest:
        training = (await b.client.start_training(manifest_uri=manifest)).training
    else:
        numbered = pb.NumberedDocuments(uri_template="s3://benchmark/{n}", first=0, count=count)
        training = (await b.client.start_training(numbered=numbered)).training
    answered = time.perf_counter() - start
    last, peak, sampled = training, b.memory(), start
    async for update in b.client.watch(training.training_task_id):
        last = update.training
        if time.perf_counter() - sampled > 0.5:
            sampled = time.perf_counter()
            peak = {name: max(size, peak.get(name, 0)) for name, size in b.memory().items()}
    took = time.perf_counter() - start
    if last.completed != count:
        raise SystemExit(f"{label}: {last.completed} of {count} completed: {last.message}")
    spent = {part: (seconds - before[part]) / count * 1e6 for part, seconds in b.cpu().items()}
    durable = await b.database.fetchval(DURABLE, training.training_task_id)
    first = (await b.database.fetchval(FIRST, training.training_task_id)) - wall
    cpu = " / ".join(f"{part} {value:.1f}" for part, value in spent.items())
    print(
        f"{label:<28} {count / took:>9,.0f} documents/s in {took:.2f} s; answered after {answered * 1000:.0f} ms, first start after "
        f"{first * 1000:.0f} ms; durable p50 {durable[0]:.0f} ms, p99 {durable[1]:.0f} ms; CPU µs/document: {cpu}; "
        f"peak MiB: {peak}",
        flush=True,
    )


async def latency(b: Bench, rounds: int = 30, *, label: str = "job of 10 on an idle mesh") -> None:
    """Small jobs on an idle mesh: answered, first document started, all ended. Warms the mesh; without a label it prints nothing."""
    answered, first, ended = [], [], []
    for _ in range(rounds):
        start, wall = time.perf_counter(), time.time()
        numbered = pb.NumberedDocuments(uri_template="s3://benchmark/{n}", first=0, count=10)
        training = (await b.client.start_training(numbered=numbered)).training
        answered.append(time.perf_counter() - start)
        async for _update in b.client.watch(training.training_task_id):
            pass
        ended.append(time.perf_counter() - start)
        first.append(await b.database.fetchval(FIRST, training.training_task_id) - wall)
        await asyncio.sleep(0.2)
    if not label:
        return
    middle = rounds // 2
    figures = ", ".join(
        f"{name} {sorted(values)[middle] * 1000:.1f} ms"
        for name, values in (("answered", answered), ("first start", first), ("all ended", ended))
    )
    print(f"{label:<28} p50: {figures}", flush=True)


def write_manifest(file: Path, count: int) -> str:
    """A manifest of ``count`` lines with ids and URIs; answers its URI."""
    with file.open("w", encoding="utf-8") as out:
        for n in range(count):
            out.write(f'{{"document_id": "document-{n:09d}", "uri": "s3://benchmark/documents/{n:09d}.pdf"}}\n')
    return file.as_uri()


async def main(cases: list[str]) -> None:
    """Runs the cases, all of them by default."""
    wanted = set(cases) or {"noop", "sleep", "cpu", "children", "latency", "manifest", "million"}
    with servers() as real:
        if wanted & {"noop", "latency", "manifest", "million"}:
            async with bench(real, "benchmarks.processors:noop") as b:
                if "latency" in wanted:
                    await latency(b)
                if "noop" in wanted:
                    for _ in range(3):
                        await run(b, "no-op, numbered", 100_000)
                if "million" in wanted:
                    await run(b, "no-op, numbered", 1_000_000)
                if "manifest" in wanted:
                    await run(b, "no-op, manifest with ids", 1_000_000, manifest=write_manifest(b.mesh.folder / "million.jsonl", 1_000_000))
        if "sleep" in wanted:
            async with bench(real, "benchmarks.processors:sleep") as b:
                await run(b, "10 ms sleep", 10_000)
        if "cpu" in wanted:
            async with bench(real, "benchmarks.processors:burn") as b:
                await run(b, "5 ms CPU, in the worker", 1_000)
        if "children" in wanted:
            async with bench(real, "child:builtins:bool") as b:
                await run(b, "no-op, through children", 100_000)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

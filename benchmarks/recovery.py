"""How long work stands still when a part is lost, and what it costs: real servers, two coordinators, three workers.

    PYTHONPATH=tests:. python -m benchmarks.recovery [CASE ...] [--rounds N]

CASE: worker-main worker-tree worker-frozen broker-killed broker-wiped etcd-away postgres-killed coordinator-killed; default:
all. Every round starts a fresh mesh with every worker busy. Seconds are measured on the clock that all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

import doctrain
from benchmarks.servers import Servers, servers
from doctrain.tries import Tries
from testkit.mesh import Mesh, mesh
from testkit.tenants import tenant
from testkit.waiting import wait_until

DOCUMENTS = 20_000
SLOTS = 90
"""What the workers' lanes take."""
QUEUED_SLOTS = 150
"""More than that, so that shards wait for a lane in the queue."""
LONGEST_SECONDS = 60.0
AWAY_SECONDS = 120.0
AROUND_SECONDS = 10.0
"""Before and after the registry's absence: what the throughput within is compared with."""


@dataclass
class Scene:
    """A mesh in the middle of a training."""

    real: Servers
    mesh: Mesh
    client: doctrain.AsyncClient
    database: asyncpg.Connection[asyncpg.Record]
    training: str
    documents: int

    def starts(self) -> list[tuple[float, int]]:
        """(when, which document) of every start so far, by the workers' own logs."""
        return [(event["monotonic"], event["ordinal"]) for event in self.mesh.executions() if event["event"] == "start"]

    def victim(self) -> list[psutil.Process]:
        """All processes of one worker: its guardian, its main process, its children."""
        guardian = psutil.Process(self.mesh.parts["worker-1"].process.pid)
        return [guardian, *guardian.children(recursive=True)]

    async def first_start(self, since: float, *, again: bool = False) -> float:
        """Seconds from ``since`` to the first start of a document, or of one that had started before."""

        def found() -> list[float]:
            seen, times = set(), []
            for when, ordinal in self.starts():
                if when > since and (ordinal in seen or not again):
                    times.append(when - since)
                seen.add(ordinal)
            return times

        times: list[float] = await wait_until(found, LONGEST_SECONDS)
        return min(times)

    async def finish(self) -> int:
        """Waits for the training's end and answers how many documents ran more than once."""
        ended = await self.client.wait(self.training)
        if ended.completed != self.documents:
            raise SystemExit(f"{ended.completed} of {self.documents} completed: {ended.message}")
        times = collections.Counter(ordinal for _, ordinal in self.starts())
        return sum(count > 1 for count in times.values())


@asynccontextmanager
async def scene(real: Servers, documents: int, processor: str, slots: int) -> AsyncIterator[Scene]:
    """A fresh mesh whose workers are all busy with one training."""
    with tempfile.TemporaryDirectory(prefix="doctrain-recovery-") as name:
        folder = Path(name)
        (folder / "blobs").mkdir()
        async with real.environment(folder) as environment, mesh(folder, environment) as running:
            for part in ("coordinator-1", "coordinator-2"):
                await running.coordinator(part)
            for part in ("worker-1", "worker-2", "worker-3"):
                await running.worker(part, DOCTRAIN_PROCESSOR=f"benchmarks.processors:{processor}")
            database = await asyncpg.connect(environment["DOCTRAIN_DATABASE_URL"])
            try:
                async with doctrain.AsyncClient(running.addresses, api_key=running.operator_key) as operator:
                    await operator.fleet.put_plan("benchmark", slots=slots)
                async with await tenant(running, "acme", "benchmark") as client:
                    numbered = doctrain.NumberedDocuments(uri_template="s3://benchmark/{n}", first=0, count=documents)
                    started = await client.start_training(numbered=numbered)
                    training = started.training.training_task_id
                    async for update in client.watch(training):
                        if update.training.completed > documents // 10:
                            break
                    yield Scene(real, running, client, database, training, documents)
            finally:
                await database.close()


async def worker_main(at: Scene) -> float:
    """SIGKILL of a worker's main process: its documents go on elsewhere."""
    since = time.monotonic()
    next(p for p in at.victim() if "worker-main" in p.cmdline()).kill()
    return await at.first_start(since, again=True)


async def worker_tree(at: Scene) -> float:
    """SIGKILL of a worker with its guardian and children."""
    victim, since = at.victim(), time.monotonic()
    for process in victim:
        process.kill()
    return await at.first_start(since, again=True)


async def worker_frozen(at: Scene) -> float:
    """SIGSTOP of a worker with its guardian and children."""
    victim, since = at.victim(), time.monotonic()
    for process in victim:
        process.suspend()
    took = await at.first_start(since, again=True)
    for process in victim:
        process.kill()
    return took


async def broker_killed(at: Scene) -> float:
    """RabbitMQ killed and started again: from its port's opening to the first document that starts."""
    at.real.rabbitmq.kill()
    await asyncio.sleep(3)  # what was held is finished meanwhile
    await at.real.rabbitmq.restart()
    return await at.first_start(time.monotonic())


async def broker_wiped(at: Scene) -> float:
    """RabbitMQ back without its data: until every shard that was granted is published again and begun."""
    lost = await at.database.fetch("select id, number from shard where state = 1")
    if not lost:
        raise SystemExit("no shard waited in the queue that was wiped")
    await at.real.rabbitmq.wipe()
    since = time.monotonic()

    async def begun() -> bool:
        waiting = {(row["id"], row["number"]) for row in await at.database.fetch("select id, number from shard where state = 1")}
        return not waiting & {(row["id"], row["number"]) for row in lost}

    await wait_until(begun, LONGEST_SECONDS)
    return time.monotonic() - since


async def etcd_away(at: Scene) -> float:
    """The registry killed for minutes: documents started a second meanwhile, over those of the seconds around it."""
    await asyncio.sleep(AROUND_SECONDS)
    killed = time.monotonic()
    at.real.etcd.kill()
    await asyncio.sleep(AWAY_SECONDS)
    until = time.monotonic()
    await at.real.etcd.restart()
    back = time.monotonic()
    await asyncio.sleep(AROUND_SECONDS)
    starts = [when for when, _ in at.starts()]

    def rate(since: float, to: float) -> float:
        return sum(since < when <= to for when in starts) / (to - since)

    again = await at.database.fetchval("select count(*) from shard where number > 1")
    print(f"{again} shards were granted again, {rate(killed, until):.0f} documents a second without the registry", flush=True)
    around = rate(killed - AROUND_SECONDS, killed), rate(back, back + AROUND_SECONDS)
    return rate(killed, until) / statistics.mean(around)


async def postgres_killed(at: Scene) -> float:
    """Postgres killed and started again: from its accepting to the first answer of the API."""
    at.real.postgres.kill()
    await asyncio.sleep(1)
    await at.real.postgres.restart()
    since = time.monotonic()

    async def answers() -> bool:
        try:
            await at.client.get_training(at.training)
        except doctrain.DoctrainError:
            return False
        return True

    await wait_until(answers, LONGEST_SECONDS)
    return time.monotonic() - since


async def coordinator_killed(at: Scene) -> float:
    """SIGKILL of a watched coordinator: until its watcher's next update."""
    async with await tenant(at.mesh, "acme", "benchmark") as client:
        killed = 0.0
        async for _ in client.watch(at.training):
            if killed:
                return time.monotonic() - killed
            serving = client._endpoints.next(Tries("")).address
            next(part for part in at.mesh.parts.values() if part.address == serving).kill()
            killed = time.monotonic()
    raise SystemExit("the watch ended early")


CASES: dict[str, Callable[[Scene], Awaitable[float]]] = {
    "worker-main": worker_main,
    "worker-tree": worker_tree,
    "worker-frozen": worker_frozen,
    "broker-killed": broker_killed,
    "broker-wiped": broker_wiped,
    "etcd-away": etcd_away,
    "postgres-killed": postgres_killed,
    "coordinator-killed": coordinator_killed,
}


async def main(cases: list[str], rounds: int) -> None:
    """Prints a line a case."""
    for case in cases or CASES:
        figures, twice = [], []
        with servers() as real:
            for _ in range(rounds):
                # Of documents that wait for longer, so few run through in minutes.
                processor, slots = "sleep_long" if case == "etcd-away" else "sleep", QUEUED_SLOTS if case == "broker-wiped" else SLOTS
                async with scene(real, DOCUMENTS, processor, slots) as at:
                    figures.append(await CASES[case](at))
                    twice.append(await at.finish())
        unit = "of the throughput around it" if case == "etcd-away" else "s"
        worst = min(figures) if case == "etcd-away" else max(figures)
        print(
            f"{case:<20} median {statistics.median(figures):.2f} {unit}, worst {worst:.2f} of {rounds}; "
            f"at most {max(twice)} documents ran twice",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.cases, chosen.rounds))

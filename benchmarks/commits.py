"""The group commit alone: two sessions' blocks of 500 into a real Postgres, in process, without gRPC or a broker.

    python -m benchmarks.commits [DOCUMENTS]

Prints documents a second and the CPU time a document of the coordinator's half and of Postgres. What it says bounds what
the mesh can do; it is no measurement of the mesh.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.servers import DurablePostgres
from doctrain_coordinator.core.blocks import Block
from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.chunks import Chunk
from testkit.core import Core, core
from testkit.server import own_server

BLOCK = 500
ON_DECK = 6


async def work(one: Core, session: int, shards: list[tuple[int, int, int]]) -> None:
    """Begins shards and reports each in blocks, several shards at a time, as a worker's lanes do."""
    waiting = iter(shards)

    async def lane() -> None:
        for shard, first, count in waiting:
            outcome = await one.begin(session, shard, 1)
            assert outcome is Begun.BEGUN
            for start in range(first, first + count, BLOCK):
                places = min(BLOCK, first + count - start)
                block = Block(start, int(time.time() * 1000), list(range(places)), [1] * places)
                recorded, done, _ = await one.report(session, shard, 1, block)
                assert recorded
            assert done

    await asyncio.gather(*(lane() for _ in range(ON_DECK)))


def cpu(process: psutil.Process) -> float:
    """Seconds of a process and all below it, ended children included."""
    times = process.cpu_times()
    below = [child.cpu_times() for child in process.children(recursive=True)]
    return sum(t.user + t.system for t in (times, *below)) + times.children_user + times.children_system


async def measure(url: str, server: psutil.Process, documents: int) -> None:
    """One training of numbered documents, recorded as fast as it goes."""
    async with core(url) as one:
        tenant = await one.tenant("bench", "paid")
        new = storing.NewTraining(tenant, "bench", b"", "", size=500 * 4 * 12, uri_template="s3://b/{n}")
        await one.create(new, Chunk(documents, 0, last=True))
        await one.pool.execute("checkpoint")
        rows = await one.pool.fetch("update shard set state = 1, number = 1, width = 5 returning id, first, count")
        shards = [(row["id"], row["first"], row["count"]) for row in rows]
        sessions = [(await one.open(f"w{n}")).session for n in range(2)]
        before, own, start = cpu(server), time.process_time(), time.perf_counter()
        await asyncio.gather(*(work(one, session, shards[n::2]) for n, session in enumerate(sessions)))
        seconds = time.perf_counter() - start
        own, postgres = time.process_time() - own, cpu(server) - before
        await one.sums_hold(1)
    print(
        f"{documents} documents in {seconds:.2f} s: {documents / seconds:,.0f}/s; "
        f"CPU a document: coordinator's half {own / documents * 1e6:.2f} us, Postgres {postgres / documents * 1e6:.2f} us"
    )


async def run(server: DurablePostgres, documents: int) -> None:
    """Measures in a fresh database."""
    async with server.database() as url:
        await measure(url, psutil.Process(server.pid), documents)


def main() -> None:
    """Starts a Postgres of its own; with PROFILE set, prints where the time went."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="doctrain-bench-") as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "postgres"
        folder.mkdir(mode=0o755)
        with own_server(DurablePostgres, folder) as server:
            profile = cProfile.Profile()
            if os.environ.get("PROFILE"):
                profile.enable()
            asyncio.run(run(server, documents // BLOCK * BLOCK))
            if os.environ.get("PROFILE"):
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()

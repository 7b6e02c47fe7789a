"""How long a search takes, and how much of what is near it finds: a coordinator on a real Postgres.

    PYTHONPATH=tests python -m benchmarks.search [CHUNKS]

First one tenant with CHUNKS (20,000), then 20 tenants with 2,000 each. Texts are put together of the sentences of the
project's own documents; vectors are theirs by the model that comes along, each moved a little. Times are of calls of
the client over loopback, one after the other, the embedding of the query included; CPU is that of the coordinator and the
client, and of Postgres, for one of them.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt
import psutil

import doctrain
from benchmarks.servers import DurablePostgres
from doctrain_coordinator.search.searching import CONNECTION_SETTINGS, statement
from doctrain_coordinator.search.vector_index import index_name
from doctrain_mesh.embedding import minilm
from doctrain_mesh.postgres import binary_copy
from doctrain_mesh.words import condition, lexeme, queried, words
from testkit.coordinator import Coordinators, coordinators
from testkit.server import own_server
from testkit.waiting import wait_until

SENTENCES = 1_500
CHUNKS_A_DOCUMENT = 20
SENTENCES_A_CHUNK = 6
QUERIES = 300
COMPARED = 40
TENANTS, CHUNKS_A_TENANT = 20, 2_000
COLUMNS = (
    *("tenant", "document_id", "seq", "training", "heading", "start_offset", "end_offset"),
    *("model", "embedding", "words", "text"),
)


@dataclass
class Pool:
    """Sentences with their vectors, to make texts of."""

    sentences: list[str]
    vectors: npt.NDArray[np.float32]
    chance: random.Random
    noise: np.random.Generator

    def chunk(self) -> tuple[str, bytes]:
        """A text, and a vector between those of its sentences."""
        places = self.chance.sample(range(len(self.sentences)), SENTENCES_A_CHUNK)
        moved = self.vectors[places[0]] + 0.5 * self.vectors[places].mean(axis=0) + self.noise.standard_normal(minilm.DIMENSIONS) * 0.02
        return " ".join(self.sentences[place] for place in places), (moved / np.linalg.norm(moved)).astype(">f2").tobytes()

    def query(self) -> str:
        """Three to eight words of a sentence."""
        said = self.chance.choice(self.sentences).split()
        length = self.chance.randint(3, 8)
        start = self.chance.randrange(max(1, len(said) - length))
        return " ".join(said[start : start + length])


def pool() -> Pool:
    """Of the project's Markdown and protos."""
    files = [*Path("docs").rglob("*.md"), *Path("protos").rglob("*.proto"), *Path("corpus").glob("*.md"), Path("README.md")]
    text = re.sub(r"\s+", " ", " ".join(path.read_text() for path in files).replace("//", " "))
    found = [sentence for sentence in re.split(r"(?<=[.:;|]) ", text) if 40 < len(sentence) < 300]
    sentences = random.Random(1).sample(found, min(SENTENCES, len(found)))
    return Pool(sentences, minilm.open_model().embed(sentences), random.Random(2), np.random.default_rng(3))


def cpu(server: psutil.Process) -> float:
    """Seconds of a server and all below it that run."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def fill(database: asyncpg.Connection[Any], tenants: Sequence[int], chunks: int, texts: Pool) -> None:
    """Gives each tenant so many chunks, a document after the other of all tenants in turn."""
    model = binary_copy.text(minilm.NAME)
    for number in range(chunks // CHUNKS_A_DOCUMENT):
        for tenant in tenants:
            ready = bytearray(binary_copy.START)
            for seq in range(CHUNKS_A_DOCUMENT):
                text, vector = texts.chunk()
                ready += binary_copy.row(
                    *(binary_copy.int8(tenant), binary_copy.text(f"d{number}"), binary_copy.int4(seq), binary_copy.int8(tenant)),
                    *(binary_copy.text(""), binary_copy.int4(0), binary_copy.int4(len(text)), model, binary_copy.halfvec(vector)),
                    *(binary_copy.tsvector(lexeme(tenant, word) for word in words(text)), binary_copy.text(text)),
                )

            async def source(content: bytes) -> AsyncIterator[bytes]:
                yield content

            async with database.transaction():
                await database.execute(
                    "insert into indexed_document (tenant, document_id, training, index_order, model, chunk_count, metadata) "
                    "values ($1, $2, $1, $1, $3, $4, jsonb_build_object('tenth', $5::text))",
                    *(tenant, f"d{number}", minilm.NAME, CHUNKS_A_DOCUMENT, str(number % 10)),
                )
                await database.copy_to_table("chunk", source=source(bytes(ready + binary_copy.END)), columns=COLUMNS, format="binary")
    await database.execute("analyze chunk")
    await database.execute("analyze indexed_document")


async def calls(client: doctrain.AsyncClient, server: psutil.Process, texts: Pool, **options: Any) -> str:
    """Median and 99th percentile of searches, after some to warm up."""
    for _ in range(20):
        await client.search(texts.query(), **options)
    times, ours, its = [], time.process_time(), cpu(server)
    for _ in range(QUERIES):
        start = time.perf_counter()
        await client.search(texts.query(), **options)
        times.append((time.perf_counter() - start) * 1000)
    ours, its = (time.process_time() - ours) / QUERIES * 1000, (cpu(server) - its) / QUERIES * 1000
    percentile = sorted(times)[int(len(times) * 0.99)]
    return f"median {statistics.median(times):.1f} ms, p99 {percentile:.1f} ms; CPU {ours:.1f} and {its:.1f} ms"


async def recall(database: asyncpg.Connection[Any], tenant: int, texts: Pool) -> str:
    """Of the 10 and 100 that looking at all finds nearest, how many the index finds; and how long each takes by itself."""
    model = minilm.open_model()
    shares: dict[int, list[float]] = {10: [], 100: []}
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(COMPARED):
        query = texts.query()
        vector = str(model.embed([query])[0].tolist())
        both = {}
        for at_all in (True, False):
            arguments = [tenant, minilm.NAME, vector, None, None, None, None, [], True, 1000, 1.0, 100, 100, 100, 1]
            start = time.perf_counter()
            rows = await database.fetch(statement(minilm.DIMENSIONS, at_all=at_all), *arguments)
            times[at_all].append((time.perf_counter() - start) * 1000)
            both[at_all] = [(row["document_id"], row["text"]) for row in rows]
        for most, found in shares.items():
            found.append(len(set(both[True][:most]) & set(both[False][:most])) / most)
    told = ", ".join(f"{statistics.mean(found):.3f} of the {most} nearest" for most, found in shares.items())
    took = f"{statistics.median(times[False]):.1f} ms by the index, {statistics.median(times[True]):.1f} ms looking at all"
    return f"by vectors alone, the index finds {told}; {took}"


async def words_alone(database: asyncpg.Connection[Any], tenant: int, texts: Pool) -> str:
    """How long the words of a query take."""
    times = []
    for _ in range(COMPARED):
        conditions = [condition(tenant, word) for word in queried(texts.query())]
        zero = str([0.0] * (minilm.DIMENSIONS - 1) + [1.0])
        arguments = [tenant, minilm.NAME, zero, None, None, None, None, conditions, True, 1000, 1.0, 100, 100, 0, 1]
        start = time.perf_counter()
        await database.fetch(statement(minilm.DIMENSIONS, at_all=True), *arguments)
        times.append((time.perf_counter() - start) * 1000)
    return f"by words alone {statistics.median(times):.1f} ms"


async def measure(served: Coordinators, server: psutil.Process, texts: Pool, name: str, tenants: int, chunks: int) -> None:
    """Fills an index and searches it."""
    clients = [await served.tenant(f"tenant-{number}") for number in range(tenants)]
    database = await asyncpg.connect(served.settings.database_url, server_settings=CONNECTION_SETTINGS)
    try:
        ids = [row["id"] for row in await database.fetch("select id from tenant order by id")]
        await database.execute(
            "insert into training (id, tenant, task_id, request_hash, sealed, total) overriding system value "
            "select id, id, 't', '', true, 0 from tenant"
        )
        there = "select indisvalid from pg_index where indexrelid = to_regclass($1)"
        await wait_until(lambda: database.fetchval(there, index_name(minilm.NAME)), 60)
        start, its = time.perf_counter(), cpu(server)
        await fill(database, ids, chunks, texts)
        rows = tenants * chunks
        rate, each = rows / (time.perf_counter() - start), (cpu(server) - its) / rows * 1000
        print(
            f"{name}: {tenants} x {chunks:,} chunks, {rate:,.0f} a second into the index, {each:.2f} ms of Postgres's CPU each", flush=True
        )
        for mode in ("hybrid", "vectors", "words"):
            print(f"  {mode:<8} {await calls(clients[0], server, texts, mode=mode)}", flush=True)
        print(f"  a tenth  {await calls(clients[0], server, texts, metadata={'tenth': '3'})}", flush=True)
        print(f"  {await recall(database, ids[0], texts)}; {await words_alone(database, ids[0], texts)}", flush=True)
    finally:
        await database.close()


async def run(server: DurablePostgres, folder: Path, texts: Pool, name: str, tenants: int, chunks: int) -> None:
    """One case in a database of its own."""
    async with server.database() as url, coordinators(url, folder) as served:
        await measure(served, psutil.Process(server.pid), texts, name, tenants, chunks)


def main(chunks: int) -> None:
    """Both cases."""
    texts = pool()
    for name, tenants, each in (("one tenant", 1, chunks), ("many tenants", TENANTS, CHUNKS_A_TENANT)):
        with tempfile.TemporaryDirectory(prefix="doctrain-bench-") as home:
            folder = Path(home)
            folder.chmod(0o755)
            (folder / "postgres").mkdir(mode=0o755)
            with own_server(DurablePostgres, folder / "postgres") as server:
                asyncio.run(run(server, folder, texts, name, tenants, each))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
